//! Each thing that can be wrong with what a file means, one row each.

use std::{collections::BTreeSet, fs, path::Path};

use cutover::config::{Outside, Plan, Problems, load_text, problem::Code};

use crate::config_files::{SMALL, folder, load, load_env};

fn check(text: &str) -> Result<Plan, Problems> {
    let outside = Outside {
        env: &|_| None,
        secrets: true,
    };
    load_text(Path::new("/srv/cutover.toml"), text, &outside).map(|loaded| loaded.plan)
}

const GREEN: &str = "[\"127.0.0.1:3002\"]";
const BLUE: &str = "[\"127.0.0.1:3001\"]";
const PROBE: &str = "probe.path = \"/healthz\"";
const LISTENER: &str = "address = \"127.0.0.1:8080\"";

/// The small file with `to` in place of `from`, or before everything where that is empty.
fn small_with(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from}");
    if from.is_empty() {
        format!("{to}\n{SMALL}")
    } else {
        SMALL.replace(from, to)
    }
}

fn service_with(lines: &str) -> String {
    small_with(PROBE, lines)
}

fn told(text: &str) -> Vec<(Code, String)> {
    match check(text) {
        Ok(plan) => panic!("no problem in\n{text}\n{plan:?}"),
        Err(problems) => problems
            .iter()
            .map(|p| (p.code, p.message.clone()))
            .collect(),
    }
}

fn is_the_only_problem(text: &str, code: Code, message: &str) {
    let told = told(text);
    assert_eq!(told, [(code, message.to_owned())], "{text}");
}

#[test]
fn weights_that_cannot_be() {
    let weights = |weights: &str| SMALL.replace("blue = 100, green = 0", weights);
    for (written, code, message) in [
        (
            "blue = 0, green = 0",
            Code::InvalidWeights,
            "the weights come to nothing: no pool would get a request",
        ),
        (
            "",
            Code::InvalidWeights,
            "the weights come to nothing: no pool would get a request",
        ),
        ("blue = -1", Code::InvalidValue, "-1 is out of bounds"),
        (
            "blue = 4294967296",
            Code::InvalidValue,
            "4294967296 is out of bounds",
        ),
        (
            "blue = 99999999999999999999",
            Code::WrongType,
            "the number is too large",
        ),
        (
            "blue = 0.5",
            Code::WrongType,
            "`services.app.weights.blue` is a number with a fraction",
        ),
        (
            "blue = nan",
            Code::WrongType,
            "`services.app.weights.blue` is a number with a fraction",
        ),
        (
            "blue = \"100\"",
            Code::WrongType,
            "`services.app.weights.blue` is a string",
        ),
        (
            "blue = 100, red = 0",
            Code::UnknownName,
            "there is no pool `red`",
        ),
        (
            "blue = 1979-05-27",
            Code::WrongType,
            "a date or a time stands between quotes, where a key takes one",
        ),
    ] {
        is_the_only_problem(&weights(written), code, message);
    }
    assert!(check(&weights("blue = 4294967295, green = 4294967295")).is_ok());
    assert!(check(&weights("green = 1")).is_ok());
    is_the_only_problem(
        &SMALL.replace("weights = { blue = 100, green = 0 }", ""),
        Code::MissingKey,
        "`services.app.weights` is missing",
    );
}

#[test]
fn faults_that_cannot_be() {
    let now = cutover::units::Timestamp::now();
    let hour = std::time::Duration::from_hours(1);
    let faults = |faults: &str| {
        let faults = faults.replace("SOON", &(now + hour).to_string());
        SMALL.replace(
            "weights = {",
            &format!("faults = [{{ {faults} }}]\nweights = {{"),
        )
    };
    for (written, code, message) in [
        (
            "share = \"1%\", until = \"SOON\"",
            Code::MissingKey,
            "`services.app.faults[0]` does nothing",
        ),
        (
            "abort = 503, until = \"SOON\"",
            Code::MissingKey,
            "`services.app.faults[0].share` is missing",
        ),
        (
            "abort = 503, share = \"1%\"",
            Code::MissingKey,
            "`services.app.faults[0].until` is missing",
        ),
        (
            "abort = 200, share = \"1%\", until = \"SOON\"",
            Code::InvalidValue,
            "200 is out of bounds",
        ),
        (
            "abort = 503, share = \"1%\", pool = \"gren\", until = \"SOON\"",
            Code::UnknownName,
            "there is no pool `gren`",
        ),
        (
            "abort = 503, share = \"1%\", until = \"9999-01-01T00:00:00Z\"",
            Code::InvalidValue,
            "9999-01-01T00:00:00Z is more than 24h ahead",
        ),
        (
            "abort = 503, share = \"1%\", until = 2026-12-01T12:00:00Z",
            Code::WrongType,
            "a date or a time stands between quotes, where a key takes one",
        ),
    ] {
        is_the_only_problem(&faults(written), code, message);
    }
    for moment in [
        "2026-12-01",
        "2026-12-01T12:00:00",
        "2026-12-01T12:00Z",
        "20261201T120000Z",
        "2026-13-01T12:00:00Z",
        "2026-12-01T12:00:00Z[UTC]",
        "2026-12-01T12:00:00+01",
        "tomorrow",
    ] {
        let text = format!("abort = 503, share = \"1%\", until = \"{moment}\"");
        let told = told(&faults(&text));
        assert_eq!(told[0].0, Code::InvalidValue, "{moment}: {told:?}");
    }
    for moment in [
        "SOON",
        "2001-12-01T12:00:00Z",
        "2001-12-01t12:00:00.5+01:00",
    ] {
        let text = format!("abort = 503, share = \"1%\", pool = \"green\", until = \"{moment}\"");
        assert!(check(&faults(&text)).is_ok(), "{moment}");
    }
}

