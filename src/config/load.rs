//! From a path to a plan: the only place of this room that reads files and the environment.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    thread,
    time::SystemTime,
};

use bytes::Bytes;

use super::{
    check::{File, World, check},
    file::{Node, Parsed, Place, Table, Value, keys, walk},
    gather::{Gathered, Hash, LARGEST_BESIDE, bounded, gather, gather_text},
    plan::Plan,
    problem::{Code, Problem, Problems},
    source::Source,
};
use crate::units::{Secret, SecretSource, Timestamp};

/// A key longer than this is a mistake.
const LARGEST_SECRET: u64 = 64 * 1024;

/// Of an error page: each is kept in memory.
const LARGEST_PAGE: u64 = 64 * 1024;

/// A file that is right.
#[derive(Debug)]
pub struct Loaded {
    pub plan: Plan,
    /// Of all bytes that were read, but for what comes from the environment. Of use in this process alone: never shown.
    pub hash: Hash,
    /// The file itself, then those it includes.
    pub files: Vec<PathBuf>,
}

impl Loaded {
    /// Whether every certificate may be shown at this time; those that `in_force` has are not judged again, for what is
    /// served does not get worse by being served on.
    pub fn judge_times(&self, in_force: Option<&Plan>, now: SystemTime) -> Result<(), Problems> {
        let pairs = |plan: &'_ Plan| {
            let listeners = plan.listeners.clone().into_iter().enumerate();
            listeners.flat_map(|(listener, plan)| {
                let pairs = plan.tls.iter().flat_map(|tls| tls.certificates.clone());
                let pairs: Vec<_> = pairs.enumerate().collect();
                pairs
                    .into_iter()
                    .filter_map(move |(index, pair)| Some((listener, index, pair.certificate?)))
            })
        };
        let known: Vec<_> = in_force.into_iter().flat_map(pairs).collect();
        let mut problems = Vec::new();
        for (listener, index, certificate) in pairs(&self.plan) {
            if !known.iter().any(|(.., known)| *known == certificate)
                && let Err(error) = certificate.at(now)
            {
                let key = format!("listeners[{listener}].tls.certificates[{index}].cert");
                let message = format!("`{key}`: {error}");
                let problem = Problem::new(Code::Certificate, Place::default(), message);
                problems.push(problem.key(key));
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        let path = self.files.first().cloned().unwrap_or_default();
        Err(Problems::new(problems, vec![Source::new(path, "")]))
    }
}

/// What is taken from outside the files.
pub struct Outside<'a> {
    /// The environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Off: secrets, certificates and error pages are neither looked for nor read, and the plan is not fit to run.
    pub secrets: bool,
}

/// Reads and checks a file, with this process's environment.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    load_with(path, &process(true))
}

/// The same on a machine that does not have the secrets. The plan is not fit to run.
pub fn load_offline(path: &Path) -> Result<Loaded, Problems> {
    load_with(path, &process(false))
}

pub fn load_with(path: &Path, outside: &Outside<'_>) -> Result<Loaded, Problems> {
    finish(path, gather(path), outside)
}

/// Checks a text as if it stood at `path`.
pub fn load_text(path: &Path, text: &str, outside: &Outside<'_>) -> Result<Loaded, Problems> {
    finish(path, gather_text(path, text), outside)
}

pub fn process(secrets: bool) -> Outside<'static> {
    Outside {
        env: &|name| std::env::var(name).ok(),
        secrets,
    }
}

fn finish(path: &Path, gathered: Gathered, outside: &Outside<'_>) -> Result<Loaded, Problems> {
    let hash = gathered.hash;
    let files = gathered.sources.iter().map(|s| s.path.clone()).collect();
    let mut problems = gathered.problems;
    let readable = !gathered.sources[0].text.is_empty();
    let empty = gathered.sources[0].text.trim().is_empty();
    // What is missing from a text that could not be made out may well be there.
    let torn = gathered.trees.iter().any(|tree| tree.torn) || (!readable && !problems.is_empty());
    if empty && problems.is_empty() {
        problems.push(
            Problem::new(Code::MissingKey, Place::default(), "the file is empty")
                .hint("`cutover init` prints a file to start from"),
        );
        return Err(Problems::new(problems, gathered.sources));
    }
    let mut file_problems = Vec::new();
    let file = joined(gathered.trees, &mut file_problems);
    // What the parser made of a line that it could not read is no news.
    let line = |p: &Problem| p.line_in(&gathered.sources);
    let torn_lines: BTreeSet<_> = problems
        .iter()
        .filter(|p| p.code == Code::Syntax)
        .map(line)
        .collect();
    file_problems.retain(|problem| torn_lines.is_empty() || !torn_lines.contains(&line(problem)));
    problems.append(&mut file_problems);
    let plan = if torn {
        None
    } else {
        in_world(path, outside, |world| check(&file, world, &mut problems))
    };
    match plan {
        Some(plan) if problems.is_empty() => Ok(Loaded { plan, hash, files }),
        _ => Err(Problems::new(problems, gathered.sources)),
    }
}

