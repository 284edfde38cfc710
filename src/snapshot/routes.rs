use std::sync::Arc;

use super::{Input, Route, Rules, Service, Snapshot};
use crate::{
    config::plan,
    routing::{Limiter, Router},
    units::Name,
};

pub(super) type Routing = (Arc<Router>, Arc<[Route]>);

/// In a service's place, of a route that the proxy answers itself.
const NOBODY: usize = usize::MAX;

pub(super) fn routing(
    input: &Input,
    services: &[Arc<Service>],
    previous: Option<&Snapshot>,
) -> Routing {
    let same_routes = |before: &Snapshot| {
        before.routes.len() == input.plan.routes.len()
            && before
                .routes
                .iter()
                .zip(&input.plan.routes)
                .all(|(a, b)| Arc::ptr_eq(&a.plan, b) || a.plan == *b)
    };
    let same_places = |before: &Snapshot| same_names(&before.services, services);
    if let Some(before) = previous.filter(|before| same_routes(before) && same_places(before)) {
        return (before.router.clone(), before.routes.clone());
    }
    let place = |name: &Name| {
        let found = services.binary_search_by(|service| service.plan.name.cmp(name));
        found.expect("a checked plan has the service of every route")
    };
    let given = input.plan.routes.iter();
    let given = given.map(|route| {
        let place = route.service().map_or(NOBODY, place);
        (route.matcher.clone(), place)
    });
    (
        Arc::new(Router::new(given)),
        input
            .plan
            .routes
            .iter()
            .enumerate()
            .map(|(index, plan)| route(plan, limiter(plan, index, previous)))
            .collect(),
    )
}

/// That of the same route before, wherever it stood, if its rule is the same: what clients have used stays used.
fn limiter(plan: &plan::Route, index: usize, previous: Option<&Snapshot>) -> Option<Arc<Limiter>> {
    let rule = plan.rules.rate.as_ref()?;
    let same = |before: &&Route| {
        before.plan.rules.rate.as_ref() == Some(rule) && before.plan.matcher == plan.matcher
    };
    let before = previous.and_then(|previous| {
        let there = previous.routes.get(index).filter(same);
        there.or_else(|| previous.routes.iter().find(same))
    });
    let kept = before.and_then(|before| before.rules.as_ref()?.limiter.clone());
    Some(kept.unwrap_or_else(|| Arc::new(Limiter::new(rule))))
}

fn route(plan: &Arc<plan::Route>, limiter: Option<Arc<Limiter>>) -> Route {
    let own = match &plan.target {
        plan::Target::Service(_) => None,
        plan::Target::Own(own) => Some(own.clone()),
    };
    let idle = own.is_none() && plan.rules.is_empty();
    let rules = (!idle).then(|| {
        Arc::new(Rules {
            own,
            limiter,
            typed: plan.rules.clone(),
        })
    });
    Route {
        plan: plan.clone(),
        rules,
    }
}

pub(super) fn same_names(before: &[Arc<Service>], now: &[Arc<Service>]) -> bool {
    let pairs = || before.iter().zip(now);
    before.len() == now.len()
        && pairs().all(|(a, b)| Arc::ptr_eq(a, b) || a.plan.name == b.plan.name)
}