#[test]
fn slow_starts_that_cannot_be() {
    let slow_start = |written: &str| {
        SMALL.replace(
            "weights = {",
            &format!("slow_start = {written}\nweights = {{"),
        )
    };
    for (written, code, message) in [
        ("\"10ms\"", Code::InvalidValue, "10ms is out of bounds"),
        (
            "{ aggression = 1.5 }",
            Code::MissingKey,
            "`services.app.pools.blue.slow_start.window` is missing",
        ),
        (
            "{ window = \"30s\", aggression = 11 }",
            Code::InvalidValue,
            "11 is out of bounds",
        ),
        (
            "{ window = \"30s\", aggression = nan }",
            Code::InvalidValue,
            "NaN is out of bounds",
        ),
        (
            "true",
            Code::WrongType,
            "`services.app.slow_start` is true or false",
        ),
    ] {
        let told = told(&slow_start(written));
        assert_eq!((told[0].0, &*told[0].1), (code, message), "{told:?}");
    }
    for written in [
        "false",
        "\"30s\"",
        "{ window = \"30s\", aggression = 1.5, min_weight = \"5%\" }",
        "{ window = \"30s\", aggression = 2 }",
    ] {
        assert!(check(&slow_start(written)).is_ok(), "{written}");
    }
}

#[test]
fn mirrors_that_cannot_be() {
    let mirror = |mirror: &str| {
        SMALL.replace(
            "weights = {",
            &format!("mirror = {{ {mirror} }}\nweights = {{"),
        )
    };
    for (written, code, message) in [
        (
            "share = \"1%\"",
            Code::MissingKey,
            "`services.app.mirror.pool` is missing",
        ),
        (
            "pool = \"green\"",
            Code::MissingKey,
            "`services.app.mirror.share` is missing",
        ),
        (
            "pool = \"gren\", share = \"1%\"",
            Code::UnknownName,
            "there is no pool `gren`",
        ),
        (
            "pool = \"green\", share = \"1%\", most = 0",
            Code::InvalidValue,
            "0 is out of bounds",
        ),
        (
            "pool = \"green\", share = \"1%\", compare = false, body = \"1KiB\"",
            Code::Conflict,
            "`services.app.mirror.body` says what is compared, and nothing is",
        ),
    ] {
        is_the_only_problem(&mirror(written), code, message);
    }
    assert!(check(&mirror("pool = \"green\", share = \"2.5%\", headers = []")).is_ok());
}

const POOLS: &[((&str, &str), Code, &str)] = &[
    (
        (BLUE, "[]"),
        Code::InvalidWeights,
        "the pool `blue` has weight but no endpoint",
    ),
    (
        (GREEN, "[\"a:1\", \"A:1\"]"),
        Code::Duplicate,
        "the endpoint a:1 stands twice",
    ),
    (
        (GREEN, "[\"a:1\", { address = \"a:1\", weight = 2 }]"),
        Code::Duplicate,
        "the endpoint a:1 stands twice",
    ),
    (
        (GREEN, "[{ weight = 2 }]"),
        Code::MissingKey,
        "`services.app.pools.green.endpoints[0].address` is missing",
    ),
    (
        (GREEN, "[{ address = \"a:1\", weight = 0 }]"),
        Code::InvalidValue,
        "0 is out of bounds",
    ),
    ((GREEN, "[\"a\"]"), Code::InvalidValue, "`a` is not valid"),
    (
        (GREEN, "[\"a:0\"]"),
        Code::InvalidValue,
        "`a:0` is not valid",
    ),
    (
        (GREEN, "[\"http://a:1\"]"),
        Code::InvalidValue,
        "`http://a:1` is not valid",
    ),
    (
        (GREEN, "[\"unix:app.sock\"]"),
        Code::InvalidValue,
        "`unix:app.sock` is not valid",
    ),
    (
        (GREEN, "[\"127.0.0.1:8080\"]"),
        Code::Conflict,
        "127.0.0.1:8080 is the listener 127.0.0.1:8080 of this proxy",
    ),
    (
        (GREEN, "\"a:1\""),
        Code::WrongType,
        "`services.app.pools.green.endpoints` is a string",
    ),
    (
        ("pools.green.endpoints", "pools.Green.endpoints"),
        Code::InvalidValue,
        "`Green` is not valid",
    ),
    (
        (
            "pools.green.endpoints",
            "pools.green.balance = \"random\" #",
        ),
        Code::MissingKey,
        "`services.app.pools.green.endpoints` is missing",
    ),
    (
        (PROBE, "endpoints = [\"a:1\"]"),
        Code::Conflict,
        "`endpoints` is the short form of a single pool `main`",
    ),
];

