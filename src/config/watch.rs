//! When the file changed: told by the kernel, confirmed by a hash, and by a slow poll where the kernel is silent.
//!
//! Owns the thread that looks. Knows nothing of what a change means.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use tokio::sync::mpsc;

use super::{
    gather::{Gathered, Hash, gather, is_as_before},
    settle::{Edit, Settle},
};

/// The net below the kernel's events, which network file systems and bind mounts may not send.
const POLL: Duration = Duration::from_secs(5);
/// The net where the kernel lends no watch at all.
const POLL_ALONE: Duration = Duration::from_secs(1);
/// Events that come together are one look.
const GATHER: Duration = Duration::from_millis(20);
/// So many links are followed, as many as the kernel does.
const MOST_LINKS: usize = 40;

/// A watch on a file and those it includes. Ends when it is dropped.
pub struct Watch {
    wake: Sender<Wake>,
}

enum Wake {
    /// Something may have changed.
    Look,
    /// Somebody says that the file is finished.
    Now,
    Stop,
}

/// Watches `path`, of which the bytes with `loaded` are in force.
pub fn watch(path: &Path, loaded: Hash) -> io::Result<(Watch, mpsc::Receiver<Edit>)> {
    let path = std::path::absolute(path)?;
    let (wake, woken) = channel();
    let (edits, receiver) = mpsc::channel(16);
    let looker = Looker::new(path, wake.clone(), edits);
    thread::Builder::new()
        .name("config-watch".into())
        .spawn(move || looker.run(&woken, loaded))?;
    Ok((Watch { wake }, receiver))
}

impl Watch {
    /// Looks now, and tells what is there as an edit that is surely still, changed or not.
    pub fn now(&self) {
        let _ = self.wake.send(Wake::Now);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.wake.send(Wake::Stop);
    }
}

struct Looker {
    path: PathBuf,
    kernel: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    /// A look is waiting already, and will see what else happens.
    asked: Arc<AtomicBool>,
    edits: mpsc::Sender<Edit>,
}

impl Looker {
    fn new(path: PathBuf, wake: Sender<Wake>, edits: mpsc::Sender<Edit>) -> Self {
        let asked = Arc::new(AtomicBool::new(false));
        let asks = Arc::clone(&asked);
        let kernel = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Our own reading is an event too.
            let change = event.map_or(true, |event| is_change(event.kind));
            if change && !asks.swap(true, Ordering::AcqRel) {
                let _ = wake.send(Wake::Look);
            }
        });
        if let Err(error) = &kernel {
            tracing::warn!(%error, "the kernel tells of no edits; looking every second");
        }
        Self {
            path,
            kernel: kernel.ok(),
            watched: BTreeSet::new(),
            asked,
            edits,
        }
    }

    fn run(mut self, woken: &Receiver<Wake>, loaded: Hash) {
        let mut settle = Settle::new(loaded);
        let mut last: Option<Gathered> = None;
        loop {
            self.asked.store(false, Ordering::Release);
            let before = last.take();
            let known = before.as_ref().map(|gathered| gathered.hash);
            // Most events are of other files in the folder: logs, the state.
            let gathered = before
                .filter(|before| is_as_before(&self.path, before))
                .unwrap_or_else(|| gather(&self.path));
            let hash = gathered.hash;
            // A file replaced by another keeps its name and loses its watch. What happened before a watch stood is seen
            // by another look.
            let again = self.follow(&gathered, known != Some(hash));
            last = Some(gathered);
            if again {
                continue;
            }
            settle.saw(hash, Instant::now());
            if let Some(edit) = settle.due(Instant::now())
                && self.edits.blocking_send(edit).is_err()
            {
                return;
            }
            match self.wait(woken, &settle) {
                Some(Wake::Look) => {}
                Some(Wake::Now) => {
                    let edit = settle.vouched(gather(&self.path).hash);
                    if self.edits.blocking_send(edit).is_err() {
                        return;
                    }
                }
                Some(Wake::Stop) | None => return,
            }
        }
    }

    /// Until it is time to look again.
    fn wait(&self, woken: &Receiver<Wake>, settle: &Settle) -> Option<Wake> {
        let poll = if self.watched.is_empty() {
            POLL_ALONE
        } else {
            POLL
        };
        let due = settle
            .next()
            .map(|next| next.saturating_duration_since(Instant::now()));
        match woken.recv_timeout(due.unwrap_or(poll).min(poll)) {
            Err(RecvTimeoutError::Timeout) => Some(Wake::Look),
            Err(RecvTimeoutError::Disconnected) => None,
            // Events come in bursts; `asked` still holds, so that nothing but another wish comes now.
            Ok(Wake::Look) => Some(woken.recv_timeout(GATHER).unwrap_or(Wake::Look)),
            Ok(other) => Some(other),
        }
    }

    /// Watches where the files and their links stand now: anew if they `moved`. Says whether a watch was set.
    fn follow(&mut self, gathered: &Gathered, moved: bool) -> bool {
        let Some(kernel) = &mut self.kernel else {
            return false;
        };
        let mut wanted = BTreeSet::new();
        for source in &gathered.sources {
            stations(&source.path, &mut wanted);
        }
        for beside in &gathered.beside {
            stations(&beside.path, &mut wanted);
        }
        for folder in &gathered.folders {
            wanted.insert(folder.clone());
        }
        for path in &self.watched {
            if moved || !wanted.contains(path) {
                let _ = kernel.unwatch(path);
            }
        }
        if moved {
            self.watched.clear();
        } else {
            self.watched.retain(|path| wanted.contains(path));
        }
        let before = self.watched.len();
        for path in wanted {
            if !self.watched.contains(&path)
                && kernel.watch(&path, RecursiveMode::NonRecursive).is_ok()
            {
                self.watched.insert(path);
            }
        }
        self.watched.len() > before
    }
}

fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

/// Every place where another file could be put in this one's stead: the folder of the file, of each link on the way to
/// it, and the file itself, because a write through another mount shows only there.
fn stations(path: &Path, found: &mut BTreeSet<PathBuf>) {
    let mut ways = vec![path.to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        if seen.len() > MOST_LINKS || !seen.insert(way.clone()) {
            continue;
        }
        found.extend(way.parent().map(Path::to_owned));
        if way.is_file() {
            found.insert(way.clone());
        }
        for link in way.ancestors() {
            let (Ok(target), Some(folder)) = (fs::read_link(link), link.parent()) else {
                continue;
            };
            found.insert(folder.to_owned());
            let rest = way.strip_prefix(link).unwrap_or(Path::new(""));
            // Joining nothing would end the path in a slash.
            let target = folder.join(target);
            ways.push(if rest.as_os_str().is_empty() {
                target
            } else {
                target.join(rest)
            });
        }
    }
}
