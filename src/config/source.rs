//! One file's text and how places in it are shown.

use std::{ops::Range, path::PathBuf, sync::Arc};

use super::file::Place;

/// One file that was read.
#[derive(Debug, Clone)]
pub struct Source {
    pub path: PathBuf,
    /// Empty where the file could not be read.
    pub text: Arc<str>,
}

/// A part of a source, short enough to print.
pub struct Excerpt {
    pub text: String,
    /// In bytes of `text`.
    pub span: Range<usize>,
    /// The line was too long to be shown from its start.
    pub cut: bool,
}

/// The longest part of a line that is shown, in bytes.
const WIDEST: usize = 240;

impl Source {
    pub fn name(&self) -> String {
        self.path.display().to_string().escape_debug().to_string()
    }

    /// Both from 1; the column in characters.
    pub fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset.min(self.text.len()));
        let before = &self.text[..offset];
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before[start..]
            .trim_start_matches('\u{feff}')
            .chars()
            .count()
            + 1;
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
        let last = self.text.ceil_char_boundary(place.end.clamp(offset, end));
        let from = if offset - start > WIDEST / 2 {
            self.text.floor_char_boundary(offset - WIDEST / 4)
        } else {
            start
        };
        let to = self.text.floor_char_boundary(end.min(from + WIDEST));
        let last = last.min(to);
        Some(Excerpt {
            text: blanked(&self.text[from..to]),
            span: offset - from..last - from,
            cut: from > start,
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
