use super::Service;

/// Who gets a request of a listener that shows what has no traffic yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The pool in this place: the request names it, with the secret.
    Named(usize),
    /// The new pool of a rollout that is under way, whatever its share.
    OnTrial(usize),
    /// The only pool without weight.
    Idle(usize),
    /// Every pool has weight: there is nothing to be previewed, and it goes where it would on any listener.
    Served,
    /// Nobody: it names a pool, with the secret, that there is not.
    Unknown,
    /// Nobody: several pools have no weight, and nothing says which is meant.
    Several,
}

impl Shown {
    pub fn pool(self) -> Option<usize> {
        match self {
            Self::Named(place) | Self::OnTrial(place) | Self::Idle(place) => Some(place),
            Self::Served | Self::Unknown | Self::Several => None,
        }
    }
}

impl Service {
    /// What such a listener shows a request with these headers. Whether anybody of the pool is ready is another question.
    pub fn shown(&self, headers: &http::HeaderMap) -> Shown {
        let named = self.preview.as_ref();
        if let Some(name) = named.and_then(|preview| preview.pool(headers)) {
            return self.pool(name).map_or(Shown::Unknown, Shown::Named);
        }
        if let Some(trial) = &self.trial
            && trial.candidate != trial.stable
        {
            return Shown::OnTrial(trial.candidate);
        }
        let mut idle = (0..self.pools.len()).filter(|place| {
            let name = self.pools[*place].name();
            self.weights.get(name.as_str()) == 0
        });
        match (idle.next(), idle.next()) {
            (None, _) => Shown::Served,
            (Some(place), None) => Shown::Idle(place),
            (Some(_), Some(_)) => Shown::Several,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        pool::State,
        snapshot::testing::{World, endpoint, name, service},
        units::Trial,
    };

    /// What is shown of pools with these weights, the second on trial beside the first or beside itself, or none.
    fn shown(weights: &[u32], trial: Option<[&str; 2]>, header: &str) -> Shown {
        let pools = &["blue", "green", "red"][..weights.len()];
        let ready = (1..).zip(pools);
        let ready = ready.map(|(port, _)| vec![endpoint(port, 1, State::Ready, true)]);
        let mut decided = service("shop", pools, weights, ready.collect());
        decided.trial = trial.map(|[stable, candidate]| {
            let batch = decided.pools[&name(stable)].iter();
            Arc::new(Trial {
                id: 1,
                stable: name(stable),
                candidate: name(candidate),
                salt: 1,
                rescue: None,
                copies: None,
                batch: batch.map(|endpoint| endpoint.address.clone()).collect(),
            })
        });
        let mut headers = http::HeaderMap::new();
        headers.insert("x-cutover-pool", header.parse().unwrap());
        World::new([decided]).build().services[0].shown(&headers)
    }

    #[test]
    fn the_only_pool_without_weight_is_shown() {
        assert_eq!(shown(&[1, 0], None, ""), Shown::Idle(1));
        assert_eq!(shown(&[0, 1], None, ""), Shown::Idle(0));
        assert_eq!(shown(&[3, 0, 1], None, ""), Shown::Idle(1));
    }

    #[test]
    fn where_all_have_weight_there_is_nothing_to_be_shown() {
        assert_eq!(shown(&[1], None, ""), Shown::Served);
        assert_eq!(shown(&[95, 5], None, ""), Shown::Served);
    }

    #[test]
    fn of_several_without_weight_none_is_guessed() {
        assert_eq!(shown(&[1, 0, 0], None, ""), Shown::Several);
    }

    #[test]
    fn during_a_rollout_its_new_pool_is_shown_whatever_the_weights() {
        let rollout = Some(["blue", "green"]);
        for weights in [[1, 0, 0], [1, 0, 1], [9, 1, 0], [0, 1, 0]] {
            assert_eq!(shown(&weights, rollout, ""), Shown::OnTrial(1));
        }
        assert_eq!(
            shown(&[0, 1], Some(["green", "blue"]), ""),
            Shown::OnTrial(0)
        );
    }

    #[test]
    fn endpoints_that_are_replaced_within_their_pool_are_not_shown() {
        let rolling = Some(["blue", "blue"]);
        assert_eq!(shown(&[1, 0], rolling, ""), Shown::Idle(1));
        assert_eq!(shown(&[1], rolling, ""), Shown::Served);
    }

    #[test]
    fn who_names_a_pool_with_the_secret_gets_that_or_none() {
        let rollout = Some(["blue", "green"]);
        assert_eq!(shown(&[1, 0, 0], rollout, "red;secret"), Shown::Named(2));
        assert_eq!(shown(&[1, 0], None, "blue;secret"), Shown::Named(0));
        assert_eq!(shown(&[1, 0], None, "teal;secret"), Shown::Unknown);
        assert_eq!(shown(&[1, 0], None, "blue;guess"), Shown::Idle(1));
    }
}
