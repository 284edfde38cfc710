use std::{str::FromStr, sync::LazyLock};

use super::{Fallback, Key, Node, Place, Section, Shape, Table, Value, keys_of, syntax, walk};
use crate::{
    config::problem::{Code, Problem},
    units::Span,
};

/// A table that has been walked, read by its section: an absent key reads as its fallback, a faulty one too, because its
/// problem has been told.
#[derive(Clone)]
pub struct View<'a> {
    table: &'a Table,
    section: Section,
    /// Where the table itself stands.
    pub place: Place,
    pub path: String,
}

static EMPTY: LazyLock<Table> = LazyLock::new(Table::default);

impl<'a> View<'a> {
    pub fn new(table: &'a Table, section: Section, place: Place, path: impl Into<String>) -> Self {
        Self {
            table,
            section,
            place,
            path: path.into(),
        }
    }

    fn key(&self, name: &str) -> &'static Key {
        keys_of(self.section)
            .find(|key| key.name == name)
            .expect("only keys of the section are read, and a test reads all")
    }

    pub fn path_of(&self, name: &str) -> String {
        walk::joined(&self.path, name)
    }

    pub fn node(&self, name: &str) -> Option<&'a Node> {
        debug_assert_eq!(self.key(name).name, name);
        self.table.get(name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.node(name).is_some()
    }

    /// Where the value stands; for an absent one, where its table does.
    pub fn place_of(&self, name: &str) -> Place {
        self.node(name).map_or(self.place, |node| node.place)
    }

    pub fn text(&self, name: &str) -> Option<&'a str> {
        let fallback = match self.key(name).fallback {
            Fallback::Text(text) => Some(text),
            _ => None,
        };
        self.node(name).and_then(Node::text).or(fallback)
    }

    /// The text as what it stands for; its syntax was told by the walk where it is wrong.
    pub fn parsed<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name).and_then(|text| text.parse().ok())
    }

    pub fn span(&self, name: &str) -> std::time::Duration {
        self.parsed::<Span>(name)
            .map(|span| span.0)
            .unwrap_or_default()
    }

    pub fn integer<T: TryFrom<i64> + Default>(&self, name: &str) -> T {
        let written = match self.node(name).map(|node| &node.value) {
            Some(Value::Integer(number)) => Some(*number),
            _ => None,
        };
        let fallback = match self.key(name).fallback {
            Fallback::Integer(number) => Some(number),
            _ => None,
        };
        written
            .or(fallback)
            .and_then(|number| T::try_from(number).ok())
            .unwrap_or_default()
    }

    pub fn real(&self, name: &str) -> f64 {
        let written = self.node(name).and_then(|node| node.value.real());
        written.unwrap_or_else(|| match self.key(name).fallback {
            Fallback::Real(number) => number,
            _ => f64::from(self.integer::<u32>(name)),
        })
    }

    pub fn flag(&self, name: &str) -> bool {
        match self.node(name).map(|node| &node.value) {
            Some(Value::Bool(flag)) => *flag,
            _ => matches!(self.key(name).fallback, Fallback::Bool(true)),
        }
    }

    /// The items of an array.
    pub fn items(&self, name: &str) -> &'a [Node] {
        self.node(name).map_or(&[], Node::items)
    }

    /// The texts of an array, each with its place; the fallback's where it is absent.
    pub fn texts(&self, name: &str) -> Vec<(&'a str, Place)> {
        match (self.node(name), self.key(name).fallback) {
            (None, Fallback::Texts(texts)) => {
                texts.iter().map(|text| (*text, self.place)).collect()
            }
            _ => self
                .items(name)
                .iter()
                .filter_map(|item| Some((item.text()?, item.place)))
                .collect(),
        }
    }

    /// The statuses of an array, as first and last of each; the fallback's where it is absent.
    pub fn statuses(&self, name: &str) -> Vec<(u16, u16)> {
        if !self.has(name) {
            let usual = self.texts(name).into_iter();
            return usual
                .filter_map(|(text, _)| syntax::statuses(text).ok())
                .collect();
        }
        let written = self.items(name).iter();
        written
            .filter_map(|item| match &item.value {
                Value::Text(text) => syntax::statuses(text).ok(),
                Value::Integer(status) => {
                    u16::try_from(*status).ok().map(|status| (status, status))
                }
                _ => None,
            })
            .collect()
    }

    /// The entries of a table with free keys.
    pub fn entries(
        &self,
        name: &str,
    ) -> impl Iterator<Item = (&'a str, Place, &'a Node)> + use<'a> {
        self.node(name)
            .and_then(Node::table)
            .into_iter()
            .flat_map(Table::iter)
    }

    /// One entry of a table with free keys.
    pub fn entry(&self, name: &str, key: &str) -> Option<&'a Node> {
        self.node(name)?.table()?.get(key)
    }

    /// A table within this one, empty where it is absent.
    #[must_use]
    pub fn within(&self, name: &str) -> View<'a> {
        let node = self.node(name);
        View {
            table: node.and_then(Node::table).unwrap_or(&EMPTY),
            section: section_of(&self.key(name).shape),
            place: node.map_or(self.place, |node| node.place),
            path: self.path_of(name),
        }
    }

    /// Tells that a key which must be written is not.
    pub fn require(&self, name: &str, problems: &mut Vec<Problem>) {
        if self.has(name) {
            return;
        }
        problems.push(
            Problem::new(
                Code::MissingKey,
                self.place,
                format!("`{}` is missing", self.path_of(name)),
            )
            .key(self.path_of(name))
            .expected(format!(
                "`{name}`: {}",
                walk::described(&self.key(name).shape)
            )),
        );
    }
}

/// The keys of a table's shape.
pub fn section_of(shape: &Shape) -> Section {
    match shape {
        Shape::Table(section) => section,
        Shape::Either(shapes) => shapes
            .iter()
            .map(section_of)
            .find(|section| !section.is_empty())
            .unwrap_or(&[]),
        Shape::Array(shape) | Shape::Map(_, shape) => section_of(shape),
        _ => &[],
    }
}
