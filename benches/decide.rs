//! What our own code costs a request before any byte is moved, and what a publication costs control.
//!
//! `cargo bench --bench decide`; the closing lines compare 10 000 routes with 1.

use std::{
    collections::BTreeMap,
    fmt::Write,
    hint::black_box,
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion};
use cutover::{
    config::{self, Outside, Plan},
    pool::{Candidates, Directory, Draw, Endpoint, State},
    routing::{Affinity, Head, Splitter},
    snapshot::{self, Decided, DecidedEndpoint, Input, Reader, Snapshot, Standing},
    units::{Admits, Balance, EndpointKey, Name, Secret, StickyBy},
};
use http::{HeaderMap, Method};

const ROUTES: [usize; 3] = [1, 100, 10_000];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    decisions(&mut criterion, "decide by host", |route| {
        (format!("app{route}.example.com"), "/v1".to_owned())
    });
    decisions(&mut criterion, "decide by path", |route| {
        ("example.com".to_owned(), format!("/app{route}/v1"))
    });
    stickiness(&mut criterion);
    balancing(&mut criterion);
    publications(&mut criterion);
    criterion.final_summary();
    for name in ["decide by host", "decide by path"] {
        if let (Some(one), Some(many)) = (median(name, 1), median(name, 10_000)) {
            println!(
                "{name}: {many:.0} ns at 10 000 routes, {one:.0} ns at 1: {:.2} x",
                many / one
            );
        }
    }
}

/// What criterion has just written, in nanoseconds.
fn median(group: &str, routes: usize) -> Option<f64> {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let path = Path::new(&target).join(format!("criterion/{group}/{routes}/new/estimates.json"));
    let estimates: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}

/// Everything that is decided of a request, on a snapshot whose routes each have a host and a path: the newest snapshot, the
/// route, the pool by its share, the endpoint.
fn decisions(criterion: &mut Criterion, name: &str, route: impl Fn(usize) -> (String, String)) {
    let mut group = criterion.benchmark_group(name);
    for routes in ROUTES {
        let mut file = HEAD.to_owned();
        for (host, path) in (0..routes).map(&route) {
            let _ = writeln!(
                file,
                "[[routes]]\nhost = [\"{host}\"]\npath = \"{path}\"\nservice = \"s0000\""
            );
        }
        file += &service(0);
        let mut control = Control::new(&file);
        let (_publisher, readers) = snapshot::channel(control.everything(None));
        let reader = readers.reader();
        let (host, path) = route(routes / 2);
        let (path, headers) = (format!("{path}/users/42"), request_headers());
        let head = Head {
            method: &Method::GET,
            host: &host,
            path: &path,
            query: Some("page=2"),
            headers: &headers,
        };
        let (mut random, mut cursor) = (fastrand::Rng::with_seed(1), 0);
        group.bench_function(BenchmarkId::from_parameter(routes), |bencher| {
            bencher.iter(|| {
                cursor += 1;
                decide(&reader, black_box(&head), cursor, random.u64(..))
                    .expect("a route and a ready endpoint")
            });
        });
    }
    group.finish();
}

fn decide(reader: &Reader, head: &Head, cursor: u64, random: u64) -> Option<usize> {
    reader.with(|snapshot| {
        let found = snapshot.router.find(head)?;
        let service = &snapshot.services[found.service];
        let pool = match service.previewed(head.headers) {
            Some(pool) => pool,
            None => service.splitter.draw(random)?,
        };
        let draw = Draw {
            cursor,
            random: random.rotate_left(32),
            key: None,
            ..Draw::default()
        };
        let chosen = service
            .candidates(pool)
            .pick(&draw, Endpoint::in_flight, &[])?;
        Some(chosen.slot)
    })
}

/// What an ordinary browser sends.
fn request_headers() -> HeaderMap {
    let lines = [
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ),
        (
            "accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        ),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        (
            "cookie",
            "theme=dark; session=8f14e45fceea167a5a36dedd4bea2543; consent=1",
        ),
    ];
    lines
        .into_iter()
        .map(|(name, value)| {
            (
                http::HeaderName::from_static(name),
                http::HeaderValue::from_static(value),
            )
        })
        .collect()
}

