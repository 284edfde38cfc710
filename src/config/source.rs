//! One file's text and how places in it are shown.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{file::Place, gather::bounded};

/// One file that was read.
#[derive(Debug, Clone)]
pub struct Source {
    pub path: PathBuf,
    /// Empty where the file could not be read.
    pub text: Arc<str>,
    /// Where each line begins, in bytes.
    lines: Arc<[usize]>,
}

/// A part of a source, short enough to print.
pub struct Excerpt {
    pub text: String,
    /// Where `text` begins in the source, in bytes.
    start: usize,
    /// The line was too long to be shown from its start.
    pub cut: bool,
}

/// The longest part of a line that is shown, in bytes.
const WIDEST: usize = 240;

impl Source {
    pub fn new(path: PathBuf, text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0)
            .chain(ends.map(|(at, _)| at + 1))
            .collect();
        Self {
            path,
            text: text.into(),
            lines,
        }
    }

    /// Whether the file at `path` has this very text.
    pub(super) fn is_still(&self, path: &Path) -> bool {
        let most = self.text.len() as u64;
        bounded(path, most).is_ok_and(|bytes| bytes == self.text.as_bytes())
    }

    pub fn name(&self) -> String {
        self.path.display().to_string().escape_debug().to_string()
    }

    /// Both from 1; the column in characters.
    pub fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset.min(self.text.len()));
        let line = self.lines.partition_point(|start| *start <= offset);
        let before = &self.text[self.lines[line - 1]..offset];
        let column = before.trim_start_matches('\u{feff}').chars().count() + 1;
        (line, column)
    }

    /// The line a place begins on, cut to what can be shown; nothing where there is no text.
    pub fn excerpt(&self, place: Place) -> Option<Excerpt> {
        if self.text.is_empty() {
            return None;
        }
        let offset = self
            .text
            .floor_char_boundary(place.start.min(self.text.len()));
        let start = self.text[..offset].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[offset..]
            .find('\n')
            .map_or(self.text.len(), |at| offset + at);
        let from = if offset - start > WIDEST / 2 {
            self.text.floor_char_boundary(offset - WIDEST / 4)
        } else {
            start
        };
        let to = self.text.floor_char_boundary(end.min(from + WIDEST));
        Some(Excerpt {
            text: blanked(&self.text[from..to]),
            start: from,
            cut: from > start,
        })
    }
}

impl Excerpt {
    /// A place's part of it, in bytes of `text`; nothing where it begins elsewhere.
    pub fn span_of(&self, place: Place) -> Option<Range<usize>> {
        let start = place.start.checked_sub(self.start)?;
        let end = place.end.max(place.start) - self.start;
        (start <= self.text.len()).then(|| {
            let start = self.text.floor_char_boundary(start);
            start..self.text.ceil_char_boundary(end.min(self.text.len()))
        })
    }
}

/// Control characters as blanks of the same length in bytes.
fn blanked(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() || letter == '\u{feff}' {
            shown.extend(std::iter::repeat_n(' ', letter.len_utf8()));
        } else {
            shown.push(letter);
        }
    }
    shown
}
