//! Takes a bad version back within its first errors. Pure; costs nothing for a request that succeeds.
//!
//! It is told each error, and asked after each of the candidate's. What makes its promise true is kept here:
//!
//! - Where clients keep to their version, one error for each client and rollout is weighed: one that keeps asking for what is broken would
//!   be taken for many. Elsewhere each request is dealt out anew, whoever sent it, and each error is weighed.
//! - An error without a client's key counts for the budget alone: it can't be shown that it was more than one client's.
//! - An error counts by the share that was in force when its request was decided on, after any yielding of shares.
//! - Errors at a share of 0 (a preview, what was still under way) or 1 (there is nobody to compare with) say nothing. As the share nears 1
//!   each error says less: at 50 % it takes 17 errors of the candidate alone, at 80 % 53, at 95 % hundreds. Bounds must watch there.

mod clients;
mod evidence;
mod ownership;

pub use evidence::{Cause, Evidence, Met};

use self::{clients::Clients, ownership::Ownership};
use super::figures::{Counts, Seen, number};
use crate::units::{Arm, GuardSettings};

/// One request that a version has failed, at its first attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    pub arm: Arm,
    /// The candidate's share when the request was decided on, 0.0 to 1.0.
    pub share: f64,
    /// By what the client is told from others: a sticky cookie that is authentic, else its address.
    pub client: Option<u64>,
    /// Whether clients keep to their version.
    pub sticky: bool,
    /// Whether the user saw it: nothing else answered in its stead.
    pub seen_by_user: bool,
}

/// What one rollout's errors say so far.
pub struct Guard {
    settings: GuardSettings,
    clients: Clients,
    /// Against `ratio`: one error for each client.
    test: Ownership,
    /// Against "no worse at all", for the budget: these, and each error without a key.
    budget: Ownership,
    candidate: Tally,
    stable: Tally,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    /// Of clients with a key.
    errors: u64,
    clients: u64,
    /// That users have seen, with a key or without.
    failures: u64,
}

impl Guard {
    pub fn new(settings: GuardSettings) -> Self {
        Self {
            test: Ownership::new(settings.ratio.max(1.0)),
            budget: Ownership::new(1.0),
            settings,
            clients: Clients::default(),
            candidate: Tally::default(),
            stable: Tally::default(),
        }
    }

    /// Takes in an error. Only a candidate's can make it fire.
    pub fn error(&mut self, fault: Fault) {
        let tally = match fault.arm {
            Arm::Candidate => &mut self.candidate,
            Arm::Stable => &mut self.stable,
        };
        if !(fault.share > 0.0 && fault.share < 1.0) {
            return;
        }
        tally.failures += u64::from(fault.seen_by_user);
        let candidate = fault.arm == Arm::Candidate;
        let Some(client) = fault.client else {
            self.budget.error(candidate, fault.share);
            return;
        };
        tally.errors += 1;
        let met = self.clients.meet(client);
        tally.clients += u64::from(met);
        if fault.sticky && !met {
            return;
        }
        self.test.error(candidate, fault.share);
        // Who is forgotten may be weighed again: little for what tolerates a ratio, too much for what tolerates nothing.
        if !(fault.sticky && self.clients.forgetful) {
            self.budget.error(candidate, fault.share);
        }
    }

    /// How many clients met their first error at this version.
    pub fn clients(&self, arm: Arm) -> u64 {
        match arm {
            Arm::Candidate => self.candidate.clients,
            Arm::Stable => self.stable.clients,
        }
    }

    /// A user has seen a failure of one that was told as an error before.
    pub fn felt(&mut self, arm: Arm, share: f64) {
        if share > 0.0 && share < 1.0 {
            let tally = match arm {
                Arm::Candidate => &mut self.candidate,
                Arm::Stable => &mut self.stable,
            };
            tally.failures += 1;
        }
    }

    /// Whether what was counted is worth a look: [`Guard::fires`] may say something.
    pub fn may_fire(&self) -> bool {
        let enough = -self.settings.alpha.ln();
        self.test.evidence() >= enough || self.budget.evidence() >= enough
    }

