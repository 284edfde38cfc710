use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::Head;
use crate::units::{Pace, RateKey, RateLimit, client_number, mixed, text_number};

/// Parts of the table, each with a lock of its own, so that workers seldom meet.
const SHARDS: usize = 64;

/// The most clients that a shard knows: what a table of 1024 places takes before it grows. With 33 bytes a place a rule
/// takes 2.1 MiB at most, and knows 57 344 clients.
const MOST: usize = 896;

/// What is known of the clients of a route with a rate limit: one for all workers, so that the limit holds exactly.
pub struct Limiter {
    pub rule: RateLimit,
    pace: Pace,
    shards: Vec<Mutex<Clients>>,
}

/// When the bucket of each client that is not full will be full.
type Clients = HashMap<u128, Instant, foldhash::fast::RandomState>;

impl Limiter {
    pub fn new(rule: &RateLimit) -> Self {
        Self {
            pace: rule.pace(),
            rule: rule.clone(),
            shards: std::iter::repeat_with(Mutex::default)
                .take(SHARDS)
                .collect(),
        }
    }

    /// Whether the request may go on at `now`, else how long its client has to wait.
    pub fn admit(&self, head: &Head, client: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        let header = match &self.rule.by {
            RateKey::Ip => None,
            RateKey::Header(name) => head.headers.get(name),
        };
        let key = header.map_or_else(
            || client_number(client),
            |value| text_number(value.as_bytes()),
        );
        self.take(key, now)
    }

    #[expect(clippy::cast_possible_truncation, reason = "it is a hash")]
    fn take(&self, key: u128, now: Instant) -> Result<(), Duration> {
        let shard = mixed(key as u64 ^ (key >> 64) as u64) as usize % SHARDS;
        // A client's moment is replaced as a whole: a panic elsewhere leaves the table sound.
        let mut clients = self.shards[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = clients.get_mut(&key);
        let kept = self.pace.take(known.as_deref().copied(), now)?;
        if let Some(full) = known {
            *full = kept;
        } else {
            make_room(&mut clients, now);
            clients.insert(key, kept);
        }
        Ok(())
    }
}

/// Before the table would grow, it forgets those whose buckets are full again, who are as good as unknown. Where all places
/// are taken by others, the one who used its bucket least is forgotten: it gains least by it.
fn make_room(clients: &mut Clients, now: Instant) {
    if clients.len() < clients.capacity().min(MOST) {
        return;
    }
    clients.retain(|_, full| *full > now);
    if clients.len() >= MOST {
        let least = clients.iter().min_by_key(|(_, full)| **full);
        if let Some(least) = least.map(|(key, _)| *key) {
            clients.remove(&least);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, Method};

    use super::*;

    fn limiter(requests: u32, by: RateKey) -> Limiter {
        Limiter::new(&RateLimit {
            requests,
            per: Duration::from_mins(1),
            burst: requests,
            by,
        })
    }

    fn admit(limiter: &Limiter, headers: &HeaderMap, client: &str, now: Instant) -> bool {
        let head = Head {
            method: &Method::GET,
            host: "",
            path: "/",
            query: None,
            headers,
        };
        limiter.admit(&head, client.parse().ok(), now).is_ok()
    }

    fn known(limiter: &Limiter) -> usize {
        let shards = limiter.shards.iter();
        shards.map(|shard| shard.lock().unwrap().len()).sum()
    }

    #[test]
    fn each_client_has_a_bucket_of_its_own() {
        let (limiter, now, none) = (limiter(2, RateKey::Ip), Instant::now(), HeaderMap::new());
        for client in ["10.0.0.1", "10.0.0.2", "2001:db8::1"] {
            assert!(admit(&limiter, &none, client, now));
            assert!(admit(&limiter, &none, client, now));
            assert!(!admit(&limiter, &none, client, now), "{client}");
        }
        assert!(!admit(&limiter, &none, "2001:db8::2", now), "the same /64");
        assert!(admit(&limiter, &none, "2001:db8:0:1::2", now));
        assert!(admit(
            &limiter,
            &none,
            "10.0.0.1",
            now + Duration::from_secs(30)
        ));
    }

    #[test]
    fn a_header_names_the_client_and_its_address_does_where_it_is_missing() {
        let name = HeaderName::from_static("x-key");
        let limiter = limiter(1, RateKey::Header(name.clone()));
        let now = Instant::now();
        let with = |value: &str| -> HeaderMap {
            [(name.clone(), value.parse().unwrap())]
                .into_iter()
                .collect()
        };
        assert!(admit(&limiter, &with("a"), "10.0.0.1", now));
        assert!(!admit(&limiter, &with("a"), "10.0.0.2", now));
        assert!(admit(&limiter, &with("b"), "10.0.0.1", now));
        assert!(admit(&limiter, &HeaderMap::new(), "10.0.0.1", now));
        assert!(!admit(&limiter, &HeaderMap::new(), "10.0.0.1", now));
    }

    #[test]
    fn it_never_knows_more_clients_than_it_has_room_for_and_remembers_the_greedy() {
        let (limiter, now) = (limiter(3, RateKey::Ip), Instant::now());
        let greedy: Vec<u128> = (0..100).map(|n| n << 64).collect();
        for key in &greedy {
            while limiter.take(*key, now).is_ok() {}
        }
        for key in 1000..200_000_u128 {
            limiter.take(key << 64, now).unwrap();
        }
        assert_eq!(known(&limiter), MOST * SHARDS);
        assert!(greedy.iter().all(|key| limiter.take(*key, now).is_err()));
    }

    #[test]
    fn who_may_do_all_again_is_forgotten() {
        let (limiter, start) = (limiter(1, RateKey::Ip), Instant::now());
        for minute in 0..50_u64 {
            let now = start + Duration::from_secs(60 * minute);
            for key in 0..1000 {
                let key = u128::from(minute * 1000 + key) << 64;
                limiter.take(key, now).unwrap();
            }
        }
        assert!(known(&limiter) < 4000, "{}", known(&limiter));
    }

    #[test]
    fn many_threads_get_as_many_as_one() {
        let (limiter, now) = (limiter(1000, RateKey::Ip), Instant::now());
        let admitted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).filter(|_| limiter.take(7, now).is_ok()).count()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(admitted, 1000);
    }
}
