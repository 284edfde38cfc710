use std::fmt;

use bytes::Bytes;

use crate::units::{Secret, SecretSource};

/// A value as TOML.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    Text(String),
    /// An array whose items come and go one by one.
    List(Vec<String>),
    /// Shown as where it came from; compared by what it is.
    Secret(Secret),
    /// Likewise: a file's path, and what it holds, or a digest of that.
    File(String, Bytes),
}

impl From<String> for Field {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::List(items) => write!(f, "[{}]", items.join(", ")),
            Self::File(path, _) => f.write_str(&quoted(path)),
            Self::Secret(secret) => match secret.source() {
                Some(SecretSource::File(path)) => write!(f, "{{ file = {} }}", quoted(path)),
                Some(SecretSource::Env(name)) => write!(f, "{{ env = {} }}", quoted(name)),
                Some(SecretSource::Credential(name)) => {
                    write!(f, "{{ credential = {} }}", quoted(name))
                }
                None => f.write_str("{ }"),
            },
        }
    }
}

/// A string of TOML, on one line.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => {
                let code = format!("\\u{:04X}", u32::from(letter));
                quoted.push_str(&code);
            }
            letter => quoted.push(letter),
        }
    }
    quoted + "\""
}

pub fn array<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items = items.into_iter().map(|item| quoted(&item.to_string()));
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A key of TOML, quoted if it must be.
pub fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// An inline table of texts; nothing where it is empty.
pub fn map<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    table(pairs.map(|(name, value)| (name, quoted(value))))
}

/// An inline table of TOML values; nothing where it is empty.
pub fn table<'a>(pairs: impl Iterator<Item = (&'a str, String)>) -> Option<String> {
    let pairs: Vec<_> = pairs
        .map(|(name, value)| format!("{} = {value}", key(name)))
        .collect();
    (!pairs.is_empty()).then(|| format!("{{ {} }}", pairs.join(", ")))
}

/// JSON as TOML, which has no null.
pub fn of_json(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => quoted(""),
        serde_json::Value::Bool(flag) => flag.to_string(),
        serde_json::Value::Number(number) => number.to_string(),
        serde_json::Value::String(text) => quoted(text),
        serde_json::Value::Array(items) => {
            let items: Vec<_> = items.iter().map(of_json).collect();
            format!("[{}]", items.join(", "))
        }
        serde_json::Value::Object(entries) => {
            let pairs = entries
                .iter()
                .map(|(name, value)| (name.as_str(), of_json(value)));
            table(pairs).unwrap_or_else(|| "{}".into())
        }
    }
}
