use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};
use serde_json::{Value, json};

use super::{slack, statuspage::Incidents};
use crate::{
    config::plan::{Notify, NotifyFormat},
    control::Event,
    outbound::Answer,
    units::Secret,
};

/// How one who is told wants it.
pub(super) struct Shape {
    url: Secret,
    kind: Kind,
}

enum Kind {
    Json,
    Slack,
    Statuspage(Incidents),
}

/// What an event comes to.
pub(super) enum Written {
    Request(Box<Request<Bytes>>),
    /// It is nothing that is told there.
    Nothing,
    Unusable(String),
}

impl Shape {
    pub fn new(notify: &Notify) -> Self {
        Self {
            url: notify.url.clone(),
            kind: match notify.format {
                NotifyFormat::Json => Kind::Json,
                NotifyFormat::Slack => Kind::Slack,
                NotifyFormat::Statuspage => Kind::Statuspage(Incidents::default()),
            },
        }
    }

    pub fn write(&self, event: &Event) -> Written {
        // Neither why nor what: it may be a secret with a letter too many.
        let url = std::str::from_utf8(self.url.expose()).ok();
        let Some(Ok(url)) = url.map(|url| url.trim().parse::<Uri>()) else {
            return Written::Unusable("its secret is no URL".to_owned());
        };
        match &self.kind {
            Kind::Json => post(url, &json!(event), event),
            Kind::Slack => post(url, &json!({ "text": slack::text(event) }), event),
            Kind::Statuspage(incidents) => match incidents.call(&url, event) {
                Some((method, url, body)) => sent(method, url, &body, event),
                None => Written::Nothing,
            },
        }
    }

    pub fn taken(&mut self, event: &Event, answer: &Answer) {
        if let Kind::Statuspage(incidents) = &mut self.kind {
            incidents.taken(event, answer);
        }
    }
}

fn post(url: Uri, body: &Value, event: &Event) -> Written {
    sent(Method::POST, url, body, event)
}

/// With what tells it from others, so that who gets it twice may know.
fn sent(method: Method, url: Uri, body: &Value, event: &Event) -> Written {
    let mut request = Request::new(body.to_string().into());
    *request.method_mut() = method;
    *request.uri_mut() = url;
    let headers = request.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    let kind = HeaderValue::from_static(event.kind.as_str());
    headers.insert("cutover-event", kind);
    headers.insert("cutover-event-id", event.id.into());
    Written::Request(Box::new(request))
}
