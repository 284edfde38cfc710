//! The JSON Schema of the file, for editors. Made from the same table of keys as the walk, so that neither knows a key that
//! the other does not.

use serde_json::{Map, Value, json};

use super::file::{Fallback, Key, Section, Shape, Syntax, keys, keys_of};

/// JSON Schema 2020-12 of a file. Whatever `cutover check` accepts is valid by it; what refers to something else, or is
/// bounded by it, only `check` can judge.
pub fn schema() -> Value {
    let mut schema = Map::new();
    let dialect = "https://json-schema.org/draft/2020-12/schema";
    schema.insert("$schema".into(), dialect.into());
    schema.insert("title".into(), "Cutover's file".into());
    schema.append(&mut table(keys::ROOT));
    Value::Object(schema)
}

fn table(section: Section) -> Map<String, Value> {
    let written = || keys_of(section).filter(|key| !matches!(key.shape, Shape::Later));
    let properties: Map<_, _> = written()
        .map(|key| (key.name.to_owned(), property(key)))
        .collect();
    let required: Vec<_> = written()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    let mut schema = Map::new();
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), properties.into());
    schema.insert("additionalProperties".into(), false.into());
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = shape(&key.shape);
    schema.insert("description".into(), key.doc.into());
    let default = match key.fallback {
        Fallback::None => return schema.into(),
        Fallback::Text(text) => text.into(),
        Fallback::Integer(number) => number.into(),
        Fallback::Real(number) => number.into(),
        Fallback::Bool(flag) => flag.into(),
        Fallback::Texts(texts) => texts.into(),
    };
    schema.insert("default".into(), default);
    schema.into()
}

fn shape(shape: &Shape) -> Map<String, Value> {
    let schema = match shape {
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Off => json!({ "const": false }),
        Shape::Integer { min, max } => {
            json!({ "type": "integer", "minimum": min, "maximum": max })
        }
        Shape::Real { min, max } => {
            json!({ "type": "number", "minimum": min, "maximum": max })
        }
        Shape::Number(numbers) => json!({ "enum": numbers }),
        Shape::Text(syntax) => text(syntax).into(),
        Shape::Span { .. } => json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$" }),
        Shape::Word(words) => json!({ "enum": words }),
        Shape::Array(items) => json!({ "type": "array", "items": self::shape(items) }),
        Shape::Table(section) => table(section).into(),
        Shape::Map(names, values) => json!({
            "type": "object",
            "propertyNames": text(names),
            "additionalProperties": self::shape(values),
        }),
        Shape::Either(shapes) => {
            let shapes: Vec<_> = shapes.iter().map(self::shape).collect();
            json!({ "anyOf": shapes })
        }
        Shape::Json | Shape::Later => json!({}),
    };
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

fn text(syntax: &Syntax) -> Map<String, Value> {
    let mut schema = Map::new();
    schema.insert("type".into(), "string".into());
    if let Some(pattern) = syntax.pattern {
        schema.insert("pattern".into(), pattern.into());
    }
    schema
}