#[test]
fn pools_and_endpoints_that_cannot_be() {
    for &((from, to), code, message) in POOLS {
        let text = small_with(from, to);
        let all = told(&text);
        assert!(all.contains(&(code, message.to_owned())), "{text}\n{all:?}");
    }
    assert!(
        check(&small_with(GREEN, "[]")).is_ok(),
        "a pool without weight may wait for its endpoints"
    );
}

#[test]
fn services_need_endpoints_and_a_way_to_them() {
    let listener = "[[listeners]]\naddress = \"127.0.0.1:1\"\n";
    is_the_only_problem(
        &format!("{listener}[services.a]\n"),
        Code::MissingKey,
        "`services.a` has no endpoints",
    );
    is_the_only_problem(listener, Code::MissingKey, "`services` is missing");
    is_the_only_problem(
        &format!("{listener}[services]\n"),
        Code::MissingKey,
        "there is no service",
    );
    is_the_only_problem(
        "listeners = []\nservices.a.endpoints = [\"a:1\"]",
        Code::MissingKey,
        "there is no listener",
    );
    is_the_only_problem(
        "services.a.endpoints = [\"a:1\"]",
        Code::MissingKey,
        "`listeners` is missing",
    );
    let two = format!(
        "{listener}[services.a]\nendpoints = [\"a:1\"]\nhosts = [\"a.example\"]\n[services.b]\nendpoints = [\"a:2\"]\n"
    );
    is_the_only_problem(&two, Code::Unreachable, "no route reaches the service `b`");
    assert!(check(&format!("{two}routed = false")).is_ok());
    assert!(check(&format!("{two}[[routes]]\nservice = \"b\"")).is_ok());
    let alone = format!("{listener}[services.a]\nendpoints = [\"a:1\"]\nrouted = false");
    assert_eq!(check(&alone).unwrap().routes.len(), 0);
}

const ROUTES: &[(&str, Code, &str)] = &[
    (
        "path = \"/a\"\npath_exact = \"/a\"",
        Code::Conflict,
        "`path_exact` and `path` can't both be met",
    ),
    ("path = \"a\"", Code::InvalidValue, "`a` is not valid"),
    ("path = \"/a?b\"", Code::InvalidValue, "`/a?b` is not valid"),
    ("path = \"/ä\"", Code::InvalidValue, "`/ä` is not valid"),
    (
        "path = \"/%7Euser\"",
        Code::InvalidValue,
        "requests for `/%7Euser` are matched as `/~user`",
    ),
    (
        "path_exact = \"/a/../b\"",
        Code::InvalidValue,
        "requests for `/a/../b` are matched as `/b`",
    ),
    (
        "path = \"/..\"",
        Code::InvalidValue,
        "`/..` is no path of a request",
    ),
    ("path_regex = \"(\"", Code::InvalidValue, "`(` is not valid"),
    (
        "path_regex = \"a)|(b\"",
        Code::InvalidValue,
        "`a)|(b` is not valid",
    ),
    (
        "path_regex = \"(a{1,999}){1,999}\"",
        Code::InvalidValue,
        "`(a{1,999}){1,999}` is not valid",
    ),
    (
        "path_regex = \"\"",
        Code::InvalidValue,
        "`routes[0].path_regex` is empty",
    ),
    ("host = []", Code::InvalidValue, "`routes[0].host` is empty"),
    (
        "host = [\"a.example:80\"]",
        Code::InvalidValue,
        "`a.example:80` is not valid",
    ),
    ("host = [\"*\"]", Code::InvalidValue, "`*` is not valid"),
    (
        "host = \"a.example\"",
        Code::WrongType,
        "`routes[0].host` is a string",
    ),
    (
        "methods = [\"get\"]",
        Code::InvalidValue,
        "`get` is not valid",
    ),
    (
        "methods = []",
        Code::InvalidValue,
        "`routes[0].methods` is empty",
    ),
    (
        "headers = { \"a b\" = \"c\" }",
        Code::InvalidValue,
        "`a b` is not valid",
    ),
    (
        "headers = { a = \"b\\r\\nc\" }",
        Code::InvalidValue,
        "`b\\r\\nc` is not valid",
    ),
    (
        "cookies = { \"a;b\" = \"c\" }",
        Code::InvalidValue,
        "`a;b` is not valid",
    ),
    ("service_ = 1", Code::UnknownKey, "unknown key `service_`"),
];

