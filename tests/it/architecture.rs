//! Reads the sources and holds the rules of ARCHITECTURE.md: who may import whom, where each external crate is at home,
//! what a pure file may not know, and how long a file and a function may be.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each room and what it may use of the others, as path prefixes below `crate::`.
const ROOMS: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("telemetry", &["units"]),
    ("config", &["tls", "units"]),
    ("routing", &["units"]),
    ("pool", &["telemetry", "tls", "units"]),
    (
        "snapshot",
        &["config::plan", "pool", "routing", "tls", "units"],
    ),
    (
        "control",
        &[
            "config::plan",
            "config::Plan",
            "config::diff",
            "pool",
            "snapshot",
            "telemetry",
            "units",
        ],
    ),
    ("acme", &["outbound", "tls", "units"]),
    ("otlp", &["outbound", "telemetry", "units"]),
    (
        "notices",
        &["config::plan", "control", "outbound", "telemetry", "units"],
    ),
    ("outbound", &["tls", "units"]),
    ("tls", &["units"]),
    ("unix_socket", &[]),
    ("upstream", &["pool", "telemetry", "tls", "units"]),
    (
        "proxy",
        &[
            "pool",
            "routing",
            "snapshot",
            "telemetry",
            "tls",
            "units",
            "upstream",
        ],
    ),
    (
        "server",
        &[
            "config::plan",
            "proxy",
            "pool",
            "snapshot",
            "telemetry",
            "tls",
            "units",
            "unix_socket",
            "upstream",
        ],
    ),
    (
        "probe",
        &[
            "config::plan",
            "control",
            "pool",
            "snapshot",
            "telemetry",
            "units",
            "upstream::dial",
        ],
    ),
    (
        "rollout",
        &[
            "config::plan",
            "config::rollout",
            "control",
            "outbound",
            "pool",
            "snapshot",
            "telemetry",
            "units",
        ],
    ),
    (
        "outlier",
        &["control", "pool", "snapshot", "telemetry", "units"],
    ),
    (
        "discovery",
        &["config::plan", "control", "snapshot", "units"],
    ),
    (
        "admin",
        &[
            "config",
            "control",
            "pool",
            "routing",
            "snapshot",
            "telemetry",
            "units",
            "unix_socket",
        ],
    ),
];

