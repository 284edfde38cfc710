//! Trials, with the test in the place of control.

use std::{sync::Arc, time::Duration};

use cutover::{
    routing::Affinity,
    telemetry::Tried,
    units::{Address, RescueRule, StickyBy, Trial},
};

use super::{Answer, App, Client, Proxy, cutover::sticky_key};

/// Puts green on trial beside blue: nearly all of the requests go to green, or nearly none, as its share is 1.0 or 0.0. Those with these
/// methods and at most 64 bytes of body are rescued.
pub fn on_trial(proxy: &Proxy, share: f64, rescued: &[&str]) {
    let (blue, green) = if share > 0.5 {
        (1, u32::MAX)
    } else {
        (u32::MAX, 1)
    };
    let methods: Vec<_> = rescued.iter().map(ToString::to_string).collect();
    let rescue = (!methods.is_empty()).then_some(RescueRule {
        methods,
        max_body: 64,
    });
    proxy.decide(|decided| {
        let pools = [("blue", blue), ("green", green)];
        let weights = pools.map(|(name, weight)| (name.parse().unwrap(), weight));
        decided.weights = weights.into_iter().collect();
        decided.trial = Some(Arc::new(Trial {
            id: 7,
            stable: "blue".parse().unwrap(),
            candidate: "green".parse().unwrap(),
            salt: 1,
            batch: Vec::new(),
            copies: None,
            rescue,
        }));
    });
}

/// Compares requests with their copies, which green gets of this part of blue's.
pub fn on_trial_by_copies(proxy: &Proxy, part: &str) {
    proxy.decide(|decided| {
        decided.trial = Some(Arc::new(Trial {
            id: 7,
            stable: "blue".parse().unwrap(),
            candidate: "green".parse().unwrap(),
            salt: 1,
            rescue: None,
            batch: Vec::new(),
            copies: Some(part.parse().unwrap()),
        }));
    });
}

/// Puts endpoints of blue on trial beside its others, whose requests with `GET` are rescued.
pub fn batch_on_trial(proxy: &Proxy, batch: &[&App]) {
    let blue = || "blue".parse().unwrap();
    proxy.decide(|decided| {
        decided.trial = Some(Arc::new(Trial {
            id: 7,
            stable: blue(),
            candidate: blue(),
            salt: 1,
            batch: batch.iter().map(|app| Address::Ip(app.address)).collect(),
            copies: None,
            rescue: Some(RescueRule {
                methods: vec!["GET".to_owned()],
                max_body: 64,
            }),
        }));
    });
}

/// What a trial has counted of a pool: requests, errors, rescued, felt, assigned.
pub fn numbers(proxy: &Proxy, pool: &str) -> [u64; 5] {
    let Tried {
        requests,
        errors,
        rescued,
        felt,
        assigned,
        ..
    } = proxy.tried(pool);
    [requests, errors, rescued, felt, assigned]
}

/// The answer to a client that has such a cookie of ours.
pub async fn known_by(mut client: Client, number: u64) -> Answer {
    let max_age = Duration::from_hours(1);
    let by = StickyBy::Cookie { max_age };
    let affinity = Affinity::new(&"app".parse().unwrap(), &by, &sticky_key());
    let minted = affinity.mint(number, false).unwrap();
    let cookie = minted.set_cookie.to_str().unwrap();
    let pair = cookie.split(';').next().unwrap();
    client
        .send(format!(
            "GET / HTTP/1.1\r\nhost: a\r\ncookie: {pair}\r\n\r\n"
        ))
        .await;
    client.answer().await
}
