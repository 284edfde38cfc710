use super::{super::listeners::tables, Check, unsure};
use crate::config::{
    file::{View, keys},
    plan::{Hook, HookPoint},
    problem::{Code, Problem},
};

impl Check<'_> {
    pub(super) fn hooks(&mut self, view: &View<'_>) -> Vec<Hook> {
        self.not_too_many(view, "hooks");
        let hooks = tables(view, "hooks", keys::HOOK);
        let hooks = hooks.iter().filter_map(|hook| self.hook(hook));
        hooks.collect()
    }

    fn hook(&mut self, view: &View<'_>) -> Option<Hook> {
        view.require("at", self.problems);
        view.require("url", self.problems);
        let node = view.node("at").filter(|node| !node.is_faulty());
        if node.is_some_and(|node| node.items().is_empty()) {
            let what = format!("`{}` is never called", view.path);
            let problem = Problem::new(Code::InvalidValue, view.place_of("at"), what);
            let problem = problem.key(view.path_of("at"));
            self.tell(problem.expected("at least one moment, such as \"before-start\""));
        }
        let mut at: Vec<_> = view
            .texts("at")
            .into_iter()
            .filter_map(|(text, _)| {
                let mut all = HookPoint::ALL.into_iter();
                all.find(|point| point.as_str() == text)
            })
            .collect();
        at.sort_unstable();
        at.dedup();
        let secret = self.secret(view, "secret");
        Some(Hook {
            at,
            url: view.text("url")?.to_owned(),
            secret,
            timeout: view.span("timeout"),
            on_timeout: unsure(view, "on_timeout"),
        })
    }
}