/// External crates and the only places that may name them.
const HOMES: &[(&str, &[&str])] = &[
    ("annotate_snippets", &["config"]),
    ("arc_swap", &["snapshot/channel.rs"]),
    ("axum", &["admin"]),
    ("clap", &["cli", "main.rs"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    (
        "fastrand",
        &[
            "acme", "admin", "app", "cli", "control", "demo", "outbound", "probe", "proxy",
            "server", "upstream",
        ],
    ),
    ("h2", &["server/http2", "upstream"]),
    ("hickory_resolver", &["discovery"]),
    ("hmac", &["rollout/hooks", "routing"]),
    ("instant_acme", &["acme"]),
    ("metrics", &["telemetry"]),
    ("metrics_exporter_prometheus", &["telemetry"]),
    ("mimalloc", &["main.rs"]),
    ("opentelemetry_proto", &["otlp"]),
    ("notify", &["config/watch.rs", "config/watch"]),
    ("prost", &["otlp"]),
    ("rcgen", &["acme"]),
    ("rustls", &["tls"]),
    ("rustls_native_certs", &["tls"]),
    ("sd_notify", &["app", "app.rs"]),
    ("sha1", &["proxy/tunnel/handshake.rs"]),
    ("siphasher", &["units"]),
    ("socket2", &["server", "unix_socket.rs", "upstream"]),
    ("statrs", &["rollout/judge"]),
    ("strsim", &["config", "admin"]),
    ("tempfile", &["acme", "cli", "control", "demo"]),
    ("tokio_rustls", &["tls"]),
    ("toml", &["config"]),
    ("tracing_appender", &["telemetry"]),
    ("tracing_subscriber", &["telemetry"]),
    ("utoipa", &["admin"]),
    ("utoipa_axum", &["admin"]),
    ("x509_parser", &["tls"]),
];

/// Files (or folders) that decide and do nothing else: what they need of the world is an argument.
const PURE: &[&str] = &[
    "acme/timing.rs",
    "routing",
    "units",
    "pool/balance.rs",
    "pool/balance",
    "snapshot/build.rs",
    "snapshot/pool.rs",
    "snapshot/routes.rs",
    "config/check",
    "config/check.rs",
    "control/eligibility.rs",
    "control/ejection.rs",
    "control/health.rs",
    "control/history.rs",
    "control/precedence.rs",
    "control/ended.rs",
    "control/ramps.rs",
    "control/rollout/delivery.rs",
    "control/rollout/verbs.rs",
    "outlier/record.rs",
    "outlier/rule.rs",
    "probe/streak.rs",
    "rollout/figures.rs",
    "rollout/guard",
    "rollout/readings/record.rs",
    "rollout/readings/rule.rs",
    "rollout/judge",
    "proxy/head",
    "proxy/tunnel/frames.rs",
    "proxy/tunnel/handshake.rs",
    "telemetry/window.rs",
    "tls/facts.rs",
    "tls/names.rs",
];

const WORLD: &[&str] = &[
    "tokio",
    "hyper",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "fastrand",
    "metrics::",
    "tracing::",
    "std::fs",
    "std::net::Tcp",
];

const LONGEST_FILE: usize = 500;
const LONGEST_FUNCTION: usize = 70;

struct Source {
    /// Below `src/`, with forward slashes.
    path: String,
    lines: Vec<String>,
}

impl Source {
    fn room(&self) -> &str {
        self.path
            .split('/')
            .next()
            .map_or("", |first| first.trim_end_matches(".rs"))
    }

    fn lies_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| {
            self.path == *place
                || self.path.starts_with(&format!("{place}/"))
                || self.path == format!("{place}.rs")
        })
    }

    /// Numbered lines before the tests at the foot, without comments; none of a file that is for tests alone.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self
            .lines
            .iter()
            .enumerate()
            .map(|(index, line)| (index + 1, line.as_str()));
        lines
            .take_while(|(_, line)| {
                !line.starts_with("#[cfg(test)]") && !line.starts_with("#![cfg(test)]")
            })
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder)
            .expect("src is readable")
            .map(|entry| entry.expect("an entry").path());
        let (below, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
        folders.extend(below);
        for file in files
            .into_iter()
            .filter(|file| file.extension().is_some_and(|end| end == "rs"))
        {
            let path = file
                .strip_prefix(&root)
                .expect("below src")
                .to_string_lossy()
                .replace('\\', "/");
            let lines = fs::read_to_string(&file)
                .expect("a source is text")
                .lines()
                .map(str::to_owned)
                .collect();
            found.push(Source { path, lines });
        }
    }
    assert!(found.len() > 20, "the sources were found");
    found
}

