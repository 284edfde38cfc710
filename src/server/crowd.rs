use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::units::client_number;

/// How many connections each client has open on a listener, over all workers. Knows the clients that have one, so it is
/// bounded by what the listener may have open.
#[derive(Default)]
pub(super) struct Crowd(Mutex<HashMap<u128, u32>>);

/// One connection of a client, for as long as it is held.
pub(super) struct Guest {
    crowd: Arc<Crowd>,
    client: u128,
}

impl Crowd {
    /// Room for one more connection of this client, unless it has `most` already.
    pub(super) fn enter(self: &Arc<Self>, client: Option<IpAddr>, most: u32) -> Option<Guest> {
        let client = client_number(client);
        let mut counts = self.counts();
        let count = counts.entry(client).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Guest {
            crowd: self.clone(),
            client,
        })
    }

    /// A count is changed in one step: a panic elsewhere leaves it sound.
    fn counts(&self) -> MutexGuard<'_, HashMap<u128, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.crowd.counts();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_places_and_who_has_none_is_forgotten() {
        let crowd = Arc::<Crowd>::default();
        let enter = |client: &str| crowd.enter(client.parse().ok(), 2);
        let (first, second) = (enter("10.0.0.1"), enter("10.0.0.1"));
        assert!(first.is_some() && second.is_some());
        assert!(enter("10.0.0.1").is_none());
        let other = [enter("2001:db8::1"), enter("2001:db8::2")];
        assert!(enter("2001:db8::3").is_none());
        drop(first);
        assert!(enter("10.0.0.1").is_some());
        drop((second, other));
        assert_eq!(crowd.counts().len(), 0);
    }
}
