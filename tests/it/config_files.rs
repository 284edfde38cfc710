//! Files as people write them, loaded from a folder.

use std::{fs, path::Path, time::Duration};

use cutover::{
    config::{Loaded, Outside, Problems, load_with, plan::ProbeKind},
    units::{Balance, PathPattern},
};
use tempfile::TempDir;

/// A folder with a `cutover.toml`.
pub fn folder(text: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("cutover.toml"), text).expect("the folder is writable");
    folder
}

pub fn load(folder: &Path) -> Result<Loaded, Problems> {
    load_env(folder, &|_| None)
}

pub fn load_env(folder: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Problems> {
    let outside = Outside { env, secrets: true };
    load_with(&folder.join("cutover.toml"), &outside)
}

pub const SMALL: &str = r#"
[[listeners]]
address = "127.0.0.1:8080"

[services.app]
weights = { blue = 100, green = 0 }
probe.path = "/healthz"
pools.blue.endpoints  = ["127.0.0.1:3001"]
pools.green.endpoints = ["127.0.0.1:3002"]
"#;

#[test]
fn the_smallest_useful_file_says_all_that_is_needed() {
    let folder = folder(SMALL);
    let plan = load(folder.path()).unwrap().plan;
    let app = &plan.services["app"];
    assert_eq!(app.weights.to_string(), "blue=100");
    assert_eq!(app.pools["green"].balance, Balance::RoundRobin);
    let probe = app.pools["blue"].probe.as_ref().unwrap();
    let ProbeKind::Http(http) = &probe.kind else {
        panic!("{probe:?}")
    };
    assert_eq!(
        (http.path.as_str(), &*http.status),
        ("/healthz", &[(200, 299)][..])
    );
    assert_eq!(probe.interval, Duration::from_secs(1));
    assert_eq!(plan.routes.len(), 1);
    assert_eq!(plan.routes[0].matcher.path, PathPattern::Any);
    assert_eq!(plan.state_dir, folder.path().join("cutover-state"));
    let socket = folder.path().join("cutover-state/admin.sock");
    assert_eq!(
        plan.admin.address.to_string(),
        format!("unix:{}", socket.display())
    );
    assert!(plan.watch);
}

#[test]
fn every_file_that_is_shipped_is_right() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files = fs::read_dir(shipped)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let outside = Outside {
            env: &|_| None,
            secrets: false,
        };
        if let Err(problems) = load_with(&file, &outside) {
            panic!("{problems}");
        }
    }
}
