//! Worlds for the room's tests.

use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc, time::Duration};

use proptest::{prelude::*, sample::select};

use super::{Decided, DecidedEndpoint, Input, Snapshot, Standing, build};
use crate::{
    config::plan::{self, Plan},
    pool::{Directory, State},
    units::{
        Address, Admission, Admits, Balance, ErrorPages, Holding, HostPattern, Limits, Maintenance,
        Matcher, Name, Networks, PathPattern, Percent, Queueing, Retries, RouteRules, Secret,
        Statuses, StickyBy, Timeouts, WebsocketDrain, Weights,
    },
};

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn endpoint(port: u16, weight: u32, state: State, proven: bool) -> DecidedEndpoint {
    let address = Address::Ip(([10, 0, 0, 1], port).into());
    DecidedEndpoint {
        address,
        weight,
        warmth: crate::units::WARM,
        standing: Standing {
            state,
            proven,
            cut: false,
        },
    }
}

/// A service that may fail open, is sticky by address and has a preview; `weights` and `endpoints` go with `pools`.
pub fn service(
    service: &str,
    pools: &[&str],
    weights: &[u32],
    endpoints: Vec<Vec<DecidedEndpoint>>,
) -> Decided {
    let names = || pools.iter().map(|pool| name(pool));
    let weights: Weights = names().zip(weights.iter().copied()).collect();
    let second = Duration::from_secs(1);
    let plan = plan::Service {
        name: name(service),
        weights: weights.clone(),
        weights_mode: plan::WeightsMode::Declared,
        min_ready: Percent::WHOLE,
        sticky: Some(plan::Sticky {
            by: StickyBy::Ip,
            secret: None,
        }),
        preview: Some(plan::Preview {
            header: http::HeaderName::from_static("x-cutover-pool"),
            secret: Secret::new(b"secret".to_vec()),
        }),
        fail_open: plan::FailOpen::Below(Percent::NONE),
        timeouts: timeouts(second),
        retries: Retries {
            attempts: 1,
            budget: Percent::WHOLE,
            statuses: Statuses::default(),
            per_try: None,
            max_body: 0,
            backoff: Duration::ZERO,
        },
        outliers: None,
        max_body: None,
        limits: Limits::default(),
        queueing: Queueing {
            length: 0,
            wait: second,
            unready: None,
        },
        admission: Admission::Open,
        holding: holding(second),
        maintenance: maintenance(second),
        drain_deadline: second,
        drain_websockets: WebsocketDrain::CloseAtDeadline,
        errors: ErrorPages::default(),
        pool_header: false,
        upgrades: vec!["websocket".into()],
        faults: Vec::new(),
        mirror: None,
        rollout: Arc::default(),
        rolls_out: false,
        pools: names().map(|name| (name.clone(), pool(name))).collect(),
    };
    Decided {
        plan: Arc::new(plan),
        weights,
        revision: 1,
        deadline: second,
        admits: Admits::default(),
        trial: None,
        pools: names().zip(endpoints).collect(),
    }
}

fn timeouts(span: Duration) -> Timeouts {
    Timeouts {
        connect: span,
        response: span,
        idle: span,
        request: None,
        keep_alive: span,
        tunnel: span,
    }
}

fn holding(span: Duration) -> Holding {
    Holding { span, length: 0 }
}

fn maintenance(retry_after: Duration) -> Maintenance {
    Maintenance {
        status: http::StatusCode::SERVICE_UNAVAILABLE,
        page: None,
        retry_after,
        allow: Networks::default(),
    }
}

pub fn pool(name: Name) -> plan::Pool {
    plan::Pool {
        name,
        endpoints: Vec::new(),
        discover: None,
        balance: Balance::Random,
        slow_start: None,
        transport: plan::Transport::default(),
        probe: None,
    }
}

/// What is decided of some services, each reached at `NAME.example`.
pub struct World {
    decided: BTreeMap<Name, Decided>,
    directory: Directory,
    sticky_key: Secret,
}

impl World {
    pub fn new(decided: impl IntoIterator<Item = Decided>) -> Self {
        let mut world = Self {
            decided: BTreeMap::new(),
            directory: Directory::new(1),
            sticky_key: Secret::new(b"key".to_vec()),
        };
        decided
            .into_iter()
            .for_each(|decided| world.change(decided));
        world
    }

    pub fn change(&mut self, decided: Decided) {
        self.decided.insert(decided.plan.name.clone(), decided);
    }

    /// The first snapshot.
    pub fn build(&mut self) -> Snapshot {
        self.snapshot(1, None, |_| true)
    }

    /// The one after, in which only these services are said to have changed.
    pub fn next(&mut self, before: &Snapshot, changed: &[&str]) -> Snapshot {
        self.snapshot(before.generation + 1, Some(before), |name| {
            changed.contains(&name.as_str())
        })
    }

    fn snapshot(
        &mut self,
        generation: u64,
        before: Option<&Snapshot>,
        changed: impl Fn(&Name) -> bool,
    ) -> Snapshot {
        let plan = plan_of(self.decided.values().map(|decided| decided.plan.clone()));
        let changed = self.decided.iter().filter(|(name, _)| changed(name));
        let input = Input {
            generation,
            plan: &plan,
            changed: changed
                .map(|(name, decided)| (name.clone(), decided.clone()))
                .collect(),
            sticky_key: &self.sticky_key,
        };
        build(&input, &mut self.directory, before)
    }
}

fn plan_of(services: impl Iterator<Item = Arc<plan::Service>>) -> Plan {
    let services: BTreeMap<_, _> = services
        .map(|service| (service.name.clone(), service))
        .collect();
    let route = |service: &Name| {
        let matcher = Matcher {
            hosts: vec![HostPattern::Exact(format!("{service}.example"))],
            path: PathPattern::Any,
            methods: Vec::new(),
            headers: Vec::new(),
            cookies: Vec::new(),
            query: Vec::new(),
        };
        Arc::new(plan::Route {
            matcher,
            target: plan::Target::Service(service.clone()),
            rules: RouteRules::default(),
        })
    };
    Plan {
        state_dir: "/state".into(),
        workers: NonZeroUsize::MIN,
        watch: false,
        startup: plan::Startup {
            wait: Duration::ZERO,
        },
        shutdown: plan::Shutdown {
            lame_duck: Duration::ZERO,
            deadline: Duration::ZERO,
        },
        admin: plan::Admin {
            address: "127.0.0.1:1".parse().unwrap(),
            mode: 0o600,
            group: None,
            tokens: Vec::new(),
        },
        telemetry: plan::Telemetry {
            address: None,
            otlp: None,
            access_log: plan::AccessLog {
                sample: "0%".parse().unwrap(),
                format: plan::LogFormat::Text,
                path: None,
            },
        },
        errors: Arc::default(),
        listeners: Vec::new(),
        routes: services.keys().map(route).collect(),
        services,
        notify: Vec::new(),
    }
}

fn anything(port: u16) -> impl Strategy<Value = DecidedEndpoint> {
    let state = (select(&State::ALL[..]), any::<bool>());
    (state, 0..3_u32).prop_map(move |((state, proven), weight)| {
        endpoint(port, weight, state, proven || state == State::Ready)
    })
}

/// Three pools of up to three endpoints each.
pub fn any_pools() -> impl Strategy<Value = Vec<Vec<DecidedEndpoint>>> {
    let pool = |pool: u16| {
        (0..4_usize, [1, 2, 3].map(|n| anything(pool * 10 + n)))
            .prop_map(|(count, all)| all[..count].to_vec())
    };
    [pool(1), pool(2), pool(3)].prop_map(Vec::from)
}