#[test]
fn routes_that_cannot_be() {
    let route = |lines: &str| format!("{SMALL}[[routes]]\n{lines}\nservice = \"app\"\n");
    for &(lines, code, message) in ROUTES {
        is_the_only_problem(&route(lines), code, message);
    }
    let all = told(&format!(
        "{SMALL}[[routes]]\n[[routes]]\nservice = \"apps\"\n"
    ));
    assert_eq!(
        all[0],
        (Code::MissingKey, "`routes[0].service` is missing".into())
    );
    assert_eq!(
        all[1],
        (Code::UnknownName, "there is no service `apps`".into())
    );
    let twice = format!(
        "{}\n[[routes]]\nhost = [\"B.example\"]\nmethods = [\"PUT\", \"GET\"]\nservice = \"app\"\n",
        route("host = [\"a.example\", \"b.example.\"]\nmethods = [\"GET\", \"PUT\"]")
    );
    is_the_only_problem(
        &twice,
        Code::Unreachable,
        "this route to `app` is never taken for the host b.example",
    );
}

const DOORS: &[((&str, &str), Code, &str)] = &[
    (
        (LISTENER, ""),
        Code::MissingKey,
        "`listeners[0].address` is missing",
    ),
    (
        (LISTENER, "address = \":8080\""),
        Code::InvalidValue,
        "`:8080` is not valid",
    ),
    (
        (LISTENER, "address = \"localhost:8080\""),
        Code::InvalidValue,
        "`localhost:8080` is not valid",
    ),
    (
        (LISTENER, "address = \"0.0.0.0:1\"\nproxy_protocol = true"),
        Code::Conflict,
        "`listeners[0].proxy_protocol` without `trusted_proxies`: anybody could say to be anyone",
    ),
    (
        (
            LISTENER,
            "address = \"0.0.0.0:1\"\ntrusted_proxies = [\"10.0.0.0/40\"]",
        ),
        Code::InvalidValue,
        "`10.0.0.0/40` is not valid",
    ),
    (
        (
            LISTENER,
            "address = \"0.0.0.0:1\"\nlimits.header_bytes = \"1KiB\"",
        ),
        Code::InvalidValue,
        "1KiB is out of bounds",
    ),
    (
        (LISTENER, "address = \"0.0.0.0:1\"\nlimits.connections = 0"),
        Code::InvalidValue,
        "0 is out of bounds",
    ),
    (
        (
            LISTENER,
            "address = \"0.0.0.0:1\"\ntimeouts.header = \"0s\"",
        ),
        Code::InvalidValue,
        "0s is out of bounds",
    ),
    (
        (LISTENER, "address = \"0.0.0.0:1\"\ntls = {}"),
        Code::MissingKey,
        "there is no certificate",
    ),
    (
        (
            LISTENER,
            "address = \"0.0.0.0:1\"\ntls.client_auth.ca = \"/nowhere/a.pem\"\ntls.acme.hosts = [\"a.test\"]",
        ),
        Code::Unreadable,
        "the file can't be read: /nowhere/a.pem: it does not exist",
    ),
    (
        (
            LISTENER,
            "address = \"0.0.0.0:1\"\ntls.acme.hosts = [\"*.a.test\"]",
        ),
        Code::InvalidValue,
        "`*.a.test` can't be proved by `http-01` or `tls-alpn-01`",
    ),
    (
        (
            LISTENER,
            "address = \"0.0.0.0:1\"\ntls.acme = { hosts = [\"a.test\"], directory = \"http://a\" }",
        ),
        Code::InvalidValue,
        "`http://a` is not valid",
    ),
    (
        (
            LISTENER,
            "address = \"0.0.0.0:1\"\nredirect_https = true\ntls.acme.hosts = [\"a.test\"]",
        ),
        Code::Conflict,
        "`redirect_https` with `tls`: who comes here speaks HTTPS already",
    ),
    (
        (
            LISTENER,
            "address = \"0.0.0.0:1\"\npreview = true\nredirect_https = true\n[[listeners]]\naddress = \"0.0.0.0:2\"",
        ),
        Code::Conflict,
        "`preview` with `redirect_https`: no request is passed on here, so nothing can be previewed",
    ),
    (
        (LISTENER, "address = \"0.0.0.0:1\"\npreview = true"),
        Code::Conflict,
        "there is no listener for users: all are for previews, and nobody would reach what has weight",
    ),
    (
        (
            LISTENER,
            "address = \"0.0.0.0:1\"\ntimeouts.handshake = \"5s\"",
        ),
        Code::Conflict,
        "`listeners[0].timeouts.handshake` without `tls`: nobody shakes hands here",
    ),
    (
        (
            LISTENER,
            "address = \"0.0.0.0:1\"\ntls.acme.hosts = [\"a.test\"]\ntls.hsts.preload = true",
        ),
        Code::Conflict,
        "no browser's list takes hosts that do not say so for all hosts below and for a year",
    ),
    (
        ("", "telemetry.address = \"127.0.0.1:8080\""),
        Code::Duplicate,
        "the address 127.0.0.1:8080 stands twice",
    ),
    (
        ("", "admin.address = \"127.0.0.1:8080\""),
        Code::Duplicate,
        "the address 127.0.0.1:8080 stands twice",
    ),
    (
        ("", "admin.address = \"0.0.0.0:9900\""),
        Code::Insecure,
        "the admin API would be open to the network without TLS",
    ),
    (
        ("", "admin.address = \"localhost:9900\""),
        Code::InvalidValue,
        "`localhost:9900` is not valid",
    ),
    (
        ("", "admin = { address = \"[::1]:9900\", mode = \"0660\" }"),
        Code::Conflict,
        "`admin.mode` is for a Unix socket",
    ),
    (
        ("", "admin.mode = \"0888\""),
        Code::InvalidValue,
        "`0888` is not valid",
    ),
    (
        ("", "admin.mode = 660"),
        Code::WrongType,
        "`admin.mode` is an integer",
    ),
    (
        ("", "workers = 0"),
        Code::InvalidValue,
        "0 is out of bounds",
    ),
    (
        ("", "workers = \"many\""),
        Code::InvalidValue,
        "`many` is not valid",
    ),
    (
        ("", "watch = \"yes\""),
        Code::WrongType,
        "`watch` is a string",
    ),
    (
        ("", "startup.wait = \"2h\""),
        Code::InvalidValue,
        "2h is out of bounds",
    ),
    (
        ("", "telemetry.access_log.sample = \"101%\""),
        Code::InvalidValue,
        "`101%` is not valid",
    ),
    (
        ("", "telemetry.access_log.format = \"jsn\""),
        Code::InvalidValue,
        "`jsn` is not valid",
    ),
    (
        ("", "include = [\"**/*.toml\"]"),
        Code::InvalidValue,
        "`**/*.toml` is not valid",
    ),
    (
        ("", "include = [\"missing.toml\"]"),
        Code::Unreadable,
        "/srv/missing.toml can't be read: it does not exist",
    ),
];

