//! A controller on a disk that breaks or hangs when a test says so.
#![cfg(test)]

use std::path::{Path, PathBuf};

pub use tempfile::TempDir as Folder;

pub use super::disk::faults::Faults;
use super::{Controller, Handle, disk::Disk, start::start_on};
use crate::config::{self, Outside, Plan};

pub struct Started {
    pub control: Handle,
    pub controller: Controller,
    pub disk: Faults,
    pub folder: Folder,
}

pub fn file_in(folder: &Path) -> PathBuf {
    folder.join("cutover.toml")
}

pub fn plan(folder: &Path, text: &str) -> Plan {
    let outside = Outside {
        env: &|_| None,
        secrets: true,
    };
    let loaded = config::load_text(&file_in(folder), text, &outside);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems:?}"));
    loaded.plan
}

pub fn start_in_a_new_folder(text: &str) -> Started {
    start(Folder::new().expect("a folder"), text)
}

/// With this file, and with what the folder remembers.
pub fn start(folder: Folder, text: &str) -> Started {
    let plan = plan(folder.path(), text);
    let (disk, error) = Disk::open(&plan.state_dir).expect("a folder of its own");
    let faults = disk.faults.clone();
    let (control, controller) = start_on(disk, error, plan);
    Started {
        control,
        controller,
        disk: faults,
        folder,
    }
}
