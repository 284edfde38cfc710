//! What the process says about itself, line by line, on standard error.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer, filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt,
};

use super::access_log::Format;

/// Writes what still waits when it is dropped: to be held until the process ends.
#[must_use = "dropping it ends the log"]
pub struct Guard {
    _writer: WorkerGuard,
}

/// Sets up `tracing` for the process. What is logged is `RUST_LOG`'s to say (`info` unless it does). A standard error
/// that nobody reads never makes anybody wait. To be called once; a second call changes nothing.
pub fn init(format: Format) -> Guard {
    let (writer, guard) = NonBlockingBuilder::default()
        .thread_name("log")
        .finish(std::io::stderr());
    let (filter, wrong) = filter(std::env::var("RUST_LOG").ok().as_deref());
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(colours);
    let layer = match format {
        Format::Text => layer.boxed(),
        Format::Json => layer.json().flatten_event(true).boxed(),
    };
    let set = tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init();
    if let (Ok(()), Some(wrong)) = (set, wrong) {
        tracing::warn!("RUST_LOG is not understood ({wrong}); logging at info");
    }
    Guard { _writer: guard }
}

/// What `RUST_LOG` asks for, and what is wrong with it.
fn filter(asked: Option<&str>) -> (EnvFilter, Option<String>) {
    let info = || {
        // notify tells at info of every watch that it renews.
        let quiet = "notify=warn".parse().expect("a fixed directive is valid");
        let info = EnvFilter::default().add_directive(LevelFilter::INFO.into());
        info.add_directive(quiet)
    };
    match asked.filter(|asked| !asked.trim().is_empty()) {
        None => (info(), None),
        Some(asked) => match asked.parse() {
            Ok(filter) => (filter, None),
            Err(wrong) => (info(), Some(wrong.to_string())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_log_is_obeyed_and_nonsense_is_told() {
        let level = |asked| {
            let (filter, wrong) = filter(asked);
            (filter.max_level_hint(), wrong.is_some())
        };
        assert_eq!(level(None), (Some(LevelFilter::INFO), false));
        assert_eq!(level(Some(" ")), (Some(LevelFilter::INFO), false));
        assert_eq!(level(Some("debug")), (Some(LevelFilter::DEBUG), false));
        assert_eq!(
            level(Some("warn,cutover::probe=trace")),
            (Some(LevelFilter::TRACE), false)
        );
        assert_eq!(level(Some("info=loud")), (Some(LevelFilter::INFO), true));
    }
}
