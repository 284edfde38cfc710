use super::{Key, Node, Place, Section, Shape, Syntax, Table, Value, keys_of};
use crate::{
    config::problem::{Code, ENOUGH, Problem},
    units::Span,
};

/// Compares a table with its section: tells every unknown and mistyped key and every malformed value, and marks what is
/// wrong as faulty.
pub fn walk(table: &mut Table, section: Section, path: &str, problems: &mut Vec<Problem>) {
    for (name, place, node) in table.iter_mut() {
        if problems.len() >= ENOUGH {
            return;
        }
        let path = joined(path, name);
        match keys_of(section).find(|key| key.name == name) {
            Some(Key {
                shape: Shape::Later,
                doc,
                ..
            }) => {
                problems.push(
                    Problem::new(
                        Code::NotSupported,
                        place,
                        format!("`{name}` is not supported in this version"),
                    )
                    .key(path)
                    .hint(*doc),
                );
                node.value = Value::Faulty;
            }
            Some(key) => visit(node, &key.shape, &path, problems),
            None => {
                problems.push(unknown(name, place, section, path));
                node.value = Value::Faulty;
            }
        }
    }
}

fn unknown(name: &str, place: Place, section: Section, path: String) -> Problem {
    let known = || {
        keys_of(section)
            .filter(|key| !matches!(key.shape, Shape::Later))
            .map(|key| key.name)
    };
    let list = known().collect::<Vec<_>>().join(", ");
    Problem::new(
        Code::UnknownKey,
        place,
        format!("unknown key `{}`", name.escape_debug()),
    )
    .key(path)
    .nearest(nearest(name, known()))
    .expected(format!("one of: {list}"))
}

/// The candidate most like `name`, if one is like it at all.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > 100 {
        return None;
    }
    let most = (name.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= most || strsim::jaro_winkler(name, candidate) > 0.9
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// A key's path as it could be typed.
pub fn joined(path: &str, key: &str) -> String {
    let bare = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let key = if bare {
        key.to_owned()
    } else {
        format!("\"{}\"", key.escape_debug())
    };
    if path.is_empty() {
        key
    } else {
        format!("{path}.{key}")
    }
}

fn visit(node: &mut Node, shape: &Shape, path: &str, problems: &mut Vec<Problem>) {
    if problems.len() >= ENOUGH {
        return;
    }
    let Some(shape) = fitting(node, shape) else {
        if !node.is_faulty() {
            problems.push(
                Problem::new(
                    Code::WrongType,
                    node.place,
                    format!("`{path}` is {}", node.kind()),
                )
                .key(path)
                .expected(described(shape)),
            );
        }
        node.value = Value::Faulty;
        return;
    };
    match (&mut node.value, shape) {
        (Value::Array(items), Shape::Array(shape)) => {
            for (index, item) in items.iter_mut().enumerate() {
                visit(item, shape, &format!("{path}[{index}]"), problems);
            }
        }
        (Value::Table(table), Shape::Table(section)) => walk(table, section, path, problems),
        (Value::Table(table), Shape::Map(syntax, shape)) => {
            for (key, place, node) in table.iter_mut() {
                let path = joined(path, key);
                if let Some(problem) = misspelt(key, syntax, place, &path) {
                    problems.push(problem);
                    node.value = Value::Faulty;
                } else {
                    visit(node, shape, &path, problems);
                }
            }
        }
        _ => {
            if let Some(problem) = wrong_leaf(node, shape, path) {
                problems.push(problem);
                node.value = Value::Faulty;
            }
        }
    }
}

/// The shape that has the node's type, among the alternatives if there are any.
fn fitting<'a>(node: &Node, shape: &'a Shape) -> Option<&'a Shape> {
    if let Shape::Either(shapes) = shape {
        return shapes.iter().find_map(|shape| fitting(node, shape));
    }
    let fits = matches!(
        (shape, &node.value),
        (Shape::Bool, Value::Bool(_))
            | (Shape::Off, Value::Bool(false))
            | (Shape::Integer { .. } | Shape::Number(_), Value::Integer(_))
            | (Shape::Real { .. }, Value::Integer(_) | Value::Float(_))
            | (
                Shape::Text(_) | Shape::Span { .. } | Shape::Word(_),
                Value::Text(_)
            )
            | (Shape::Array(_), Value::Array(_))
            | (Shape::Table(_) | Shape::Map(..), Value::Table(_))
    ) || matches!(shape, Shape::Json) && !node.is_faulty();
    fits.then_some(shape)
}

