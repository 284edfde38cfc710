//! A number in a JSON document.

use serde_json::Value;

use super::{NoFigure, number, refused};
use crate::outbound::Answer;

pub(super) fn read(answer: &Answer, pointer: &str) -> Result<f64, NoFigure> {
    let failed = |why: &str| NoFigure::Failed(why.to_owned());
    if !answer.status.is_success() {
        return Err(refused(answer, &String::from_utf8_lossy(&answer.body)));
    }
    if !answer.is_whole {
        return Err(failed("answers more than 256 KiB"));
    }
    let document: Value =
        serde_json::from_slice(&answer.body).map_err(|_| failed("does not answer with JSON"))?;
    match document.pointer(pointer) {
        Some(Value::Number(figure)) => number(&figure.to_string()),
        Some(Value::String(figure)) => number(figure),
        Some(Value::Null) | None => Err(NoFigure::Empty(format!("has nothing at `{pointer}`"))),
        Some(_) => Err(NoFigure::Failed(format!("has no number at `{pointer}`"))),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn at(pointer: &str) -> Result<f64, NoFigure> {
        let body = r#"{"a":{"b/c":[1,"2.5"," 7 ",null,true,"many","NaN"]}}"#;
        let answer = Answer {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
            is_whole: true,
        };
        read(&answer, pointer)
    }

    #[test]
    fn a_number_is_read_as_such_and_from_text() {
        assert_eq!(at("/a/b~1c/0"), Ok(1.0));
        assert_eq!(at("/a/b~1c/1"), Ok(2.5));
        assert_eq!(at("/a/b~1c/2"), Ok(7.0));
    }

    #[test]
    fn what_is_not_there_is_no_figure_and_what_is_no_number_a_mistake() {
        for pointer in ["/a/b~1c/3", "/a/b~1c/6", "/a/b~1c/9", "/b"] {
            assert!(matches!(at(pointer), Err(NoFigure::Empty(_))), "{pointer}");
        }
        for pointer in ["/a/b~1c/4", "/a/b~1c/5", "/a", ""] {
            assert!(matches!(at(pointer), Err(NoFigure::Failed(_))), "{pointer}");
        }
    }
}
