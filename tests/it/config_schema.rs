//! The schema that editors use says what `check` says.

use std::{cell::RefCell, collections::HashMap, fs, num::NonZeroUsize, path::Path, thread};

use cutover::config::{Outside, Problems, load_text, problem::Code, schema};
use serde_json::Value;

fn shipped(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    fs::read_to_string(folder.join(name)).unwrap_or_default()
}

fn check(file: &toml::Table) -> Result<(), Problems> {
    let outside = Outside {
        env: &|_| None,
        secrets: false,
    };
    let text = toml::to_string(file).expect("a table is TOML");
    load_text(Path::new("/srv/cutover.toml"), &text, &outside).map(drop)
}

/// Each pattern is compiled once a thread.
fn matches(pattern: &str, text: &str) -> bool {
    thread_local! {
        static KNOWN: RefCell<HashMap<String, regex::Regex>> = RefCell::default();
    }
    let compile = || regex::Regex::new(pattern).expect("a valid pattern");
    KNOWN.with_borrow_mut(|known| {
        let regex = known.entry(pattern.to_owned()).or_insert_with(compile);
        regex.is_match(text)
    })
}

/// The keywords that our schema uses, of JSON Schema 2020-12.
fn is_valid(schema: &Value, value: &Value) -> bool {
    let has_type = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("the schema has the type {other}"),
    };
    let keywords = schema.as_object().expect("a schema is an object");
    keywords
        .iter()
        .all(|(keyword, wanted)| match keyword.as_str() {
            "$schema" | "title" | "description" | "default" => true,
            "type" => has_type(wanted.as_str().expect("a name")),
            "const" => value == wanted,
            "enum" => wanted.as_array().expect("values").contains(value),
            "minimum" => value.as_f64() >= wanted.as_f64(),
            "maximum" => value.as_f64() <= wanted.as_f64(),
            "pattern" => {
                let pattern = wanted.as_str().expect("a pattern");
                value.as_str().is_none_or(|text| matches(pattern, text))
            }
            "anyOf" => wanted
                .as_array()
                .expect("schemas")
                .iter()
                .any(|schema| is_valid(schema, value)),
            "items" => value
                .as_array()
                .is_none_or(|items| items.iter().all(|item| is_valid(wanted, item))),
            "required" => wanted
                .as_array()
                .expect("names")
                .iter()
                .all(|name| value.get(name.as_str().expect("a name")).is_some()),
            "propertyNames" => value.as_object().is_none_or(|entries| {
                entries
                    .keys()
                    .all(|name| is_valid(wanted, &name.as_str().into()))
            }),
            "properties" => value.as_object().is_none_or(|entries| {
                entries.iter().all(|(name, value)| {
                    wanted
                        .get(name)
                        .is_none_or(|schema| is_valid(schema, value))
                })
            }),
            "additionalProperties" => value.as_object().is_none_or(|entries| {
                let known = |name: &str| {
                    schema
                        .get("properties")
                        .is_some_and(|known| known.get(name).is_some())
                };
                entries
                    .iter()
                    .filter(|(name, _)| !known(name))
                    .all(|(_, value)| wanted.is_object() && is_valid(wanted, value))
            }),
            other => panic!("the schema has the keyword {other}"),
        })
}

/// Every place in a file, as the steps to it.
fn places(value: &toml::Value, here: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let children: Vec<(String, &toml::Value)> = match value {
        toml::Value::Table(table) => table
            .iter()
            .map(|(key, value)| (key.clone(), value))
            .collect(),
        toml::Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, item)| (at.to_string(), item))
            .collect(),
        _ => Vec::new(),
    };
    for (step, child) in children {
        here.push(step);
        found.push(here.clone());
        places(child, here, found);
        here.pop();
    }
}

fn at<'a>(value: &'a mut toml::Value, place: &[String]) -> &'a mut toml::Value {
    place.iter().fold(value, |value, step| match value {
        toml::Value::Table(table) => &mut table[step],
        toml::Value::Array(items) => &mut items[step.parse::<usize>().expect("an index")],
        other => panic!("{other} has nothing in it"),
    })
}

/// Every file that differs from the example in one place, where something stands that may or may not be right there.
fn mutants() -> Vec<toml::Table> {
    let example: toml::Table = shipped("cutover.example.toml")
        .parse()
        .expect("the example is TOML");
    let mut found = Vec::new();
    places(
        &toml::Value::Table(example.clone()),
        &mut Vec::new(),
        &mut found,
    );
    assert!(found.len() > 100, "the example has every key");
    let table: toml::Table = "surplus = 1".parse().expect("TOML");
    let others: [toml::Value; 9] = [
        true.into(),
        0.into(),
        (-1).into(),
        99_999_999_999_i64.into(),
        "none".into(),
        "5 apples\u{7}".into(),
        Vec::<toml::Value>::new().into(),
        toml::Table::new().into(),
        table.into(),
    ];
    let mut mutants = Vec::new();
    for place in found {
        for other in &others {
            let mut file = toml::Value::Table(example.clone());
            *at(&mut file, &place) = other.clone();
            mutants.extend(file.as_table().cloned());
        }
    }
    mutants
}

#[test]
fn what_is_shipped_is_valid() {
    for name in [
        "cutover.example.toml",
        "cutover.minimal.toml",
        "cutover.init.toml",
    ] {
        let file: toml::Table = shipped(name).parse().expect("the file is TOML");
        let json = serde_json::to_value(&file).expect("and JSON");
        assert!(is_valid(&schema(), &json), "{name}");
    }
}

#[test]
fn the_schema_and_the_check_agree_on_every_key() {
    let (schema, mutants) = (schema(), mutants());
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let parts = mutants.chunks(mutants.len().div_ceil(cores));
    let (right, wrong) = thread::scope(|scope| {
        let judges: Vec<_> = parts
            .map(|part| scope.spawn(|| agree(&schema, part)))
            .collect();
        let counts = judges
            .into_iter()
            .map(|judge| judge.join().expect("they agree"));
        counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    });
    assert!(right > 50 && wrong > 500, "{right} right, {wrong} wrong");
}

/// How many of these both accept, and how many both refuse.
fn agree(schema: &Value, mutants: &[toml::Table]) -> (usize, usize) {
    let (mut right, mut wrong) = (0, 0);
    for file in mutants {
        let json = serde_json::to_value(file).expect("the file is JSON");
        match (check(file), is_valid(schema, &json)) {
            (Ok(()), true) => right += 1,
            (Ok(()), false) => panic!("check accepts what the schema refuses:\n{file}"),
            (Err(_), false) => wrong += 1,
            (Err(problems), true) => {
                let of_shape = [Code::UnknownKey, Code::WrongType, Code::Syntax];
                assert!(
                    !problems
                        .iter()
                        .any(|problem| of_shape.contains(&problem.code)),
                    "the schema accepts what has a wrong shape:\n{problems}"
                );
            }
        }
    }
    (right, wrong)
}

#[test]
fn the_shipped_schema_is_the_one_that_the_program_prints() {
    let printed = serde_json::to_string_pretty(&schema()).expect("JSON") + "\n";
    assert!(
        shipped("cutover.schema.json") == printed,
        "write it anew: cutover schema > config/cutover.schema.json"
    );
}
