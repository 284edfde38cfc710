//! A file that is looked at again and again.
//!
//! By asking how it stands, not by the kernel's events: those do not come from network file systems, and each pool would need
//! watches on every folder and link on the way. A look costs a system call.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    task,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{list, run::Told};

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(200);
/// It is read again although it looks the same.
const AGAIN: Duration = Duration::from_secs(10);
/// A file system that does not answer for so long has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// 4096 names of full length, and comments.
const MOST_BYTES: u64 = 2 * 1024 * 1024;

/// What another file in its place, or another text in it, changes; or why it cannot be asked.
type Stamp = Result<[i128; 5], String>;

/// Tells what the file names until nobody listens.
pub async fn watch(told: Told, path: PathBuf) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut read: Option<(Stamp, Instant)> = None;
    let mut before: Option<Stamp> = None;
    loop {
        ticks.tick().await;
        let at = path.clone();
        let stamp = patiently(&told, move || stamp(&at)).await;
        let due = match &read {
            None => true,
            Some((known, when)) if *known == stamp => when.elapsed() >= AGAIN,
            // One that is still being written changes from look to look.
            Some(_) => before.as_ref() == Some(&stamp),
        };
        before = Some(stamp.clone());
        if !due {
            continue;
        }
        let (at, most) = (path.clone(), told.most());
        let found = match &stamp {
            Ok(_) => patiently(&told, move || text(&at)).await,
            Err(why) => Err(why.clone()),
        };
        let found = found.and_then(|text| list::parse(&text, most));
        if !told.tell(found).await {
            return;
        }
        read = Some((stamp, Instant::now()));
    }
}

/// Asks the file system, beside everything else. One that hangs is waited for, and that it does is told.
async fn patiently<T: Send + 'static>(
    told: &Told,
    ask: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let mut asked = task::spawn_blocking(ask);
    let answer = if let Ok(answer) = timeout(PATIENCE, &mut asked).await {
        answer
    } else {
        let seconds = PATIENCE.as_secs();
        told.tell(Err(format!("no answer within {seconds} s")))
            .await;
        asked.await
    };
    answer.unwrap_or_else(|_| Err("it could not be looked at".to_owned()))
}

fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).map_err(|error| error.to_string())?;
    // To open a pipe is to wait for who writes into it.
    if !found.is_file() {
        return Err("it is no file".to_owned());
    }
    let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Ok([
        found.dev().into(),
        found.ino().into(),
        found.size().into(),
        nanos(found.mtime(), found.mtime_nsec()),
        nanos(found.ctime(), found.ctime_nsec()),
    ])
}

fn text(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let read = file.take(MOST_BYTES + 1).read_to_string(&mut text);
    match read {
        Ok(_) if text.len() as u64 > MOST_BYTES => Err(format!("longer than {MOST_BYTES} bytes")),
        Ok(_) => Ok(text),
        Err(error) => Err(error.to_string()),
    }
}
