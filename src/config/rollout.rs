//! The plan of a rollout outside the file: from the body of a call and back, and as it is remembered.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{
    check,
    describe::{
        rollout::{in_full, in_short},
        value,
    },
    file::{Place, Table, keys, parse, walk},
    load::{Outside, in_world, process},
    plan::{Preset, Rollout, Strategy},
    problem::{Code, Problem, Problems},
    source::Source,
};

/// What a plan may be as text: a remembered one of the largest there can be has a part of it.
const LARGEST: usize = 1024 * 1024;

/// The canary that a word stands for.
pub fn preset(name: &str) -> Option<Rollout> {
    let preset = Preset::named(name)?;
    Some(Rollout::preset(Strategy::Canary, preset))
}

/// Reads what stands in JSON as it would in the table `rollout` of a service in the file at `path`. What it does not say is as in `over`,
/// as that table inherits from the defaults; without one it is as usual. `{"preset": "fast"}` over a service's plan has that plan's hooks and
/// windows.
pub fn from_json(value: &Value, over: Option<&Rollout>, path: &Path) -> Result<Rollout, Problems> {
    from_json_with(value, over, path, &process(true))
}

/// The same with another environment.
pub fn from_json_with(
    value: &Value,
    over: Option<&Rollout>,
    path: &Path,
    outside: &Outside<'_>,
) -> Result<Rollout, Problems> {
    let mut problems = Vec::new();
    let text = if let Value::Object(entries) = value {
        as_toml(entries)
    } else {
        let what = "the plan of a rollout is an object";
        problems.push(Problem::new(Code::WrongType, Place::default(), what));
        String::new()
    };
    let far = over.map(in_short).unwrap_or_default();
    // Named in problems in the place of files.
    let named = |name: &str, text: &str| Source::new(PathBuf::from(name), text);
    let sources = vec![named("plan", &text), named("plan of the service", &far)];
    if text.len() > LARGEST {
        let what = format!("the plan is larger than {} KiB", LARGEST / 1024);
        problems.push(Problem::new(Code::InvalidValue, Place::default(), what));
    }
    if !problems.is_empty() {
        return Err(Problems::new(problems, sources));
    }
    let own = walked(&text, 0, &mut problems);
    let far = walked(&far, 1, &mut problems);
    let rollout = in_world(path, outside, |world| {
        check::rollout(&far, &own, Place::default(), world, &mut problems)
    });
    if problems.is_empty() {
        Ok(rollout)
    } else {
        Err(Problems::new(problems, sources))
    }
}

/// A plan in JSON that [`from_json`] reads as the same, whatever later becomes of the file, of defaults and of presets. Of secrets it says
/// where they come from.
pub fn typed(rollout: &Rollout) -> Value {
    let table: toml::Table = toml::from_str(&in_full(rollout)).expect("a plan describes as TOML");
    serde_json::to_value(table).expect("no plan has what JSON has not")
}

fn walked(text: &str, source: usize, problems: &mut Vec<Problem>) -> Table {
    let mut table = parse(text, source, problems).table;
    walk(&mut table, keys::ROLLOUT, "", problems);
    table
}

/// One line for each key.
fn as_toml(entries: &Map<String, Value>) -> String {
    let said = entries.iter().filter(|(_, value)| !value.is_null());
    let lines = said.flat_map(|(key, value)| {
        let value = value::of_json(&without_nulls(value));
        [value::key(key), " = ".into(), value, "\n".into()]
    });
    lines.collect()
}

/// TOML has none: in JSON they stand for what is not said.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let said = entries.iter().filter(|(_, value)| !value.is_null());
            let said = said.map(|(key, value)| (key.clone(), without_nulls(value)));
            Value::Object(said.collect())
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}
