use std::{cell::Cell, hash::Hasher, rc::Rc, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::Instant;

use crate::{
    pool::Seat,
    telemetry::{Difference, MirrorCounts, Mirrored},
    units::{Compared, Mirror, Seed, SeededHasher},
};

/// Sees one of two answers to the same request go by. The one that ends last has them compared.
pub(in crate::proxy) struct Witness {
    pair: Rc<Pair>,
    side: Side,
    /// When its request was sent.
    since: Instant,
    head: Option<Head>,
    body: SeededHasher,
    /// Bytes of the body that are yet to be looked at.
    left: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// The answer that the client gets.
    Own,
    Copy,
}

struct Head {
    status: StatusCode,
    /// Of each header that is compared, what it said.
    headers: Vec<Vec<HeaderValue>>,
    took: Duration,
}

/// What there is to compare of an answer that came to its end.
struct Facts {
    head: Head,
    body: u64,
}

struct Pair {
    mirror: Arc<Mirror>,
    /// Of the copy.
    seat: Rc<Seat>,
    /// The request's.
    id: Option<HeaderValue>,
    /// The side that ended first, and what it has seen; nothing, where its answer did not come to its end.
    first: Cell<Option<(Side, Option<Box<Facts>>)>>,
}

impl Witness {
    /// Of the request's own answer and of its copy's; `None` where nothing is compared.
    pub(super) fn pair(
        mirror: &Arc<Mirror>,
        seat: &Rc<Seat>,
        id: Option<&HeaderValue>,
    ) -> Option<(Self, Self)> {
        let left = mirror.compare.as_ref()?.body;
        let pair = Rc::new(Pair {
            mirror: mirror.clone(),
            seat: seat.clone(),
            id: id.cloned(),
            first: Cell::default(),
        });
        let since = Instant::now();
        let witness = |side| Self {
            pair: pair.clone(),
            side,
            since,
            head: None,
            body: Seed::PUBLIC.hasher(),
            left,
        };
        Some((witness(Side::Own), witness(Side::Copy)))
    }

    /// The head has come.
    pub(in crate::proxy) fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        let compared = self.pair.compared().headers.iter();
        let values = |name| headers.get_all(name).into_iter().cloned().collect();
        self.head = Some(Head {
            status,
            headers: compared.map(values).collect(),
            took: self.since.elapsed(),
        });
    }

    /// Some of the body has come. Says whether more of it matters.
    pub(in crate::proxy) fn passed(&mut self, data: &[u8]) -> bool {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let data = &data[..data.len().min(most)];
        self.body.write(data);
        self.left -= data.len() as u64;
        self.left > 0
    }

    /// The answer has come to its end, as far as that matters.
    pub(in crate::proxy) fn ended(mut self) {
        let body = self.body.finish();
        let head = self.head.take();
        self.pair
            .ended(self.side, head.map(|head| Box::new(Facts { head, body })));
    }
}

/// Its answer does not come to its end, if it has not already.
impl Drop for Witness {
    fn drop(&mut self) {
        self.pair.ended(self.side, None);
    }
}

impl Pair {
    fn compared(&self) -> &Compared {
        let compared = self.mirror.compare.as_ref();
        compared.expect("witnesses are called where answers are compared")
    }

    fn ended(&self, side: Side, facts: Option<Box<Facts>>) {
        match self.first.take() {
            None => self.first.set(Some((side, facts))),
            // Said before.
            Some(first) if first.0 == side => self.first.set(Some(first)),
            Some((Side::Own, own)) => self.judge(own.as_deref(), facts.as_deref()),
            Some((Side::Copy, copy)) => self.judge(facts.as_deref(), copy.as_deref()),
        }
    }

    fn judge(&self, own: Option<&Facts>, copy: Option<&Facts>) {
        let counts = &self.seat.pool_shard().mirrored;
        let (own, copy) = match (own, copy) {
            (None, _) => return counts.count(Mirrored::Unmatched),
            (Some(_), None) => return counts.count(Mirrored::Failed),
            (Some(own), Some(copy)) => (own, copy),
        };
        counts.took(own.head.took, copy.head.took);
        let differences = differences(own, copy);
        if !differences.iter().any(|(_, differs)| *differs) {
            return counts.count(Mirrored::Same);
        }
        counts.count(Mirrored::Differs);
        self.tell(own, copy, &differences, counts);
    }

    fn tell(
        &self,
        own: &Facts,
        copy: &Facts,
        differences: &[(Difference, bool)],
        counts: &MirrorCounts,
    ) {
        let differences = differences.iter().filter(|(_, differs)| *differs);
        let mut said = String::new();
        for (difference, _) in differences {
            counts.differs(*difference);
            said += if said.is_empty() { "" } else { "," };
            said += difference.as_str();
        }
        tracing::debug!(
            endpoint = %self.seat.endpoint.key,
            request_id = ?self.id,
            differs = said,
            status = own.head.status.as_u16(),
            copy_status = copy.head.status.as_u16(),
            "a copy was answered otherwise",
        );
    }
}

