//! The files of `state_dir`: what is remembered, the journal of events, the key of sticky sessions, the lock.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::Deserialize;

use super::{Event, events::KEPT, memory::Memory, state_text::StateText};
use crate::units::{Secret, Timestamp};

/// Of the state file. A newer one is not read: it may mean what this version does not know.
const SCHEMA: u32 = 1;
const STATE: &str = "state.json";
const JOURNAL: &str = "events.jsonl";
const JOURNAL_BEFORE: &str = "events.1.jsonl";
const KEY: &str = "sticky.key";
const LOCK: &str = "lock";
/// How large the journal may grow before it is begun anew; the one before is kept.
const JOURNAL_BYTES: u64 = 8 << 20;
/// What is larger was not written by us.
const STATE_BYTES: u64 = 256 << 20;
const KEY_BYTES: usize = 32;

/// Why `state_dir` cannot be owned.
#[derive(Debug, thiserror::Error)]
#[error(
    "state_dir {} is in use by another cutover{}: stop that one, or give this one a state_dir of its own",
    dir.display(),
    pid.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default()
)]
pub struct Locked {
    pub dir: PathBuf,
    pub pid: Option<String>,
}

/// The folder, owned for as long as this lives.
pub(super) struct Disk {
    dir: PathBuf,
    /// `None` where the folder cannot be written at all.
    lock: Option<File>,
    /// Of what was saved last; locked by who writes, and nobody else does.
    text: Mutex<StateText>,
    #[cfg(test)]
    pub faults: faults::Faults,
}

/// What was found at the start.
#[derive(Default)]
pub(super) struct Found {
    pub memory: Memory,
    pub events: Vec<Event>,
    pub key: Option<Secret>,
    /// What was set aside, and why.
    pub damaged: Vec<String>,
}

#[derive(Deserialize)]
struct StateIn {
    #[serde(flatten)]
    memory: Memory,
}

#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

