use std::time::Duration;

use crate::{
    config::{
        file::{Table, Value, View, keys},
        problem::Problem,
    },
    units::{Percent, SlowStart},
};

/// `slow_start` of a pool: a window, or a table with more.
pub(super) fn slow_start(view: &View<'_>, problems: &mut Vec<Problem>) -> Option<SlowStart> {
    let none = Table::default();
    let (window, table) = match &view.node("slow_start")?.value {
        Value::Text(_) => (Some(view.span("slow_start")), &none),
        Value::Table(table) => (None, table),
        _ => return None,
    };
    let (place, path) = (view.place_of("slow_start"), view.path_of("slow_start"));
    let more = View::new(table, keys::SLOW_START, place, path);
    if window.is_none() {
        more.require("window", problems);
    }
    Some(SlowStart {
        window: window
            .unwrap_or_else(|| more.span("window"))
            .max(Duration::from_secs(1)),
        aggression: more.real("aggression"),
        min_weight: more.parsed("min_weight").unwrap_or(Percent::NONE),
    })
}