fn differences(own: &Facts, copy: &Facts) -> [(Difference, bool); 3] {
    let class = |facts: &Facts| facts.head.status.as_u16() / 100;
    [
        (Difference::Status, class(own) != class(copy)),
        (Difference::Headers, own.head.headers != copy.head.headers),
        (Difference::Body, own.body != copy.body),
    ]
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_TYPE, LOCATION};

    use super::*;
    use crate::{
        pool::{Endpoint, PoolStats},
        units::{EndpointKey, PoolKey},
    };

    fn pair(body: u64) -> (Witness, Witness, Rc<Seat>) {
        let mirror = Mirror {
            pool: "green".parse().unwrap(),
            share: "100%".parse().unwrap(),
            most: 1,
            timeout: Duration::from_secs(1),
            compare: Some(Compared {
                headers: vec![CONTENT_TYPE, LOCATION],
                body,
            }),
        };
        let service: crate::units::Name = "shop".parse().unwrap();
        let key = EndpointKey {
            service: service.clone(),
            pool: mirror.pool.clone(),
            address: "10.0.0.1:80".parse().unwrap(),
        };
        let pool = PoolKey {
            service,
            pool: mirror.pool.clone(),
        };
        let endpoint = Arc::new(Endpoint::new(key, 0, 1));
        let seat = Seat::new(endpoint, Arc::new(PoolStats::new(pool, 0, 1)), 0);
        let seat = Rc::new(seat);
        let (own, copy) = Witness::pair(&Arc::new(mirror), &seat, None).unwrap();
        (own, copy, seat)
    }

    fn see(mut witness: Witness, status: u16, kind: &'static str, body: &[&str]) {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        witness.answered(StatusCode::from_u16(status).unwrap(), &headers);
        for piece in body {
            witness.passed(piece.as_bytes());
        }
        witness.ended();
    }

    fn counted(seat: &Seat) -> Vec<&'static str> {
        let counts = &seat.pool_shard().mirrored;
        let outcomes = Mirrored::ALL.into_iter();
        let outcomes = outcomes.filter(|outcome| counts.of(*outcome) > 0);
        let differences = Difference::ALL.into_iter();
        let differences = differences.filter(|difference| counts.different(*difference) > 0);
        outcomes
            .map(Mirrored::as_str)
            .chain(differences.map(Difference::as_str))
            .collect()
    }

    #[test]
    fn answers_are_the_same_whoever_is_first_and_however_they_are_cut() {
        let (own, copy, seat) = pair(100);
        see(own, 200, "text/plain", &["hel", "lo"]);
        assert!(counted(&seat).is_empty());
        see(copy, 204, "text/plain", &["h", "", "ello"]);
        assert_eq!(counted(&seat), ["same"]);
        let (own, copy, seat) = pair(100);
        see(copy, 200, "text/plain", &["hello"]);
        see(own, 200, "text/plain", &["hello"]);
        assert_eq!(counted(&seat), ["same"]);
    }

    #[test]
    fn each_difference_is_counted() {
        let (own, copy, seat) = pair(100);
        see(own, 200, "text/plain", &["hello"]);
        see(copy, 500, "text/html", &["hello!"]);
        assert_eq!(counted(&seat), ["differs", "status", "headers", "body"]);
        let (own, copy, seat) = pair(100);
        see(own, 200, "text/plain", &["hello"]);
        see(copy, 200, "text/plain", &["hell"]);
        assert_eq!(counted(&seat), ["differs", "body"]);
    }

    #[test]
    fn bodies_are_compared_as_far_as_is_said() {
        let (own, copy, seat) = pair(4);
        see(own, 200, "text/plain", &["hello"]);
        see(copy, 200, "text/plain", &["he", "lx"]);
        assert_eq!(counted(&seat), ["differs", "body"]);
        let (own, copy, seat) = pair(4);
        see(own, 200, "text/plain", &["hello"]);
        see(copy, 200, "text/plain", &["hell", "fire"]);
        assert_eq!(counted(&seat), ["same"]);
    }

    #[test]
    fn an_answer_that_did_not_end_is_compared_with_nothing() {
        let (own, copy, seat) = pair(4);
        drop(copy);
        see(own, 200, "text/plain", &[]);
        assert_eq!(counted(&seat), ["failed"]);
        let (own, copy, seat) = pair(4);
        see(copy, 200, "text/plain", &[]);
        drop(own);
        assert_eq!(counted(&seat), ["unmatched"]);
        let (own, copy, seat) = pair(4);
        drop((own, copy));
        assert_eq!(counted(&seat), ["unmatched"]);
    }
}