    /// Why the candidate must be taken back. `whole`: what was counted since the rollout began; `recent`: in the last minute or so, so
    /// that a long good time does not hide what begins now.
    pub fn fires(&self, recent: Seen, whole: Seen) -> Option<Evidence> {
        let enough = -self.settings.alpha.ln();
        let by_errors = self.test.evidence() >= enough
            && self.candidate.errors >= u64::from(self.settings.min_errors)
            && self.candidate.clients >= u64::from(self.settings.min_clients);
        let least = self.settings.min_error_rate.part();
        let seen = [whole, recent]
            .into_iter()
            .find(|seen| seen.candidate.rate() >= least);
        if let (true, Some(seen)) = (by_errors, seen) {
            return Some(self.evidence(Cause::Errors, seen, whole));
        }
        let spent = self.excess(whole) >= number(self.settings.max_excess_failures);
        (spent && self.budget.evidence() >= enough)
            .then(|| self.evidence(Cause::Budget, whole, whole))
    }

    /// Failures that users saw above what stable would have shown them.
    pub fn excess(&self, whole: Seen) -> f64 {
        let stable = number(self.stable.failures) / number(whole.stable.requests.max(1));
        number(self.candidate.failures) - stable * number(whole.candidate.requests)
    }

    /// Whether more clients have met errors than can be kept apart, so that one may be weighed again after some ten thousand others, and
    /// what is not proven of the budget yet will not be.
    pub fn is_forgetful(&self) -> bool {
        self.clients.forgetful
    }

    fn evidence(&self, cause: Cause, seen: Seen, whole: Seen) -> Evidence {
        let (test, ratio) = match cause {
            Cause::Errors => (&self.test, self.settings.ratio.max(1.0)),
            Cause::Budget => (&self.budget, 1.0),
        };
        Evidence {
            cause,
            // Bounded, as JSON knows no infinity.
            e_value: test.evidence().exp().min(1e300),
            alpha: self.settings.alpha,
            ratio,
            candidate: met(self.candidate, seen.candidate),
            stable: met(self.stable, seen.stable),
            excess_failures: self.excess(whole),
            forgetful: self.clients.forgetful,
        }
    }
}

