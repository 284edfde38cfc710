//! Who is told of events.

use std::sync::Arc;

use super::{Check, listeners::tables};
use crate::config::{
    file::{View, keys, syntax},
    plan::{Notify, NotifyFormat},
    problem::{Code, Problem},
};

const MOST: usize = 50;

impl Check<'_> {
    pub(super) fn notify(&mut self, root: &View<'_>) -> Vec<Arc<Notify>> {
        let views = tables(root, "notify", keys::NOTIFY);
        if views.len() > MOST {
            let what = format!("there are {} who are told of events", views.len());
            let problem = Problem::new(Code::InvalidValue, root.place_of("notify"), what);
            self.tell(problem.key("notify").expected(format!("at most {MOST}")));
        }
        let told = views.iter().filter_map(|view| self.told(view));
        told.map(Arc::new).collect()
    }

    fn told(&mut self, view: &View<'_>) -> Option<Notify> {
        view.require("url", self.problems);
        let url = self.secret(view, "url");
        if let Some(secret) = &url
            && !self.world.offline
            && !is_url(secret.expose())
        {
            let what = "the secret is no URL";
            let problem = Problem::new(Code::InvalidValue, view.place_of("url"), what);
            let problem = problem.key(view.path_of("url"));
            self.tell(
                problem.expected("one that begins with https:// or http://, and nothing else"),
            );
        }
        self.not_empty(view, "on");
        let mut on = Vec::new();
        for (text, place) in view.texts("on") {
            if !keys::EVENTS.contains(&text) {
                let what = format!("there is no type of event `{}`", text.escape_debug());
                let near = self.near(text, keys::EVENTS.iter().copied());
                let problem = Problem::new(Code::UnknownName, place, what).nearest(near);
                self.tell(problem.key(view.path_of("on")));
            } else if !on.iter().any(|known| known == text) {
                on.push(text.to_owned());
            }
        }
        Some(Notify {
            url: url?,
            format: match view.text("format") {
                Some("slack") => NotifyFormat::Slack,
                Some("statuspage") => NotifyFormat::Statuspage,
                _ => NotifyFormat::Json,
            },
            on,
        })
    }
}

fn is_url(secret: &[u8]) -> bool {
    std::str::from_utf8(secret).is_ok_and(|text| (syntax::CALLED.check)(text).is_ok())
}
