use std::collections::{BTreeMap, BTreeSet};

use super::{Check, slow_start::slow_start, twice};
use crate::{
    config::{
        file::{Node, Place, Table, View, keys, merge},
        plan::{Endpoint, Pool},
        problem::{Code, Problem},
    },
    units::{Address, Balance, ListenAddress, Name},
};

impl Check<'_> {
    pub(super) fn pools(&mut self, view: &View<'_>, service: &Table) -> BTreeMap<Name, Pool> {
        let mut pools = BTreeMap::new();
        if let Some(short) = view.node("endpoints") {
            if view.has("pools") {
                self.tell(
                    Problem::new(
                        Code::Conflict,
                        view.place_of("pools"),
                        "`endpoints` is the short form of a single pool `main`",
                    )
                    .key(view.path_of("pools"))
                    .also(short.place, "the short form")
                    .expected("either endpoints or pools"),
                );
            } else if let Ok(name) = "main".parse::<Name>() {
                let pool = View::new(service, keys::SERVICE, view.place, view.path.clone());
                pools.insert(name.clone(), self.pool(name, &pool));
            }
            return pools;
        }
        let node = view.node("pools");
        if node.is_none_or(|node| {
            node.table()
                .is_some_and(|table| table.iter().next().is_none())
        }) {
            self.tell(
                Problem::new(
                    Code::MissingKey,
                    view.place,
                    format!("`{}` has no endpoints", view.path),
                )
                .key(&view.path)
                .expected("endpoints, or pools with endpoints")
                .hint("such as endpoints = [\"127.0.0.1:3000\"]"),
            );
        }
        let inherited = inherited(service);
        for (name, place, node) in view.entries("pools") {
            let (Ok(name), Some(own)) = (name.parse::<Name>(), node.table()) else {
                continue;
            };
            let path = format!("{}.pools.{name}", view.path);
            self.probe_keys_fit(own, &path);
            let merged = merge(&inherited, own);
            let pool = View::new(&merged, keys::POOL, place, path);
            if !pool.has("discover") {
                pool.require("endpoints", self.problems);
            }
            let discover = self.discover(&pool);
            let pool = self.pool(name.clone(), &pool);
            self.factor_fits(own, &format!("{}.pools.{name}", view.path), [&pool]);
            pools.insert(name, Pool { discover, ..pool });
        }
        pools
    }

    fn pool(&mut self, name: Name, view: &View<'_>) -> Pool {
        let endpoints = self.endpoints(view);
        let transport = self.transport(view, &endpoints);
        let probe = self.probe(view, &endpoints, &transport);
        Pool {
            name,
            endpoints,
            discover: None,
            balance: view
                .parsed("balance")
                .unwrap_or(Balance::RoundRobin)
                .bounded(view.parsed("hash_balance_factor")),
            slow_start: slow_start(view, self.problems),
            transport,
            probe,
        }
    }

    /// A table that bounds loads must be of a pool that hashes keys, or have one. What is inherited waits for one that does.
    pub(super) fn factor_fits<'a>(
        &mut self,
        own: &Table,
        path: &str,
        pools: impl IntoIterator<Item = &'a Pool>,
    ) {
        let key = "hash_balance_factor";
        let bounds = own.get(key).and_then(Node::text);
        let hashes = |pool: &Pool| matches!(pool.balance, Balance::Hash(..));
        if let Some(place) = own.place_of(key)
            && bounds.is_some_and(|text| text != "none")
            && !pools.into_iter().any(hashes)
        {
            self.tell(
                Problem::new(
                    Code::Conflict,
                    place,
                    format!("`{key}` bounds nothing here"),
                )
                .key(format!("{path}.{key}"))
                .expected("balance = \"hash:...\" beside it"),
            );
        }
    }

    fn endpoints(&mut self, view: &View<'_>) -> Vec<Endpoint> {
        let mut seen: BTreeMap<Address, Place> = BTreeMap::new();
        let mut endpoints = Vec::new();
        for (index, item) in view.items("endpoints").iter().enumerate() {
            let path = format!("{}[{index}]", view.path_of("endpoints"));
            let Some((endpoint, place)) = self.endpoint(item, &path) else {
                continue;
            };
            self.no_loop(&endpoint.address, place, &path);
            if let Some(first) = seen.get(&endpoint.address) {
                let what = format!("the endpoint {}", endpoint.address);
                self.tell(twice(&what, &path, *first, place));
            } else {
                seen.insert(endpoint.address.clone(), place);
                endpoints.push(endpoint);
            }
        }
        endpoints
    }

    fn endpoint(&mut self, item: &Node, path: &str) -> Option<(Endpoint, Place)> {
        if let Some(text) = item.text() {
            let address = text.parse().ok()?;
            return Some((Endpoint { address, weight: 1 }, item.place));
        }
        let view = View::new(item.table()?, keys::ENDPOINT, item.place, path);
        view.require("address", self.problems);
        let address = view.parsed("address")?;
        let weight = view.integer("weight");
        Some((Endpoint { address, weight }, view.place_of("address")))
    }

    /// A proxy whose endpoint is itself would send a request round until something gives way.
    fn no_loop(&mut self, address: &Address, place: Place, path: &str) {
        let same = |listener: &ListenAddress| match (listener, address) {
            (ListenAddress::Ip(listener), Address::Ip(ip)) => {
                let everywhere = listener.ip().is_unspecified() && ip.ip().is_loopback();
                listener.port() == ip.port() && (listener.ip() == ip.ip() || everywhere)
            }
            (ListenAddress::Unix(listener), Address::Unix(path)) => listener == path,
            _ => false,
        };
        if let Some(listener) = self.bound.iter().find(|listener| same(listener)) {
            self.tell(
                Problem::new(
                    Code::Conflict,
                    place,
                    format!("{address} is the listener {listener} of this proxy"),
                )
                .key(path)
                .expected("the address of an app server"),
            );
        }
    }
}

/// The part of a service that holds for each of its pools.
fn inherited(service: &Table) -> Table {
    let names: BTreeSet<_> = keys::PER_POOL.iter().map(|key| key.name).collect();
    let mut table = Table::default();
    for (key, place, node) in service.iter() {
        if names.contains(key) {
            table.insert(key.to_owned(), place, node.clone());
        }
    }
    table
}
