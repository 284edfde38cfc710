use crate::units::Malformed;

/// One key of a section.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub shape: Shape,
    /// What holds where the key is absent.
    pub fallback: Fallback,
    /// Must be written.
    pub required: bool,
    /// One sentence or two for the schema.
    pub doc: &'static str,
}

impl Key {
    pub const fn new(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self {
            name,
            shape,
            fallback: Fallback::None,
            required: false,
            doc,
        }
    }

    #[must_use]
    pub const fn or(mut self, fallback: Fallback) -> Self {
        self.fallback = fallback;
        self
    }

    #[must_use]
    pub const fn or_text(self, text: &'static str) -> Self {
        self.or(Fallback::Text(text))
    }

    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fallback {
    None,
    Text(&'static str),
    Integer(i64),
    Real(f64),
    Bool(bool),
    Texts(&'static [&'static str]),
}

/// The keys a table may have, in groups that sections share.
pub type Section = &'static [&'static [Key]];

pub fn keys_of(section: Section) -> impl Iterator<Item = &'static Key> {
    section.iter().copied().flatten()
}

/// What a value may look like.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    Bool,
    /// `false`, which takes something off that would be inherited.
    Off,
    Integer {
        min: i64,
        max: i64,
    },
    /// With a fraction or without, bounds included.
    Real {
        min: f64,
        max: f64,
    },
    /// One of these.
    Number(&'static [i64]),
    Text(&'static Syntax),
    /// A duration in milliseconds, bounds included.
    Span {
        min: u64,
        max: u64,
    },
    Word(&'static [&'static str]),
    Array(&'static Shape),
    Table(Section),
    /// Keys chosen by the person who writes.
    Map(&'static Syntax, &'static Shape),
    /// The first of these that has the value's type.
    Either(&'static [Shape]),
    /// Whatever JSON can say.
    Json,
    /// A key that a later version will take.
    Later,
}

/// How a text is written.
#[derive(Debug)]
pub struct Syntax {
    /// After `expected`: `a duration such as 5s`.
    pub what: &'static str,
    /// A regular expression that every right text matches.
    pub pattern: Option<&'static str>,
    pub check: fn(&str) -> Result<(), Malformed>,
}
