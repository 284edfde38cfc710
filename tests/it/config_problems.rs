//! What a person is told of a file that is wrong: everything, at its place, with what would have been right.

use std::path::Path;

use cutover::config::{Outside, Problems, load_text};

/// The problems of a text that stands at `cutover.toml`.
fn problems(text: &str) -> Problems {
    let outside = Outside {
        env: &|_| None,
        secrets: true,
    };
    load_text(Path::new("cutover.toml"), text, &outside).expect_err("the text is wrong")
}

const TEN_FAULTS: &str = r#"
wokers = 4
startup = { wait = "10 seconds" }

[[listeners]]
address = "0.0.0.0:8080"
trusted_proxies = ["10.0.0.0/33"]

[[listeners]]
address = "0.0.0.0:8080"

[[routes]]
path_regex = "/a(b"
service = "shp"

[services.shop]
weights = { blue = -5, gren = 10 }
probe = { path = "healthz", rise = "2" }
rollout = true
pools.blue.endpoints = ["10.0.0.1"]
pools.green.endpoints = ["10.0.0.2:80", "10.0.0.2:80"]

[services.search]
endpoints = ["10.0.1.1:4000"]
"#;

#[test]
fn ten_faults_are_told_at_once() {
    insta::assert_snapshot!(problems(TEN_FAULTS).render(false));
}

#[test]
fn programs_are_told_the_same_as_json() {
    insta::assert_json_snapshot!(problems(TEN_FAULTS).to_json());
}

#[test]
fn a_slip_of_the_pen_is_told_with_what_else_is_wrong() {
    let text = "workers = \n\n[services.a]\nendpoint = [\"10.0.0.1:80\"]\n[services.a]\nhosts = [\"b.example\"\n";
    insta::assert_snapshot!(problems(text).render(false));
}
