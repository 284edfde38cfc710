//! Commands that look: history, explain, events.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use clap::Args;
use http::header::HeaderName;
use http_body_util::BodyExt;

use super::{
    args::{Door, Reading},
    client::{Call, Client, query, segment},
    event_view,
    exit::{Exit, Failure},
    output::{FAINT, STRONG, Styled, clean, complain, say, say_json},
    share::in_words,
};
use crate::{
    admin::wire::{Event, Events as List, Explained, History as Revisions},
    units::{ListenAddress, Name},
};

#[derive(Debug, Args)]
pub struct History {
    pub service: Name,
    #[command(flatten)]
    pub reading: Reading,
}

pub async fn history(door: &Door, args: &History) -> Result<Exit, Failure> {
    let path = format!("/v1/services/{}/history", segment(&args.service));
    let history: Revisions = door.client()?.get(&path).await?;
    if args.reading.json {
        say_json(&history)?;
        return Ok(Exit::Done);
    }
    for revision in &history.revisions {
        let shares = revision
            .weights
            .iter()
            .map(|(pool, _)| (pool.clone(), revision.weights.share(pool.as_str())));
        let reason = revision.reason.as_deref().unwrap_or("");
        say(format_args!(
            "{:>5}  {}  {:<28} {} by {}{}{}\n",
            revision.revision,
            Styled(FAINT, revision.at.strftime("%Y-%m-%d %H:%M:%S")),
            in_words(&shares.collect()),
            clean(&revision.what),
            clean(&revision.by.name),
            if reason.is_empty() { "" } else { ": " },
            clean(reason),
        ));
    }
    Ok(Exit::Done)
}

#[derive(Debug, Args)]
pub struct Explain {
    pub method: http::Method,
    /// With its host, or a path alone
    pub url: String,
    /// `Name: value`; repeatable
    #[arg(long, short = 'H', value_name = "HEADER")]
    pub header: Vec<String>,
    /// The client's IP address
    #[arg(long, value_name = "IP")]
    pub client: Option<std::net::IpAddr>,
    /// Which listener it comes by, as the file names its address: one for previews shows another pool
    #[arg(long, value_name = "ADDRESS")]
    pub listener: Option<ListenAddress>,
    #[command(flatten)]
    pub reading: Reading,
}

pub async fn explain(door: &Door, args: &Explain) -> Result<Exit, Failure> {
    let pairs = [
        ("method", Some(args.method.to_string())),
        ("url", Some(args.url.clone())),
        ("client", args.client.map(|client| client.to_string())),
        ("listener", args.listener.as_ref().map(ToString::to_string)),
    ];
    let headers = args
        .header
        .iter()
        .map(|header| ("header", Some(header.clone())));
    let target = format!("/v1/explain{}", query(pairs.into_iter().chain(headers)));
    let explained: Explained = door.client()?.get(&target).await?;
    if args.reading.json {
        say_json(&explained)?;
        return Ok(Exit::Done);
    }
    for step in &explained.steps {
        say(format_args!(
            "{:<9} {}\n",
            clean(&step.of),
            clean(&step.because)
        ));
    }
    let verdict = match (&explained.answer, &explained.service) {
        (Some(status), _) => format!("the proxy answers {status} by itself"),
        (None, Some(service)) => format!("{service}: {}", in_words(&explained.chances)),
        (None, None) => "unknown".to_owned(),
    };
    say(format_args!("{} {verdict}\n", Styled(STRONG, "→")));
    Ok(Exit::Done)
}

#[derive(Debug, Args)]
pub struct Events {
    /// Only of this service
    #[arg(long)]
    pub service: Option<Name>,
    /// Only of this type, such as weights or endpoint-unready
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Only with a larger id than this
    #[arg(long, value_name = "ID")]
    pub after: Option<u64>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    pub limit: usize,
    /// Go on with what happens from now on
    #[arg(long, short = 'f')]
    pub follow: bool,
    #[command(flatten)]
    pub reading: Reading,
}

/// Before a stream that ended is opened again.
const AGAIN: Duration = Duration::from_secs(1);

pub async fn events(door: &Door, args: &Events) -> Result<Exit, Failure> {
    let client = door.client()?;
    let filter = |after: Option<u64>, limit| {
        query([
            ("service", args.service.as_ref().map(ToString::to_string)),
            ("type", args.kind.clone()),
            ("after", after.map(|after| after.to_string())),
            ("limit", limit),
        ])
    };
    let limit = Some(args.limit.to_string());
    let list: List = client
        .get(&format!("/v1/events{}", filter(args.after, limit)))
        .await?;
    if args.reading.json && !args.follow {
        say_json(&list)?;
        return Ok(Exit::Done);
    }
    let mut seen = args.after;
    for event in &list.events {
        seen = Some(event.id);
        tell(event, args.reading.json);
    }
    if !args.follow {
        return Ok(Exit::Done);
    }
    loop {
        // Where none was listed all there are have come since.
        let since = seen.unwrap_or(0);
        let mut told = |event: &Event| {
            seen = Some(event.id);
            tell(event, args.reading.json);
        };
        if let Err(failure) = follow(&client, filter(None, None), since, &mut told).await {
            complain(&failure);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn tell(event: &Event, json: bool) {
    if json {
        let line = serde_json::to_string(event).unwrap_or_default();
        say(format_args!("{line}\n"));
    } else {
        say(event_view::line(event));
    }
}

async fn follow(
    client: &Client,
    filter: String,
    last: u64,
    told: &mut impl FnMut(&Event),
) -> Result<(), Failure> {
    let mut call = Call::get(format!("/v1/events/stream{filter}"));
    call.headers
        .push((HeaderName::from_static("last-event-id"), last.to_string()));
    let mut body = client.stream(call).await?;
    let mut lines = Lines::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::new(Exit::Unreachable, error.to_string()))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        lines.feed(&data)?;
        while let Some(line) = lines.next() {
            // One event's data is one line, because JSON has no line breaks.
            if let Some(data) = line.strip_prefix(b"data:") {
                told(&client.read(data)?);
            }
        }
    }
    Ok(())
}

/// Whole lines of a stream.
#[derive(Default)]
struct Lines(BytesMut);

/// No event is longer.
const LONGEST_LINE: usize = 1 << 20;

impl Lines {
    fn feed(&mut self, data: &[u8]) -> Result<(), Failure> {
        if self.0.len() + data.len() > LONGEST_LINE {
            return Err(Failure::new(
                Exit::Failed,
                "a line of the stream is longer than 1 MiB",
            ));
        }
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn next(&mut self) -> Option<BytesMut> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        let line = self.0.split_to(end);
        self.0.advance(1);
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let mut lines = Lines::default();
        lines.feed(b"id: 1\nda").unwrap();
        assert_eq!(lines.next().as_deref(), Some(&b"id: 1"[..]));
        assert!(lines.next().is_none());
        lines.feed(b"ta: {}\n\n").unwrap();
        assert_eq!(lines.next().as_deref(), Some(&b"data: {}"[..]));
        assert_eq!(lines.next().as_deref(), Some(&b""[..]));
        assert!(lines.feed(&vec![b'x'; LONGEST_LINE + 1]).is_err());
    }
}