#[test]
fn listeners_and_doors_that_cannot_be() {
    for &((from, to), code, message) in DOORS {
        is_the_only_problem(&small_with(from, to), code, message);
    }
}

#[test]
fn tokens_that_cannot_be() {
    let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let token = |lines: &str| format!("{SMALL}[[admin.tokens]]\n{lines}\n");
    let whole = format!("name = \"ci\"\nrole = \"operator\"\nsha256 = \"{digest}\"");
    for (lines, code, message) in [
        (
            whole.replace("operator", "root"),
            Code::InvalidValue,
            "`root` is not valid",
        ),
        (whole.replace('9', ""), Code::InvalidValue, "is not valid"),
        (
            whole.replace("name = \"ci\"", ""),
            Code::MissingKey,
            "`admin.tokens[0].name` is missing",
        ),
        (
            format!("{whole}\nservices = [\"ap\"]"),
            Code::UnknownName,
            "there is no service `ap`",
        ),
        (
            format!("{whole}\nservices = []"),
            Code::InvalidValue,
            "a token for no service can do nothing",
        ),
        (
            format!("{whole}\n[[admin.tokens]]\n{whole}"),
            Code::Duplicate,
            "the token `ci` stands twice",
        ),
    ] {
        let all = told(&token(&lines));
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].0 == code && all[0].1.ends_with(message), "{all:?}");
    }
    assert_eq!(check(&token(&whole)).unwrap().admin.tokens.len(), 1);
}

