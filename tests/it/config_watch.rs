//! Edits of the file as editors, deploy tools and Kubernetes make them.

use std::{fs, io::Write as _, os::unix::fs::symlink, path::Path, time::Duration};

use cutover::config::{BRIEFLY, Edit, Hash, SURELY, Watch, watch};
use tempfile::TempDir;
use tokio::{sync::mpsc::Receiver, time::timeout};

use crate::config_files::{SMALL, folder, load};

/// Far more than an edit takes, for a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

struct Watched {
    folder: TempDir,
    edits: Receiver<Edit>,
    watch: Watch,
}

fn watched(folder: TempDir) -> Watched {
    let hash = load(folder.path()).expect("the file is right").hash;
    let (watch, edits) = watch(&folder.path().join("cutover.toml"), hash).expect("a thread");
    Watched {
        folder,
        edits,
        watch,
    }
}

impl Watched {
    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("cutover.toml")
    }

    async fn edit(&mut self) -> Edit {
        let edit = timeout(PATIENCE, self.edits.recv()).await;
        edit.expect("an edit in time").expect("the watch goes on")
    }

    /// The next edit is what the file holds now, told as brief and then as sure.
    async fn tells_what_is_there(&mut self) {
        let hash = self.hash();
        let told = [self.edit().await, self.edit().await];
        assert_eq!(told.map(|edit| edit.hash), [hash; 2]);
        assert_eq!(told.map(|edit| edit.still_for), [BRIEFLY, SURELY]);
    }

    fn hash(&self) -> Hash {
        load(self.folder.path()).expect("the file is right").hash
    }
}

fn with_port(port: u16) -> String {
    SMALL.replace("8080", &port.to_string())
}

#[tokio::test]
async fn a_write_in_place_is_told() {
    let mut watched = watched(folder(SMALL));
    fs::write(watched.path(), with_port(1)).unwrap();
    watched.tells_what_is_there().await;
}

#[tokio::test]
async fn a_file_written_in_two_parts_is_told_once_and_whole() {
    let mut watched = watched(folder(SMALL));
    let text = with_port(2);
    let (first, rest) = text.split_at(text.len() / 2);
    let mut file = fs::File::create(watched.path()).unwrap();
    file.write_all(first.as_bytes()).unwrap();
    file.sync_all().unwrap();
    let half = timeout(BRIEFLY / 5, watched.edits.recv()).await;
    assert!(half.is_err(), "half a file was told: {half:?}");
    file.write_all(rest.as_bytes()).unwrap();
    drop(file);
    watched.tells_what_is_there().await;
}

#[tokio::test]
async fn a_rename_over_the_file_is_told_again_and_again() {
    let mut watched = watched(folder(SMALL));
    for port in [3, 4] {
        let new = watched.folder.path().join(".cutover.toml.new");
        fs::write(&new, with_port(port)).unwrap();
        fs::rename(&new, watched.path()).unwrap();
        watched.tells_what_is_there().await;
    }
    fs::write(watched.path(), with_port(5)).unwrap();
    watched.tells_what_is_there().await;
}

/// As Kubernetes mounts a `ConfigMap`: `cutover.toml -> ..data/cutover.toml`, `..data -> ..1`.
fn config_map(text: &str) -> TempDir {
    let folder = TempDir::new().expect("the folder is writable");
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("..1")).expect("the folder is writable");
    fs::write(at("..1/cutover.toml"), text).expect("the folder is writable");
    symlink("..1", at("..data")).expect("the folder is writable");
    symlink("..data/cutover.toml", at("cutover.toml")).expect("the folder is writable");
    folder
}

fn swap(folder: &Path, version: &str, text: &str) {
    let at = |name: &str| folder.join(name);
    fs::create_dir(at(version)).expect("the folder is writable");
    fs::write(at(version).join("cutover.toml"), text).expect("the folder is writable");
    symlink(version, at("..tmp")).expect("the folder is writable");
    fs::rename(at("..tmp"), at("..data")).expect("the folder is writable");
}

#[tokio::test]
async fn a_swap_of_the_link_is_told_again_and_again() {
    let mut watched = watched(config_map(SMALL));
    swap(watched.folder.path(), "..2", &with_port(6));
    watched.tells_what_is_there().await;
    swap(watched.folder.path(), "..3", &with_port(7));
    fs::remove_dir_all(watched.folder.path().join("..2")).unwrap();
    watched.tells_what_is_there().await;
}

#[tokio::test]
async fn a_file_that_is_removed_and_restored_is_told_both_times() {
    let mut watched = watched(folder(SMALL));
    let loaded = watched.hash();
    fs::remove_file(watched.path()).unwrap();
    let gone = watched.edit().await;
    assert_ne!(gone.hash, loaded);
    fs::write(watched.path(), SMALL).unwrap();
    let mut back = watched.edit().await;
    if back.hash == gone.hash {
        back = watched.edit().await;
    }
    assert_eq!(back.hash, loaded);
}

#[tokio::test]
async fn a_touch_without_a_change_is_not_told() {
    let mut watched = watched(folder(SMALL));
    fs::write(watched.path(), SMALL).unwrap();
    let new = watched.folder.path().join("new");
    fs::write(&new, SMALL).unwrap();
    fs::rename(&new, watched.path()).unwrap();
    let later = std::time::SystemTime::now() + Duration::from_mins(1);
    let file = fs::File::options()
        .write(true)
        .open(watched.path())
        .unwrap();
    file.set_modified(later).unwrap();
    let nothing = timeout(BRIEFLY * 2, watched.edits.recv()).await;
    assert!(nothing.is_err(), "a touch was told: {nothing:?}");
    fs::write(watched.path(), with_port(8)).unwrap();
    watched.tells_what_is_there().await;
}

#[tokio::test]
async fn a_change_of_an_included_file_or_a_new_one_is_told() {
    let folder = folder(&format!("include = [\"more/*.toml\"]\n{SMALL}"));
    let more = folder.path().join("more");
    fs::create_dir(&more).unwrap();
    let mut watched = watched(folder);
    fs::write(more.join("a.toml"), "").unwrap();
    watched.tells_what_is_there().await;
    fs::write(more.join("a.toml"), "# a").unwrap();
    watched.tells_what_is_there().await;
    fs::remove_file(more.join("a.toml")).unwrap();
    watched.tells_what_is_there().await;
}

#[tokio::test]
async fn a_person_is_answered_at_once_whether_it_changed_or_not() {
    let mut watched = watched(folder(SMALL));
    watched.watch.now();
    let edit = watched.edit().await;
    assert_eq!((edit.hash, edit.still_for), (watched.hash(), SURELY));
    fs::write(watched.path(), with_port(9)).unwrap();
    watched.watch.now();
    let edit = watched.edit().await;
    assert_eq!((edit.hash, edit.still_for), (watched.hash(), SURELY));
}

#[tokio::test]
async fn the_watch_ends_when_it_is_dropped() {
    let Watched {
        watch, mut edits, ..
    } = watched(folder(SMALL));
    drop(watch);
    assert_eq!(timeout(PATIENCE, edits.recv()).await, Ok(None));
}