impl Disk {
    /// Owns the folder, making it where it is missing. A folder that cannot be written is no reason not to serve.
    pub fn open(dir: &Path) -> Result<(Self, Option<String>), Locked> {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir);
        let opened = made.and_then(|()| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(dir.join(LOCK))
        });
        // A lock needs no writing: on a read-only folder the file of an earlier run will do.
        let opened = opened.or_else(|error| File::open(dir.join(LOCK)).map_err(|_| error));
        let (lock, error) = match opened {
            Err(error) => (None, Some(error.to_string())),
            Ok(mut file) => match file.try_lock() {
                Ok(()) => {
                    // Only told to whoever meets the lock.
                    let _ = file
                        .set_len(0)
                        .and_then(|()| write!(file, "{}", std::process::id()));
                    (Some(file), None)
                }
                Err(TryLockError::WouldBlock) => {
                    let mut pid = String::new();
                    let read = file.take(20).read_to_string(&mut pid);
                    let digits = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
                    return Err(Locked {
                        dir: dir.to_owned(),
                        pid: (read.is_ok() && digits).then_some(pid),
                    });
                }
                Err(TryLockError::Error(error)) => (None, Some(error.to_string())),
            },
        };
        let disk = Self {
            dir: dir.to_owned(),
            lock,
            text: Mutex::default(),
            #[cfg(test)]
            faults: faults::Faults::default(),
        };
        Ok((disk, error))
    }

    /// Reads what an earlier run left. What cannot be understood is set aside, never half applied.
    pub fn read(&self, now: Timestamp) -> Found {
        let mut found = Found::default();
        self.sweep();
        match self.read_state() {
            Ok(memory) => found.memory = memory.unwrap_or_default(),
            Err(why) => found.damaged.push(self.set_aside(STATE, &why, now)),
        }
        found.events = self.read_journal();
        match self.read_key() {
            Ok(key) => found.key = key,
            Err(why) => found.damaged.push(self.set_aside(KEY, &why, now)),
        }
        found
    }

    fn read_state(&self) -> Result<Option<Memory>, String> {
        let Some(bytes) = self.read_file(STATE, STATE_BYTES)? else {
            return Ok(None);
        };
        let head: Schema = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        match head.schema {
            SCHEMA => {
                let state: StateIn =
                    serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
                Ok(Some(state.memory))
            }
            other => Err(format!(
                "it has schema {other}, and this version reads schema {SCHEMA}"
            )),
        }
    }

    fn read_file(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, String> {
        let file = match File::open(self.dir.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let mut bytes = Vec::new();
        let read = file.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| error.to_string())?;
        if bytes.len() as u64 > limit {
            return Err(format!("it is larger than {limit} bytes"));
        }
        Ok(Some(bytes))
    }

    /// Moves a file out of the way; says so in one clause.
    fn set_aside(&self, name: &str, why: &str, now: Timestamp) -> String {
        let time = now.strftime("%Y%m%dT%H%M%S%.3fZ");
        let aside = format!("{name}.damaged-{time}");
        match fs::rename(self.dir.join(name), self.dir.join(&aside)) {
            Ok(()) => format!("{name} was not understood ({why}); it is kept as {aside}"),
            Err(error) => format!("{name} was not understood ({why}) nor set aside ({error})"),
        }
    }

    /// Removes what a crash in the middle of a write left.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return;
        };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(".tmp-") {
                // One that stays does no harm.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Makes the state file this memory, whole or not at all, and durable when it returns.
    pub fn save(&self, memory: &Memory, now: Timestamp) -> io::Result<()> {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = text.of(SCHEMA, memory, now)?;
        drop(text);
        self.replace(STATE, &bytes)
    }

    /// Temp file in the same folder, fsync, rename, fsync of the folder: a crash between any two leaves old or new.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut temp = tempfile::Builder::new()
            .prefix(".tmp-")
            .tempfile_in(&self.dir)?;
        self.step("create")?;
        temp.write_all(bytes)?;
        self.step("write")?;
        temp.as_file().sync_all()?;
        self.step("sync")?;
        temp.persist(self.dir.join(name))
            .map_err(|error| error.error)?;
        self.step("rename")?;
        File::open(&self.dir)?.sync_all()?;
        self.step("folder")
    }

    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "where tests break it"
    )]
    fn step(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn step(&self, step: &'static str) -> io::Result<()> {
        self.faults.meet(step)
    }

    /// Adds lines to the journal. Not synced: an event is no decision.
    pub fn append(&self, lines: &str) -> io::Result<()> {
        let path = self.dir.join(JOURNAL);
        if fs::metadata(&path).is_ok_and(|held| held.len() > JOURNAL_BYTES) {
            fs::rename(&path, self.dir.join(JOURNAL_BEFORE))?;
        }
        self.step("journal")?;
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        if is_torn(&mut file)? {
            file.write_all(b"\n")?;
        }
        file.write_all(lines.as_bytes())
    }

    /// The last events, oldest first. A torn or strange line is passed over.
    fn read_journal(&self) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        for name in [JOURNAL_BEFORE, JOURNAL] {
            let bytes = self.read_file(name, JOURNAL_BYTES * 2).ok().flatten();
            let bytes = bytes.unwrap_or_default();
            let lines = bytes.split(|byte| *byte == b'\n');
            for event in lines.filter_map(|line| serde_json::from_slice::<Event>(line).ok()) {
                if events.last().is_none_or(|last| event.id > last.id) {
                    events.push(event);
                }
            }
        }
        let surplus = events.len().saturating_sub(KEPT);
        events.drain(..surplus);
        events
    }

    fn read_key(&self) -> Result<Option<Secret>, String> {
        let Some(bytes) = self.read_file(KEY, 1024)? else {
            return Ok(None);
        };
        if bytes.len() == KEY_BYTES {
            Ok(Some(Secret::new(bytes)))
        } else {
            Err(format!("it has {} bytes, not {KEY_BYTES}", bytes.len()))
        }
    }

    /// Makes a key and keeps it where that is possible: without, sticky clients are assigned anew after a restart only
    /// where shares do not already decide it.
    pub fn make_key(&self) -> (Secret, Option<String>) {
        let mut bytes = vec![0; KEY_BYTES];
        let drawn =
            getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()));
        if drawn.is_err() {
            // A key that is known would let cookies be forged: without randomness none outlives this start.
            bytes = format!("{:?}", std::hash::RandomState::new()).into_bytes();
        }
        let kept = drawn.and_then(|()| self.replace(KEY, &bytes));
        (
            Secret::new(bytes),
            kept.err().map(|error| error.to_string()),
        )
    }
}

