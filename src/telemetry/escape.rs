use std::fmt::{self, Write};

/// Text from outside, made fit for a log line, a JSON string or a terminal: control characters (ANSI sequences and line
/// breaks with them), quotes, backslashes and characters that reorder or hide text are escaped as JSON does (RFC 8259
/// §7), bytes that are no UTF-8 likewise, as the character of their number, and what is longer than `limit` bytes is
/// cut and marked with `…`.
pub struct Escaped<'a> {
    bytes: &'a [u8],
    limit: usize,
}

impl<'a> Escaped<'a> {
    pub fn new(bytes: &'a (impl AsRef<[u8]> + ?Sized), limit: usize) -> Self {
        Self {
            bytes: bytes.as_ref(),
            limit,
        }
    }
}

impl Escaped<'_> {
    /// As printing does, with less ado.
    pub fn push_to(&self, text: &mut String) {
        match self.plain() {
            Some(plain) => text.push_str(plain),
            // Writing to a String can't fail.
            None => drop(write!(text, "{self}")),
        }
    }

    /// The usual case: nothing to escape or to cut.
    fn plain(&self) -> Option<&str> {
        let plain = self.bytes.len() <= self.limit && self.bytes.iter().copied().all(is_plain);
        // Plain bytes are ASCII.
        plain.then(|| str::from_utf8(self.bytes).ok()).flatten()
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(plain) = self.plain() {
            return f.write_str(plain);
        }
        let shown = &self.bytes[..self.bytes.len().min(self.limit)];
        for chunk in shown.utf8_chunks() {
            chunk.valid().chars().try_for_each(|c| escape(c, f))?;
            for byte in chunk.invalid() {
                write!(f, "\\u{byte:04x}")?;
            }
        }
        if self.bytes.len() > self.limit {
            f.write_char('…')?;
        }
        Ok(())
    }
}

fn is_plain(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\'
}

fn escape(c: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match c {
        '"' | '\\' => write!(f, "\\{c}"),
        c if c.is_ascii() && is_plain(c as u8) => f.write_char(c),
        c if c.is_control() || is_invisible(c) => write!(f, "\\u{:04x}", u32::from(c)),
        c => f.write_char(c),
    }
}

/// Format characters that change the order of what is shown, or are not seen at all (Unicode, general category Cf,
/// the ones used to disguise text), and the two separators that some viewers take for a line's end.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_could_fool_a_reader_gets_through() {
        let shown = |bytes: &[u8]| Escaped::new(bytes, 100).to_string();
        assert_eq!(shown(b"/a?b=c"), "/a?b=c");
        assert_eq!(shown("/grüße".as_bytes()), "/grüße");
        assert_eq!(
            shown(b"a\r\nb\x1b[31m\"\\\x7f"),
            r#"a\u000d\u000ab\u001b[31m\"\\\u007f"#
        );
        assert_eq!(shown("\u{202e}evil".as_bytes()), r"\u202eevil");
        assert_eq!(shown(b"a\xffb"), r"a\u00ffb");
    }

    #[test]
    fn what_is_long_is_cut_and_marked() {
        assert_eq!(Escaped::new("abcdef", 3).to_string(), "abc…");
        assert_eq!(Escaped::new("abc", 3).to_string(), "abc");
        // A character cut in two is shown by its bytes.
        assert_eq!(Escaped::new("ü", 1).to_string(), r"\u00c3…");
    }
}
