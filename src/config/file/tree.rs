use std::{collections::BTreeMap, ops::Range};

use toml::de::{DeTable, DeValue};

use crate::config::problem::{Code, ENOUGH, Problem};

/// Where something stands: a span of bytes in one of the sources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Index among the sources of one load.
    pub source: usize,
    pub start: usize,
    pub end: usize,
}

impl Place {
    pub fn new(source: usize, span: &Range<usize>) -> Self {
        Self {
            source,
            start: span.start,
            end: span.end,
        }
    }
}

/// A value and where it was written.
#[derive(Debug, Clone)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Array(Vec<Node>),
    Table(Table),
    /// Written, but with a problem that has been told: neither read nor missed.
    Faulty,
}

impl Value {
    /// The number it is.
    pub fn real(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "no bound is near 2^53")]
            Self::Integer(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }
}

/// A table's entries by key, and where each key stands.
#[derive(Debug, Clone, Default)]
pub struct Table(BTreeMap<String, (Place, Node)>);

impl Table {
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.0.get(key).map(|(_, node)| node)
    }

    pub fn place_of(&self, key: &str) -> Option<Place> {
        self.0.get(key).map(|(place, _)| *place)
    }

    pub fn insert(&mut self, key: String, place: Place, node: Node) {
        self.0.insert(key, (place, node));
    }

    pub fn remove(&mut self, key: &str) -> Option<(Place, Node)> {
        self.0.remove(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, Place, &Node)> {
        self.0
            .iter()
            .map(|(key, (place, node))| (key.as_str(), *place, node))
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.0.get_mut(key).map(|(_, node)| node)
    }

    pub fn into_entries(self) -> impl Iterator<Item = (String, (Place, Node))> {
        self.0.into_iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, Place, &mut Node)> {
        self.0
            .iter_mut()
            .map(|(key, (place, node))| (key.as_str(), *place, node))
    }
}

impl Node {
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Array(items) => items,
            _ => &[],
        }
    }

    pub fn is_faulty(&self) -> bool {
        matches!(self.value, Value::Faulty)
    }

    /// What a person would call it.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Text(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a number with a fraction",
            Value::Bool(_) => "true or false",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
            Value::Faulty => "not readable",
        }
    }
}

/// What came of reading a text: as much of the tree as could be made out, and whether the rest was lost.
pub struct Parsed {
    pub table: Table,
    /// A part of the text could not be made out, so that something missing may stand there.
    pub torn: bool,
}

/// Reads TOML, telling every error of syntax.
pub fn parse(text: &str, source: usize, problems: &mut Vec<Problem>) -> Parsed {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut torn = false;
    let mut torn_lines = Vec::new();
    torn |= errors.len() > ENOUGH;
    for error in errors.into_iter().take(ENOUGH) {
        let span = error.span().unwrap_or(text.len()..text.len());
        let place = Place::new(source, &span);
        if error.message() == "duplicate key" {
            let key = &text[span.clone()];
            problems.push(
                Problem::new(
                    Code::DuplicateKey,
                    place,
                    format!("`{}` is set twice", key.escape_debug()),
                )
                .key(key)
                .expected("each key once"),
            );
            continue;
        }
        torn = true;
        // One slip of the pen makes many errors on its line; the first tells it.
        let line = text.as_bytes()[..span.start.min(text.len())]
            .iter()
            .rposition(|byte| *byte == b'\n');
        if torn_lines.last() == Some(&line) {
            continue;
        }
        torn_lines.push(line);
        problems.push(misspelt(place, error.message()));
    }
    let reader = Reader { source, problems };
    Parsed {
        table: reader.table(root.into_inner()),
        torn,
    }
}

/// The parser's message, its expectation apart.
fn misspelt(place: Place, message: &str) -> Problem {
    if message.starts_with("string values must be quoted") {
        return if place.start == place.end {
            Problem::new(Code::Syntax, place, "the value is missing")
        } else {
            let problem = Problem::new(Code::Syntax, place, "strings must be quoted");
            problem.expected("a value, such as \"text\", 5, true, [...] or {...}")
        };
    }
    match message.split_once(", expected ") {
        Some((message, expected)) => Problem::new(Code::Syntax, place, message).expected(expected),
        None => Problem::new(Code::Syntax, place, message),
    }
}

struct Reader<'a> {
    source: usize,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn table(mut self, table: DeTable<'_>) -> Table {
        self.entries(table)
    }

    fn entries(&mut self, table: DeTable<'_>) -> Table {
        let mut entries = Table::default();
        for (key, value) in table {
            let place = Place::new(self.source, &key.span());
            let node = self.node(Place::new(self.source, &value.span()), value.into_inner());
            entries.insert(key.into_inner().into_owned(), place, node);
        }
        entries
    }

    fn node(&mut self, place: Place, value: DeValue<'_>) -> Node {
        let value = match value {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Value::Integer(number),
                    Err(_) => self.faulty(place, "the number is too large"),
                }
            }
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => Value::Float(number),
                Err(_) => self.faulty(place, "the number can't be read"),
            },
            DeValue::Boolean(flag) => Value::Bool(flag),
            DeValue::Datetime(_) => self.faulty(
                place,
                "a date or a time stands between quotes, where a key takes one",
            ),
            DeValue::Array(items) => Value::Array(
                items
                    .into_iter()
                    .map(|item| self.node(Place::new(self.source, &item.span()), item.into_inner()))
                    .collect(),
            ),
            DeValue::Table(table) => Value::Table(self.entries(table)),
        };
        Node { place, value }
    }

    fn faulty(&mut self, place: Place, message: &str) -> Value {
        self.problems
            .push(Problem::new(Code::WrongType, place, message));
        Value::Faulty
    }
}
