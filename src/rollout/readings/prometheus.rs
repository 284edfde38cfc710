//! Prometheus' instant queries, and what else speaks them: Thanos, Mimir, `VictoriaMetrics`.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, de::IgnoredAny};

use super::{NoFigure, number, refused};
use crate::outbound::Answer;

#[derive(Deserialize)]
struct Reply {
    data: Option<Data>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar((IgnoredAny, String)),
    Vector(Vec<Sample>),
    Matrix(IgnoredAny),
    String(IgnoredAny),
}

/// Of a series: a number, or a histogram, which is none.
#[derive(Deserialize)]
struct Sample {
    value: Option<(IgnoredAny, String)>,
}

/// Below the address of a server, which may have a path and a query of its own. The server is told when nobody waits any more.
pub(super) fn url(base: &str, query: &str, timeout: Duration) -> String {
    let (place, own) = base.split_once('?').unwrap_or((base, ""));
    let place = place.trim().trim_end_matches('/');
    let own = Some(own).filter(|own| !own.is_empty());
    let own = own
        .map(|own| format!("{}&", own.trim()))
        .unwrap_or_default();
    let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
    let timeout = timeout.as_millis();
    format!("{place}/api/v1/query?{own}query={query}&timeout={timeout}ms")
}

pub(super) fn read(answer: &Answer) -> Result<f64, NoFigure> {
    let failed = |why: &str| NoFigure::Failed(why.to_owned());
    if !answer.is_whole {
        return Err(failed(
            "answers more than 256 KiB: sum up, so that one series is left",
        ));
    }
    let reply = serde_json::from_slice::<Reply>(&answer.body);
    if !answer.status.is_success() {
        let said = reply.ok().and_then(|reply| reply.error);
        return Err(refused(answer, &said.unwrap_or_default()));
    }
    let reply = reply.map_err(|_| failed("does not answer as Prometheus does"))?;
    let Some(data) = reply.data else {
        return Err(refused(answer, &reply.error.unwrap_or_default()));
    };
    match data {
        Data::Scalar((_, figure)) => number(&figure),
        Data::Vector(samples) => match &samples[..] {
            [] => Err(NoFigure::Empty("has no such series".to_owned())),
            [
                Sample {
                    value: Some((_, figure)),
                },
            ] => number(figure),
            [_] => Err(failed("answers with a histogram: ask for a quantile of it")),
            many => {
                let count = many.len();
                Err(NoFigure::Failed(format!(
                    "answers with {count} series: sum up, so that one is left"
                )))
            }
        },
        Data::Matrix(_) => Err(failed("answers with a range: ask for one moment")),
        Data::String(_) => Err(failed("answers with a text: ask for a number")),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn answered(status: u16, body: &str) -> Result<f64, NoFigure> {
        read(&Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            is_whole: true,
        })
    }

    fn data(kind: &str, result: &str) -> Result<f64, NoFigure> {
        let data = format!(r#"{{"resultType":"{kind}","result":{result}}}"#);
        answered(200, &format!(r#"{{"status":"success","data":{data}}}"#))
    }

    fn failed(read: Result<f64, NoFigure>) -> String {
        match read {
            Err(NoFigure::Failed(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_scalar_and_a_vector_of_one_are_figures() {
        assert_eq!(data("scalar", r#"[1732795528.1,"12.5"]"#), Ok(12.5));
        let one = r#"[{"metric":{"a":"b"},"value":[1732795528.1,"-3e2"]}]"#;
        assert_eq!(data("vector", one), Ok(-300.0));
    }

    #[test]
    fn nothing_and_what_cannot_be_computed_with_is_no_figure() {
        let empty = NoFigure::Empty("has no such series".into());
        assert_eq!(data("vector", "[]"), Err(empty));
        for odd in ["NaN", "+Inf", "-Inf"] {
            let said = Err(NoFigure::Empty(format!("says {odd}")));
            assert_eq!(data("scalar", &format!(r#"[1,"{odd}"]"#)), said);
        }
    }

    #[test]
    fn what_is_asked_wrongly_is_told() {
        let two = r#"[{"metric":{},"value":[1,"1"]},{"metric":{},"value":[1,"2"]}]"#;
        assert!(failed(data("vector", two)).contains("2 series"));
        let histogram = r#"[{"metric":{},"histogram":[1,{"count":"1","sum":"2"}]}]"#;
        assert!(failed(data("vector", histogram)).contains("histogram"));
        assert!(failed(data("matrix", "[]")).contains("range"));
        assert!(failed(data("string", r#"[1,"a"]"#)).contains("text"));
        let wrong = r#"{"status":"error","errorType":"bad_data","error":"parse error: no"}"#;
        let said = failed(answered(400, wrong));
        assert_eq!(said, "answered 400 Bad Request: parse error: no");
        assert!(failed(answered(200, "<html>")).contains("as Prometheus does"));
    }

    #[test]
    fn a_query_goes_below_whatever_address_there_is() {
        let of = |base| url(base, r#"sum(a{b="c"})"#, Duration::from_secs(2));
        let query = "query=sum%28a%7Bb%3D%22c%22%7D%29&timeout=2000ms";
        let plain = format!("http://a:9090/api/v1/query?{query}");
        assert_eq!(of("http://a:9090"), plain);
        assert_eq!(of("http://a:9090/"), plain);
        let below = format!("http://a/prom/api/v1/query?tenant=1&{query}");
        assert_eq!(of("http://a/prom/?tenant=1"), below);
    }
}