/// Whether the last write was cut short, so that a line has no end.
fn is_torn(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(io::SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(lock) = &self.lock {
            // Closing it does the same.
            let _ = lock.unlock();
        }
    }
}

#[cfg(test)]
pub(super) mod faults {
    use std::{
        io,
        sync::{Arc, Condvar, Mutex},
    };

    /// Where the disk breaks or hangs; shared with the test.
    #[derive(Clone, Default)]
    pub struct Faults(Arc<(Mutex<Fault>, Condvar)>);

    #[derive(Clone, Copy, Default, PartialEq)]
    enum Fault {
        #[default]
        None,
        Breaks(&'static str),
        Hangs(&'static str),
    }

    impl Faults {
        pub fn break_at(&self, step: &'static str) {
            self.set(Fault::Breaks(step));
        }

        pub fn hang_at(&self, step: &'static str) {
            self.set(Fault::Hangs(step));
        }

        pub fn mend(&self) {
            self.set(Fault::None);
        }

        fn set(&self, fault: Fault) {
            *self.0.0.lock().unwrap() = fault;
            self.0.1.notify_all();
        }

        pub fn meet(&self, step: &'static str) -> io::Result<()> {
            let fault = self.0.0.lock().unwrap();
            let hangs = |fault: &mut Fault| *fault == Fault::Hangs(step);
            let fault = self.0.1.wait_while(fault, hangs).unwrap();
            if *fault == Fault::Breaks(step) {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            } else {
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(last_event: u64) -> Memory {
        Memory {
            last_event,
            ..Memory::default()
        }
    }

    fn remembered(dir: &Path) -> u64 {
        let (disk, _) = Disk::open(dir).unwrap();
        let found = disk.read(Timestamp::now());
        assert_eq!(found.damaged, [""; 0]);
        found.memory.last_event
    }

    #[test]
    fn a_write_that_ends_anywhere_leaves_the_old_or_the_new_whole() {
        for (step, expected) in [
            ("create", 1),
            ("write", 1),
            ("sync", 1),
            ("rename", 2),
            ("folder", 2),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let (disk, error) = Disk::open(folder.path()).unwrap();
            assert_eq!(error, None);
            disk.save(&memory(1), Timestamp::now()).unwrap();
            disk.faults.break_at(step);
            disk.save(&memory(2), Timestamp::now()).unwrap_err();
            drop(disk);
            assert_eq!(remembered(folder.path()), expected, "{step}");
        }
    }

    #[test]
    fn a_disk_that_is_mended_takes_the_next_write() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, _) = Disk::open(folder.path()).unwrap();
        disk.faults.break_at("write");
        disk.save(&memory(1), Timestamp::now()).unwrap_err();
        disk.faults.mend();
        disk.save(&memory(2), Timestamp::now()).unwrap();
        drop(disk);
        assert_eq!(remembered(folder.path()), 2);
    }

    #[test]
    fn what_a_crash_left_half_written_is_swept_away() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".tmp-abc"), "{\"schema\":1,").unwrap();
        assert_eq!(remembered(folder.path()), 0);
        assert!(!folder.path().join(".tmp-abc").exists());
    }

    #[test]
    fn a_large_journal_is_begun_anew_and_the_one_before_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, _) = Disk::open(folder.path()).unwrap();
        let line = format!("{}\n", "x".repeat(1 << 20));
        for _ in 0..20 {
            disk.append(&line).unwrap();
        }
        let size = |name: &str| fs::metadata(folder.path().join(name)).unwrap().len();
        let most = JOURNAL_BYTES + line.len() as u64;
        assert!(size(JOURNAL) <= most && size(JOURNAL_BEFORE) <= most);
    }
}