fn stickiness(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sticky");
    let name: Name = "shop".parse().expect("a name");
    let secret = Secret::new(b"a secret".to_vec());
    let cookie = StickyBy::Cookie {
        max_age: Duration::from_hours(24),
    };
    let by_cookie = Affinity::new(&name, &cookie, &secret);
    let client: IpAddr = [192, 0, 2, 1].into();
    let minted = by_cookie.mint(42, true).expect("a cookie");
    let pair = minted
        .set_cookie
        .to_str()
        .expect("text")
        .split(';')
        .next()
        .unwrap_or_default();
    let mut headers = request_headers();
    headers.append("cookie", pair.parse().expect("a value"));
    let head = Head {
        method: &Method::GET,
        host: "",
        path: "/",
        query: None,
        headers: &headers,
    };
    assert_eq!(by_cookie.key(&head, Some(client)), Some(42));
    group.bench_function("a cookie read and verified", |bencher| {
        bencher.iter(|| by_cookie.key(black_box(&head), Some(client)));
    });
    group.bench_function("a cookie minted", |bencher| {
        bencher.iter(|| by_cookie.mint(black_box(42), true).map(|minted| minted.key));
    });
    let by_ip = Affinity::new(&name, &StickyBy::Ip, &secret);
    group.bench_function("an address", |bencher| {
        bencher.iter(|| by_ip.key(black_box(&head), Some(client)));
    });
    let two = Splitter::new([("blue", 95), ("green", 5)]);
    group.bench_function("the pool of a draw, of 2", |bencher| {
        bencher.iter(|| two.draw(black_box(42)));
    });
    group.bench_function("the pool of a key, of 2", |bencher| {
        bencher.iter(|| two.rendezvous(black_box(42)));
    });
    group.finish();
}

fn balancing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick");
    for (policy, count) in [
        ("round-robin", 10),
        ("least-requests", 10),
        ("peak-ewma", 10),
        ("random", 10),
        ("hash:path", 10),
        ("hash:path", 100),
    ] {
        let balance: Balance = policy.parse().expect("a policy");
        let members = (0..count).map(|slot| {
            let address = format!("10.0.0.{slot}:80").parse().expect("an address");
            let (service, pool) = (
                "shop".parse().expect("a name"),
                "blue".parse().expect("a name"),
            );
            let key = EndpointKey {
                service,
                pool,
                address,
            };
            (
                Arc::new(Endpoint::new(key, slot, 2)),
                1 + u32::from(slot % 2 == 0),
            )
        });
        let candidates = Candidates::new(&balance, count, members);
        let (mut random, mut cursor) = (fastrand::Rng::with_seed(1), 0);
        group.bench_function(format!("{policy}, of {count}"), |bencher| {
            bencher.iter(|| {
                cursor += 1;
                let draw = Draw {
                    cursor,
                    random: random.u64(..),
                    key: Some(random.u64(..)),
                    ..Draw::default()
                };
                candidates
                    .pick(&draw, Endpoint::in_flight, &[])
                    .map(|endpoint| endpoint.slot)
            });
        });
    }
    group.finish();
}

const SERVICES: usize = 1000;
const HEAD: &str = "state_dir = \"/nowhere\"\nadmin = { address = \"unix:/nowhere/admin.sock\" }\n\
                    [[listeners]]\naddress = \"127.0.0.1:8080\"\n";

/// Two pools of five endpoints each.
fn service(number: usize) -> String {
    let endpoints = |pool: u8| {
        let all: Vec<_> = (0..5)
            .map(|n| format!("\"10.{pool}.0.{n}:3000\""))
            .collect();
        all.join(", ")
    };
    format!(
        "[services.s{number:04}]\nhosts = [\"s{number:04}.example\"]\nweights = {{ blue = 90, green = 10 }}\n\
         pools.blue.endpoints = [{}]\npools.green.endpoints = [{}]\n",
        endpoints(1),
        endpoints(2)
    )
}

