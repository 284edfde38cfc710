//! What is wrong with a file, and how it is told: to a person with the text underlined, to a program as JSON.

use std::fmt;

use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use super::{file::Place, source::Source};

/// The kinds of problem. A closed list that programs may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The file, or one it names, can't be read.
    Unreadable,
    Syntax,
    DuplicateKey,
    UnknownKey,
    /// A key that a later version will take.
    NotSupported,
    WrongType,
    InvalidValue,
    MissingKey,
    /// Keys or values that can't stand together.
    Conflict,
    /// A name that nothing has.
    UnknownName,
    /// Two things where only one may be.
    Duplicate,
    InvalidWeights,
    /// A service or a route that no request reaches.
    Unreachable,
    /// It would let strangers in.
    Insecure,
    /// A certificate, its key, or who signs them: it can't be used.
    Certificate,
}

impl Code {
    fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Syntax => "syntax",
            Self::DuplicateKey => "duplicate-key",
            Self::UnknownKey => "unknown-key",
            Self::NotSupported => "not-supported",
            Self::WrongType => "wrong-type",
            Self::InvalidValue => "invalid-value",
            Self::MissingKey => "missing-key",
            Self::Conflict => "conflict",
            Self::UnknownName => "unknown-name",
            Self::Duplicate => "duplicate",
            Self::InvalidWeights => "invalid-weights",
            Self::Unreachable => "unreachable",
            Self::Insecure => "insecure",
            Self::Certificate => "certificate",
        }
    }
}

/// One thing wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Problem {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub span: Span,
    /// The path of the key: `services.app.weights.blue`.
    pub key: String,
    pub code: Code,
    pub message: String,
    /// What would have been right.
    pub expected: Option<String>,
    /// The valid name most like the one written.
    pub nearest: Option<String>,
    /// What to do or to write, perhaps on several lines.
    pub hint: Option<String>,
    /// Another place that matters.
    pub also: Option<Also>,
    #[serde(skip)]
    place: Place,
}

/// In bytes of the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Also {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub label: String,
    #[serde(skip)]
    place: Place,
}

impl Problem {
    pub(super) fn new(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self {
            file: String::new(),
            line: 0,
            column: 0,
            span: Span {
                start: place.start,
                end: place.end,
            },
            key: String::new(),
            code,
            message: message.into(),
            expected: None,
            nearest: None,
            hint: None,
            also: None,
            place,
        }
    }

    /// The source and the line it stands on.
    pub(super) fn line_in(&self, sources: &[Source]) -> (usize, usize) {
        let source = self.place.source;
        (source, sources[source].line_and_column(self.place.start).0)
    }

