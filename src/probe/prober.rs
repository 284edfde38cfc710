use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{
    failure::Failures,
    task::{Check, Task, Wish},
};
use crate::{
    config::plan::Probe,
    control::{Hurry, Probed},
    units::{EndpointKey, Name},
};

/// How far apart the first probes of endpoints that come together begin, so that a thousand are no stampede.
const SPREAD: Duration = Duration::from_millis(1);

/// One endpoint to probe.
pub struct Wanted<'a> {
    pub endpoint: &'a EndpointKey,
    pub probe: &'a Probe,
    /// Has to prove itself, perhaps anew.
    pub unproven: bool,
}

/// The tasks, and what they are to do.
pub struct Prober {
    /// By service.
    tasks: Map<Name, Map<EndpointKey, Watched>>,
    failures: Failures,
    report: mpsc::Sender<Probed>,
    check: Check,
    /// The pools that somebody waits for.
    hurried: Hurry,
    /// How often a service's tasks were compared with what is wanted of it.
    pass: u64,
}

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// An endpoint that is probed; dropping it ends its task.
struct Watched {
    wishes: watch::Sender<Wish>,
    task: JoinHandle<()>,
    /// When it was last looked at.
    unproven: bool,
    /// The last pass that met it.
    pass: u64,
}

impl Prober {
    pub fn new(failures: Failures, report: mpsc::Sender<Probed>, check: Check) -> Self {
        Self {
            tasks: HashMap::default(),
            failures,
            report,
            check,
            hurried: Hurry::new(),
            pass: 0,
        }
    }

    /// Begins, changes and ends tasks so that of each of these services exactly what is wanted is probed. The others go on
    /// as they are.
    pub fn follow<'a, W>(&mut self, services: impl Iterator<Item = (&'a Name, W)>)
    where
        W: Iterator<Item = Wanted<'a>>,
    {
        let mut touched = 0;
        for (service, wanted) in services {
            self.pass += 1;
            let mut tasks = self.tasks.remove(service).unwrap_or_default();
            for wanted in wanted {
                let delay = spread(touched, wanted.probe.interval);
                let known = tasks.get_mut(wanted.endpoint);
                if let Some(watched) = known
                    && !watched.task.is_finished()
                {
                    watched.pass = self.pass;
                    touched += u32::from(watched.adopt(&wanted, delay));
                } else {
                    tasks.insert(wanted.endpoint.clone(), self.begin(&wanted, delay));
                    touched += 1;
                }
            }
            tasks.retain(|endpoint, watched| {
                let stays = watched.pass == self.pass;
                if !stays {
                    self.failures.end(endpoint);
                }
                stays
            });
            self.tasks.insert(service.clone(), tasks);
        }
    }

    /// Ends the tasks of services that are gone.
    pub fn retain(&mut self, stays: impl Fn(&Name) -> bool) {
        self.tasks.retain(|service, tasks| {
            let stays = stays(service);
            if !stays {
                for endpoint in tasks.keys() {
                    self.failures.end(endpoint);
                }
            }
            stays
        });
    }

    fn begin(&self, wanted: &Wanted<'_>, delay: Duration) -> Watched {
        let (wishes, receiver) = watch::channel(Wish {
            probe: Arc::new(wanted.probe.clone()),
            nudges: 0,
            hurried: self.hurried.contains_key(&wanted.endpoint.pool_key()),
            delay,
        });
        self.failures.begin(wanted.endpoint);
        let task = Task::new(
            wanted.endpoint.clone(),
            receiver,
            self.failures.clone(),
            self.report.clone(),
            self.check.clone(),
        );
        Watched {
            wishes,
            task: tokio::spawn(task.run()),
            unproven: wanted.unproven,
            pass: self.pass,
        }
    }

    /// Asks at once, and quickly from then on, in every pool that somebody began to wait for; no longer in those that
    /// nobody waits for any more.
    pub fn hurry(&mut self, pools: Hurry) {
        for (endpoint, watched) in self.tasks.values().flatten() {
            let pool = endpoint.pool_key();
            let (before, now) = (self.hurried.get(&pool), pools.get(&pool));
            if before != now {
                watched
                    .wishes
                    .send_modify(|wish| wish.hurried = now.is_some());
            }
            if now > before {
                watched.nudge();
            }
        }
        self.hurried = pools;
    }

    pub fn nudge(&self, endpoint: &EndpointKey) {
        let tasks = self.tasks.get(&endpoint.service);
        if let Some(watched) = tasks.and_then(|tasks| tasks.get(endpoint)) {
            watched.nudge();
        }
    }
}

impl Watched {
    /// Takes over changed settings (`true`), and hurries when the endpoint has to prove itself anew.
    fn adopt(&mut self, wanted: &Wanted<'_>, delay: Duration) -> bool {
        let other = self.wishes.send_if_modified(|wish| {
            let other = *wish.probe != *wanted.probe;
            if other {
                wish.probe = Arc::new(wanted.probe.clone());
                wish.delay = delay;
            }
            other
        });
        if wanted.unproven && !self.unproven {
            self.nudge();
        }
        self.unproven = wanted.unproven;
        other
    }