/// Builds and publishes as control does; what it decides is made before the clock runs.
fn publications(criterion: &mut Criterion) {
    let file: String = [HEAD.to_owned()]
        .into_iter()
        .chain((0..SERVICES).map(service))
        .collect();
    let mut control = Control::new(&file);
    let (mut publisher, readers) = snapshot::channel(control.everything(None));
    let reader = readers.reader();
    let name = format!("publish {SERVICES} services of 10 endpoints");
    let mut group = criterion.benchmark_group(name);
    for (what, changed) in PUBLISHED {
        group.bench_function(what, |bencher| {
            bencher.iter_custom(|times| {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    let current = publisher.current();
                    let changed = changed(&control, current.generation);
                    let begun = Instant::now();
                    let next = control.build(changed, Some(&current));
                    drop(current);
                    publisher.publish(next);
                    reader.with(|_| ());
                    publisher.sweep();
                    took += begun.elapsed();
                }
                took
            });
        });
    }
    group.finish();
}

/// What control says has changed when the snapshot of this number is in force.
type Changed = fn(&Control, u64) -> BTreeMap<Name, Decided>;

const PUBLISHED: [(&str, Changed); 4] = [
    ("one service's verdict", |control, generation| {
        control.one(alternating(generation))
    }),
    ("one service's weights", |control, generation| {
        let mut changed = control.one(State::Ready);
        for decided in changed.values_mut() {
            let blue = u32::try_from(generation % 100).expect("below 100");
            let names = decided.plan.pools.keys().cloned();
            decided.weights = names.zip([blue, 100]).collect();
        }
        changed
    }),
    ("all, and nothing differs", |control, _| {
        control.all(State::Ready)
    }),
    ("all, and every verdict differs", |control, generation| {
        control.all(alternating(generation))
    }),
];

fn alternating(generation: u64) -> State {
    if generation.is_multiple_of(2) {
        State::Ready
    } else {
        State::Unready
    }
}

/// Stands in for control: a plan, and a decision of it all that every endpoint is in one state.
struct Control {
    plan: Plan,
    directory: Directory,
    sticky_key: Secret,
    generation: u64,
}

impl Control {
    fn new(file: &str) -> Self {
        let outside = Outside {
            env: &|_| None,
            secrets: true,
        };
        let loaded = config::load_text(Path::new("/nowhere/cutover.toml"), file, &outside);
        Self {
            plan: loaded
                .unwrap_or_else(|problems| panic!("{problems:?}"))
                .plan,
            directory: Directory::new(2),
            sticky_key: Secret::new(b"key".to_vec()),
            generation: 0,
        }
    }

    fn everything(&mut self, previous: Option<&Snapshot>) -> Snapshot {
        let changed = self.all(State::Ready);
        self.build(changed, previous)
    }

    fn all(&self, state: State) -> BTreeMap<Name, Decided> {
        let names = self.plan.services.keys();
        names
            .map(|name| (name.clone(), self.decided(name, state)))
            .collect()
    }

    fn one(&self, state: State) -> BTreeMap<Name, Decided> {
        let name: Name = "s0500".parse().expect("a name");
        BTreeMap::from([(name.clone(), self.decided(&name, state))])
    }

    fn decided(&self, name: &Name, state: State) -> Decided {
        let plan = &self.plan.services[name];
        let pools = plan.pools.values().map(|pool| {
            let endpoints = pool.endpoints.iter().map(|endpoint| DecidedEndpoint {
                address: endpoint.address.clone(),
                weight: endpoint.weight,
                warmth: cutover::units::WARM,
                standing: Standing {
                    state,
                    proven: true,
                    cut: false,
                },
            });
            (pool.name.clone(), endpoints.collect())
        });
        Decided {
            plan: plan.clone(),
            weights: plan.weights.clone(),
            revision: 1,
            deadline: plan.drain_deadline,
            admits: Admits::default(),
            trial: None,
            pools: pools.collect(),
        }
    }

    fn build(&mut self, changed: BTreeMap<Name, Decided>, previous: Option<&Snapshot>) -> Snapshot {
        self.generation += 1;
        let input = Input {
            generation: self.generation,
            plan: &self.plan,
            changed,
            sticky_key: &self.sticky_key,
        };
        snapshot::build(&input, &mut self.directory, previous)
    }
}
