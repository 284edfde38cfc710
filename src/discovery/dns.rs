//! Names that are asked for again as their records grow old.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::future::try_join_all;
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    lookup::Lookup,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, RecordType, rdata::SRV},
};
use tokio::time::{sleep, timeout};

use super::run::Told;
use crate::{
    config::plan::{Dns, Endpoint},
    units::Address,
};

/// Records that are to be kept for longer are asked for again nevertheless: who writes them may err.
const MAX_TTL: Duration = Duration::from_hours(1);
/// Of one question to one resolver, and how often it is asked.
const TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
/// Of all that belongs to one look, however many resolvers there are.
const PATIENCE: Duration = Duration::from_secs(10);
/// After failures in a row the pause grows to so much.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// What was found, and for how long it holds.
type Answer = (BTreeMap<SocketAddr, u32>, Duration);

/// Tells what the name says until nobody listens.
pub async fn ask(told: Told, dns: Dns) {
    let mut pause = dns.min_ttl;
    let mut asker = None;
    loop {
        if asker.is_none() {
            asker = resolver(&dns).ok();
        }
        let answer = match &asker {
            None => Err("the system's resolver is not known".to_owned()),
            Some(asker) => timeout(PATIENCE, look(asker, &dns, told.most()))
                .await
                .unwrap_or_else(|_| Err("no answer in time".to_owned())),
        };
        let wait = if let Ok((_, ttl)) = &answer {
            pause = dns.min_ttl;
            (*ttl).clamp(dns.min_ttl, MAX_TTL.max(dns.min_ttl))
        } else {
            // The system may have another resolver by now.
            asker = None;
            let now = pause;
            pause = (pause * 2).min(MAX_PAUSE.max(dns.min_ttl));
            now
        };
        let found = answer.and_then(|(found, _)| endpoints(found, told.most()));
        if !told.tell(found).await {
            return;
        }
        sleep(wait).await;
    }
}

fn resolver(dns: &Dns) -> Result<TokioResolver, NetError> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = match dns.resolver {
        None => TokioResolver::builder(provider)?,
        Some(address) => {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            let connections = connections.map(|mut connection| {
                connection.port = address.port();
                connection
            });
            let server = NameServerConfig::new(address.ip(), true, connections.to_vec());
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
            TokioResolver::builder_with_config(config, provider)
        }
    };
    let options = builder.options_mut();
    options.timeout = TIMEOUT;
    options.attempts = ATTEMPTS;
    // The pause between looks is ours to keep.
    options.cache_size = 0;
    options.edns0 = true;
    options.preserve_intermediates = true;
    builder.build()
}

async fn look(asker: &TokioResolver, dns: &Dns, most: usize) -> Result<Answer, String> {
    let Some(port) = dns.port else {
        return look_for_services(asker, &dns.name, most).await;
    };
    let (found, ttl) = addresses(asker, &dns.name).await?;
    let found = found.into_iter().map(|ip| (SocketAddr::new(ip, port), 1));
    Ok((found.collect(), ttl))
}

/// The records of the best priority, and the addresses of who they name.
async fn look_for_services(
    asker: &TokioResolver,
    name: &str,
    most: usize,
) -> Result<Answer, String> {
    let answer = asker.lookup(name, RecordType::SRV).await;
    let answer = answer.map_err(|error| why(&error))?;
    let services = best(
        answer
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(service) => Some(service),
                _ => None,
            }),
    );
    if services.len() > most {
        return Err(format!("more than {most} endpoints"));
    }
    let mut ttl = ttl(&answer);
    let targets = services.iter().map(async |service| {
        let found = addresses(asker, &service.target.to_utf8()).await?;
        Ok::<_, String>((*service, found))
    });
    let mut found = BTreeMap::new();
    for (service, (ips, of_target)) in try_join_all(targets).await? {
        ttl = ttl.min(of_target);
        for ip in ips {
            let weight = found.entry(SocketAddr::new(ip, service.port)).or_insert(0);
            // RFC 2782: 0 is a small chance, and not none.
            *weight = service.weight.max(1).into();
        }
    }
    Ok((found, ttl))
}

/// RFC 2782: the lowest number is the best priority, and a target of `.` means that there is none.
fn best<'a>(services: impl Iterator<Item = &'a SRV>) -> Vec<&'a SRV> {
    let services: Vec<_> = services
        .filter(|service| !service.target.is_root() && service.port != 0)
        .collect();
    let best = services.iter().map(|service| service.priority).min();
    let of_best = services.into_iter();
    of_best
        .filter(|service| Some(service.priority) == best)
        .collect()
}

/// Of both kinds; where one kind cannot be asked for, what is missing is not known, and all of it has failed.
async fn addresses(
    asker: &TokioResolver,
    name: &str,
) -> Result<(BTreeSet<IpAddr>, Duration), String> {
    let (four, six) = tokio::join!(
        asker.lookup(name, RecordType::A),
        asker.lookup(name, RecordType::AAAA),
    );
    let (mut found, mut least) = (BTreeSet::new(), MAX_TTL);
    let mut nothing = None;
    for answer in [four, six] {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.is_no_records_found() => {
                nothing = Some(why(&error));
                continue;
            }
            Err(error) => return Err(why(&error)),
        };
        least = least.min(ttl(&answer));
        found.extend(
            answer
                .answers()
                .iter()
                .filter_map(|record| match &record.data {
                    RData::A(ip) => Some(IpAddr::V4(ip.0)),
                    RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
                    _ => None,
                }),
        );
    }
    match nothing {
        Some(nothing) if found.is_empty() => Err(nothing),
        _ => Ok((found, least)),
    }
}

/// The least of all its records, those on the way to another name too.
fn ttl(answer: &Lookup) -> Duration {
    let ttls = answer.answers().iter().map(|record| record.ttl);
    Duration::from_secs(ttls.min().unwrap_or(0).into())
}

/// In words that say nothing of what was in the answer.
fn why(error: &NetError) -> String {
    if error.is_nx_domain() {
        "there is no such name (NXDOMAIN)".to_owned()
    } else if error.is_no_records_found() {
        "the name has no such records".to_owned()
    } else {
        error.to_string()
    }
}

fn endpoints(found: BTreeMap<SocketAddr, u32>, most: usize) -> Result<Vec<Endpoint>, String> {
    if found.len() > most {
        return Err(format!("more than {most} endpoints"));
    }
    if found.is_empty() {
        return Err("the name has no such records".to_owned());
    }
    let endpoints = found.into_iter().map(|(address, weight)| Endpoint {
        address: Address::Ip(address),
        weight,
    });
    Ok(endpoints.collect())
}
