use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor},
};
use serde_json::Value;
use utoipa::ToSchema;

use crate::units::{Address, Name, Span, Weights};

/// What a call waits for before it answers. The end of the waiting never undoes a change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    #[default]
    None,
    /// Before the change, at most `ready_timeout` (60 s unless said): until every pool that gets weight by it is ready.
    Ready,
    /// After the change, at most `deadline` (the service's own unless said): until what gets no more requests by it is
    /// proven empty.
    Drained,
}

/// `PUT /v1/services/{service}/weights`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutWeights {
    /// Integers of 0 and above per pool. Must name every pool that has weight now.
    #[serde(deserialize_with = "each_once")]
    #[schema(example = json!({"blue": 90, "green": 10}))]
    pub weights: BTreeMap<Name, u32>,
    /// Passes the gates `pool-not-ready` and `last-ready-endpoint`, and nothing else.
    #[serde(default)]
    pub force: bool,
    #[serde(default)]
    pub wait: Wait,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_timeout: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /v1/services/{service}/switch`: all traffic to one pool, in one step, once enough of its endpoints have passed
/// their probes begun after the call.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    #[schema(example = "green")]
    pub to: Name,
    /// What the pool runs, as status and metrics show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Doesn't wait for the pool, and passes the gates.
    #[serde(default)]
    pub force: bool,
    #[serde(default)]
    pub wait: Wait,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_timeout: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /v1/services/{service}/rollback`
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Back to the weights of this revision; unless said, to the last settled ones that differ from what is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_revision: Option<u64>,
    /// Roll back once more although the last rollback is less than a minute ago.
    #[serde(default)]
    pub again: bool,
    #[serde(default)]
    pub force: bool,
    #[serde(default)]
    pub wait: Wait,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_timeout: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST .../pools/{pool}/drain`, and the same of one endpoint.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// At the deadline, end what is still in flight.
    #[serde(default)]
    pub cut: bool,
    #[serde(default)]
    pub force: bool,
    #[serde(default)]
    pub wait: Wait,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_timeout: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST .../pools/{pool}/restore`, and the same of one endpoint.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    #[serde(default)]
    pub wait: Wait,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_timeout: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /v1/services/{service}/hold` and `/maintenance`
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// How long it lasts: of a hold from 1ms to 1h, the service's `hold.for` unless said; of maintenance up to 7d, until
    /// `/resume` unless said.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
    #[serde(default)]
    pub wait: Wait,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_timeout: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /v1/services/{service}/resume`
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `PUT .../endpoints/{endpoint}`: adds it, or sets its weight.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutEndpoint {
    /// Its part of the pool beside the others; 1 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    #[serde(default)]
    pub wait: Wait,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_timeout: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /v1/changes`: several changes on several services, as one or not at all.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    pub changes: Vec<Step>,
    /// At the deadline of a drain, end what is still in flight.
    #[serde(default)]
    pub cut: bool,
    #[serde(default)]
    pub wait: Wait,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_timeout: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One of several changes; the names and meanings of the calls of the same name.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    Weights {
        service: Name,
        #[serde(deserialize_with = "each_once")]
        weights: BTreeMap<Name, u32>,
        #[serde(default)]
        force: bool,
    },
    Switch {
        service: Name,
        to: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        #[serde(default)]
        force: bool,
    },
    Rollback {
        service: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to_revision: Option<u64>,
        #[serde(default)]
        again: bool,
        #[serde(default)]
        force: bool,
    },
    /// Of the whole pool unless an endpoint is named.
    Drain {
        service: Name,
        pool: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<Address>,
        #[serde(default)]
        force: bool,
    },
    Restore {
        service: Name,
        pool: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<Address>,
    },
    AddEndpoint {
        service: Name,
        pool: Name,
        endpoint: Address,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weight: Option<u32>,
    },
    RemoveEndpoint {
        service: Name,
        pool: Name,
        endpoint: Address,
        #[serde(default)]
        force: bool,
    },
    Hold {
        service: Name,
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        span: Option<Span>,
    },
    Maintenance {
        service: Name,
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        span: Option<Span>,
    },
    Resume {
        service: Name,
    },
}

/// What a write did, or with `dry_run` would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    pub generation: u64,
    /// Written to disk before the answer. `false`: serving, but a restart would forget it.
    pub durable: bool,
    pub dry_run: bool,
    /// Of the one service that the call names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Of the one service that the call names: parts of the whole, 0.0 to 1.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<BTreeMap<Name, f64>>,
    /// Every service that was touched.
    pub services: Vec<ChangedService>,
    /// Field by field.
    pub diff: Vec<Difference>,
    /// Remarks for a person.
    pub notes: Vec<String>,
    /// After a wait for `ready`: what was restored or added became ready in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// After a drain, a removal or a wait for `drained`: nothing is in flight any more on what gets no more requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drained: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u64>,
    /// Of those in flight, tunnels (WebSocket and the like).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnels: Option<u64>,
    /// Open connections to it, parked or in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
    /// Nothing in flight, and every worker has closed its idle connections: the app server may be killed now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safe_to_stop: Option<bool>,
    /// The deadline ended what was in flight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChangedService {
    pub service: Name,
    pub revision: u64,
    pub before: Weights,
    pub weights: Weights,
    pub share: BTreeMap<Name, f64>,
    /// Requests in flight on endpoints that get no more by this.
    pub in_flight: u64,
}

/// One field that a change sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// `weights`, `pools.blue.endpoints.10.0.0.1:3000`, `pools.blue.drained` ... of the service.
    pub field: String,
    pub service: Name,
    pub before: Value,
    pub after: Value,
}

/// A map in which a key stands once: of two weights for one pool, neither is obviously meant.
fn each_once<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Name, u32>, D::Error> {
    struct EachOnce;
    impl<'de> Visitor<'de> for EachOnce {
        type Value = BTreeMap<Name, u32>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map from pools to integers of 0 and above")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((pool, weight)) = entries.next_entry::<Name, u32>()? {
                if map.insert(pool.clone(), weight).is_some() {
                    return Err(A::Error::custom(format!("pool `{pool}` stands twice")));
                }
            }
            Ok(map)
        }
    }
    from.deserialize_map(EachOnce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_is_named_twice_is_refused() {
        let twice = r#"{"weights":{"blue":1,"blue":2}}"#;
        let error = serde_json::from_str::<PutWeights>(twice).unwrap_err();
        assert!(error.to_string().contains("`blue` stands twice"), "{error}");
    }

    #[test]
    fn weights_are_integers_from_0_to_the_largest_u32() {
        for bad in ["-1", "1.5", "4294967296", "1e3", "\"1\"", "null", "true"] {
            let body = format!(r#"{{"weights":{{"blue":{bad}}}}}"#);
            assert!(serde_json::from_str::<PutWeights>(&body).is_err(), "{bad}");
        }
    }

    #[test]
    fn steps_refuse_keys_they_do_not_know() {
        let body = r#"{"changes":[{"do":"switch","service":"web","too":"green"}]}"#;
        let error = serde_json::from_str::<Changes>(body).unwrap_err();
        assert!(error.to_string().contains("too"), "{error}");
    }
}
