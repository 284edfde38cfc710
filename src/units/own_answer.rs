//! What a route answers by itself, without a service.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::Malformed;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnAnswer {
    Redirect(Redirect),
    Constant(Constant),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constant {
    pub status: StatusCode,
    pub content_type: HeaderValue,
    pub body: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    pub status: StatusCode,
    pub to: Target,
}

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Template(Template),
    /// What is not said stays as it was asked for.
    Parts {
        scheme: Option<String>,
        host: Option<String>,
        /// With its query, if it has one; else the request's query follows.
        path: Option<String>,
    },
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub scheme: &'a str,
    /// Without a port.
    pub host: &'a str,
    /// With the port, if there is one.
    pub authority: &'a str,
    pub path: &'a str,
    pub query: Option<&'a str>,
}

/// An absolute URL with parts of the request in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Scheme,
    Host,
    Path,
    /// With its question mark; nothing where the request has none.
    Query,
}

impl OwnAnswer {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Redirect(redirect) => redirect.status,
            Self::Constant(constant) => constant.status,
        }
    }
}

impl Redirect {
    pub fn location(&self, asked: &Asked) -> String {
        // `OPTIONS *` asks for no path.
        let path = if asked.path.starts_with('/') {
            asked.path
        } else {
            "/"
        };
        let asked = &Asked { path, ..*asked };
        match &self.to {
            Target::Template(template) => template.filled(asked),
            Target::Parts { scheme, host, path } => {
                // The port belongs to the scheme that was asked for.
                let same = match scheme {
                    Some(_) => asked.host,
                    None => asked.authority,
                };
                let mut location = format!(
                    "{}://{}{}",
                    scheme.as_deref().unwrap_or(asked.scheme),
                    host.as_deref().unwrap_or(same),
                    path.as_deref().unwrap_or(asked.path),
                );
                if !path.as_ref().is_some_and(|path| path.contains('?')) {
                    push_query(&mut location, asked);
                }
                location
            }
        }
    }
}

fn push_query(text: &mut String, asked: &Asked) {
    if let Some(query) = asked.query {
        text.push('?');
        text.push_str(query);
    }
}

impl Template {
    fn filled(&self, asked: &Asked) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Scheme => text.push_str(asked.scheme),
                Piece::Host => text.push_str(asked.host),
                Piece::Path => text.push_str(asked.path),
                Piece::Query => push_query(&mut text, asked),
            }
        }
        text
    }

    /// Whether it leads to a host of its own or of the request: a path in the host's place would let whoever makes a link
    /// choose where it leads.
    fn has_a_host(&self) -> bool {
        let (first, rest) = match self.0.as_slice() {
            [Piece::Text(text), rest @ ..] => {
                let after = text.strip_prefix("https://");
                (after.or_else(|| text.strip_prefix("http://")), rest)
            }
            [Piece::Scheme, Piece::Text(text), rest @ ..] => (text.strip_prefix("://"), rest),
            _ => return false,
        };
        match first {
            Some("") => rest.first() == Some(&Piece::Host),
            Some(text) => {
                text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[')
            }
            None => false,
        }
    }
}

const TEMPLATE: &str =
    "an absolute URL, in which {scheme}, {host}, {path} and {query} stand for the request's";

impl FromStr for Template {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = || Malformed(format!("expected {TEMPLATE}"));
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let open = rest.find('{').unwrap_or(rest.len());
            let (plain, after) = rest.split_at(open);
            let fits = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`|}".contains(&byte);
            if !plain.bytes().all(fits) {
                return Err(wrong());
            }
            if !plain.is_empty() {
                pieces.push(Piece::Text(plain.to_owned()));
            }
            if after.is_empty() {
                break;
            }
            let (name, after) = after[1..].split_once('}').ok_or_else(wrong)?;
            pieces.push(match name {
                "scheme" => Piece::Scheme,
                "host" => Piece::Host,
                "path" => Piece::Path,
                "query" => Piece::Query,
                _ => return Err(wrong()),
            });
            rest = after;
        }
        let template = Self(pieces);
        if text.len() <= 4096 && template.has_a_host() {
            Ok(template)
        } else {
            Err(wrong())
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Scheme => f.write_str("{scheme}"),
            Piece::Host => f.write_str("{host}"),
            Piece::Path => f.write_str("{path}"),
            Piece::Query => f.write_str("{query}"),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Template(template) => template.fmt(f),
            Self::Parts { scheme, host, path } => write!(
                f,
                "{}://{}{}",
                scheme.as_deref().unwrap_or("{scheme}"),
                host.as_deref().unwrap_or("{host}"),
                path.as_deref().unwrap_or("{path}"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked = Asked {
        scheme: "http",
        host: "shop.test",
        authority: "shop.test:8080",
        path: "/a/b",
        query: Some("x=1"),
    };

    fn filled(template: &str, asked: &Asked) -> String {
        let template: Template = template.parse().unwrap();
        let to = Target::Template(template);
        let status = StatusCode::FOUND;
        Redirect { status, to }.location(asked)
    }

    #[test]
    fn a_template_takes_what_was_asked_for() {
        let bare = Asked {
            query: None,
            path: "*",
            ..ASKED
        };
        for (template, full, without) in [
            (
                "https://{host}{path}{query}",
                "https://shop.test/a/b?x=1",
                "https://shop.test/",
            ),
            (
                "https://new.test/",
                "https://new.test/",
                "https://new.test/",
            ),
            (
                "{scheme}://new.test:81{path}",
                "http://new.test:81/a/b",
                "http://new.test:81/",
            ),
            (
                "http://[::1]/old{path}#top",
                "http://[::1]/old/a/b#top",
                "http://[::1]/old/#top",
            ),
        ] {
            assert_eq!(filled(template, &ASKED), full);
            assert_eq!(filled(template, &bare), without);
            assert_eq!(template.parse::<Template>().unwrap().to_string(), template);
        }
    }

    #[test]
    fn a_template_leads_to_a_host_and_knows_its_placeholders() {
        for wrong in [
            "",
            "/x",
            "{path}",
            "https://",
            "https://{path}",
            "https:///x",
            "https://{scheme}",
            "https://{query}",
            "{scheme}{host}",
            "{host}/x",
            "ftp://x/",
            "https://x/{user}",
            "https://x/{path",
            "https://x/}",
            "https://x/ y",
            "https://x/\u{e4}",
            "javascript:alert(1)",
        ] {
            assert!(wrong.parse::<Template>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn parts_that_are_not_said_stay_as_they_were_asked_for() {
        let location = |scheme: Option<&str>, host: Option<&str>, path: Option<&str>| {
            let owned = |part: Option<&str>| part.map(str::to_owned);
            let to = Target::Parts {
                scheme: owned(scheme),
                host: owned(host),
                path: owned(path),
            };
            let status = StatusCode::FOUND;
            Redirect { status, to }.location(&ASKED)
        };
        assert_eq!(
            location(Some("https"), None, None),
            "https://shop.test/a/b?x=1"
        );
        assert_eq!(
            location(None, None, Some("/c")),
            "http://shop.test:8080/c?x=1"
        );
        assert_eq!(
            location(None, Some("new.test"), Some("/c?y=2")),
            "http://new.test/c?y=2"
        );
    }
}