fn met(tally: Tally, counts: Counts) -> Met {
    Met {
        requests: counts.requests,
        errors: counts.errors,
        error_rate: counts.rate(),
        clients: tally.clients,
        failures: tally.failures,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn fault(arm: Arm, client: u64) -> Fault {
        Fault {
            arm,
            share: 0.05,
            client: Some(client),
            sticky: true,
            seen_by_user: true,
        }
    }

    fn seen(candidate: (u64, u64), stable: (u64, u64)) -> Seen {
        let counts = |(requests, errors)| Counts { requests, errors };
        Seen {
            candidate: counts(candidate),
            stable: counts(stable),
        }
    }

    fn guard() -> Guard {
        Guard::new(GuardSettings::default())
    }

    fn causes(guard: &Guard, seen: Seen) -> Option<Cause> {
        guard.fires(seen, seen).map(|evidence| evidence.cause)
    }

    #[test]
    fn five_clients_that_all_fail_at_the_candidate_are_enough() {
        let mut guard = guard();
        for client in 1..=5 {
            assert_eq!(causes(&guard, seen((client, client), (95, 0))), None);
            guard.error(fault(Arm::Candidate, client));
        }
        let seen = seen((5, 5), (95, 0));
        let evidence = guard.fires(seen, seen).unwrap();
        assert_eq!(evidence.cause, Cause::Errors);
        assert_eq!(
            evidence.to_string(),
            "the new version: 5 of 5 requests failed (100 %), at 5 clients; the stable one: 0 of 95 requests failed (0 %), at 0 clients; \
             were it no worse than 1.5 times the stable one, this would be seen in at most 1 of 34769 rollouts"
        );
        let text = serde_json::to_string(&evidence).unwrap();
        assert_eq!(serde_json::from_str::<Evidence>(&text).unwrap(), evidence);
    }

    #[test]
    fn one_client_that_fails_again_and_again_is_one() {
        let mut guard = guard();
        for _ in 0..10_000 {
            guard.error(fault(Arm::Candidate, 7));
        }
        assert_eq!(causes(&guard, seen((20_000, 10_000), (300_000, 0))), None);
    }

    #[test]
    fn where_requests_are_dealt_out_anew_each_error_counts_whoever_meets_it() {
        let mut guard = guard();
        for error in 0..6 {
            guard.error(Fault {
                sticky: false,
                ..fault(Arm::Candidate, error % 3)
            });
        }
        assert_eq!(
            causes(&guard, seen((100, 6), (1900, 0))),
            Some(Cause::Errors)
        );
    }

    #[test]
    fn what_is_rare_is_no_reason_however_sure_it_is() {
        let mut guard = guard();
        for client in 0..20 {
            guard.error(fault(Arm::Candidate, client));
        }
        assert_eq!(causes(&guard, seen((2001, 20), (40_000, 0))), None);
        assert_eq!(
            causes(&guard, seen((2000, 20), (40_000, 0))),
            Some(Cause::Errors)
        );
    }

    #[test]
    fn what_begins_now_is_not_hidden_by_a_long_good_time() {
        let mut guard = guard();
        for client in 0..20 {
            guard.error(fault(Arm::Candidate, client));
        }
        let whole = seen((1_000_000, 20), (20_000_000, 0));
        assert!(guard.fires(whole, whole).is_none());
        assert!(guard.fires(seen((100, 20), (2000, 0)), whole).is_some());
    }

    #[test]
    fn failures_beyond_the_budget_are_a_reason_though_they_are_rare() {
        let mut guard = guard();
        for client in 0..60 {
            guard.error(fault(Arm::Candidate, client));
            guard.error(fault(Arm::Stable, 1000 + client));
        }
        // 60 of 10 000 beside 60 of 190 000: below the floor of 1 %, and 57 more than stable would have shown.
        let whole = seen((10_000, 60), (190_000, 60));
        let evidence = guard.fires(whole, whole).unwrap();
        assert_eq!(
            (evidence.cause, evidence.excess_failures.round()),
            (Cause::Budget, 57.0)
        );
        assert!(
            evidence
                .to_string()
                .starts_with("users saw 57 failures more")
        );
    }

    #[test]
    fn failures_that_no_user_saw_cost_no_budget() {
        let mut guard = guard();
        for client in 0..60 {
            guard.error(Fault {
                seen_by_user: false,
                ..fault(Arm::Candidate, client)
            });
        }
        assert_eq!(causes(&guard, seen((10_000, 60), (190_000, 0))), None);
    }

    #[test]
    fn a_client_without_a_key_counts_for_the_budget_alone() {
        let mut guard = guard();
        let keyless = Fault {
            client: None,
            ..fault(Arm::Candidate, 0)
        };
        for _ in 0..49 {
            guard.error(keyless);
        }
        assert_eq!(causes(&guard, seen((49, 49), (1000, 0))), None);
        guard.error(keyless);
        assert_eq!(
            causes(&guard, seen((50, 50), (1000, 0))),
            Some(Cause::Budget)
        );
    }

    #[test]
    fn errors_where_nobody_is_compared_with_say_nothing() {
        let mut guard = guard();
        for (client, share) in (0..).zip([0.0, 1.0, -1.0, 2.0, f64::NAN].repeat(100)) {
            guard.error(Fault {
                share,
                ..fault(Arm::Candidate, client)
            });
        }
        assert_eq!(causes(&guard, seen((500, 500), (500, 0))), None);
    }

    #[test]
    fn a_candidate_that_fails_as_stable_does_stays_in_an_outage_of_both() {
        let mut guard = guard();
        for client in 0..20_000 {
            let arm = if client % 20 == 0 {
                Arm::Candidate
            } else {
                Arm::Stable
            };
            guard.error(fault(arm, client));
            assert_eq!(causes(&guard, seen((1000, 1000), (19_000, 19_000))), None);
        }
    }

    proptest! {
        #[test]
        fn it_never_fires_below_its_minima(
            errors in vec((any::<bool>(), 0.0..=1.0_f64, proptest::option::of(0..4_u64)), 0..200),
            min_errors in 0..20_u32, min_clients in 0..6_u32, sticky: bool,
        ) {
            let mut guard = Guard::new(GuardSettings { min_errors, min_clients, ..GuardSettings::default() });
            for (candidate, share, client) in errors {
                let arm = if candidate { Arm::Candidate } else { Arm::Stable };
                guard.error(Fault { arm, share, client, sticky, seen_by_user: true });
                let seen = seen((1000, 1000), (1000, 0));
                if let Some(evidence) = guard.fires(seen, seen) {
                    prop_assert!(evidence.e_value >= 1000.0);
                    prop_assert!(evidence.cause == Cause::Budget || evidence.candidate.clients >= u64::from(min_clients));
                    prop_assert!(evidence.cause == Cause::Errors || evidence.excess_failures >= 50.0);
                }
            }
        }
    }
}
