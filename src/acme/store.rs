//! What is kept on disk: accounts and certificates, each file whole or not at all, for our eyes alone.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

/// What is larger was not written by us.
const LARGEST: u64 = 1 << 20;

/// A folder of `state_dir`; below it one for each directory of an authority.
#[derive(Clone)]
pub(super) struct Store(PathBuf);

impl Store {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self(state_dir.join("acme"))
    }

    pub(super) fn account(&self, directory: &str) -> PathBuf {
        self.folder(directory).join("account.json")
    }

    /// Chain and key in one file: a crash leaves no pair of which the halves don't fit.
    pub(super) fn certificate(&self, directory: &str, host: &str) -> PathBuf {
        // A name of letters, digits, dots and hyphens, as the configuration was checked.
        self.folder(directory).join(format!("{host}.pem"))
    }

    fn folder(&self, directory: &str) -> PathBuf {
        let digest = Sha256::digest(directory);
        let short = digest[..8].iter().map(|byte| format!("{byte:02x}"));
        self.0.join(short.collect::<String>())
    }
}

/// Nothing where there is no file.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Puts a file in its place in one step, durable when this returns.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let mut file = tempfile::Builder::new()
        .prefix(".tmp-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_for_our_eyes_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::new(dir.path());
        let path = store.certificate("https://ca.test/dir", "shop.test");
        assert_eq!(read(&path).expect("no error"), None);
        write(&path, b"one").expect("written");
        write(&path, b"two").expect("written");
        assert_eq!(read(&path).expect("read").as_deref(), Some(&b"two"[..]));
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().expect("a folder")), 0o700);
        let names = fs::read_dir(path.parent().expect("a folder")).expect("read");
        assert_eq!(names.count(), 1, "nothing is left behind");
    }

    #[test]
    fn authorities_do_not_share_a_folder() {
        let store = Store::new(Path::new("/state"));
        assert_ne!(
            store.account("https://a.test/dir"),
            store.account("https://b.test/dir")
        );
    }
}
