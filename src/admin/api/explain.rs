//! The way a request would take, decided on the snapshot that requests are decided on.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use axum::extract::State as Given;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    route_text::{changes, describe},
    trial_text::of_trial,
};
use crate::{
    admin::{
        extract::{Query, nearest},
        problem::{Code, Document, Problem},
        state::State,
        wire::{Explained, Reasoned},
    },
    config::plan::Listener,
    pool::State as EndpointState,
    routing::{self, Considered, Head, Verdict, host_of},
    snapshot::{Service, Shown, Snapshot},
    units::{Admission, ListenAddress, NoNormalForm, normal_path},
};

pub fn router() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(explain))
}

/// What would become of a request, and why.
#[utoipa::path(
    get, path = "/v1/explain", tag = "services",
    params(
        ("method" = Option<String>, Query, description = "GET unless said."),
        ("url" = String, Query, description = "With its host, or a path alone.", example = "http://shop.example.com/cart"),
        ("header" = Option<Vec<String>>, Query, description = "`Name: value`, as often as needed."),
        ("client" = Option<String>, Query, description = "The client's IP address."),
        ("listener" = Option<String>, Query, description = "Which listener it comes by, as the file names its address: one with `preview` shows another pool.", example = "127.0.0.1:8081"),
    ),
    responses(
        (status = 200, body = Explained),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn explain(
    Given(state): Given<State>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<axum::Json<Explained>, Problem> {
    let mut asked = Asked::read(pairs)?;
    let snapshot = if asked.listener.is_some() {
        let view = state.control.view().await?;
        asked.preview = asked.comes_by(&view.plan.listeners)?.preview;
        view.snapshot
    } else {
        state.control.readers().current()
    };
    Ok(axum::Json(asked.explained(&snapshot)))
}

struct Asked {
    method: Method,
    host: String,
    /// In the form in which it is matched; none where two readers could understand it differently.
    path: Result<String, NoNormalForm>,
    query: Option<String>,
    headers: HeaderMap,
    client: Option<IpAddr>,
    listener: Option<ListenAddress>,
    /// That is one for previews.
    preview: bool,
}

fn wrong(detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidRequest, detail)
}

impl Asked {
    fn read(pairs: Vec<(String, String)>) -> Result<Self, Problem> {
        let (mut method, mut url, mut client, mut listener) = (Method::GET, None, None, None);
        let mut headers = HeaderMap::new();
        for (key, value) in pairs {
            match key.as_str() {
                "method" => {
                    method = value
                        .to_ascii_uppercase()
                        .parse()
                        .map_err(|_| wrong(format!("{value:?} is not a method")))?;
                }
                "url" => url = Some(value),
                "header" => {
                    let (name, value) = header(&value)?;
                    headers.append(name, value);
                }
                "client" => {
                    let address = value.parse();
                    client = Some(
                        address.map_err(|_| wrong(format!("{value:?} is not an IP address")))?,
                    );
                }
                "listener" => {
                    let address = value.parse();
                    listener = Some(
                        address.map_err(|why| wrong(format!("{value:?} is no address: {why}")))?,
                    );
                }
                other => return Err(unknown(other)),
            }
        }
        let url =
            url.ok_or_else(|| wrong("url is missing").hint("?url=http://shop.example.com/cart"))?;
        let url: Uri = url
            .parse()
            .map_err(|_| wrong(format!("{url:?} is not a URL")))?;
        let sent = headers
            .get(http::header::HOST)
            .and_then(|host| host.to_str().ok());
        let authority = url.authority().map(http::uri::Authority::as_str).or(sent);
        let path = Some(url.path()).filter(|path| !path.is_empty());
        let path = path.unwrap_or("/");
        Ok(Self {
            method,
            host: host_of(authority.unwrap_or("")).into_owned(),
            path: normal_path(path).map(|normal| normal.unwrap_or_else(|| path.to_owned())),
            query: url.query().map(str::to_owned),
            headers,
            client,
            listener,
            preview: false,
        })
    }

    /// The listener that was named.
    fn comes_by<'a>(&self, listeners: &'a [Arc<Listener>]) -> Result<&'a Listener, Problem> {
        let named = |listener: &&Arc<Listener>| Some(&listener.address) == self.listener.as_ref();
        listeners
            .iter()
            .find(named)
            .map(|found| &**found)
            .ok_or_else(|| {
                let known = listeners
                    .iter()
                    .map(|listener| listener.address.to_string());
                let known: Vec<_> = known.collect();
                wrong("no listener has this address").hint(format!("they are {}", known.join(", ")))
            })
    }

    fn explained(&self, snapshot: &Snapshot) -> Explained {
        let Ok(path) = &self.path else {
            let refused =
                "refuses it: the path leads above the root, or two readers could take it for two";
            return answered(400, vec![step("listener", refused)]);
        };
        let head = Head {
            method: &self.method,
            host: &self.host,
            path,
            query: self.query.as_deref(),
            headers: &self.headers,
        };
        let leads = if self.preview {
            "for previews: of each service it shows the pool that has no traffic yet"
        } else {
            "every listener leads to the same routes"
        };
        let mut steps = vec![step("listener", leads)];
        let matchers = snapshot.routes.iter().map(|route| &route.plan.matcher);
        let explanation = routing::explain(matchers, &head);
        steps.extend(
            explanation
                .considered
                .iter()
                .map(|considered| of_route(considered, snapshot)),
        );
        if explanation.elsewhere > 0 {
            let count = explanation.elsewhere;
            steps.push(step(
                "route",
                format!("{count} more are for other hosts or paths"),
            ));
        }
        let Some(found) = snapshot.router.find(&head) else {
            steps.push(step("route", "none takes the request"));
            return answered(404, steps);
        };
        let route = snapshot
            .routes
            .get(found.route)
            .map(|route| describe(&route.plan.matcher));
        let rules = snapshot.routes.get(found.route);
        let rules = rules.and_then(|route| route.rules.as_deref());
        let changes = rules.into_iter().flat_map(changes);
        steps.extend(changes.map(|text| step("rules", text)));
        let own = rules.and_then(|rules| rules.own.as_ref());
        let forbidden = rules.filter(|_| self.client.is_some());
        let forbidden = forbidden.is_some_and(|rules| !rules.typed.access.permits(self.client));
        let mut explained = match own {
            _ if forbidden => answered(403, steps),
            Some(own) => answered(own.status().as_u16(), steps),
            None => self.through(&snapshot.services[found.service], &head, steps),
        };
        explained.route = route.map(|text| format!("#{} {text}", found.route + 1));
        explained
    }

    /// From the service on.
    fn through(&self, service: &Service, head: &Head, mut steps: Vec<Reasoned>) -> Explained {
        let name = &service.plan.name;
        steps.push(step(
            "service",
            format!("{name}, weights {}", service.weights),
        ));
        if let Some(mut refused) = self.shut_out(service, &mut steps) {
            refused.service = Some(name.clone());
            return refused;
        }
        let shown = Some(service.shown(head.headers));
        let shown = shown.filter(|shown| self.preview && *shown != Shown::Served);
        let mut explained = if let Some(shown) = shown {
            on_preview(service, shown, steps)
        } else if let Some(pool) = service.previewed(head.headers) {
            steps.push(step(
                "preview",
                "the header and its secret ask for this pool, whatever its weight",
            ));
            sure(service, pool, steps)
        } else {
            let pool = self.sticky(service, head, &mut steps);
            let on_trial = of_trial(service, &self.method, pool);
            match pool {
                Some(pool) => {
                    steps.extend(on_trial);
                    sure(service, pool, steps)
                }
                None => by_chance(service, on_trial, steps),
            }
        };
        explained.service = Some(name.clone());
        explained
    }

    /// Where the service is in maintenance, and not for this client; what holds requests is told.
    fn shut_out(&self, service: &Service, steps: &mut Vec<Reasoned>) -> Option<Explained> {
        let now = tokio::time::Instant::now().into_std();
        let maintenance = &service.plan.maintenance;
        match service.admits.at(now) {
            Admission::Open => None,
            Admission::Hold => {
                let waits = "requests are held: it waits until they flow again";
                steps.push(step("admission", waits));
                None
            }
            Admission::Maintenance if maintenance.allow.contains(self.client) => {
                let passes = "in maintenance, which lets this client through";
                steps.push(step("admission", passes));
                None
            }
            Admission::Maintenance => {
                steps.push(step("admission", "in maintenance"));
                Some(answered(maintenance.status.as_u16(), std::mem::take(steps)))
            }
        }
    }

    fn sticky(&self, service: &Service, head: &Head, steps: &mut Vec<Reasoned>) -> Option<usize> {
        let affinity = service.affinity.as_ref()?;
        let by_address = matches!(
            service.plan.sticky.as_ref().map(|sticky| &sticky.by),
            Some(crate::units::StickyBy::Ip)
        );
        if by_address && self.client.is_none() {
            steps.push(step(
                "sticky",
                "by the client's address, which was not given (client=)",
            ));
            return None;
        }
        let Some(key) = affinity.key(head, self.client) else {
            steps.push(step(
                "sticky",
                "the request brings no key, so it is drawn by chance",
            ));
            return None;
        };
        let pool = service.splitter.rendezvous(key)?;
        steps.push(step(
            "sticky",
            "the request's key always comes to this pool at these weights",
        ));
        Some(pool)
    }
}

