//! A plan in the file's words again: what differs, and the file that would say what runs.

use std::{fs, path::Path};

use cutover::{
    config::{Diff, Loaded, Outside, Overlay, Plan, diff, export, load_text, plan::Endpoint},
    units::{Admission, PoolKey, Weights},
};

use crate::config_files::SMALL;

/// A text that stands at `/srv/cutover.toml`; `$KEY` is the only variable.
fn load_with_key(text: &str, key: &str) -> Plan {
    let outside = Outside {
        env: &|name| (name == "KEY").then(|| key.to_owned()),
        secrets: true,
    };
    let loaded = load_text(Path::new("/srv/cutover.toml"), text, &outside);
    let Loaded { plan, .. } = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    plan
}

fn load(text: &str) -> Plan {
    load_with_key(text, "secret")
}

fn edit(from: &str, to: &str) -> Diff {
    assert!(SMALL.contains(from), "{from}");
    diff(&load(SMALL), &load(&SMALL.replace(from, to)))
}

#[test]
fn what_differs_is_told_in_the_words_of_the_file() {
    for (from, to, said) in [
        (
            "8080",
            "8081",
            "- listeners 127.0.0.1:8080\n+ listeners 127.0.0.1:8081\n",
        ),
        (
            "127.0.0.1:8080\"",
            "127.0.0.1:8080\"\n[[listeners]]\naddress = \"127.0.0.1:8081\"\npreview = true",
            "+ listeners 127.0.0.1:8081\n",
        ),
        (
            "blue = 100, green = 0",
            "blue = 9, green = 1",
            "services.app.weights: { blue = 100, green = 0 } -> { blue = 9, green = 1 }\n",
        ),
        (
            "/healthz",
            "/ready",
            "services.app.pools.blue.probe.path: \"/healthz\" -> \"/ready\"\nservices.app.pools.green.probe.path: \"/healthz\" -> \"/ready\"\n",
        ),
        (
            "[\"127.0.0.1:3001\"]",
            "[\"127.0.0.1:3003\"]",
            "- services.app.pools.blue.endpoints \"127.0.0.1:3001\"\n+ services.app.pools.blue.endpoints \"127.0.0.1:3003\"\n",
        ),
        (
            "probe.path = \"/healthz\"",
            "probe.path = \"/healthz\"\nsticky = { by = \"ip\" }\ntimeouts.connect = \"1s\"",
            "services.app.timeouts.connect: \"2s\" -> \"1s\"\n+ services.app.sticky { by = \"ip\" }\n",
        ),
        (
            "probe.path = \"/healthz\"",
            "hosts = [\"a.example\"]\nprobe.path = \"/healthz\"",
            "- routes { }\n+ routes { host = [\"a.example\"] }\n",
        ),
        (
            "127.0.0.1:8080\"",
            "127.0.0.1:8080\"\n[defaults]\nfail_open = true\n[startup]\nwait = \"10s\"",
            "",
        ),
    ] {
        assert_eq!(edit(from, to).to_string(), said);
    }
}

#[test]
fn a_service_that_comes_is_one_line() {
    let more = format!(
        "{SMALL}\nhosts = [\"a.example\"]\n[services.other]\nhosts = [\"b.example\"]\nendpoints = [\"10.0.0.1:80\"]\n"
    );
    let more = more.replace(
        "pools.green.endpoints = [\"127.0.0.1:3002\"]\n\nhosts",
        "pools.green.endpoints = [\"127.0.0.1:3002\"]\nhosts",
    );
    let told = diff(&load(SMALL), &load(&more));
    assert_eq!(
        told.to_string(),
        "- routes { }\n+ routes { host = [\"a.example\"] }\n+ routes { host = [\"b.example\"] }\n+ services.other\n"
    );
    assert_eq!(
        told.services
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["other"]
    );
}

#[test]
fn an_edit_that_takes_something_away_says_so() {
    let removes = |from: &str, to: &str| edit(from, to).removes;
    assert!(removes("8080", "8081"));
    assert!(removes("services.app", "services.app2"));
    assert!(removes("blue", "red"));
    assert!(!removes("green", "red"));
    assert!(!removes("blue = 100, green = 0", "blue = 0, green = 1"));
    assert!(!removes("/healthz", "/ready"));
}

const SECRETS: &str = "sticky = { by = \"cookie\", secret = { env = \"KEY\" } }\n";

#[test]
fn a_secret_is_never_shown_but_a_change_of_it_is() {
    let text = format!("{SMALL}\n[services.app.preview]\nsecret = {{ env = \"KEY\" }}\n")
        .replace("probe.path", &format!("{SECRETS}probe.path"));
    let (old, new) = (
        load_with_key(&text, "s3cr3t-1"),
        load_with_key(&text, "s3cr3t-2"),
    );
    let told = diff(&old, &new);
    assert_eq!(told.changes.len(), 2);
    let shown = format!(
        "{told} {told:?} {} {old:?} {}",
        serde_json::to_string(&told).unwrap(),
        export(&old, &Overlay::default())
    );
    assert!(!shown.contains("s3cr3t"), "{shown}");
    assert!(
        shown.contains("{ env = \"KEY\" } (with other contents)"),
        "{shown}"
    );
}

#[test]
fn an_exported_file_loads_as_the_same_plan() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/cutover.example.toml");
    let example = fs::read_to_string(example).unwrap();
    let outside = Outside {
        env: &|_| None,
        secrets: false,
    };
    let read = |text: &str| {
        let loaded = load_text(Path::new("/srv/cutover.toml"), text, &outside);
        loaded.map_or_else(|problems| panic!("{problems}"), |loaded| loaded.plan)
    };
    for text in [
        SMALL,
        &example,
        &example.replace("probe = { type = \"tcp\" }", "probe = false"),
    ] {
        let plan = read(text);
        let exported = export(&plan, &Overlay::default());
        assert_eq!(read(&exported), plan, "{exported}");
        assert!(diff(&plan, &read(&exported)).is_empty());
    }
    insta::assert_snapshot!(export(&read(SMALL), &Overlay::default()));
}

#[test]
fn what_was_decided_at_run_time_is_exported() {
    let plan = load(SMALL);
    let key = PoolKey {
        service: "app".parse().unwrap(),
        pool: "green".parse().unwrap(),
    };
    let endpoint = |text: &str, weight| Endpoint {
        address: text.parse().unwrap(),
        weight,
    };
    let overlay = Overlay {
        admissions: [(key.service.clone(), Admission::Maintenance)].into(),
        weights: [(key.service.clone(), Weights::all_to(key.pool.clone()))].into(),
        endpoints: [(
            key.clone(),
            vec![endpoint("10.0.0.9:80", 3), endpoint("app.internal:80", 1)],
        )]
        .into(),
    };
    let now = load(&export(&plan, &overlay));
    assert_eq!(now.services["app"].weights, overlay.weights["app"]);
    assert_eq!(now.services["app"].admission, Admission::Maintenance);
    assert_eq!(
        now.services["app"].pools["green"].endpoints,
        overlay.endpoints[&key]
    );
    assert_eq!(
        now.services["app"].pools["blue"],
        plan.services["app"].pools["blue"]
    );
}
