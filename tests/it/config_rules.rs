//! Each thing that can be wrong with what a route does, one row each.

use std::path::Path;

use cutover::config::{Outside, Plan, Problems, load_text, problem::Code};

use crate::config_files::SMALL;

fn check(text: &str) -> Result<Plan, Problems> {
    let outside = Outside {
        env: &|_| None,
        secrets: true,
    };
    load_text(Path::new("/srv/cutover.toml"), text, &outside).map(|loaded| loaded.plan)
}

fn told(text: &str) -> Vec<(Code, String, String)> {
    match check(text) {
        Ok(plan) => panic!("no problem in\n{text}\n{plan:?}"),
        Err(problems) => problems
            .iter()
            .map(|p| (p.code, p.key.clone(), p.message.clone()))
            .collect(),
    }
}

fn are_told(before: &str, rows: &[(&str, Code, &str, &str)]) {
    for &(lines, code, key, message) in rows {
        let text = format!("{SMALL}{before}{lines}\n");
        let told = told(&text);
        assert_eq!(told, [(code, key.to_owned(), message.to_owned())], "{text}");
    }
}

const TO_APP: &str = "[[routes]]\nservice = \"app\"\n";
const BESIDE: &str = "[[routes]]\nservice = \"app\"\n[[routes]]\npath = \"/x\"\n";

#[test]
fn changes_of_headers_that_cannot_be() {
    are_told(
        TO_APP,
        &[
            (
                "request_headers.set.Host = \"a\"",
                Code::InvalidValue,
                "routes[0].request_headers.set",
                "the header `host` can't be changed",
            ),
            (
                "response_headers.add.Content-Length = \"1\"",
                Code::InvalidValue,
                "routes[0].response_headers.add",
                "the header `content-length` can't be changed",
            ),
            (
                "response_headers.remove = [\"x\", \"transfer-encoding\"]",
                Code::InvalidValue,
                "routes[0].response_headers.remove",
                "the header `transfer-encoding` can't be changed",
            ),
            (
                "request_headers = { set = { X-A = \"1\" }, remove = [\"x-a\"] }",
                Code::Duplicate,
                "routes[0].request_headers.remove",
                "the header `x-a` stands twice",
            ),
            (
                "request_headers.set = { X-A = \"1\", x-a = \"2\" }",
                Code::Duplicate,
                "routes[0].request_headers.set",
                "the header `x-a` stands twice",
            ),
            (
                "request_headers.sets = {}",
                Code::UnknownKey,
                "routes[0].request_headers.sets",
                "unknown key `sets`",
            ),
            (
                "request_headers.set.x = \"a\\nb\"",
                Code::InvalidValue,
                "routes[0].request_headers.set.x",
                "`a\\nb` is not valid",
            ),
        ],
    );
}

#[test]
fn changes_of_the_path_and_the_host_that_cannot_be() {
    are_told(
        TO_APP,
        &[
            (
                "strip_prefix = true",
                Code::Conflict,
                "routes[0].strip_prefix",
                "this route has no `path` to take off",
            ),
            (
                "path_regex = \"/x.*\"\nreplace_prefix = \"/y\"",
                Code::Conflict,
                "routes[0].replace_prefix",
                "this route has no `path` to take off",
            ),
            (
                "path = \"/x\"\nstrip_prefix = \"/y\"",
                Code::InvalidValue,
                "routes[0].strip_prefix",
                "no path of this route begins with `/y`",
            ),
            (
                "path_exact = \"/xy\"\nstrip_prefix = \"/x\"",
                Code::InvalidValue,
                "routes[0].strip_prefix",
                "no path of this route begins with `/x`",
            ),
            (
                "path = \"/x\"\nreplace_prefix = \"/x/\"",
                Code::InvalidValue,
                "routes[0].replace_prefix",
                "`/x` in place of itself changes nothing",
            ),
            (
                "strip_prefix = \"/\"",
                Code::InvalidValue,
                "routes[0].strip_prefix",
                "`/` in place of itself changes nothing",
            ),
            (
                "replace_prefix = \"/<x>\"",
                Code::InvalidValue,
                "routes[0].replace_prefix",
                "`/<x>` is no path of a request",
            ),
            (
                "rewrite_host = \"http://a\"",
                Code::InvalidValue,
                "routes[0].rewrite_host",
                "`http://a` is not valid",
            ),
            (
                "rewrite_host = \"a:99999\"",
                Code::InvalidValue,
                "routes[0].rewrite_host",
                "`a:99999` is not valid",
            ),
        ],
    );
    for right in [
        "path = \"/x\"\nstrip_prefix = \"/x/y\"",
        "path = \"/x/y\"\nstrip_prefix = \"/x\"",
        "strip_prefix = \"/x\"",
        "strip_prefix = false",
        "rewrite_host = \"[::1]:80\"",
    ] {
        let plan = check(&format!("{SMALL}{TO_APP}{right}\n"));
        assert!(plan.is_ok(), "{right} {plan:?}");
    }
}

