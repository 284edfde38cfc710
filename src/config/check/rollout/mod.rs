//! The plan of a rollout.

mod figures;
mod hooks;
mod steps;

use std::{collections::BTreeMap, time::Duration};

use http::Method;

use super::{Check, World};
use crate::{
    config::{
        file::{Node, Place, Table, Value, View, keys, merge},
        plan::{Batch, Pool, Preset, Rescue, Rollout, Strategy},
        problem::{Code, Problem},
    },
    units::{
        Absolute, ByteSize, ErrorMargin, GuardSettings, Insufficient, JudgeSettings, LatencyMargin,
        Name, Percent, Span, Unsure,
    },
};

/// Of metrics, of hooks and of windows: more is a mistake.
const MOST: usize = 50;
/// Bodies are kept in memory while requests are under way.
const LARGEST_BODY: u64 = 16 * 1024 * 1024;

/// The plan of `own` over `far`, which is what it inherits.
pub fn rollout(
    far: &Table,
    own: &Table,
    place: Place,
    world: &World<'_>,
    problems: &mut Vec<Problem>,
) -> Rollout {
    let mut merged = merge(far, own);
    nearer(far, own, &mut merged);
    let mut check = Check {
        world,
        problems,
        bound: Vec::new(),
        of_system: None,
    };
    let view = View::new(&merged, keys::ROLLOUT, place, "");
    check.rollout(&view, own)
}

/// Steps take the place of a preset that stands further off, and a preset that of steps; who names another strategy takes no steps of
/// the one it would have had.
fn nearer(far: &Table, own: &Table, merged: &mut Table) {
    let says = |key| own.get(key).is_some();
    let named = |table: &Table| {
        let text = table.get("strategy").and_then(Node::text);
        text.unwrap_or("canary").to_owned()
    };
    if says("steps") && !says("preset") {
        merged.remove("preset");
    }
    let other = says("strategy") && named(own) != named(far);
    if !says("steps") && (says("preset") || other) {
        merged.remove("steps");
    }
}

/// [`nearer`] of a service's own table in what it comes to with the defaults.
pub(super) fn nearer_in(defaults: &Table, own: &Table, merged: &mut Table) {
    let table = |of: &Table| of.get("rollout").and_then(Node::table).cloned();
    if let (Some(far), Some(own)) = (table(defaults), table(own))
        && let Some(Value::Table(merged)) = merged.get_mut("rollout").map(|node| &mut node.value)
    {
        nearer(&far, &own, merged);
    }
}

