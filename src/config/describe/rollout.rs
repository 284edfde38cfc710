use std::collections::BTreeMap;

use super::{
    Block, Entry, Field,
    value::{array, map, quoted, table},
};
use crate::{
    config::{
        file::keys,
        plan::{
            Batch, Bound, Hook, HookPoint, Metric, MetricSource, Notify, NotifyFormat, Preset,
            Rollout, Step, Strategy, Then,
        },
    },
    units::{
        Absolute, ByteSize, ErrorMargin, GuardSettings, Insufficient, JudgeSettings, Span, Unsure,
    },
};

/// The tables of a plan under `path`; its steps by the word for them where there is one.
pub fn describe(rollout: &Rollout, path: &str) -> Vec<Block> {
    blocks(rollout, path, true)
}

/// A plan as a text of its own, so that no later default and no preset says anything of it.
pub fn in_full(rollout: &Rollout) -> String {
    text(&blocks(rollout, "", false), |_| true)
}

/// What of a plan is not as usual: the text that somebody would write.
pub fn in_short(rollout: &Rollout) -> String {
    text(&blocks(rollout, "", true), |entry| !entry.usual)
}

fn text(blocks: &[Block], said: impl Fn(&Entry) -> bool) -> String {
    let mut text = String::new();
    for block in blocks {
        if !block.header.is_empty() {
            text.extend([&block.header, "\n"]);
        }
        for entry in block.entries.iter().filter(|entry| said(entry)) {
            text.extend([entry.key, " = ", &entry.field.to_string(), "\n"]);
        }
    }
    text
}

fn blocks(rollout: &Rollout, path: &str, by_preset: bool) -> Vec<Block> {
    let below = |key: &str| match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    };
    let mut block = Block::table(path, keys::ROLLOUT);
    if path.is_empty() {
        block.header.clear();
    }
    block.text(
        "strategy",
        match rollout.strategy {
            Strategy::Canary => "canary",
            Strategy::BlueGreen => "blue-green",
            Strategy::Rolling => "rolling",
        },
    );
    steps(rollout, by_preset, &mut block);
    if rollout.strategy == Strategy::Rolling {
        match rollout.batch {
            Batch::Count(count) => block.put("batch", count.to_string()),
            Batch::Part(part) => block.text("batch", part),
        }
    }
    block.span("ready_timeout", rollout.ready_timeout);
    block.span("warm_up", rollout.warm_up);
    block.span("undo_window", rollout.undo_window);
    if !rollout.freeze.is_empty() {
        let windows = rollout.freeze.iter();
        let windows = windows.map(|window| quoted(&window.to_string()));
        block.put("freeze", Field::List(windows.collect()));
    }
    let mut blocks = vec![block, guard(&rollout.guard, below("guard"))];
    judge(&rollout.judge, &below("judge"), &mut blocks);
    let mut rescue = Block::table(below("rescue"), keys::RESCUE);
    let methods = &rollout.rescue.methods;
    rescue.put("enabled", (!methods.is_empty()).to_string());
    if !methods.is_empty() {
        rescue.put("methods", array(methods));
    }
    rescue.text("max_body", ByteSize(rollout.rescue.max_body));
    blocks.extend([rescue, absolute(&rollout.absolute, below("absolute"))]);
    let of = below("metrics");
    blocks.extend(rollout.metrics.iter().map(|metric| figure(metric, &of)));
    let of = below("hooks");
    let mut seen = BTreeMap::new();
    let hooks = rollout.hooks.iter();
    blocks.extend(hooks.map(|it| hook(it, &of, &apart(&it.url, &mut seen))));
    blocks
}

/// The same name once more is another.
fn apart(name: &str, seen: &mut BTreeMap<String, u32>) -> String {
    let count = seen.entry(name.to_owned()).or_default();
    *count += 1;
    match *count {
        1 => name.to_owned(),
        count => format!("{name} ({count})"),
    }
}

fn steps(rollout: &Rollout, by_preset: bool, block: &mut Block) {
    let says = |preset: &Preset| preset.steps(rollout.strategy) == rollout.steps;
    let bakes = |preset: &Preset| preset.bake() == rollout.bake;
    // The usual one first, where several say the same.
    let presets = [Preset::Standard, Preset::Fast, Preset::Careful];
    let presets = || presets.iter().filter(|preset| by_preset && says(preset));
    let preset = presets().find(|it| bakes(it)).or_else(|| presets().next());
    if let Some(preset) = preset {
        let usual = *preset == Preset::Standard;
        block.put_as("preset", quoted(preset.as_str()), usual);
    } else {
        let steps = rollout.steps.iter().map(step);
        block.put("steps", Field::List(steps.collect()));
    }
    let usual = bakes(preset.unwrap_or(&Preset::Standard));
    let bake = quoted(&Span(rollout.bake).to_string());
    block.put_as("bake", bake, usual);
}

fn step(step: &Step) -> String {
    let span = |span| quoted(&Span(span).to_string());
    let share = step.share.map(|share| quoted(&share.to_string()));
    let mirror = step.mirror.map(|part| quoted(&part.to_string()));
    let named = [("share", share), ("mirror", mirror)].into_iter();
    let mut said: Vec<_> = named.filter_map(|(key, part)| Some((key, part?))).collect();
    match step.then {
        Then::Hold(time) => said.push(("hold", span(time))),
        Then::Judge(time) => said.push(("judge", span(time))),
        Then::Approval {
            timeout,
            on_timeout,
        } => {
            said.push(("approval", true.to_string()));
            if let Some(timeout) = timeout {
                said.push(("timeout", span(timeout)));
                said.push(("on_timeout", quoted(unsure(on_timeout))));
            }
        }
    }
    table(said.into_iter()).unwrap_or_default()
}

