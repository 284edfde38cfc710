use std::{
    io::{self, Write},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

use super::{
    Entry, Format,
    sink::{Lines, Shared, Sink, open},
};
use crate::units::Percent;

/// Lines that wait to be written; more are dropped. At some 300 bytes each, 5 MB.
const WAITING: usize = 16 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The part of requests that is logged: 0 % is off.
    pub sample: Percent,
    pub format: Format,
    /// `None`: standard output.
    pub path: Option<PathBuf>,
}

/// The process's access log. Cheap to clone; every clone is the same log.
#[derive(Clone)]
pub struct AccessLog {
    switches: Arc<Switches>,
    queue: NonBlocking,
    dropped: ErrorCounter,
    shared: Arc<Shared>,
    path: Arc<Mutex<Option<PathBuf>>>,
    /// Writes what waits when the last clone is dropped.
    _guard: Arc<WorkerGuard>,
}

/// What workers look at for every request.
#[derive(Default)]
struct Switches {
    /// Millionths.
    sample: AtomicU32,
    json: AtomicBool,
}

impl Switches {
    fn set(&self, settings: &Settings) {
        self.json.store(settings.format == Format::Json, Relaxed);
        self.sample.store(settings.sample.millionths(), Relaxed);
    }
}

impl AccessLog {
    /// Fails when the file can't be opened.
    pub fn start(settings: &Settings) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        // A log that is off needs no file.
        let path = settings
            .path
            .as_deref()
            .filter(|_| settings.sample.millionths() > 0);
        let sink = Sink::new(open(path)?, shared.clone());
        let (queue, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(WAITING)
            .lossy(true)
            .thread_name("access-log")
            .finish(sink);
        let switches = Arc::new(Switches::default());
        switches.set(settings);
        Ok(Self {
            switches,
            dropped: queue.error_counter(),
            queue,
            shared,
            path: Arc::new(Mutex::new(path.map(PathBuf::from))),
            _guard: Arc::new(guard),
        })
    }

    /// Adopts other settings. When the new file can't be opened, nothing has changed.
    pub fn apply(&self, settings: &Settings) -> io::Result<()> {
        if settings.sample.millionths() > 0 {
            let mut path = self.path.lock().unwrap_or_else(PoisonError::into_inner);
            if *path != settings.path {
                self.shared.change_over(open(settings.path.as_deref())?);
                path.clone_from(&settings.path);
            }
        }
        self.switches.set(settings);
        Ok(())
    }

    /// Opens the file anew under its name, as after a rotation. When that fails, the old one is written on.
    pub fn reopen(&self) -> io::Result<()> {
        let path = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        if path.is_some() {
            self.shared.change_over(open(path.as_deref())?);
        }
        Ok(())
    }

    pub fn lines(&self) -> Lines {
        Lines {
            written: self.shared.written.load(Relaxed),
            dropped: self.dropped.dropped_lines() as u64,
            failed: self.shared.failed.load(Relaxed),
        }
    }

    /// For one worker.
    pub fn pen(&self) -> Pen {
        Pen {
            switches: self.switches.clone(),
            queue: self.queue.clone(),
            line: String::with_capacity(512),
        }
    }
}

/// One worker's end of the log.
pub struct Pen {
    switches: Arc<Switches>,
    queue: NonBlocking,
    line: String,
}

impl Pen {
    /// Whether a request is to be logged. `random`: evenly drawn.
    pub fn wants(&self, random: u32) -> bool {
        let sample = self.switches.sample.load(Relaxed);
        sample > 0 && (u64::from(random) * 1_000_000) >> 32 < u64::from(sample)
    }

    /// Never waits.
    pub fn write(&mut self, entry: &Entry<'_>) {
        let json = self.switches.json.load(Relaxed);
        let format = if json { Format::Json } else { Format::Text };
        self.line.clear();
        entry.write(format, &mut self.line);
        // A full queue is counted, and never an error.
        let _ = self.queue.write_all(self.line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::entry::tests::entry, *};

    fn settings(sample: &str, path: PathBuf) -> Settings {
        Settings {
            sample: sample.parse().unwrap(),
            format: Format::Text,
            path: Some(path),
        }
    }

    fn written(log: &AccessLog, lines: u64) {
        // Bounded by the runner's limit on a test.
        while log.lines().written + log.lines().failed < lines {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_log_that_was_moved_away_goes_on_in_a_new_file_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("access.log"), folder.path().join("old"));
        let log = AccessLog::start(&settings("100%", path.clone())).unwrap();
        let mut pen = log.pen();
        pen.write(&entry());
        written(&log, 1);
        fs::rename(&path, &moved).unwrap();
        pen.write(&entry());
        written(&log, 2);
        log.reopen().unwrap();
        pen.write(&entry());
        written(&log, 3);
        let lines = |path| fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((lines(&moved), lines(&path)), (2, 1));
    }

    #[test]
    fn settings_are_adopted_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = AccessLog::start(&settings("0%", path.clone())).unwrap();
        let mut pen = log.pen();
        assert!(!pen.wants(0) && !path.exists(), "off needs no file");
        let nowhere = settings("100%", folder.path().join("no/such/folder"));
        assert!(log.apply(&nowhere).is_err());
        assert!(!pen.wants(0));
        log.apply(&settings("100%", path.clone())).unwrap();
        assert!(pen.wants(0) && pen.wants(u32::MAX));
        pen.write(&entry());
        written(&log, 1);
        let json = Settings {
            format: Format::Json,
            ..settings("100%", path.clone())
        };
        log.apply(&json).unwrap();
        pen.write(&entry());
        written(&log, 2);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().nth(1).unwrap().starts_with('{'), "{text}");
    }

    #[test]
    fn a_sample_is_the_part_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let log = AccessLog::start(&settings("2.5%", folder.path().join("log"))).unwrap();
        let pen = log.pen();
        let wanted = (0..40_000u32)
            .filter(|step| pen.wants(step * 107_374))
            .count();
        assert!((999..=1001).contains(&wanted), "{wanted}");
    }

    #[test]
    fn a_full_disk_is_counted_and_stops_nothing() {
        let log = AccessLog::start(&settings("100%", PathBuf::from("/dev/full"))).unwrap();
        let mut pen = log.pen();
        for line in 1..=3 {
            pen.write(&entry());
            written(&log, line);
        }
        assert_eq!((log.lines().written, log.lines().failed), (0, 3));
    }

    #[test]
    fn a_writer_that_stands_still_makes_nobody_wait() {
        struct Stuck(std::sync::mpsc::Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let log = AccessLog::start(&settings("100%", folder.path().join("log"))).unwrap();
        let (release, stuck) = std::sync::mpsc::channel();
        log.shared.change_over(Box::new(Stuck(stuck)));
        let mut pen = log.pen();
        let sent = WAITING as u64 + 2000;
        for _ in 0..sent {
            pen.write(&entry());
        }
        assert!(log.lines().dropped > 0);
        drop(release);
        written(&log, sent - log.lines().dropped);
        let lines = log.lines();
        assert_eq!(lines.written + lines.dropped, sent);
    }
}
