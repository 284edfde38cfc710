//! Rollouts of simulated services in virtual time, decided by the guard and the judge as they are.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of requests and clients, which are small"
)]

use std::{collections::HashSet, time::Duration};

use cutover::{
    rollout::{
        Counts, Seen,
        guard::{Cause, Fault, Guard},
        judge::{Looks, Pair, Sample, Traffic, Verdict, judge, margin},
    },
    telemetry::{Histogram, Reading},
    units::{Arm, GuardSettings, JudgeSettings},
};

/// What one version does.
#[derive(Clone, Copy)]
pub struct Version {
    pub error_rate: f64,
    /// As a multiple of what stable takes.
    pub slowness: f64,
    /// Second, before which it does what stable does.
    pub turns_bad_at: f64,
}

pub const STEADY: Version = Version {
    error_rate: 0.005,
    slowness: 1.0,
    turns_bad_at: 0.0,
};

/// A service and those who use it.
#[derive(Clone, Copy)]
pub struct Service {
    pub per_second: f64,
    pub stable: Version,
    pub candidate: Version,
    /// 0: each request is another client's.
    pub clients: u64,
    /// Clients keep to their version.
    pub sticky: bool,
    /// Of these clients so many fail in nearly all that they do, whatever the version. They make for the errors of both.
    pub failing_clients: u64,
    /// Every so many seconds, for one second, both versions fail half of all; 0: never.
    pub outage_every: f64,
    /// Spread of the latency's logarithm.
    pub spread: f64,
}

pub const SERVICE: Service = Service {
    per_second: 1000.0,
    stable: STEADY,
    candidate: STEADY,
    clients: 0,
    sticky: false,
    failing_clients: 0,
    outage_every: 0.0,
    spread: 0.7,
};

#[derive(Clone, Copy)]
pub struct Step {
    pub share: f64,
    pub hold: Duration,
}

pub const STANDARD: [Step; 4] = [
    Step {
        share: 0.01,
        hold: Duration::from_mins(2),
    },
    Step {
        share: 0.05,
        hold: Duration::from_mins(5),
    },
    Step {
        share: 0.25,
        hold: Duration::from_mins(5),
    },
    Step {
        share: 0.5,
        hold: Duration::from_mins(10),
    },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Promoted,
    /// By the guard's test, its budget, or the judge.
    Guarded,
    Spent,
    Judged,
    /// A step has waited for more for as long as it may.
    Unsure,
}

#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    pub end: End,
    pub seconds: f64,
    pub step: usize,
    /// In all steps, beyond their time.
    pub waited: f64,
}

/// What one version has done so far.
#[derive(Default)]
struct Done {
    requests: u64,
    errors: u64,
    latency: Histogram,
}

impl Done {
    fn sample(&self, failing_clients: Option<u64>) -> Sample {
        let mut latency = Reading::default();
        latency.add(&self.latency);
        Sample {
            requests: self.requests,
            errors: self.errors,
            latency,
            failing_clients,
        }
    }
}

fn since(now: &Sample, earlier: &Sample) -> Sample {
    Sample {
        requests: now.requests - earlier.requests,
        errors: now.errors - earlier.errors,
        latency: now.latency.since(&earlier.latency),
        failing_clients: now.failing_clients,
    }
}

fn less(now: Seen, earlier: Seen) -> Seen {
    let counts = |now: Counts, earlier: Counts| Counts {
        requests: now.requests - earlier.requests,
        errors: now.errors - earlier.errors,
    };
    Seen {
        candidate: counts(now.candidate, earlier.candidate),
        stable: counts(now.stable, earlier.stable),
    }
}

pub struct Simulation {
    service: Service,
    random: fastrand::Rng,
    /// Latencies of which each is as likely.
    latencies: Vec<Duration>,
    /// Places of the clients, 0.0 to 1.0: one keeps to the candidate whose place is below its share.
    places: Vec<f64>,
    done: [Done; 2],
    failing: [HashSet<u64>; 2],
    now: f64,
    /// What had been counted half a minute ago or more, a minute at most, and when that was.
    marks: [(f64, Seen); 2],
    guard: Guard,
    guarded: bool,
}

impl Simulation {
    pub fn new(service: Service, settings: GuardSettings, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let latencies = (0..4096)
            .map(|_| {
                let sum: f64 = (0..12).map(|_| random.f64()).sum();
                Duration::from_secs_f64(0.02 * ((sum - 6.0) * service.spread).exp())
            })
            .collect();
        let places = (0..service.clients).map(|_| random.f64()).collect();
        Self {
            service,
            random,
            latencies,
            places,
            done: Default::default(),
            failing: Default::default(),
            now: 0.0,
            marks: Default::default(),
            guard: Guard::new(settings),
            guarded: true,
        }
    }

    /// The judge alone decides.
    #[must_use]
    pub fn unguarded(mut self) -> Self {
        self.guarded = false;
        self
    }

    fn version(&self, arm: Arm) -> Version {
        match arm {
            Arm::Candidate if self.now >= self.service.candidate.turns_bad_at => {
                self.service.candidate
            }
            Arm::Candidate | Arm::Stable => self.service.stable,
        }
    }

