//! What may be shown of those outside: never more of a URL than who it names, and of what they say nothing that a terminal acts on.

use http::Uri;

/// Whom a URL names, and where: without a user, a password and a query, where secrets are kept.
pub fn place(url: &str) -> String {
    let Ok(uri) = url.trim().parse::<Uri>() else {
        return "an unreadable URL".to_owned();
    };
    let scheme = uri.scheme_str().unwrap_or("http");
    let host = uri.host().unwrap_or_default();
    let port = uri.port_u16().map(|port| format!(":{port}"));
    let path = Some(uri.path()).filter(|path| *path != "/");
    format!(
        "{scheme}://{host}{}{}",
        port.unwrap_or_default(),
        path.unwrap_or_default()
    )
}

/// The words of an answer on one line, and no more than so many letters of it.
pub fn printable(bytes: &[u8], longest: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let is_shown = |letter: char| !letter.is_control() && !is_unseen(letter);
    let text: String = text
        .chars()
        .map(|letter| if is_shown(letter) { letter } else { ' ' })
        .collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

/// Letters that turn the direction of others around, or take no room.
fn is_unseen(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_without_what_may_be_a_secret() {
        let url = "https://me:secret@ci.example.com:8443/smoke?token=secret";
        assert_eq!(place(url), "https://ci.example.com:8443/smoke");
        assert_eq!(place("http://[::1]:9090/"), "http://[::1]:9090");
    }

    #[test]
    fn what_others_say_is_one_line_without_anything_that_a_terminal_acts_on() {
        let said = "smoke\r\n\u{1b}[31mfailed\u{202e}:\t 3 of 7".as_bytes();
        assert_eq!(printable(said, 100), "smoke [31mfailed : 3 of 7");
        assert_eq!(printable(b"caf\xe9 shut", 100), "caf\u{fffd} shut");
    }

    #[test]
    fn what_is_long_is_cut_between_letters() {
        assert_eq!(printable("äöüß".as_bytes(), 2), "äö…");
        assert_eq!(printable("äö".as_bytes(), 2), "äö");
    }
}
