//! What one decision costs where there is much to remember: the weights of one service of 1 000, from the order to the answer.
//!
//! `cargo bench --bench change`, with the state in memory where there is a `/dev/shm`. The time of all threads is what workers on the
//! same cores lose by it.

#![expect(clippy::unwrap_used, reason = "a bench that can't begin says so")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use cutover::{
    config::{self, Outside, Plan},
    control::{self, Actor, ActorKind, Change, Handle, Order},
};

const SERVICES: usize = 1000;
const CHANGES: usize = 300;
/// The first are for caches to be filled.
const UNCOUNTED: usize = 20;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    };
    let (control, controller) = control::start(plan(&folder.path().join("state"))).unwrap();
    runtime.block_on(async {
        let task = tokio::spawn(controller.run());
        measure(&control, folder.path()).await;
        drop(control);
        task.await.unwrap();
    });
}

async fn measure(control: &Handle, folder: &Path) {
    let mut took = Vec::new();
    let mut spent = Duration::ZERO;
    for number in 0..CHANGES + UNCOUNTED {
        if number == UNCOUNTED {
            spent = spent_by_all_threads();
        }
        let begun = Instant::now();
        control
            .change(vec![weights(number)], order())
            .await
            .unwrap();
        took.push(begun.elapsed());
    }
    let spent = spent_by_all_threads().saturating_sub(spent) / u32::try_from(CHANGES).unwrap();
    let took = &mut took[UNCOUNTED..];
    took.sort();
    let state = fs::metadata(folder.join("state/state.json")).unwrap();
    println!(
        "{SERVICES} services of 10 endpoints, one change: {:?} (median), {:?} (99 of 100), {spent:?} of all threads; state of {} KiB",
        took[CHANGES / 2],
        took[CHANGES * 99 / 100],
        state.len() >> 10
    );
}

fn weights(number: usize) -> Change {
    let green = 10 + u32::try_from(number % 2).unwrap();
    let pools = [("blue", 100 - green), ("green", green)];
    Change::Weights {
        service: "s0500".parse().unwrap(),
        weights: pools
            .map(|(pool, weight)| (pool.parse().unwrap(), weight))
            .into(),
        force: true,
    }
}

fn order() -> Order {
    Order::by(Actor::new("bench", ActorKind::Person, "socket"))
}

/// Two pools of five endpoints for each service.
fn plan(state: &Path) -> Plan {
    let endpoints = |pool: u8| {
        let all = (0..5).map(|n| format!("\"10.{pool}.0.{n}:3000\""));
        all.collect::<Vec<_>>().join(", ")
    };
    let service = |number: usize| {
        format!(
            "[services.s{number:04}]\nhosts = [\"s{number:04}.example\"]\nweights = {{ blue = 90, green = 10 }}\n\
             probe = false\npools.blue.endpoints = [{}]\npools.green.endpoints = [{}]\n",
            endpoints(1),
            endpoints(2)
        )
    };
    let services: String = (0..SERVICES).map(service).collect();
    let file = format!(
        "state_dir = \"{}\"\nadmin = {{ address = \"unix:/nowhere/admin.sock\" }}\n\
         [[listeners]]\naddress = \"127.0.0.1:8080\"\n{services}",
        state.display()
    );
    let outside = Outside {
        env: &|_| None,
        secrets: true,
    };
    let loaded = config::load_text(&PathBuf::from("/nowhere/cutover.toml"), &file, &outside);
    loaded
        .unwrap_or_else(|problems| panic!("{problems:?}"))
        .plan
}

/// As the scheduler counts it (Linux).
fn spent_by_all_threads() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let nanos = tasks.filter_map(|task| {
        let stat = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}