fn unsure(unsure: Unsure) -> &'static str {
    match unsure {
        Unsure::Promote => "promote",
        Unsure::Pause => "pause",
        Unsure::Rollback => "rollback",
    }
}

fn guard(guard: &GuardSettings, path: String) -> Block {
    let mut block = Block::table(path, keys::GUARD);
    block.real("alpha", guard.alpha);
    block.real("ratio", guard.ratio);
    block.put("min_errors", guard.min_errors.to_string());
    block.put("min_clients", guard.min_clients.to_string());
    block.text("min_error_rate", guard.min_error_rate);
    block.put("max_excess_failures", guard.max_excess_failures.to_string());
    block
}

fn judge(judge: &JudgeSettings, path: &str, blocks: &mut Vec<Block>) {
    let mut block = Block::table(path, keys::JUDGE);
    block.span("interval", judge.interval);
    block.put("min_requests", judge.min_requests.to_string());
    match judge.error_margin {
        ErrorMargin::Auto => block.text("error_margin", "auto"),
        ErrorMargin::Fixed(margin) => block.text("error_margin", margin),
    }
    if judge.latency.is_none() {
        block.put("latency", false.to_string());
    }
    block.text(
        "on_insufficient_data",
        match judge.on_insufficient_data {
            Insufficient::Hold => "hold",
            Insufficient::Promote => "promote",
            Insufficient::Pause => "pause",
            Insufficient::Rollback => "rollback",
        },
    );
    block.span("max_hold", judge.max_hold);
    block.text("on_max_hold", unsure(judge.on_max_hold));
    blocks.push(block);
    blocks.extend(judge.latency.map(|latency| {
        let mut block = Block::table(format!("{path}.latency"), keys::LATENCY);
        block.real("quantile", latency.quantile);
        block.text("increase", latency.increase);
        block.span("floor", latency.floor);
        block
    }));
}

fn absolute(absolute: &Absolute, path: String) -> Block {
    let mut block = Block::table(path, keys::ABSOLUTE);
    block.put("min_requests", absolute.min_requests.to_string());
    if let Some(rate) = absolute.max_error_rate {
        block.text("max_error_rate", rate);
    }
    if let Some(latency) = absolute.max_p95 {
        block.span("max_p95", latency);
    }
    if let Some((least, time)) = absolute.min_success {
        block.text("min_success", least);
        block.span("min_success_for", time);
    }
    if let Some(part) = absolute.probe_failures {
        block.text("probe_failures", part);
    }
    block
}

fn figure(metric: &Metric, of: &str) -> Block {
    let mut block = Block::item(of, metric.name.as_str(), keys::METRIC);
    block.text("name", &metric.name);
    match &metric.source {
        MetricSource::Prometheus { url, query } => {
            let said = [("url", quoted(url)), ("query", quoted(query))];
            block.put("prometheus", table(said.into_iter()).unwrap_or_default());
        }
        MetricSource::Http {
            url,
            pointer,
            headers,
        } => {
            let mut said = vec![("url", quoted(url)), ("pointer", quoted(pointer))];
            let headers = headers.iter();
            let headers =
                headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()));
            said.extend(map(headers).map(|headers| ("headers", headers)));
            block.put("http", table(said.into_iter()).unwrap_or_default());
        }
    }
    if let Some(secret) = &metric.authorization {
        block.put("authorization", Field::Secret(secret.clone()));
    }
    match metric.bound {
        Bound::Stable { max_drop, max_rise } => {
            block.text("compare", "stable");
            let bounds = [("max_drop", max_drop), ("max_rise", max_rise)];
            for (key, bound) in bounds {
                if let Some(bound) = bound {
                    block.text(key, bound);
                }
            }
        }
        Bound::Between { min, max } => {
            for (key, bound) in [("min", min), ("max", max)] {
                if let Some(bound) = bound {
                    block.real(key, bound);
                }
            }
        }
    }
    block.span("interval", metric.interval);
    block.span("timeout", metric.timeout);
    block.put("dry_run", metric.dry_run.to_string());
    block
}

fn hook(hook: &Hook, of: &str, identity: &str) -> Block {
    let mut block = Block::item(of, identity, keys::HOOK);
    block.put("at", array(hook.at.iter().copied().map(HookPoint::as_str)));
    block.text("url", &hook.url);
    if let Some(secret) = &hook.secret {
        block.put("secret", Field::Secret(secret.clone()));
    }
    block.span("timeout", hook.timeout);
    block.text("on_timeout", unsure(hook.on_timeout));
    block
}

/// Those who are told of events.
pub fn notify<'a>(all: impl Iterator<Item = &'a Notify>) -> Vec<Block> {
    let mut seen = BTreeMap::new();
    let block = |notify: &Notify| {
        let url = Field::Secret(notify.url.clone());
        let identity = apart(&url.to_string(), &mut seen);
        let mut block = Block::item("notify", &identity, keys::NOTIFY);
        block.put("url", url);
        block.text(
            "format",
            match notify.format {
                NotifyFormat::Json => "json",
                NotifyFormat::Slack => "slack",
                NotifyFormat::Statuspage => "statuspage",
            },
        );
        if !notify.on.is_empty() {
            block.put("on", array(&notify.on));
        }
        block
    };
    all.map(block).collect()
}