#[test]
fn answers_of_a_route_that_cannot_be() {
    are_told(
        BESIDE,
        &[
            (
                "service = \"app\"\nredirect = { to = \"https://a/\" }",
                Code::Conflict,
                "routes[1].redirect",
                "`redirect` and `service` can't both answer",
            ),
            (
                "redirect = {}",
                Code::MissingKey,
                "routes[1].redirect.to",
                "`routes[1].redirect.to` is missing",
            ),
            (
                "redirect = { to = \"{path}\" }",
                Code::InvalidValue,
                "routes[1].redirect.to",
                "`{path}` is not valid",
            ),
            (
                "redirect = { to = \"https://a/\", host = \"b\" }",
                Code::Conflict,
                "routes[1].redirect.host",
                "`to` says all, so `host` says nothing",
            ),
            (
                "redirect = { host = \"b\", status = 200 }",
                Code::InvalidValue,
                "routes[1].redirect.status",
                "200 is not valid",
            ),
            (
                "redirect = { scheme = \"httsp\" }",
                Code::InvalidValue,
                "routes[1].redirect.scheme",
                "`httsp` is not valid",
            ),
            (
                "respond = { body = \"x\" }",
                Code::MissingKey,
                "routes[1].respond.status",
                "`routes[1].respond.status` is missing",
            ),
            (
                "respond = { status = 204, body = \"x\" }",
                Code::Conflict,
                "routes[1].respond.body",
                "an answer of status 204 has no body",
            ),
            (
                "respond = { status = 200 }\nrewrite_host = \"a\"",
                Code::Conflict,
                "routes[1].rewrite_host",
                "`rewrite_host` changes nothing: this route asks no app",
            ),
            (
                "respond = { status = 200 }\nstrip_prefix = true",
                Code::Conflict,
                "routes[1].strip_prefix",
                "`strip_prefix` changes nothing: this route asks no app",
            ),
        ],
    );
}

#[test]
fn access_and_rates_that_cannot_be() {
    are_told(
        TO_APP,
        &[
            (
                "allow = [\"10.0.0.0/33\"]",
                Code::InvalidValue,
                "routes[0].allow[0]",
                "`10.0.0.0/33` is not valid",
            ),
            (
                "allow = []",
                Code::InvalidValue,
                "routes[0].allow",
                "`routes[0].allow` is empty",
            ),
            (
                "rate_limit = {}",
                Code::MissingKey,
                "routes[0].rate_limit.requests",
                "`routes[0].rate_limit.requests` is missing",
            ),
            (
                "rate_limit = { requests = 0 }",
                Code::InvalidValue,
                "routes[0].rate_limit.requests",
                "0 is out of bounds",
            ),
            (
                "rate_limit = { requests = 1, per = \"10ms\" }",
                Code::InvalidValue,
                "routes[0].rate_limit.per",
                "10ms is out of bounds",
            ),
            (
                "rate_limit = { requests = 1, by = \"cookie:a\" }",
                Code::InvalidValue,
                "routes[0].rate_limit.by",
                "`cookie:a` is not valid",
            ),
        ],
    );
}

