use std::{
    fs::OpenOptions,
    io::{self, Write},
    mem,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
};

/// Lines are written together up to this size.
const BATCH: usize = 64 * 1024;

/// Where lines end up.
pub type Target = Box<dyn Write + Send>;

/// Standard output, or a file that is appended to.
pub fn open(path: Option<&Path>) -> io::Result<Target> {
    let Some(path) = path else {
        return Ok(Box::new(io::stdout()));
    };
    let mut options = OpenOptions::new();
    // Who asked for what is not everybody's to read.
    let file = options.append(true).create(true).mode(0o640).open(path)?;
    Ok(Box::new(file))
}

/// How many lines were ...
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lines {
    pub written: u64,
    /// The queue was full.
    pub dropped: u64,
    /// The disk or the pipe refused them.
    pub failed: u64,
}

/// What the writing thread shares with those who direct it.
#[derive(Default)]
pub struct Shared {
    /// A target to change over to, taken by the writing thread before its next line.
    next: Mutex<Option<Target>>,
    waiting: AtomicBool,
    pub written: AtomicU64,
    pub failed: AtomicU64,
}

impl Shared {
    pub fn change_over(&self, target: Target) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(target);
        self.waiting.store(true, Release);
    }
}

/// The writing thread's end. Never fails: a line that can't be written is counted, and the next one is tried.
pub struct Sink {
    target: Target,
    batch: Vec<u8>,
    lines: u64,
    shared: Arc<Shared>,
}

impl Sink {
    pub fn new(target: Target, shared: Arc<Shared>) -> Self {
        Self {
            target,
            batch: Vec::with_capacity(BATCH),
            lines: 0,
            shared,
        }
    }

    fn write_out(&mut self) {
        let written = self
            .target
            .write_all(&self.batch)
            .and_then(|()| self.target.flush());
        let counter = match written {
            Ok(()) => &self.shared.written,
            Err(_) => &self.shared.failed,
        };
        counter.fetch_add(mem::take(&mut self.lines), Relaxed);
        self.batch.clear();
    }
}

impl Write for Sink {
    /// One line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.shared.waiting.load(Acquire) && self.shared.waiting.swap(false, AcqRel) {
            self.write_out();
            let mut next = self
                .shared
                .next
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(target) = next.take() {
                self.target = target;
            }
        }
        if self.batch.len() + line.len() > BATCH {
            self.write_out();
        }
        self.batch.extend_from_slice(line);
        self.lines += 1;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.lines > 0 {
            self.write_out();
        }
        Ok(())
    }
}