/// Every `crate::…` path that a source names, grouped imports spelled out, with the line it begins on.
fn crate_paths(source: &Source) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    let code: Vec<_> = source.code().collect();
    let mut index = 0;
    while index < code.len() {
        let (number, line) = code[index];
        if line
            .trim_start()
            .trim_start_matches("pub ")
            .starts_with("use ")
        {
            let mut statement = String::new();
            while index < code.len() {
                statement.push_str(code[index].1.trim());
                if code[index].1.contains(';') {
                    break;
                }
                index += 1;
            }
            let tree = statement
                .trim_start_matches("pub ")
                .trim_start_matches("use ")
                .trim_end_matches(';')
                .to_owned();
            paths.extend(spelled_out(&tree).into_iter().filter_map(|path| {
                path.strip_prefix("crate::")
                    .map(|path| (number, path.to_owned()))
            }));
        } else {
            for part in line.split("crate::").skip(1) {
                let end = part
                    .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
                    .unwrap_or(part.len());
                paths.push((number, part[..end].trim_end_matches(':').to_owned()));
            }
        }
        index += 1;
    }
    paths
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`.
fn spelled_out(tree: &str) -> Vec<String> {
    let Some(open) = tree.find('{') else {
        return vec![tree.trim().to_owned()];
    };
    let close = tree.rfind('}').expect("a group is closed");
    let (mut depth, mut start, mut branches) = (0, 0, Vec::new());
    let inner = &tree[open + 1..close];
    for (at, letter) in inner.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                branches.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    branches.push(&inner[start..]);
    let branches = branches
        .into_iter()
        .map(str::trim)
        .filter(|branch| !branch.is_empty());
    branches
        .flat_map(|branch| {
            spelled_out(branch)
                .into_iter()
                .map(|rest| format!("{}{rest}", tree[..open].trim()))
        })
        .collect()
}

fn assert_none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}\n  {}", broken.join("\n  "));
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let mut broken = Vec::new();
    for source in sources() {
        let Some((room, allowed)) = ROOMS.iter().find(|(room, _)| *room == source.room()) else {
            continue;
        };
        for (line, path) in crate_paths(&source) {
            let own = path == *room || path.starts_with(&format!("{room}::"));
            let fits = |prefix: &&str| path == **prefix || path.starts_with(&format!("{prefix}::"));
            if !own && !allowed.iter().any(fits) {
                broken.push(format!(
                    "src/{}:{line}: {room} may not use crate::{path}",
                    source.path
                ));
            }
        }
    }
    assert_none(
        &broken,
        "a room uses another that it may not know (the table in ARCHITECTURE.md)",
    );
}

#[test]
fn every_external_crate_stays_in_its_home() {
    let mut broken = Vec::new();
    for source in sources() {
        for (line, text) in source.code() {
            for (name, homes) in HOMES {
                let named = text.match_indices(&format!("{name}::")).any(|(at, _)| {
                    !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                });
                if named && !source.lies_in(homes) {
                    broken.push(format!(
                        "src/{}:{line}: {name} is at home in {homes:?}",
                        source.path
                    ));
                }
            }
        }
    }
    assert_none(&broken, "an external crate is named outside its home");
}

#[test]
fn pure_files_know_no_clock_task_randomness_or_log() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.lies_in(PURE)) {
        for (line, text) in source.code() {
            for word in WORLD.iter().filter(|word| text.contains(**word)) {
                broken.push(format!(
                    "src/{}:{line}: a pure file names {word}",
                    source.path
                ));
            }
        }
    }
    assert_none(
        &broken,
        "a pure file reaches for the world; pass it in as an argument",
    );
}

#[test]
fn only_control_publishes() {
    let mut broken = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| !source.lies_in(&["control", "snapshot"]))
    {
        for (line, _) in source.code().filter(|(_, text)| text.contains("Publisher")) {
            broken.push(format!("src/{}:{line}", source.path));
        }
    }
    assert_none(&broken, "only control holds the Publisher");
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let long = sources()
        .into_iter()
        .filter(|source| source.lines.len() > LONGEST_FILE);
    let broken: Vec<_> = long
        .map(|source| format!("src/{}: {} lines", source.path, source.lines.len()))
        .collect();
    assert_none(&broken, "a file over 500 lines is two nouns");
}

#[test]
fn no_function_is_longer_than_70_lines() {
    let mut broken = Vec::new();
    for source in sources() {
        let mut open: Option<(usize, usize)> = None;
        for (number, line) in source.code() {
            let text = line.trim_start();
            let indent = line.len() - text.len();
            let starts = [
                "fn ",
                "pub fn ",
                "async fn ",
                "pub async fn ",
                "pub(crate) fn ",
                "pub(super) fn ",
                "pub(super) async fn ",
                "pub(crate) async fn ",
            ];
            if open.is_none()
                && starts.iter().any(|start| text.starts_with(start))
                && !text.ends_with(';')
            {
                open = Some((number, indent));
            }
            if let Some((start, outer)) = open
                && indent == outer
                && (text == "}" || text.ends_with('}') && number == start)
            {
                if number - start + 1 > LONGEST_FUNCTION {
                    broken.push(format!(
                        "src/{}:{start}: {} lines",
                        source.path,
                        number - start + 1
                    ));
                }
                open = None;
            }
        }
    }
    assert_none(&broken, "a function over 70 lines does two things");
}

#[test]
fn nothing_is_left_undone_or_slept_through() {
    let mut broken = Vec::new();
    let words = [
        "todo!",
        "unimplemented!",
        "TODO",
        "FIXME",
        "#[ignore",
        "thread::sleep",
    ];
    for source in sources() {
        for (index, line) in source.lines.iter().enumerate() {
            broken.extend(
                words
                    .iter()
                    .filter(|word| line.contains(**word))
                    .map(|word| format!("src/{}:{}: {word}", source.path, index + 1)),
            );
        }
    }
    assert_none(&broken, "finish it, or write down why not in the docs");
}

#[test]
fn grouped_imports_are_spelled_out() {
    assert_eq!(
        spelled_out("crate::{a, b::{c, d::e}}"),
        ["crate::a", "crate::b::c", "crate::b::d::e"]
    );
}
