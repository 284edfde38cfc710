//! An event as one line.

use std::fmt::Write;

use super::output::{FAINT, STRONG, Styled, clean, value};
use crate::admin::wire::Event;

pub fn line(event: &Event) -> String {
    let time = event.at.strftime("%Y-%m-%d %H:%M:%S");
    let mut text = format!(
        "  {} {} {}",
        Styled(FAINT, time),
        Styled(FAINT, event.id),
        Styled(STRONG, clean(&event.kind))
    );
    let place = [
        event.service.as_ref().map(ToString::to_string),
        event.pool.as_ref().map(ToString::to_string),
        event.endpoint.as_ref().map(ToString::to_string),
    ];
    let place: Vec<_> = place.into_iter().flatten().collect();
    if !place.is_empty() {
        let _ = write!(text, " {}", place.join("/"));
    }
    match (event.before.is_null(), event.after.is_null()) {
        (true, true) => {}
        (true, false) => {
            let _ = write!(text, " {}", value(&event.after));
        }
        _ => {
            let _ = write!(text, " {} → {}", value(&event.before), value(&event.after));
        }
    }
    let _ = write!(text, " by {}", clean(&event.actor.name));
    if let Some(reason) = &event.reason {
        let _ = write!(text, ": {}", clean(reason));
    }
    text.push('\n');
    text
}
