//! Incidents of a status page, by the API of Atlassian Statuspage: opened by what users may feel, closed when it is over.

use std::collections::BTreeMap;

use http::{Method, Uri};
use serde_json::{Value, json};

use crate::{
    control::{Event, Kind},
    outbound::Answer,
    units::Name,
};

/// Those that are open, by service and what opened them. Of the time before a restart nothing is known: what was open then is closed by hand.
#[derive(Default)]
pub(super) struct Incidents {
    open: BTreeMap<(Option<Name>, Trouble), String>,
}

/// What an incident is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// A new version was taken back.
    Rollout,
    /// No pool with weight is ready.
    FailOpen,
}

enum Turn {
    Opens(Trouble),
    Closes(Trouble),
}

fn turn(kind: Kind) -> Option<Turn> {
    Some(match kind {
        Kind::RolloutRollback => Turn::Opens(Trouble::Rollout),
        Kind::RolloutFailed | Kind::RolloutSuperseded => Turn::Closes(Trouble::Rollout),
        Kind::FailOpen => Turn::Opens(Trouble::FailOpen),
        Kind::FailOpenEnded => Turn::Closes(Trouble::FailOpen),
        _ => return None,
    })
}

impl Incidents {
    /// What is asked of the page, whose `url` is that of its incidents; `None`: it is nothing for a page.
    pub fn call(&self, url: &Uri, event: &Event) -> Option<(Method, Uri, Value)> {
        let service = event.service.as_ref().map_or("a service", Name::as_str);
        let open = |trouble| self.open.get(&(event.service.clone(), trouble));
        match turn(event.kind)? {
            // It is known already.
            Turn::Opens(trouble) if open(trouble).is_some() => None,
            Turn::Opens(trouble) => {
                let (name, status, said) = match trouble {
                    Trouble::Rollout => (
                        "a new version is taken back",
                        "identified",
                        "All requests go to the version before it.",
                    ),
                    Trouble::FailOpen => (
                        "not available",
                        "investigating",
                        "Requests may fail or take long.",
                    ),
                };
                let incident = json!({
                    "name": format!("{service}: {name}"),
                    "status": status,
                    "body": said,
                    "metadata": {"cutover": {"event": event.id, "type": event.kind}},
                });
                let incident = json!({ "incident": incident });
                Some((Method::POST, url.clone(), incident))
            }
            Turn::Closes(trouble) => {
                let said = match trouble {
                    Trouble::Rollout => "The version before it serves all requests.",
                    Trouble::FailOpen => "Requests are answered again.",
                };
                let incident = json!({"incident": {"status": "resolved", "body": said}});
                let url = below(url, open(trouble)?)?;
                Some((Method::PATCH, url, incident))
            }
        }
    }

    /// What was asked of the page was done.
    pub fn taken(&mut self, event: &Event, answer: &Answer) {
        let key = |trouble| (event.service.clone(), trouble);
        match turn(event.kind) {
            Some(Turn::Opens(trouble)) => {
                let said: Option<Value> = serde_json::from_slice(&answer.body).ok();
                let id = said.as_ref().and_then(|said| said.get("id")?.as_str());
                // It becomes part of a URL.
                let fits = |id: &&str| {
                    let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
                    (1..=64).contains(&id.len()) && id.bytes().all(usual)
                };
                if let Some(id) = id.filter(fits) {
                    self.open.insert(key(trouble), id.to_owned());
                }
            }
            Some(Turn::Closes(trouble)) => {
                self.open.remove(&key(trouble));
            }
            None => {}
        }
    }
}

/// The address of one incident: below that of all, before the query that holds the key.
fn below(url: &Uri, id: &str) -> Option<Uri> {
    let mut parts = url.clone().into_parts();
    let path = url.path().trim_end_matches('/');
    let query = url.query().map(|query| format!("?{query}"));
    let path = format!("{path}/{id}{}", query.unwrap_or_default());
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::{super::slack::tests::event, *};

    const PAGE: &str = "https://api.statuspage.io/v1/pages/abc/incidents?api_key=k";

    fn says(body: &'static str) -> Answer {
        Answer {
            status: StatusCode::CREATED,
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
            is_whole: true,
        }
    }

    fn call(incidents: &Incidents, kind: Kind) -> Option<(Method, String, Value)> {
        let page = PAGE.parse().expect("a URL");
        let called = incidents.call(&page, &event(kind));
        called.map(|(method, url, body)| (method, url.to_string(), body))
    }

    #[test]
    fn an_incident_is_opened_once_and_closed_by_its_id() {
        let mut incidents = Incidents::default();
        assert!(
            call(&incidents, Kind::RolloutFailed).is_none(),
            "none is open"
        );
        let (method, url, body) = call(&incidents, Kind::RolloutRollback).expect("it is told");
        assert_eq!((method, url.as_str()), (Method::POST, PAGE));
        assert_eq!(
            body["incident"]["name"],
            "shop: a new version is taken back"
        );
        assert_eq!(body["incident"]["status"], "identified");
        let public = &body["incident"]["body"];
        assert_eq!(public, "All requests go to the version before it.");

        incidents.taken(
            &event(Kind::RolloutRollback),
            &says(r#"{"id":"p31zjtct2jer"}"#),
        );
        assert!(
            call(&incidents, Kind::RolloutRollback).is_none(),
            "it is open"
        );
        let (method, url, body) = call(&incidents, Kind::RolloutFailed).expect("it is told");
        assert_eq!(method, Method::PATCH);
        let wanted = "https://api.statuspage.io/v1/pages/abc/incidents/p31zjtct2jer?api_key=k";
        assert_eq!(url, wanted);
        assert_eq!(body["incident"]["status"], "resolved");

        incidents.taken(&event(Kind::RolloutFailed), &says("{}"));
        assert!(
            call(&incidents, Kind::RolloutFailed).is_none(),
            "it is closed"
        );
        assert!(call(&incidents, Kind::RolloutRollback).is_some());
    }

    #[test]
    fn what_would_lead_elsewhere_is_no_id() {
        let mut incidents = Incidents::default();
        for odd in [
            r#"{"id":"../x?y"}"#,
            r#"{"id":""}"#,
            r#"{"id":7}"#,
            "<html>",
        ] {
            incidents.taken(&event(Kind::RolloutRollback), &says(odd));
            assert!(call(&incidents, Kind::RolloutFailed).is_none(), "{odd}");
        }
    }

    #[test]
    fn nothing_else_is_for_a_page() {
        let incidents = Incidents::default();
        for kind in [Kind::RolloutStarted, Kind::RolloutPaused, Kind::Weights] {
            assert!(call(&incidents, kind).is_none());
        }
    }
}