const SETTINGS: &[(&str, Code, &str)] = &[
    (
        "min_ready = \"0%\"",
        Code::InvalidValue,
        "0% would move traffic to a pool that is not ready",
    ),
    (
        "preview = {}",
        Code::MissingKey,
        "`services.app.preview.secret` is missing",
    ),
    (
        "preview = true",
        Code::WrongType,
        "`services.app.preview` is true or false",
    ),
    (
        "preview.secret = {}",
        Code::Conflict,
        "`services.app.preview.secret` names 0 sources",
    ),
    (
        "preview.secret = { env = \"A\", file = \"b\" }",
        Code::Conflict,
        "`services.app.preview.secret` names 2 sources",
    ),
    (
        "preview.secret = \"hunter2\"",
        Code::WrongType,
        "`services.app.preview.secret` is a string",
    ),
    (
        "preview.secret = { env = \"A\" }",
        Code::Unreadable,
        "the secret can't be read: $A is not set",
    ),
    (
        "sticky = { by = \"header:\" }",
        Code::InvalidValue,
        "`header:` is not valid",
    ),
    (
        "sticky = { by = \"cookies\" }",
        Code::InvalidValue,
        "`cookies` is not valid",
    ),
    (
        "balance = \"least-conn\"",
        Code::InvalidValue,
        "`least-conn` is not valid",
    ),
    (
        "balance = \"hash:ip\"\nhash_balance_factor = \"100%\"",
        Code::InvalidValue,
        "`100%` is not valid",
    ),
    (
        "hash_balance_factor = \"150%\"",
        Code::Conflict,
        "`hash_balance_factor` bounds nothing here",
    ),
    (
        "probe = { type = \"tcp\", path = \"/\" }",
        Code::Conflict,
        "`path` is for HTTP probes",
    ),
    (
        "probe = { path = \"/\", rise = 0 }",
        Code::InvalidValue,
        "0 is out of bounds",
    ),
    (
        "probe = { path = \"/\", interval = \"1ms\" }",
        Code::InvalidValue,
        "1ms is out of bounds",
    ),
    (
        "probe = { method = \"HEAD\", expect.body = \"ok\" }",
        Code::Conflict,
        "the answer to HEAD has no body",
    ),
    (
        "probe.expect.status = []",
        Code::InvalidValue,
        "no status would pass",
    ),
    (
        "probe.expect.status = [\"299-200\"]",
        Code::InvalidValue,
        "`299-200` is not valid",
    ),
    (
        "probe.expect.json = { status = 1 }",
        Code::InvalidValue,
        "`status` is not valid",
    ),
    (
        "probe.expect.json = { \"/a\" = inf }",
        Code::InvalidValue,
        "JSON has no such number",
    ),
    (
        "timeouts.request = \"0s\"",
        Code::InvalidValue,
        "`0s` is not valid",
    ),
    (
        "timeouts.connect = 2",
        Code::WrongType,
        "`services.app.timeouts.connect` is an integer",
    ),
    (
        "limits.body = \"10 MB\"",
        Code::InvalidValue,
        "`10 MB` is not valid",
    ),
    (
        "weight = { blue = 1 }",
        Code::UnknownKey,
        "unknown key `weight`",
    ),
];

#[test]
fn a_key_of_a_later_version_is_told_apart_from_a_slip() {
    let text = small_with("", "[admin]\ntls = true");
    let what = "`tls` is not supported in this version";
    is_the_only_problem(&text, Code::NotSupported, what);
}

#[test]
fn service_settings_that_cannot_be() {
    for &(lines, code, message) in SETTINGS {
        is_the_only_problem(&service_with(lines), code, message);
    }
    let unix =
        service_with("probe = { port = 9000 }").replace("127.0.0.1:3001", "unix:/run/app.sock");
    is_the_only_problem(&unix, Code::Conflict, "unix:/run/app.sock has no ports");
}

#[test]
fn what_is_wrong_in_the_defaults_is_told_once() {
    let text = format!("defaults.probe.rise = 0\n{SMALL}");
    is_the_only_problem(&text, Code::InvalidValue, "0 is out of bounds");
    is_the_only_problem(
        &format!("defaults.weights = {{ blue = 1 }}\n{SMALL}"),
        Code::UnknownKey,
        "unknown key `weights`",
    );
}

