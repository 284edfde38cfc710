use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{Check, listeners::tables};
use crate::{
    config::{
        file::{Place, View, keys, misread},
        plan::{Route, Target},
        problem::{Code, Problem},
    },
    units::{HostPattern, Matcher, Name, NoNormalForm, PathPattern, RouteRules, normal_path},
};

/// Expressions are tried one after the other, so many of them make every request slow.
const MOST_REGEXES: usize = 500;

impl Check<'_> {
    pub(super) fn routes(&mut self, root: &View<'_>) -> Vec<Arc<Route>> {
        let mut routes = Vec::new();
        let mut targets: BTreeSet<String> = BTreeSet::new();
        let mut regexes = 0;
        for view in tables(root, "routes", keys::ROUTE) {
            let matcher = self.matcher(&view, &mut regexes);
            let target = self.target(root, &view, &mut targets);
            let Some(matcher) = matcher else { continue };
            let rules = self.rules(&view, &matcher.path);
            if let Some(target) = target {
                routes.push(Drawn {
                    rules,
                    ..Drawn::plain(matcher, target, view.place)
                });
            }
        }
        routes.extend(self.short_forms(root));
        if let Some((name, place)) = implied(root) {
            let target = Target::Service(name);
            routes.push(Drawn::plain(any(Vec::new()), target, place));
        }
        self.no_route_twice(&routes);
        self.every_service_is_reached(root, &targets);
        routes
            .into_iter()
            .map(|drawn| {
                Arc::new(Route {
                    matcher: drawn.matcher,
                    target: drawn.target,
                    rules: drawn.rules,
                })
            })
            .collect()
    }

    /// Who answers: one of the three.
    fn target(
        &mut self,
        root: &View<'_>,
        view: &View<'_>,
        targets: &mut BTreeSet<String>,
    ) -> Option<Target> {
        let given: Vec<_> = ["service", "redirect", "respond"]
            .into_iter()
            .filter(|key| view.has(key))
            .collect();
        if let [first, second, ..] = given[..] {
            self.tell(
                Problem::new(
                    Code::Conflict,
                    view.place_of(second),
                    format!("`{second}` and `{first}` can't both answer"),
                )
                .key(view.path_of(second))
                .also(view.place_of(first), "the other")
                .expected("one of service, redirect and respond"),
            );
            return None;
        }
        let own = match given.first() {
            Some(&"redirect") => self.redirect(&view.within("redirect")),
            Some(&"respond") => self.constant(&view.within("respond")),
            Some(_) => return self.service_of(root, view, targets).map(Target::Service),
            None => {
                let message = format!("`{}` is missing", view.path_of("service"));
                self.tell(
                    Problem::new(Code::MissingKey, view.place, message)
                        .key(view.path_of("service"))
                        .expected("`service`, `redirect` or `respond`"),
                );
                return None;
            }
        };
        self.only_for_apps(view, given[0]);
        own.map(Target::Own)
    }

    /// The service that a route names. The one it most likely meant counts as reached, so that one slip is one problem.
    fn service_of(
        &mut self,
        root: &View<'_>,
        view: &View<'_>,
        targets: &mut BTreeSet<String>,
    ) -> Option<Name> {
        let service: Name = view.parsed("service")?;
        if root.entry("services", service.as_str()).is_none() {
            let names = root.entries("services").map(|(name, ..)| name);
            let meant = self.near(service.as_str(), names);
            targets.extend(meant.map(str::to_owned));
            self.tell(
                Problem::new(
                    Code::UnknownName,
                    view.place_of("service"),
                    format!("there is no service `{service}`"),
                )
                .key(view.path_of("service"))
                .nearest(meant),
            );
            return None;
        }
        targets.insert(service.as_str().to_owned());
        Some(service)
    }

    fn matcher(&mut self, view: &View<'_>, regexes: &mut usize) -> Option<Matcher> {
        for key in ["host", "methods"] {
            self.not_empty(view, key);
        }
        Some(Matcher {
            hosts: hosts(view, "host"),
            path: self.path(view, regexes)?,
            methods: view
                .texts("methods")
                .into_iter()
                .filter_map(|(text, _)| text.parse().ok())
                .collect(),
            headers: pairs(view, "headers")
                .filter_map(|(name, value)| Some((name.parse().ok()?, value)))
                .collect(),
            cookies: pairs(view, "cookies").collect(),
            query: pairs(view, "query").collect(),
        })
    }

    /// An empty list of alternatives would match nothing, or everything: neither is what was meant.
    pub(super) fn not_empty(&mut self, view: &View<'_>, key: &str) {
        let Some(node) = view.node(key).filter(|node| !node.is_faulty()) else {
            return;
        };
        if node.items().is_empty() {
            self.tell(
                Problem::new(
                    Code::InvalidValue,
                    node.place,
                    format!("`{}` is empty", view.path_of(key)),
                )
                .key(view.path_of(key))
                .expected("at least one, or no key for any"),
            );
        }
    }

    fn path(&mut self, view: &View<'_>, regexes: &mut usize) -> Option<PathPattern> {
        let given: Vec<_> = ["path", "path_exact", "path_regex"]
            .into_iter()
            .filter(|key| view.has(key))
            .collect();
        if let [first, second, ..] = given[..] {
            self.tell(
                Problem::new(
                    Code::Conflict,
                    view.place_of(second),
                    format!("`{second}` and `{first}` can't both be met"),
                )
                .key(view.path_of(second))
                .also(view.place_of(first), "the other")
                .expected("one of path, path_exact and path_regex"),
            );
            return None;
        }
        let Some(key) = given.first() else {
            return Some(PathPattern::Any);
        };
        let text = view.text(key)?;
        if *key != "path_regex" {
            self.in_normal_form(view, key, text)?;
        }
        match *key {
            "path_exact" => Some(PathPattern::Exact(text.to_owned())),
            "path" if text.bytes().all(|byte| byte == b'/') => {
                Some(PathPattern::Prefix("/".to_owned()))
            }
            "path" => Some(PathPattern::Prefix(text.trim_end_matches('/').to_owned())),
            _ => self.regex(view, text, regexes),
        }
    }

    /// A path that is written in another form than it is matched in would take no request.
    fn in_normal_form(&mut self, view: &View<'_>, key: &str, text: &str) -> Option<()> {
        let message = match normal_path(text) {
            Ok(None) => return Some(()),
            Ok(Some(normal)) => format!("requests for `{text}` are matched as `{normal}`"),
            Err(NoNormalForm) => format!("`{text}` is no path of a request"),
        };
        self.tell(
            Problem::new(Code::InvalidValue, view.place_of(key), message)
                .key(view.path_of(key))
                .expected("a path in its normal form: no dot segments, no needless escapes"),
        );
        None
    }

    fn regex(&mut self, view: &View<'_>, text: &str, regexes: &mut usize) -> Option<PathPattern> {
        *regexes += 1;
        let place = view.place_of("path_regex");
        let path = view.path_of("path_regex");
        if *regexes > MOST_REGEXES {
            let message = format!("there are more than {MOST_REGEXES} routes with `path_regex`");
            self.tell(Problem::new(Code::InvalidValue, place, message).key(path));
            return None;
        }
        match PathPattern::regex(text) {
            Ok(pattern) => Some(pattern),
            Err(malformed) => {
                self.tell(misread(text, &malformed.0, place, &path));
                None
            }
        }
    }

    /// `hosts` of the services, as routes.
    fn short_forms(&mut self, root: &View<'_>) -> Vec<Drawn> {
        let mut routes = Vec::new();
        for service in services(root) {
            self.not_empty(&service, "hosts");
            let hosts = hosts(&service, "hosts");
            let name = service.path.rsplit('.').next().and_then(|n| n.parse().ok());
            if let (false, Some(name)) = (hosts.is_empty(), name) {
                let place = service.place_of("hosts");
                routes.push(Drawn::plain(any(hosts), Target::Service(name), place));
            }
        }
        routes
    }

    /// Of two routes for the very same requests the second is never taken.
    fn no_route_twice(&mut self, routes: &[Drawn]) {
        let mut seen: HashMap<String, Place> = HashMap::new();
        for Drawn {
            matcher,
            target,
            place,
            ..
        } in routes
        {
            let to = match target {
                Target::Service(service) => format!(" to `{service}`"),
                Target::Own(_) => String::new(),
            };
            let rest = fingerprint(matcher);
            let anywhere = [String::new()];
            let hosts: Vec<String> = matcher.hosts.iter().map(ToString::to_string).collect();
            let hosts = if hosts.is_empty() {
                &anywhere[..]
            } else {
                &hosts
            };
            for host in hosts {
                let first = *seen.entry(format!("{host} {rest}")).or_insert(*place);
                if first != *place {
                    let of_host = match host.as_str() {
                        "" => String::new(),
                        host => format!(" for the host {host}"),
                    };
                    self.tell(
                        Problem::new(
                            Code::Unreachable,
                            *place,
                            format!("this route{to} is never taken{of_host}"),
                        )
                        .key("routes")
                        .also(first, "the same requests go here"),
                    );
                    break;
                }
            }
        }
    }

    fn every_service_is_reached(&mut self, root: &View<'_>, targets: &BTreeSet<String>) {
        let implied = implied(root).map(|(name, _)| name);
        let reached = |name: &str| {
            targets.contains(name) || implied.as_ref().is_some_and(|implied| implied == name)
        };
        for (name, place, node) in root.entries("services") {
            let Some(table) = node.table() else { continue };
            let service = View::new(table, keys::SERVICE, node.place, "");
            let lies_open = reached(name) || service.has("hosts");
            if lies_open || !service.flag("routed") {
                continue;
            }
            let hint = format!(
                "give it hosts:\n    [services.{name}]\n    hosts = [\"{name}.example.com\"]\nor a route:\n    \
                 [[routes]]\n    path = \"/{name}\"\n    service = \"{name}\"\nor say that none is meant:\n    \
                 [services.{name}]\n    routed = false"
            );
            self.tell(
                Problem::new(
                    Code::Unreachable,
                    place,
                    format!("no route reaches the service `{name}`"),
                )
                .key(format!("services.{name}"))
                .hint(hint),
            );
        }
    }
}