    fn nudge(&self) {
        self.wishes.send_modify(|wish| {
            wish.nudges += 1;
            wish.delay = Duration::ZERO;
        });
    }
}

/// The delay of the `index`-th endpoint that one snapshot brought or changed; never over an interval.
fn spread(index: u32, interval: Duration) -> Duration {
    let delay = (SPREAD * index).as_nanos() % interval.as_nanos().max(1);
    Duration::from_nanos(u64::try_from(delay).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt;
    use tokio::time::Instant;

    use super::*;
    use crate::{
        config::plan::ProbeKind,
        probe::{
            check::Checked,
            failure::{Failure, Reason},
        },
        units::Address,
    };

    type Log = Arc<Mutex<Vec<(Duration, Address)>>>;

    /// Endpoints that answer as `ready` says, in virtual time.
    struct World {
        prober: Prober,
        asked: Log,
        ready: watch::Sender<bool>,
        failures: Failures,
        results: mpsc::Receiver<Probed>,
    }

    fn world() -> World {
        let (report, results) = mpsc::channel(10_000);
        let (ready, answer) = watch::channel(true);
        let (asked, begun) = (Log::default(), Instant::now());
        let log = asked.clone();
        let check: Check = Arc::new(move |address, _| {
            log.lock().unwrap().push((begun.elapsed(), address));
            let result = if *answer.borrow() {
                Ok(())
            } else {
                Err(Failure::new(Reason::Status, "no"))
            };
            let latency = Duration::from_millis(1);
            let checked = Checked {
                status: None,
                latency,
                result,
            };
            tokio::time::sleep(latency).map(|()| checked).boxed()
        });
        let failures = Failures::default();
        World {
            prober: Prober::new(failures.clone(), report, check),
            asked,
            ready,
            failures,
            results,
        }
    }

    impl World {
        /// When the probes so far began, in milliseconds; forgets them.
        fn begins(&self) -> Vec<u128> {
            let asked = std::mem::take(&mut *self.asked.lock().unwrap());
            asked.iter().map(|(at, _)| at.as_millis()).collect()
        }
    }

    fn probe(interval: u64) -> Probe {
        Probe {
            kind: ProbeKind::Tcp,
            interval: Duration::from_millis(interval),
            timeout: Duration::from_millis(500),
            rise: 2,
            fall: 3,
            port: None,
            transport: crate::config::plan::Transport::default(),
        }
    }

    fn endpoints(count: u16) -> Vec<EndpointKey> {
        let key = |port: u16| EndpointKey {
            service: "shop".parse().unwrap(),
            pool: "blue".parse().unwrap(),
            address: format!("10.0.0.1:{}", port + 1).parse().unwrap(),
        };
        (0..count).map(key).collect()
    }

    fn want<'a>(
        endpoints: &'a [EndpointKey],
        probe: &'a Probe,
        unproven: bool,
    ) -> impl Iterator<Item = (&'a Name, impl Iterator<Item = Wanted<'a>>)> {
        let wanted = endpoints.iter().map(move |endpoint| Wanted {
            endpoint,
            probe,
            unproven,
        });
        std::iter::once((&endpoints[0].service, wanted))
    }

    async fn pass(millis: u64) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_endpoint_is_asked_at_once_and_quickly_until_proven() {
        let mut world = world();
        world.prober.follow(want(&endpoints(1), &probe(1000), true));
        pass(700).await;
        let begins = world.begins();
        assert_eq!(begins.len(), 2, "{begins:?}");
        assert!(
            begins[0] <= 1 && (180..=222).contains(&begins[1]),
            "{begins:?}"
        );
        pass(5000).await;
        assert!(
            (5..=6).contains(&world.begins().len()),
            "then at the interval"
        );
        let mut last = None;
        while let Ok(probed) = world.results.try_recv() {
            last = Some(probed);
        }
        let last = last.unwrap();
        assert!(last.passed && last.last.streak >= 7, "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_in_doubt_is_asked_quickly_and_a_dead_one_slowly() {
        let mut world = world();
        let shop = endpoints(1);
        world.prober.follow(want(&shop, &probe(1000), true));
        pass(3000).await;
        world.ready.send_replace(false);
        pass(1200).await;
        world.begins();
        pass(2000).await;
        let quick = world.begins().len();
        assert!((9..=12).contains(&quick), "{quick} probes in two seconds");
        pass(20_000).await;
        world.begins();
        pass(10_000).await;
        let slow = world.begins().len();
        assert!((9..=12).contains(&slow), "{slow} probes in ten seconds");
        let counted: Vec<_> = world
            .failures
            .rows()
            .into_iter()
            .filter(|(_, _, count)| *count > 0)
            .collect();
        assert!(
            matches!(counted[..], [(_, Reason::Status, 30..)]),
            "{counted:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_nudge_asks_at_once_and_as_often_as_a_verdict_takes() {
        let mut world = world();
        let shop = endpoints(1);
        world.prober.follow(want(&shop, &probe(60_000), false));
        pass(10_000).await;
        world.begins();
        world.prober.nudge(&shop[0]);
        pass(10).await;
        assert_eq!(world.begins().len(), 1);
        pass(10_000).await;
        assert_eq!(world.begins().len(), 2, "and twice more, quickly");
        for _ in 0..100 {
            world.prober.nudge(&shop[0]);
            pass(1).await;
        }
        let begins = world.begins();
        assert!(
            begins.len() <= 3,
            "a storm of nudges is no storm of probes: {begins:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_that_somebody_waits_for_is_asked_quickly_until_nobody_does() {
        let mut world = world();
        let shop = endpoints(1);
        world.prober.follow(want(&shop, &probe(60_000), false));
        pass(10_000).await;
        world.begins();
        let hurry = |waiting| Hurry::from([(shop[0].pool_key(), waiting)]);
        world.prober.hurry(hurry(1));
        pass(10).await;
        assert_eq!(world.begins().len(), 1);
        pass(20_000).await;
        let begins = world.begins().len();
        assert!((18..=22).contains(&begins), "{begins}");
        world.prober.hurry(hurry(2));
        pass(60).await;
        assert_eq!(
            world.begins().len(),
            1,
            "whoever comes later wants fresh proof too"
        );
        world.prober.hurry(Hurry::new());
        pass(5000).await;
        world.begins();
        pass(50_000).await;
        assert!(world.begins().len() <= 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_must_prove_itself_anew_is_asked_at_once() {
        let mut world = world();
        let shop = endpoints(1);
        world.prober.follow(want(&shop, &probe(60_000), false));
        pass(10_000).await;
        world.begins();
        world.prober.follow(want(&shop, &probe(60_000), true));
        pass(3000).await;
        assert_eq!(world.begins().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn changed_settings_are_adopted_and_the_streak_goes_on() {
        let mut world = world();
        let shop = endpoints(1);
        world.prober.follow(want(&shop, &probe(60_000), true));
        pass(10_000).await;
        let before = world.begins().len();
        world.prober.follow(want(&shop, &probe(60_000), true));
        pass(1000).await;
        assert_eq!(world.begins().len(), 0, "the same settings change nothing");
        world.prober.follow(want(&shop, &probe(100), true));
        pass(2000).await;
        let after = world.begins().len();
        assert!(after >= 17, "{after}");
        let mut streaks = Vec::new();
        while let Ok(probed) = world.results.try_recv() {
            streaks.push(probed.last.streak);
        }
        let counted: Vec<_> = (1..).take(before + after).collect();
        assert!(
            counted.starts_with(&streaks) && streaks.len() + 1 >= counted.len(),
            "{streaks:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_is_gone_is_not_asked_again() {
        let mut world = world();
        let shop = endpoints(2);
        world.prober.follow(want(&shop, &probe(100), true));
        pass(1000).await;
        world.prober.follow(want(&shop[..1], &probe(100), true));
        world.begins();
        pass(1000).await;
        let asked: Vec<_> = std::mem::take(&mut *world.asked.lock().unwrap());
        assert!(asked.len() > 5 && asked.iter().all(|(_, address)| *address == shop[0].address));
        assert!(
            world
                .failures
                .rows()
                .iter()
                .all(|(endpoint, ..)| *endpoint == shop[0])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_is_not_looked_at_is_probed_on_and_one_that_is_gone_is_not() {
        let mut world = world();
        let shop = endpoints(2);
        let mut other = endpoints(1);
        other[0].service = "other".parse().unwrap();
        let probe = probe(100);
        world.prober.follow(want(&shop, &probe, true));
        world.prober.follow(want(&other, &probe, true));
        pass(1000).await;
        world.begins();
        pass(1000).await;
        assert!((24..=34).contains(&world.begins().len()), "all three");
        world.prober.retain(|service| service.as_str() == "other");
        world.begins();
        pass(1000).await;
        assert!((8..=12).contains(&world.begins().len()), "one is left");
        world.prober.nudge(&shop[0]);
        let rows = world.failures.rows();
        assert!(rows.iter().all(|(endpoint, ..)| *endpoint == other[0]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_endpoints_are_no_stampede() {
        let mut world = world();
        let shop = endpoints(1000);
        world.prober.follow(want(&shop, &probe(1000), true));
        pass(20_000).await;
        let mut per_slice = [0; 200];
        for begin in world.begins() {
            per_slice[usize::try_from(begin / 100).unwrap().min(199)] += 1;
        }
        // The even pace is 100 in a tenth of a second; while nobody is proven yet, twice that.
        let busiest = per_slice.iter().max().unwrap();
        assert!(*busiest <= 250, "{per_slice:?}");
        // A change of the settings of all is no stampede either.
        world.prober.follow(want(&shop, &probe(1001), true));
        pass(50).await;
        let burst = world.begins().len();
        assert!(burst <= 200, "{burst}");
    }
}