    pub(super) fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    pub(super) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(super) fn nearest(mut self, nearest: Option<impl Into<String>>) -> Self {
        self.nearest = nearest.map(Into::into);
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn also(mut self, place: Place, label: impl Into<String>) -> Self {
        self.also = Some(Also {
            file: String::new(),
            line: 0,
            column: 0,
            label: label.into(),
            place,
        });
        self
    }
}

/// The most that is told of one file: more would be noise.
const MOST: usize = 100;
/// With so many no more are looked for: it would be work that a hostile file asks for.
pub(super) const ENOUGH: usize = 1000;

/// Everything wrong with a file, sorted by place, and the texts it stands in.
#[derive(Debug, Clone)]
pub struct Problems {
    list: Vec<Problem>,
    more: usize,
    sources: Vec<Source>,
}

impl Problems {
    pub(super) fn new(mut list: Vec<Problem>, sources: Vec<Source>) -> Self {
        list.sort_by(|a, b| (a.place, a.code, &a.message).cmp(&(b.place, b.code, &b.message)));
        list.dedup_by(|a, b| a.place == b.place && a.code == b.code && a.message == b.message);
        let more = list.len().saturating_sub(MOST);
        list.truncate(MOST);
        for problem in &mut list {
            let source = &sources[problem.place.source];
            problem.file = source.name();
            (problem.line, problem.column) = source.line_and_column(problem.place.start);
            if let Some(also) = &mut problem.also {
                let source = &sources[also.place.source];
                also.file = source.name();
                (also.line, also.column) = source.line_and_column(also.place.start);
            }
        }
        Self {
            list,
            more,
            sources,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// How many there are, those not listed included.
    pub fn count(&self) -> usize {
        self.list.len() + self.more
    }

    /// The first, on one line: for a log or an event.
    pub fn summary(&self) -> String {
        let Some(first) = self.list.first() else {
            return String::new();
        };
        let rest = match self.count() - 1 {
            0 => String::new(),
            1 => " (and 1 more problem)".into(),
            more => format!(" (and {more} more problems)"),
        };
        format!(
            "{}:{}:{}: {}{rest}",
            first.file, first.line, first.column, first.message
        )
    }

    /// For a person, with the text underlined; in colour for a terminal.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut text = String::new();
        for problem in &self.list {
            text.push_str(&renderer.render(&self.groups(problem)));
            text.push_str("\n\n");
        }
        let files: std::collections::BTreeSet<_> = self.list.iter().map(|p| &p.file).collect();
        let files: Vec<_> = files.into_iter().map(String::as_str).collect();
        let count = match self.count() {
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        };
        let shown = if self.more > 0 {
            format!("; the first {MOST} are shown")
        } else {
            String::new()
        };
        text + &format!("{count} in {}{shown}\n", files.join(", "))
    }

    /// An array of them.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!(self.list)
    }

    fn groups<'a>(&'a self, problem: &'a Problem) -> Vec<Group<'a>> {
        let label = match (&problem.nearest, &problem.expected) {
            (Some(nearest), _) => format!("did you mean `{nearest}`?"),
            (None, Some(expected)) => format!("expected {expected}"),
            (None, None) => String::new(),
        };
        let mut group = Level::ERROR
            .primary_title(printable(&problem.message))
            .id(problem.code.name())
            .elements(self.excerpts(problem, &label));
        if let Some(hint) = &problem.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        vec![group]
    }

    /// The lines a problem stands on, one where both of its places share it.
    fn excerpts(&self, problem: &Problem, label: &str) -> Vec<Element<'_>> {
        let first = Mark {
            place: problem.place,
            kind: AnnotationKind::Primary,
            label,
        };
        let Some(also) = &problem.also else {
            return self.excerpt(&[first]);
        };
        let second = Mark {
            place: also.place,
            kind: AnnotationKind::Context,
            label: &also.label,
        };
        if (&problem.file, problem.line) == (&also.file, also.line) {
            return self.excerpt(&[first, second]);
        }
        let mut elements = self.excerpt(&[first]);
        elements.extend(self.excerpt(&[second]));
        elements
    }

    /// One line with marks under it; without a text, the place alone.
    fn excerpt(&self, marks: &[Mark<'_>]) -> Vec<Element<'_>> {
        let source = &self.sources[marks[0].place.source];
        let (line, column) = source.line_and_column(marks[0].place.start);
        let origin = || Origin::path(source.name()).line(line).char_column(column);
        let Some(excerpt) = source.excerpt(marks[0].place) else {
            let note = marks[0].label;
            let note = (!note.is_empty()).then(|| Level::NOTE.message(printable(note)).into());
            return std::iter::once(origin().into()).chain(note).collect();
        };
        let mut snippet = Snippet::source(excerpt.text.clone())
            .line_start(line)
            .fold(false);
        for mark in marks {
            if let Some(span) = excerpt.span_of(mark.place) {
                snippet = snippet.annotation(mark.kind.span(span).label(printable(mark.label)));
            }
        }
        if excerpt.cut {
            vec![origin().into(), snippet.into()]
        } else {
            vec![snippet.path(source.name()).into()]
        }
    }
}

/// A place and what is said under it.
struct Mark<'a> {
    place: Place,
    kind: AnnotationKind,
    label: &'a str,
}

/// What came from a file never steers a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            '\n' => letter,
            letter if letter.is_control() => '\u{fffd}',
            letter => letter,
        })
        .collect()
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}