#[test]
fn listeners_that_cannot_be() {
    let listener = "\n[[listeners]]\naddress = \"127.0.0.1:1\"\n";
    are_told(
        listener,
        &[
            (
                "deny = []",
                Code::InvalidValue,
                "listeners[1].deny",
                "`listeners[1].deny` is empty",
            ),
            (
                "protocols = [\"h2\"]",
                Code::InvalidValue,
                "listeners[1].protocols",
                "`listeners[1].protocols` is without HTTP/1.1",
            ),
            (
                "protocols = [\"h3\", \"http/1.1\"]",
                Code::InvalidValue,
                "listeners[1].protocols[0]",
                "`h3` is not valid",
            ),
            (
                "mode = \"0600\"",
                Code::Conflict,
                "listeners[1].mode",
                "`listeners[1].mode` is for a Unix socket",
            ),
            (
                "limits.connections_per_client = 0",
                Code::InvalidValue,
                "listeners[1].limits.connections_per_client",
                "0 is out of bounds",
            ),
        ],
    );
}

#[test]
fn holds_and_maintenance_that_cannot_be() {
    are_told(
        "[services.app.maintenance]\n",
        &[
            (
                "status = 302",
                Code::InvalidValue,
                "services.app.maintenance.status",
                "302 is out of bounds",
            ),
            (
                "content_type = \"text/html\"",
                Code::MissingKey,
                "services.app.maintenance.file",
                "`services.app.maintenance.file` is missing",
            ),
            (
                "file = \"none.html\"",
                Code::Unreadable,
                "services.app.maintenance.file",
                "the page can't be read: /srv/none.html: it does not exist",
            ),
            (
                "allow = [\"office\"]",
                Code::InvalidValue,
                "services.app.maintenance.allow[0]",
                "`office` is not valid",
            ),
        ],
    );
    are_told(
        "[services.app.hold]\n",
        &[(
            "for = \"2h\"",
            Code::InvalidValue,
            "services.app.hold.for",
            "2h is out of bounds",
        )],
    );
}

#[test]
fn error_pages_that_cannot_be() {
    are_told(
        "[services.app.errors]\n",
        &[
            (
                "418 = { file = \"a.html\" }",
                Code::InvalidValue,
                "services.app.errors.418",
                "`418` is not valid",
            ),
            (
                "503 = {}",
                Code::MissingKey,
                "services.app.errors.503.file",
                "`services.app.errors.503.file` is missing",
            ),
            (
                "503 = { file = \"page\" }",
                Code::Unreadable,
                "services.app.errors.503.file",
                "what `page` holds can't be told from its name",
            ),
            (
                "503 = { file = \"none.html\" }",
                Code::Unreadable,
                "services.app.errors.503.file",
                "the page can't be read: /srv/none.html: it does not exist",
            ),
        ],
    );
    let folder = crate::config_files::folder("");
    let page = folder.path().join("page.html");
    let errors = |table: &str, status: &str| {
        format!("{SMALL}[{table}.errors]\n{status} = {{ file = {page:?} }}\n")
    };
    std::fs::write(&page, vec![b'x'; 64 * 1024 + 1]).unwrap_or_default();
    assert_eq!(told(&errors("defaults", "404")).len(), 1, "it is too large");
    std::fs::write(&page, vec![b'x'; 64 * 1024]).unwrap_or_default();
    assert!(check(&errors("defaults", "404")).is_ok());
    assert!(check(&errors("services.app", "5xx")).is_ok());
    let at_the_door = told(&errors("services.app", "404"));
    let message = "404 is answered before a service is known";
    assert_eq!(at_the_door.len(), 1);
    assert_eq!(at_the_door[0].2, message);
}

#[test]
fn other_contents_of_a_page_are_a_change() {
    let folder = crate::config_files::folder("");
    let page = folder.path().join("page.html");
    let text = format!("{SMALL}[services.app.errors]\n503 = {{ file = {page:?} }}\n");
    let plans = ["one", "two"].map(|contents| {
        std::fs::write(&page, contents).unwrap_or_default();
        check(&text).map_err(|problems| problems.to_string())
    });
    let [Ok(old), Ok(new)] = &plans else {
        panic!("{plans:?}");
    };
    let diff = cutover::config::diff(old, new);
    assert_eq!(diff.changes.len(), 1, "{diff}");
    assert!(diff.to_string().contains("with other contents"), "{diff}");
}