    /// One request, and what the guard says of it.
    fn request(&mut self, share: f64) -> Option<Cause> {
        self.now += 1.0 / self.service.per_second;
        let client = match self.service.clients {
            0 => self.random.u64(..),
            clients => self.random.u64(..clients),
        };
        let place = if self.service.sticky {
            self.places[usize::try_from(client).expect("few")]
        } else {
            self.random.f64()
        };
        let arm = if place < share {
            Arm::Candidate
        } else {
            Arm::Stable
        };
        let version = self.version(arm);
        let every = self.service.outage_every;
        let rate = if every > 0.0 && self.now % every < 1.0 {
            0.5
        } else if self.service.failing_clients == 0 {
            version.error_rate
        } else if client < self.service.failing_clients {
            // What they must fail for the whole to come to the rate.
            let part = self.service.failing_clients as f64 / self.service.clients as f64;
            (version.error_rate / part).min(0.9)
        } else {
            0.0
        };
        let done = &mut self.done[arm as usize];
        done.requests += 1;
        if self.random.f64() >= rate {
            let latency = self.latencies[self.random.usize(..self.latencies.len())];
            done.latency.record(latency.mul_f64(version.slowness));
            return None;
        }
        done.errors += 1;
        self.failing[arm as usize].insert(client);
        self.guard.error(Fault {
            arm,
            share,
            client: Some(client),
            sticky: self.service.sticky,
            seen_by_user: true,
        });
        let seen = self.seen();
        if self.now - self.marks[1].0 > 30.0 {
            self.marks = [self.marks[1], (self.now, seen)];
        }
        let recent = less(seen, self.marks[0].1);
        (arm == Arm::Candidate && self.guarded)
            .then(|| self.guard.fires(recent, seen))
            .flatten()
            .map(|evidence| evidence.cause)
    }

    fn seen(&self) -> Seen {
        let counts = |arm: Arm| Counts {
            requests: self.done[arm as usize].requests,
            errors: self.done[arm as usize].errors,
        };
        Seen {
            candidate: counts(Arm::Candidate),
            stable: counts(Arm::Stable),
        }
    }

    /// Which of so many requests the guard fires at, at the shares that each of them is decided with.
    pub fn guarded(mut self, requests: u64, share: impl Fn(u64) -> f64) -> Option<u64> {
        (1..=requests).find(|number| self.request(share(*number)).is_some())
    }

    fn samples(&self) -> Pair {
        let sample = |arm: Arm| {
            let failing = self.failing[arm as usize].len() as u64;
            self.done[arm as usize].sample(self.service.sticky.then_some(failing))
        };
        Pair {
            candidate: sample(Arm::Candidate),
            stable: sample(Arm::Stable),
            ..Pair::default()
        }
    }

    /// All steps, until it is decided.
    pub fn roll_out(mut self, steps: &[Step], settings: &JudgeSettings) -> Outcome {
        let mut looks = Looks::new(
            steps.iter().map(|step| step.hold),
            settings.interval,
            settings.max_hold,
        );
        // What stable did before.
        for _ in 0..(60.0 * self.service.per_second) as u64 {
            self.request(0.0);
        }
        let (begin, before) = (self.now, self.seen().stable);
        let mut waited = 0.0;
        for (number, step) in steps.iter().enumerate() {
            let traffic = Traffic {
                per_second: self.service.per_second,
                stable: before,
            };
            let requests = step.hold.as_secs_f64() * self.service.per_second * step.share;
            let margin = margin(settings.error_margin, &traffic, requests, step.share);
            looks.begin(step.hold);
            let end = self.step(*step, settings, &mut looks, margin);
            let held = end.1 - step.hold.as_secs_f64();
            waited += held.max(0.0);
            if end.0 != End::Promoted {
                return self.outcome(end.0, begin, number, waited);
            }
        }
        self.outcome(End::Promoted, begin, steps.len(), waited)
    }

    fn outcome(&self, end: End, begin: f64, step: usize, waited: f64) -> Outcome {
        Outcome {
            end,
            seconds: self.now - begin,
            step,
            waited,
        }
    }

    fn step(
        &mut self,
        step: Step,
        settings: &JudgeSettings,
        looks: &mut Looks,
        margin: f64,
    ) -> (End, f64) {
        self.failing = Default::default();
        let (begin, first) = (self.now, self.samples());
        let mut marks: Vec<(Duration, Pair)> = vec![(Duration::ZERO, first.clone())];
        loop {
            let at = looks.next();
            while self.now - begin < at.as_secs_f64() {
                match self.request(step.share) {
                    Some(Cause::Errors) => return (End::Guarded, self.now - begin),
                    Some(Cause::Budget) => return (End::Spent, self.now - begin),
                    None => {}
                }
            }
            let look = looks.look(at);
            let now = self.samples();
            let of = |earlier: &Pair| Pair {
                candidate: since(&now.candidate, &earlier.candidate),
                stable: since(&now.stable, &earlier.stable),
                ..Pair::default()
            };
            let minute_ago = marks
                .iter()
                .rev()
                .find(|(mark, _)| *mark + Duration::from_mins(1) <= at && !mark.is_zero());
            let recent = minute_ago.map(|(_, mark)| of(mark));
            let found = judge(settings, margin, look, &of(&first), recent.as_ref());
            marks.push((at, now));
            match found.verdict {
                Verdict::Bad => return (End::Judged, self.now - begin),
                Verdict::Good if look.decides => return (End::Promoted, self.now - begin),
                Verdict::NotEnough { .. } if at >= step.hold + settings.max_hold => {
                    return (End::Unsure, self.now - begin);
                }
                Verdict::Good | Verdict::NotEnough { .. } => {}
            }
        }
    }
}