fn wrong_leaf(node: &Node, shape: &Shape, path: &str) -> Option<Problem> {
    let wrong = |code, message: String| {
        Problem::new(code, node.place, message)
            .key(path)
            .expected(described(shape))
    };
    match (shape, &node.value) {
        (Shape::Text(syntax), Value::Text(text)) => misspelt(text, syntax, node.place, path),
        (Shape::Integer { min, max }, Value::Integer(number)) => (!(*min..=*max).contains(number))
            .then(|| wrong(Code::InvalidValue, format!("{number} is out of bounds"))),
        (Shape::Real { min, max }, value) => {
            let number = value.real()?;
            (!(*min..=*max).contains(&number))
                .then(|| wrong(Code::InvalidValue, format!("{number} is out of bounds")))
        }
        (Shape::Number(numbers), Value::Integer(number)) => (!numbers.contains(number))
            .then(|| wrong(Code::InvalidValue, format!("{number} is not valid"))),
        (Shape::Word(words), Value::Text(text)) => (!words.contains(&text.as_str())).then(|| {
            wrong(
                Code::InvalidValue,
                format!("`{}` is not valid", text.escape_debug()),
            )
            .nearest(nearest(text, words.iter().copied()))
        }),
        (Shape::Span { min, max }, Value::Text(text)) => match text.parse::<Span>() {
            Err(malformed) => Some(misread(text, &malformed.0, node.place, path)),
            Ok(span) => {
                let millis = span.0.as_millis();
                (millis < u128::from(*min) || millis > u128::from(*max))
                    .then(|| wrong(Code::InvalidValue, format!("{text} is out of bounds")))
            }
        },
        (Shape::Json, Value::Float(number)) if !number.is_finite() => {
            Some(wrong(Code::InvalidValue, "JSON has no such number".into()))
        }
        _ => None,
    }
}

fn misspelt(text: &str, syntax: &Syntax, place: Place, path: &str) -> Option<Problem> {
    let malformed = (syntax.check)(text).err()?;
    Some(misread(text, &malformed.0, place, path))
}

/// A text that is not what it should be; `why` as [`crate::units::Malformed`] words it.
pub fn misread(text: &str, why: &str, place: Place, path: &str) -> Problem {
    let shown: String = text.chars().take(60).collect();
    let dots = if shown.len() < text.len() { "…" } else { "" };
    let message = if text.is_empty() {
        format!("`{path}` is empty")
    } else {
        format!("`{}{dots}` is not valid", shown.escape_debug())
    };
    Problem::new(Code::InvalidValue, place, message)
        .key(path)
        .expected(why.strip_prefix("expected ").unwrap_or(why))
}

/// What a shape takes, in words.
pub fn described(shape: &Shape) -> String {
    match shape {
        Shape::Bool => "true or false".into(),
        Shape::Off => "false".into(),
        Shape::Integer { min, max } => format!("an integer from {min} to {max}"),
        Shape::Real { min, max } => format!("a number from {min} to {max}"),
        Shape::Number(numbers) => {
            let numbers: Vec<_> = numbers.iter().map(i64::to_string).collect();
            numbers.join(" or ")
        }
        Shape::Text(syntax) => syntax.what.into(),
        Shape::Span { min, max } => format!(
            "a duration from {} to {}, such as 250ms, 5s, 2m or 1h",
            millis(*min),
            millis(*max)
        ),
        Shape::Word(words) => {
            let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
            words.join(" or ")
        }
        Shape::Array(shape) => format!("an array, each item {}", described(shape)),
        Shape::Table(section) => {
            let names = keys_of(section).filter(|key| !matches!(key.shape, Shape::Later));
            let names: Vec<_> = names.map(|key| key.name).collect();
            format!("a table with {}", names.join(", "))
        }
        Shape::Map(key, shape) => format!("a table of {}, each {}", key.what, described(shape)),
        Shape::Either(shapes) => shapes
            .iter()
            .map(described)
            .collect::<Vec<_>>()
            .join(", or "),
        Shape::Json => "a value that JSON has".into(),
        Shape::Later => "nothing".into(),
    }
}

fn millis(count: u64) -> Span {
    Span(std::time::Duration::from_millis(count))
}
