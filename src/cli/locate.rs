//! Where files and the admin API are when nobody says.

use std::path::{Path, PathBuf};

use crate::{config, units::Address};

/// The file that `run` would take.
pub fn config(given: Option<&Path>) -> Option<PathBuf> {
    if let Some(given) = given {
        return Some(given.to_owned());
    }
    let places = ["cutover.toml", "/etc/cutover/cutover.toml"];
    places.iter().map(PathBuf::from).find(|path| path.exists())
}

/// The admin address of the instance that runs here: in `$RUNTIME_DIRECTORY`, as the file says that `run` would take, in
/// /run/cutover, or beside the state. Of sockets only one that exists.
pub fn admin() -> Option<Address> {
    let runtime = std::env::var_os("RUNTIME_DIRECTORY")
        .map(|folder| PathBuf::from(folder).join("admin.sock"));
    let declared = || {
        let loaded = config::load_offline(&config(None)?).ok()?;
        Some(loaded.plan.admin.address).filter(|address| match address {
            Address::Unix(path) => path.exists(),
            Address::Ip(_) | Address::Named(..) => true,
        })
    };
    // The file may be broken just now, and status is how one would learn of it.
    let guesses = ["cutover-state/admin.sock", "/run/cutover/admin.sock"];
    runtime
        .and_then(|path| socket(&path))
        .or_else(declared)
        .or_else(|| guesses.iter().find_map(|path| socket(Path::new(path))))
}

fn socket(path: &Path) -> Option<Address> {
    let path = std::path::absolute(path).ok()?;
    let address = format!("unix:{}", path.display()).parse().ok()?;
    path.exists().then_some(address)
}