/// The pool that a preview listener shows, or nobody: never another in its place.
fn on_preview(service: &Service, shown: Shown, mut steps: Vec<Reasoned>) -> Explained {
    let why = match shown {
        Shown::Named(_) => "the header and its secret ask for this pool, and get no other here",
        Shown::OnTrial(_) => "the new pool of the rollout that is under way, whatever its share",
        Shown::Idle(_) => "the only pool without weight",
        Shown::Served => "every pool has weight, so there is nothing to be previewed",
        Shown::Unknown => "the header and its secret ask for a pool that there is not",
        Shown::Several => {
            "several pools have no weight, and no rollout says which is meant: name one by the header of `preview`"
        }
    };
    steps.push(step("preview", why));
    match shown.pool() {
        Some(pool) if service.pools[pool].ready.is_empty() => {
            steps.push(of_pool(service, pool));
            steps.push(step(
                "preview",
                "nobody of it is ready, and no other pool is shown instead",
            ));
            answered(503, steps)
        }
        Some(pool) => sure(service, pool, steps),
        None => answered(503, steps),
    }
}

fn sure(service: &Service, pool: usize, mut steps: Vec<Reasoned>) -> Explained {
    steps.push(of_pool(service, pool));
    let name = service.pools[pool].name().clone();
    Explained {
        pool: Some(name.clone()),
        chances: BTreeMap::from([(name, 1.0)]),
        ..answered_by_endpoint(steps)
    }
}

