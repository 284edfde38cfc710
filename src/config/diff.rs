//! What differs between two plans, in the file's words.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;

use super::{
    describe::{Block, Field, describe},
    plan::Plan,
};
use crate::units::Name;

/// From one plan to another.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Diff {
    pub changes: Vec<Change>,
    /// A listener, a service or a pool with weight goes: the edit is applied only when the file is surely finished.
    pub removes: bool,
    /// The services that differ, those that come and go included.
    pub services: BTreeSet<Name>,
}

/// One thing that differs. Secrets are shown as where they come from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// `services.shop.timeouts.connect`, `listeners 0.0.0.0:80`.
    pub path: String,
    /// What it was; nothing where it was not there.
    pub before: Option<String>,
    /// What it will be; nothing where it goes.
    pub after: Option<String>,
}

impl Diff {
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// `services.shop.timeouts.connect: "2s" -> "5s"`, `+ services.search`, `- listeners 0.0.0.0:80`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |text: &str| match text {
            "" => String::new(),
            text => format!(" {text}"),
        };
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "{}: {before} -> {after}", self.path),
            (Some(before), None) => write!(f, "- {}{}", self.path, said(before)),
            (None, Some(after)) => write!(f, "+ {}{}", self.path, said(after)),
            (None, None) => f.write_str(&self.path),
        }
    }
}

/// One change a line.
impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        Ok(())
    }
}

/// What `new` changes of `old`.
pub fn diff(old: &Plan, new: &Plan) -> Diff {
    let (before, after) = (by_name(old), by_name(new));
    let mut changes = Vec::new();
    for (name, block) in &before {
        match after.get(name) {
            Some(now) => compare(block, now, &mut changes),
            None if inside(name, |name| {
                before.contains_key(name) && !after.contains_key(name)
            }) => {}
            None => changes.push(whole(block, false)),
        }
    }
    for (name, block) in &after {
        let new = |name: &str| after.contains_key(name) && !before.contains_key(name);
        if !before.contains_key(name) && !inside(name, new) {
            changes.push(whole(block, true));
        }
    }
    if changes.is_empty() && old.routes != new.routes {
        changes.push(Change {
            path: "routes".into(),
            before: Some("the order of the file".into()),
            after: Some("another order".into()),
        });
    }
    Diff {
        changes,
        removes: removes(old, new),
        services: services(old, new),
    }
}

fn by_name(plan: &Plan) -> BTreeMap<String, Block> {
    let blocks = describe(plan).into_iter();
    blocks.map(|block| (block.name.clone(), block)).collect()
}

/// Whether a table around this one is `gone`, so that this one needs no word.
fn inside(name: &str, gone: impl Fn(&str) -> bool) -> bool {
    name.match_indices('.').any(|(dot, _)| gone(&name[..dot]))
}

/// A table that comes or goes. A service or a listener is its name; of a smaller table all is said.
fn whole(block: &Block, comes: bool) -> Change {
    let of_its_own = block.header.starts_with("[[") || block.name.matches('.').count() < 2;
    let said = if of_its_own {
        String::new()
    } else {
        let entries = block.entries.iter().filter(|entry| !entry.usual);
        let entries: Vec<_> = entries
            .map(|entry| format!("{} = {}", entry.key, entry.field))
            .collect();
        format!("{{ {} }}", entries.join(", "))
    };
    Change {
        path: block.name.clone(),
        before: (!comes).then(|| said.clone()),
        after: comes.then_some(said),
    }
}

fn compare(old: &Block, new: &Block, changes: &mut Vec<Change>) {
    let path = |key: &str| match old.name.as_str() {
        "" => key.to_owned(),
        name => format!("{name}.{key}"),
    };
    let find = |block: &Block, key: &str| {
        let entry = block.entries.iter().find(|entry| entry.key == key);
        entry.map(|entry| entry.field.clone())
    };
    let added = new.entries.iter().map(|entry| entry.key);
    let added = added.filter(|key| find(old, key).is_none());
    for key in old.entries.iter().map(|entry| entry.key).chain(added) {
        match (find(old, key), find(new, key)) {
            (before, after) if before == after => {}
            (Some(Field::List(before)), Some(Field::List(after))) => {
                let change = |before, after| Change {
                    path: path(key),
                    before,
                    after,
                };
                let lost = before.iter().filter(|item| !after.contains(item));
                changes.extend(lost.map(|item| change(Some(item.clone()), None)));
                let won = after.iter().filter(|item| !before.contains(item));
                changes.extend(won.map(|item| change(None, Some(item.clone()))));
            }
            (before, after) => {
                let before = before.map(|field| field.to_string());
                let mut after = after.map(|field| field.to_string());
                // The same reference to another secret.
                if before == after {
                    after = after.map(|text| format!("{text} (with other contents)"));
                }
                changes.push(Change {
                    path: path(key),
                    before,
                    after,
                });
            }
        }
    }
}

fn removes(old: &Plan, new: &Plan) -> bool {
    let listener = old
        .listeners
        .iter()
        .any(|old| !new.listeners.iter().any(|new| new.address == old.address));
    let service = old.services.iter().any(|(name, old)| {
        new.services.get(name).is_none_or(|new| {
            old.weights
                .iter()
                .any(|(pool, _)| !new.pools.contains_key(pool))
        })
    });
    listener || service
}

fn services(old: &Plan, new: &Plan) -> BTreeSet<Name> {
    let names = old.services.keys().chain(new.services.keys());
    names
        .filter(|name| old.services.get(*name) != new.services.get(*name))
        .cloned()
        .collect()
}