#[test]
fn defaults_hold_where_a_service_or_a_pool_says_nothing_else() {
    let text = r#"
        [defaults]
        probe = { path = "/ready", rise = 5, expect.status = [204], headers = { a = "1", b = "1" } }
        balance = "random"
        hash_balance_factor = "150%"
        timeouts = { connect = "1s", idle = "9s" }
        preview = { secret = { env = "KEY" } }
        [[listeners]]
        address = "127.0.0.1:1"
        [services.app]
        hosts = ["a.example"]
        weights = { a = 1 }
        timeouts.connect = "3s"
        probe = { rise = 6, headers = { b = "2" } }
        pools.a = { endpoints = ["a:1"], probe = { fall = 7, expect.status = [200] } }
        pools.b = { endpoints = ["a:2"], probe = false, balance = "hash:ip" }
        [services.other]
        hosts = ["b.example"]
        endpoints = ["a:3"]
        preview = false
        probe.type = "tcp"
    "#;
    let folder = folder(text);
    let plan = load_env(folder.path(), &|name| (name == "KEY").then(|| "k".into()))
        .unwrap()
        .plan;
    let exported = cutover::config::export(&plan, &cutover::config::Overlay::default());
    let (_, services) = exported.split_once("[services.app]").unwrap();
    insta::assert_snapshot!(services);
}

#[test]
fn included_files_are_read_in_order_and_a_service_stands_in_one() {
    let folder = folder(&format!(
        "include = [\"more/*.toml\", \"last.toml\"]\n{SMALL}[[routes]]\nservice = \"app\"\n"
    ));
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("more")).unwrap();
    for name in ["b", "a"] {
        let text = format!(
            "[[routes]]\npath = \"/{name}\"\nservice = \"{name}\"\n[services.{name}]\nendpoints = [\"{name}:1\"]\n"
        );
        fs::write(at(&format!("more/{name}.toml")), text).unwrap();
    }
    fs::write(at("more/.hidden.toml"), "wrong").unwrap();
    fs::write(at("last.toml"), "").unwrap();
    let loaded = load(folder.path()).unwrap();
    let routes: Vec<_> = loaded
        .plan
        .routes
        .iter()
        .map(|route| route.service().unwrap().to_string())
        .collect();
    assert_eq!(routes, ["app", "a", "b"]);
    assert_eq!(
        loaded.files,
        ["cutover.toml", "more/a.toml", "more/b.toml", "last.toml"].map(at)
    );

    fs::write(
        at("last.toml"),
        "workers = 1\n[services.b]\nendpoints = [\"b:2\"]\n",
    )
    .unwrap();
    let problems = load(folder.path()).unwrap_err();
    let told: Vec<_> = problems.iter().collect();
    assert_eq!(told.len(), 2, "{problems}");
    assert!(
        told.iter()
            .all(|problem| problem.file == at("last.toml").display().to_string())
    );
    assert_eq!((told[0].code, told[0].line), (Code::UnknownKey, 1));
    assert_eq!(told[1].message, "the service `b` stands twice");
    let also = told[1].also.as_ref().unwrap();
    assert_eq!(
        (also.file.as_str(), also.line),
        (&*at("more/b.toml").display().to_string(), 4)
    );
}

#[test]
fn a_secret_is_read_from_a_file_the_environment_or_a_credential() {
    let folder = folder(&service_with(
        "preview.secret = { file = \"key\" }\nsticky = { by = \"ip\", secret = { credential = \"sticky\" } }",
    ));
    let place = folder.path().display().to_string();
    let env = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| place.clone());
    fs::write(folder.path().join("key"), "abc\n\n").unwrap();
    fs::write(folder.path().join("sticky"), "xyz\r\n").unwrap();
    let plan = load_env(folder.path(), &env).unwrap().plan;
    let app = &plan.services["app"];
    assert!(app.preview.as_ref().unwrap().secret.matches(b"abc\n"));
    assert!(
        app.sticky
            .as_ref()
            .unwrap()
            .secret
            .as_ref()
            .unwrap()
            .matches(b"xyz")
    );

    fs::write(folder.path().join("key"), "\n").unwrap();
    fs::remove_file(folder.path().join("sticky")).unwrap();
    let problems = load_env(folder.path(), &env).unwrap_err();
    let told: BTreeSet<_> = problems
        .iter()
        .map(|problem| problem.message.as_str())
        .collect();
    assert_eq!(told.len(), 2, "{problems}");
    assert!(
        told.contains("the secret can't be read: it is empty"),
        "{problems}"
    );
}

#[test]
fn the_service_manager_says_where_state_and_sockets_are() {
    let folder = folder(SMALL);
    let env = |name: &str| match name {
        "STATE_DIRECTORY" => Some("/var/lib/cutover:/var/lib/other".to_owned()),
        "RUNTIME_DIRECTORY" => Some("/run/cutover".to_owned()),
        _ => None,
    };
    let plan = load_env(folder.path(), &env).unwrap().plan;
    assert_eq!(plan.state_dir, Path::new("/var/lib/cutover"));
    assert_eq!(
        plan.admin.address.to_string(),
        "unix:/run/cutover/admin.sock"
    );
    let long = format!("state_dir = \"/{}\"\n{SMALL}", "x".repeat(120));
    let all = told(&long);
    assert_eq!(all.len(), 1);
    assert!(all[0].1.ends_with("is too long for a socket"), "{all:?}");
    assert!(check(&format!("admin.address = \"unix:/run/a.sock\"\n{long}")).is_ok());
}