fn unknown(key: &str) -> Problem {
    let problem = Problem::new(Code::UnknownKey, format!("there is no parameter {key:?}"));
    match nearest(
        key,
        ["method", "url", "header", "client", "listener"].into_iter(),
    ) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")),
        None => problem,
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), Problem> {
    let parts = text
        .split_once(':')
        .and_then(|(name, value)| Some((name.trim().parse().ok()?, value.trim().parse().ok()?)));
    parts.ok_or_else(|| wrong(format!("{text:?} is not `Name: value`")))
}

fn step(of: &str, because: impl Into<String>) -> Reasoned {
    Reasoned {
        of: of.to_owned(),
        because: because.into(),
    }
}

fn answered(status: u16, steps: Vec<Reasoned>) -> Explained {
    Explained {
        answer: Some(status),
        ..answered_by_endpoint(steps)
    }
}

fn answered_by_endpoint(steps: Vec<Reasoned>) -> Explained {
    Explained {
        answer: None,
        service: None,
        route: None,
        pool: None,
        chances: BTreeMap::new(),
        steps,
    }
}

/// One draw over the pools that have weight and somebody to send to.
fn by_chance(service: &Service, on_trial: Vec<Reasoned>, mut steps: Vec<Reasoned>) -> Explained {
    let weighted = service
        .weights
        .iter()
        .filter_map(|(name, weight)| service.pool(name.as_str()).filter(|_| weight > 0));
    let has_share = |pool: &usize| service.splitter.share(*pool) > 0.0;
    let (open, closed): (Vec<_>, Vec<_>) = weighted.partition(has_share);
    for pool in &closed {
        let name = service.pools[*pool].name();
        steps.push(step(
            "split",
            format!(
                "{name} has weight but no endpoint that may be asked; its share goes to the others"
            ),
        ));
    }
    if service.failing_open {
        steps.push(step(
            "split",
            "no weighted pool is ready, so endpoints that once were are tried",
        ));
    }
    steps.extend(on_trial);
    for pool in &open {
        if service.pools[*pool].thin {
            let name = service.pools[*pool].name();
            steps.push(step(
                "split",
                format!(
                    "too small a part of {name} is ready, so endpoints that once were are tried"
                ),
            ));
        }
    }
    if open.is_empty() {
        steps.push(step("split", "no pool can be asked"));
        return answered(503, steps);
    }
    steps.push(step("split", "drawn by chance, one draw a request"));
    steps.extend(open.iter().map(|pool| of_pool(service, *pool)));
    let chances: BTreeMap<_, _> = open
        .iter()
        .map(|pool| {
            let name = service.pools[*pool].name();
            (name.clone(), service.splitter.share(*pool))
        })
        .collect();
    Explained {
        pool: chances
            .keys()
            .next()
            .filter(|_| chances.len() == 1)
            .cloned(),
        chances,
        ..answered_by_endpoint(steps)
    }
}

fn of_pool(service: &Service, index: usize) -> Reasoned {
    let pool = &service.pools[index];
    let ready = pool
        .members
        .iter()
        .filter(|member| member.state == EndpointState::Ready)
        .count();
    let count = pool.members.len();
    step(
        "pool",
        format!("{}: {ready} of {count} endpoints ready", pool.name()),
    )
}

fn of_route(considered: &Considered, snapshot: &Snapshot) -> Reasoned {
    let route = snapshot.routes.get(considered.route);
    let text = route.map_or_else(String::new, |route| describe(&route.plan.matcher));
    let mark = if considered.verdict == Verdict::Taken {
        "takes it: "
    } else {
        ""
    };
    step(
        "route",
        format!(
            "{mark}#{} ({text}) {}",
            considered.route + 1,
            considered.verdict
        ),
    )
}