/// A route, and where the file has it.
struct Drawn {
    matcher: Matcher,
    target: Target,
    rules: RouteRules,
    place: Place,
}

impl Drawn {
    fn plain(matcher: Matcher, target: Target, place: Place) -> Self {
        Self {
            matcher,
            target,
            rules: RouteRules::default(),
            place,
        }
    }
}

/// A single service without routes takes everything.
fn implied(root: &View<'_>) -> Option<(Name, Place)> {
    let mut services = root.entries("services");
    let (name, place, node) = services.next().filter(|_| services.next().is_none())?;
    let service = View::new(node.table()?, keys::SERVICE, node.place, "");
    let alone = !root.has("routes") && !service.has("hosts") && service.flag("routed");
    alone.then(|| Some((name.parse().ok()?, place))).flatten()
}

pub(super) fn services<'a>(root: &View<'a>) -> Vec<View<'a>> {
    root.entries("services")
        .filter_map(|(name, place, node)| {
            let path = format!("services.{name}");
            Some(View::new(node.table()?, keys::SERVICE, place, path))
        })
        .collect()
}

fn any(hosts: Vec<HostPattern>) -> Matcher {
    Matcher {
        hosts,
        path: PathPattern::Any,
        methods: Vec::new(),
        headers: Vec::new(),
        cookies: Vec::new(),
        query: Vec::new(),
    }
}

fn hosts(view: &View<'_>, key: &str) -> Vec<HostPattern> {
    let texts = view.texts(key).into_iter();
    texts.filter_map(|(text, _)| text.parse().ok()).collect()
}

fn pairs<'a>(view: &View<'a>, key: &str) -> impl Iterator<Item = (String, String)> + use<'a> {
    view.entries(key)
        .filter_map(|(name, _, node)| Some((name.to_owned(), node.text()?.to_owned())))
}

/// All of a matcher but its hosts, the same for the same requests.
fn fingerprint(matcher: &Matcher) -> String {
    let mut methods: Vec<_> = matcher.methods.iter().map(http::Method::as_str).collect();
    methods.sort_unstable();
    methods.dedup();
    let mut headers = matcher.headers.clone();
    headers.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    format!(
        "{:?} {methods:?} {headers:?} {:?} {:?}",
        matcher.path, matcher.cookies, matcher.query
    )
}