impl Check<'_> {
    /// Of a service; `own` is what is written under it.
    pub(super) fn rollout_of(
        &mut self,
        service: &View<'_>,
        own: &Table,
        pools: &BTreeMap<Name, Pool>,
    ) -> Rollout {
        let none = Table::default();
        let own = own.get("rollout").and_then(Node::table).unwrap_or(&none);
        let view = service.within("rollout");
        let rollout = self.rollout(&view, own);
        self.has_somewhere_to_go(&view, own, rollout.strategy, pools);
        rollout
    }

    fn rollout(&mut self, view: &View<'_>, own: &Table) -> Rollout {
        let strategy = match view.text("strategy") {
            Some("blue-green") => Strategy::BlueGreen,
            Some("rolling") => Strategy::Rolling,
            _ => Strategy::Canary,
        };
        let preset = view.text("preset").and_then(Preset::named);
        let preset = preset.unwrap_or(Preset::Standard);
        let judge = judge(&view.within("judge"));
        let steps = self.steps(view, strategy, judge.interval);
        Rollout {
            strategy,
            steps: steps.unwrap_or_else(|| preset.steps(strategy)),
            batch: self.batch(view, own, strategy),
            ready_timeout: view.span("ready_timeout"),
            warm_up: view.span("warm_up"),
            bake: if view.has("bake") {
                view.span("bake")
            } else {
                preset.bake()
            },
            undo_window: view.span("undo_window"),
            guard: guard(&view.within("guard")),
            judge,
            rescue: self.rescue(&view.within("rescue")),
            absolute: self.absolute(&view.within("absolute")),
            freeze: {
                self.not_too_many(view, "freeze");
                let texts = view.texts("freeze").into_iter();
                texts.filter_map(|(text, _)| text.parse().ok()).collect()
            },
            metrics: self.figures(view),
            hooks: self.hooks(view),
        }
    }

    /// Two versions side by side are two pools.
    fn has_somewhere_to_go(
        &mut self,
        view: &View<'_>,
        own: &Table,
        strategy: Strategy,
        pools: &BTreeMap<Name, Pool>,
    ) {
        let said = ["strategy", "preset", "steps"].into_iter();
        let said = said.filter(|key| own.get(key).is_some());
        let [pool] = pools.keys().collect::<Vec<_>>()[..] else {
            return;
        };
        if strategy != Strategy::Rolling
            && let Some(key) = said.into_iter().next()
        {
            let problem = Problem::new(
                Code::Conflict,
                view.place_of(key),
                format!("`{pool}` is the only pool: there is none to go to"),
            );
            self.tell(
                problem
                    .key(view.path_of(key))
                    .expected("strategy = \"rolling\", or a second pool"),
            );
        }
    }

    fn batch(&mut self, view: &View<'_>, own: &Table, strategy: Strategy) -> Batch {
        if strategy != Strategy::Rolling {
            if own.get("batch").is_some() {
                let path = view.path_of("batch");
                let problem = Problem::new(
                    Code::Conflict,
                    view.place_of("batch"),
                    format!("`{path}` is of a rolling replacement, and this is none"),
                );
                self.tell(problem.key(path).expected("strategy = \"rolling\""));
            }
            return Batch::Count(1);
        }
        match view.parsed::<Percent>("batch") {
            Some(Percent::NONE) => {
                self.of_nothing(view, "batch", "0% of the endpoints is none");
                Batch::Part(Percent::NONE)
            }
            Some(part) => Batch::Part(part),
            None => Batch::Count(view.integer("batch")),
        }
    }

    fn rescue(&mut self, view: &View<'_>) -> Rescue {
        let enabled = view.flag("enabled");
        if view.has("methods") && enabled && view.items("methods").is_empty() {
            self.of_nothing(view, "methods", "no request would be rescued");
        }
        let mut methods: Vec<Method> = Vec::new();
        for (text, place) in view.texts("methods") {
            let path = view.path_of("methods");
            if ["CONNECT", "TRACE"].contains(&text) {
                let what = format!("{text} is never sent twice");
                let problem = Problem::new(Code::InvalidValue, place, what).key(path);
                self.tell(problem.expected("methods such as GET, HEAD or PUT"));
            } else if let Ok(method) = text.parse()
                && !methods.contains(&method)
            {
                methods.push(method);
            }
        }
        let most = view.parsed("max_body").unwrap_or(ByteSize(0));
        if most.0 > LARGEST_BODY {
            let what = format!("{most} is out of bounds");
            let problem = Problem::new(Code::InvalidValue, view.place_of("max_body"), what);
            let problem = problem.key(view.path_of("max_body"));
            self.tell(problem.expected("a size of at most 16MiB"));
        }
        Rescue {
            methods: if enabled { methods } else { Vec::new() },
            max_body: most.0,
        }
    }

    fn absolute(&mut self, view: &View<'_>) -> Absolute {
        let least = view.parsed("min_success");
        if least == Some(Percent::NONE) {
            self.of_nothing(view, "min_success", "0% of the requests always succeed");
        }
        let bounded = view.has("min_success") || view.has("min_success_for");
        // As the bound that is usual elsewhere.
        let least = least.unwrap_or(Percent::from_millionths(990_000));
        Absolute {
            min_requests: view.integer("min_requests"),
            max_error_rate: view.parsed("max_error_rate"),
            max_p95: view.has("max_p95").then(|| view.span("max_p95")),
            min_success: bounded.then(|| (least, view.span("min_success_for"))),
            probe_failures: view.parsed("probe_failures"),
        }
    }

    /// A value that leaves nothing of what it is for.
    fn of_nothing(&mut self, view: &View<'_>, key: &str, what: &str) {
        let problem = Problem::new(Code::InvalidValue, view.place_of(key), what);
        let problem = problem.key(view.path_of(key));
        self.tell(match key {
            "methods" => problem.expected("at least one method, or enabled = false"),
            _ => problem.expected("a percentage above 0%"),
        });
    }

    fn not_too_many(&mut self, view: &View<'_>, key: &str) {
        let count = view.items(key).len();
        if count > MOST {
            let path = view.path_of(key);
            let what = format!("`{path}` has {count} items");
            let problem = Problem::new(Code::InvalidValue, view.place_of(key), what);
            self.tell(problem.key(path).expected(format!("at most {MOST}")));
        }
    }
}

fn guard(view: &View<'_>) -> GuardSettings {
    GuardSettings {
        alpha: view.real("alpha"),
        ratio: view.real("ratio"),
        min_errors: view.integer("min_errors"),
        min_clients: view.integer("min_clients"),
        min_error_rate: view.parsed("min_error_rate").unwrap_or(Percent::NONE),
        max_excess_failures: view.integer("max_excess_failures"),
    }
}

fn judge(view: &View<'_>) -> JudgeSettings {
    let latency = view.node("latency").map(|node| &node.value);
    let latency = match latency {
        Some(Value::Bool(_)) => None,
        _ => Some(latency_margin(&view.within("latency"))),
    };
    JudgeSettings {
        interval: view.span("interval"),
        min_requests: view.integer("min_requests"),
        error_margin: match view.parsed("error_margin") {
            Some(margin) => ErrorMargin::Fixed(margin),
            None => ErrorMargin::Auto,
        },
        latency,
        on_insufficient_data: match view.text("on_insufficient_data") {
            Some("promote") => Insufficient::Promote,
            Some("pause") => Insufficient::Pause,
            Some("rollback") => Insufficient::Rollback,
            _ => Insufficient::Hold,
        },
        max_hold: view.span("max_hold"),
        on_max_hold: unsure(view, "on_max_hold"),
    }
}

fn latency_margin(view: &View<'_>) -> LatencyMargin {
    LatencyMargin {
        quantile: view.real("quantile"),
        increase: view.parsed("increase").unwrap_or(Percent::NONE),
        floor: view.span("floor"),
    }
}

fn unsure(view: &View<'_>, key: &str) -> Unsure {
    match view.text(key) {
        Some("promote") => Unsure::Promote,
        Some("pause") => Unsure::Pause,
        _ => Unsure::Rollback,
    }
}

/// Where it is written.
fn written(view: &View<'_>, key: &str) -> Option<Duration> {
    let written = view.has(key).then(|| view.parsed::<Span>(key));
    written.flatten().map(|span| span.0)
}