/// What is asked where a text is checked as if it stood at `path`.
pub fn in_world<T>(path: &Path, outside: &Outside<'_>, ask: impl FnOnce(&World<'_>) -> T) -> T {
    let base = base_of(path);
    let secret = |source: &SecretSource| secret(source, &base, outside);
    let pem = |name: &str| pem(name, &base, outside);
    // Services mostly share those of the defaults.
    let pages = RefCell::<HashMap<String, Result<Bytes, String>>>::default();
    let page = |file: &str| {
        let mut pages = pages.borrow_mut();
        let read = || page(&base.join(file), outside);
        pages.entry(file.to_owned()).or_insert_with(read).clone()
    };
    ask(&World {
        base: &base,
        state_dir: state_dir(path, &base, outside),
        runtime_dir: (outside.env)("RUNTIME_DIRECTORY")
            .as_deref()
            .and_then(first),
        now: Timestamp::now(),
        cores: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        secret: &secret,
        offline: !outside.secrets,
        pem: &pem,
        page: &page,
    })
}

/// Walks every file's tree and puts the included ones' services and routes beside the first one's.
fn joined(trees: Vec<Parsed>, problems: &mut Vec<Problem>) -> File {
    let mut trees = trees.into_iter().map(|read| read.table);
    let mut root = trees.next().unwrap_or_default();
    walk(&mut root, keys::ROOT, "", problems);
    for mut tree in trees {
        walk(&mut tree, keys::INCLUDED, "", problems);
        include(&mut root, tree, problems);
    }
    File {
        root,
        place: Place::default(),
    }
}

fn include(root: &mut Table, mut tree: Table, problems: &mut Vec<Problem>) {
    if let Some((place, services)) = tree.remove("services") {
        match (root.get_mut("services"), services.value) {
            (Some(there), Value::Table(services)) => {
                if let Value::Table(all) = &mut there.value {
                    for (name, (place, node)) in services.into_entries() {
                        if let Some(first) = all.place_of(&name) {
                            problems.push(
                                Problem::new(
                                    Code::Duplicate,
                                    place,
                                    format!("the service `{}` stands twice", name.escape_debug()),
                                )
                                .key(format!("services.{}", name.escape_debug()))
                                .also(first, "first here"),
                            );
                        } else {
                            all.insert(name, place, node);
                        }
                    }
                }
            }
            (None, value) => root.insert(
                "services".into(),
                place,
                Node {
                    place: services.place,
                    value,
                },
            ),
            (Some(_), _) => {}
        }
    }
    if let Some((place, mut routes)) = tree.remove("routes") {
        match (root.get_mut("routes"), &mut routes.value) {
            (Some(there), Value::Array(more)) => {
                if let Value::Array(all) = &mut there.value {
                    all.append(more);
                }
            }
            (None, _) => root.insert("routes".into(), place, routes),
            (Some(_), _) => {}
        }
    }
}

/// The folder of the file as it was named, not of what a link points to: links are swapped under it.
fn base_of(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.parent().map(Path::to_owned).unwrap_or(path)
}

fn state_dir(path: &Path, base: &Path, outside: &Outside<'_>) -> PathBuf {
    (outside.env)("STATE_DIRECTORY")
        .as_deref()
        .and_then(first)
        .unwrap_or_else(|| {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            base.join(format!("{stem}-state"))
        })
}

/// systemd lists several folders with colons between.
fn first(folders: &str) -> Option<PathBuf> {
    folders
        .split(':')
        .next()
        .filter(|folder| folder.starts_with('/'))
        .map(PathBuf::from)
}

fn pem(name: &str, base: &Path, outside: &Outside<'_>) -> Result<Option<Vec<u8>>, String> {
    if !outside.secrets {
        return Ok(None);
    }
    let path = base.join(name);
    let bytes =
        bounded(&path, LARGEST_BESIDE).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(Some(bytes))
}

fn page(path: &Path, outside: &Outside<'_>) -> Result<Bytes, String> {
    if !outside.secrets {
        return Ok(Bytes::new());
    }
    let read = bounded(path, LARGEST_PAGE);
    read.map(Bytes::from)
        .map_err(|why| format!("{}: {why}", path.display()))
}

fn secret(source: &SecretSource, base: &Path, outside: &Outside<'_>) -> Result<Secret, String> {
    if !outside.secrets {
        return Ok(Secret::from(source.clone(), Vec::new()));
    }
    let mut bytes = match source {
        SecretSource::File(path) => {
            let path = base.join(path);
            bounded(&path, LARGEST_SECRET).map_err(|why| format!("{}: {why}", path.display()))?
        }
        SecretSource::Env(name) => (outside.env)(name)
            .ok_or_else(|| format!("${name} is not set"))?
            .into_bytes(),
        SecretSource::Credential(name) => {
            let folder = (outside.env)("CREDENTIALS_DIRECTORY").ok_or(
                "$CREDENTIALS_DIRECTORY is not set; systemd sets it where LoadCredential= stands",
            )?;
            bounded(&Path::new(&folder).join(name), LARGEST_SECRET)?
        }
    };
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        return Err("it is empty".into());
    }
    Ok(Secret::from(source.clone(), bytes))
}
