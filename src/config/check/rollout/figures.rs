//! Figures from outside.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};

use super::{
    super::{listeners::tables, twice},
    Check,
};
use crate::{
    config::{
        file::{View, keys, nearest},
        plan::{Bound, Metric, MetricSource},
        problem::{Code, Problem},
    },
    units::Name,
};

/// What is replaced where it stands between two pairs of braces.
const REPLACED: [&str; 2] = ["pool", "service"];

impl Check<'_> {
    pub(super) fn figures(&mut self, view: &View<'_>) -> Vec<Metric> {
        self.not_too_many(view, "metrics");
        let mut seen = BTreeMap::new();
        let mut figures = Vec::new();
        for figure in tables(view, "metrics", keys::METRIC) {
            figure.require("name", self.problems);
            let name = figure.parsed::<Name>("name");
            if let Some(name) = &name {
                let place = figure.place_of("name");
                if let Some(first) = seen.insert(name.clone(), place) {
                    let what = format!("the metric `{name}`");
                    self.tell(twice(&what, &figure.path_of("name"), first, place));
                }
            }
            let source = self.source(&figure);
            let bound = self.bound(&figure);
            let authorization = self.authorization(&figure);
            if let Some((name, source)) = name.zip(source) {
                figures.push(Metric {
                    name,
                    source,
                    authorization,
                    bound,
                    interval: figure.span("interval"),
                    timeout: figure.span("timeout"),
                    dry_run: figure.flag("dry_run"),
                });
            }
        }
        figures
    }

    fn source(&mut self, figure: &View<'_>) -> Option<MetricSource> {
        let named = ["prometheus", "http"].into_iter();
        let named: Vec<_> = named.filter(|key| figure.has(key)).collect();
        let [named] = named[..] else {
            let what = format!("`{}` has {} sources", figure.path, named.len());
            let problem = Problem::new(Code::Conflict, figure.place, what).key(&figure.path);
            self.tell(problem.expected("one of `prometheus` and `http`"));
            return None;
        };
        figure.node(named)?.table()?;
        let view = figure.within(named);
        let texts = match named {
            "prometheus" => ["url", "query"],
            _ => ["url", "pointer"],
        };
        for key in texts {
            view.require(key, self.problems);
        }
        let asked = match named {
            "prometheus" => "query",
            _ => "url",
        };
        if self.replaced_names_are_known(&view, asked) {
            self.versions_differ(figure, &view, asked);
        }
        let url = view.text("url")?.to_owned();
        if named == "prometheus" {
            self.nothing_is_replaced(&view, &url);
            let query = view.text("query")?.to_owned();
            return Some(MetricSource::Prometheus { url, query });
        }
        Some(MetricSource::Http {
            url,
            pointer: view.text("pointer")?.to_owned(),
            headers: self.sent(&view),
        })
    }

    /// In the order of their names.
    fn sent(&mut self, view: &View<'_>) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = BTreeMap::new();
        for (text, place, node) in view.entries("headers") {
            let value = node.text().and_then(|text| text.parse().ok());
            let Some((name, value)) = text.parse::<HeaderName>().ok().zip(value) else {
                continue;
            };
            let known = headers.insert(name.as_str().to_owned(), (place, name, value));
            if let Some((first, name, _)) = known {
                let what = format!("the header `{name}`");
                self.tell(twice(&what, &view.path_of("headers"), first, place));
            }
        }
        let headers = headers.into_values();
        headers.map(|(_, name, value)| (name, value)).collect()
    }

    /// A name that nobody replaces would be asked for as it stands, and found nowhere.
    fn replaced_names_are_known(&mut self, view: &View<'_>, key: &str) -> bool {
        let text = view.text(key).unwrap_or_default();
        let mut known = true;
        for part in text.split("{{").skip(1) {
            let Some((name, _)) = part.split_once("}}") else {
                continue;
            };
            if !REPLACED.contains(&name) {
                known = false;
                let shown: String = name.chars().take(60).collect();
                let what = format!("nothing is put in the place of `{{{{{shown}}}}}`");
                let what = what.escape_debug().to_string();
                let problem = Problem::new(Code::UnknownName, view.place_of(key), what);
                let near = nearest(name.trim(), REPLACED.into_iter());
                let problem = problem.key(view.path_of(key));
                self.tell(
                    problem
                        .nearest(near.map(|name| format!("{{{{{name}}}}}")))
                        .expected("{{pool}} or {{service}}"),
                );
            }
        }
        known
    }

    fn nothing_is_replaced(&mut self, view: &View<'_>, url: &str) {
        if url.contains("{{") {
            let what = "names are replaced in the query, not in the URL";
            let problem = Problem::new(Code::InvalidValue, view.place_of("url"), what);
            let problem = problem.key(view.path_of("url"));
            self.tell(problem.expected("the URL of a Prometheus"));
        }
    }

    /// Who asks the same of both versions compares a figure with itself.
    fn versions_differ(&mut self, figure: &View<'_>, view: &View<'_>, key: &str) {
        if let Some(text) = view.text(key)
            && figure.has("compare")
            && !text.contains("{{pool}}")
        {
            let path = view.path_of(key);
            let what =
                format!("`{path}` asks the same of both versions: there is nothing to compare");
            let problem = Problem::new(Code::Conflict, view.place_of(key), what).key(path);
            self.tell(
                problem
                    .also(figure.place_of("compare"), "to be compared")
                    .expected("{{pool}} in it"),
            );
        }
    }

    fn bound(&mut self, figure: &View<'_>) -> Bound {
        let compared = figure.has("compare");
        let (its, others) = if compared {
            (["max_drop", "max_rise"], ["min", "max"])
        } else {
            (["min", "max"], ["max_drop", "max_rise"])
        };
        let mut sound = true;
        for key in others.into_iter().filter(|key| figure.has(key)) {
            sound = false;
            let (what, expected) = if compared {
                (
                    "a bound by itself",
                    "`max_drop` or `max_rise`, or no `compare`",
                )
            } else {
                ("of a comparison", "compare = \"stable\" beside it")
            };
            let what = format!("`{key}` is {what}");
            let problem = Problem::new(Code::Conflict, figure.place_of(key), what);
            self.tell(problem.key(figure.path_of(key)).expected(expected));
        }
        if sound && !its.iter().any(|key| figure.has(key)) {
            let what = format!("`{}` has no bound", figure.path);
            let problem = Problem::new(Code::MissingKey, figure.place, what).key(&figure.path);
            let [one, other] = its;
            self.tell(problem.expected(format!("`{one}`, `{other}` or both")));
        }
        if compared {
            return Bound::Stable {
                max_drop: figure.parsed("max_drop"),
                max_rise: figure.parsed("max_rise"),
            };
        }
        let real = |key| figure.has(key).then(|| figure.real(key));
        let (min, max) = (real("min"), real("max"));
        if min.zip(max).is_some_and(|(min, max)| min > max) {
            let what = "`min` is above `max`: no figure would do";
            let problem = Problem::new(Code::Conflict, figure.place_of("min"), what);
            let problem = problem.key(figure.path_of("min"));
            self.tell(problem.also(figure.place_of("max"), "this one is lower"));
        }
        Bound::Between { min, max }
    }

    fn authorization(&mut self, figure: &View<'_>) -> Option<crate::units::Secret> {
        let secret = self.secret(figure, "authorization")?;
        if HeaderValue::from_bytes(secret.expose()).is_err() {
            let what = "the secret is no value of a header: it holds control characters";
            let place = figure.place_of("authorization");
            let problem = Problem::new(Code::InvalidValue, place, what);
            self.tell(problem.key(figure.path_of("authorization")));
        }
        Some(secret)
    }
}