#[test]
fn how_endpoints_are_spoken_to_must_make_sense() {
    let over = |lines: &str| SMALL.replace("weights = ", &format!("{lines}\nweights = "));
    let missing = "`ca` can't be read: /srv/ca.pem: it does not exist";
    for (lines, code, message) in [
        ("protocol = \"h3\"", Code::InvalidValue, "`h3` is not valid"),
        (
            "protocol = \"auto\"",
            Code::Conflict,
            "without TLS an endpoint has no say in what is spoken",
        ),
        (
            "tls = { verify = false, cert = \"a.pem\" }",
            Code::MissingKey,
            "`cert` has no `key` beside it",
        ),
        ("tls.ca = \"ca.pem\"", Code::Unreadable, missing),
        (
            "tls = { verify = false, server_name = \"a:443\" }",
            Code::InvalidValue,
            "`a:443` is not valid",
        ),
        (
            "probe.type = \"grpc\"",
            Code::Conflict,
            "gRPC is spoken over HTTP/2, and these endpoints speak HTTP/1.1",
        ),
        (
            "protocol = \"h2\"\nprobe.type = \"grpc\"",
            Code::Conflict,
            "`path` is for HTTP probes",
        ),
    ] {
        let told = told(&over(lines));
        assert!(
            told.contains(&(code, message.to_owned())),
            "{lines}: {told:?}"
        );
    }
}

#[test]
fn spans_need_a_program_that_was_built_for_them() {
    let file = |lines: &str| small_with("", &format!("[telemetry.otlp]\n{lines}"));
    let whole = file("endpoint = \"http://127.0.0.1:4318\"");
    if cfg!(feature = "otlp") {
        let plan = check(&whole).unwrap();
        assert_eq!(plan.telemetry.otlp.unwrap().service_name, "cutover");
        let told = told(&file(
            "endpoint = \"ftp://a\"\nheaders = [{ name = \"a\", secret = { file = \"/nowhere/x\" } }]",
        ));
        let codes: Vec<_> = told.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, [Code::InvalidValue, Code::Unreadable], "{told:?}");
    } else {
        let what = "this program was built without OTLP";
        is_the_only_problem(&whole, Code::NotSupported, what);
    }
}

#[test]
fn a_pool_that_finds_its_endpoints_needs_none_and_names_its_source() {
    let found = |discover: &str| {
        format!(
            "[[listeners]]\naddress = \"127.0.0.1:1\"\n[services.shop]\npools.blue.discover = {discover}\n"
        )
    };
    let plan = check(&found("{ file = \"blue.endpoints\" }")).unwrap();
    let discover = plan.services["shop"].pools["blue"]
        .discover
        .clone()
        .unwrap();
    assert_eq!(
        (discover.source.to_string().as_str(), discover.most),
        ("file /srv/blue.endpoints", 256)
    );
    is_the_only_problem(
        &found("{}"),
        Code::Conflict,
        "`services.shop.pools.blue.discover` names 0 sources",
    );
    let none = "[[listeners]]\naddress = \"127.0.0.1:1\"\n[services.shop]\npools.blue.balance = \"random\"\n";
    assert!(
        told(none)[0]
            .1
            .contains("`services.shop.pools.blue.endpoints` is missing")
    );
}

#[test]
fn workers_cannot_share_fewer_connections_than_they_are() {
    let text = |workers: u32, protocol: &str, most: &str| {
        format!(
            "workers = {workers}\n[[listeners]]\naddress = \"127.0.0.1:8080\"\n[services.shop]\nprobe = false\nendpoints = {BLUE}\n\
             protocol = \"{protocol}\"\nlimits.connections_per_endpoint = {most}\n"
        )
    };
    for (workers, protocol, most) in [(4, "h1", "1"), (4, "h2", "4"), (4, "h2", "\"none\"")] {
        let plan = check(&text(workers, protocol, most)).unwrap();
        let limit = plan.services["shop"].limits.connections;
        assert_eq!(limit, most.parse().ok(), "{protocol}");
    }
    let problems = told(&text(4, "h2", "3"));
    let what = "the 4 workers can't share 3 connections to an endpoint of pool `main`, which speaks HTTP/2: each needs one";
    assert_eq!(problems, [(Code::Conflict, what.to_owned())]);
}
