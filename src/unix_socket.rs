//! Unix sockets that are listened on: their files, who may connect, and what a crash has left behind.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use nix::unistd::Group;
use socket2::{Domain, SockAddr, Socket, Type};

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("somebody answers on this socket; is another cutover running?")]
    Taken,
    #[error("there is something that is not a socket; move it away")]
    NotASocket,
    #[error("no group {0} on this machine")]
    NoGroup(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<BindError> for io::Error {
    fn from(error: BindError) -> Self {
        match error {
            BindError::Io(error) => error,
            error => Self::new(io::ErrorKind::AddrInUse, error),
        }
    }
}

/// Who may connect: the file's mode, and its group where it is not that of whoever creates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    mode: u32,
    gid: Option<u32>,
}

/// The file of a listening socket, removed when this goes, unless another has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
    /// Its number may be another file's by now.
    removed: AtomicBool,
}

impl Permit {
    pub fn new(mode: u32, group: Option<&str>) -> Result<Self, BindError> {
        let gid = group.map(gid_of).transpose()?;
        Ok(Self { mode, gid })
    }

    fn set_on(self, path: &Path) -> io::Result<()> {
        if self.gid.is_some() {
            chown(path, None, self.gid)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(self.mode))
    }
}

/// Binds beside the path and renames over it, so that nobody can connect before mode and group are set, and a socket
/// file that a crash has left behind is replaced in one step.
pub fn bind(path: &Path, permit: Permit) -> Result<(UnixListener, SocketFile), BindError> {
    nobody_answers(path)?;
    let beside = beside(path);
    if fs::symlink_metadata(&beside).is_ok_and(|file| file.file_type().is_socket()) {
        fs::remove_file(&beside)?;
    }
    let listener = UnixListener::bind(&beside)?;
    let ready = listener
        .set_nonblocking(true)
        .and_then(|()| permit.set_on(&beside))
        .and_then(|()| fs::symlink_metadata(&beside))
        .and_then(|file| fs::rename(&beside, path).map(|()| file.ino()));
    let inode = ready.inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })?;
    let path = path.to_owned();
    let removed = AtomicBool::new(false);
    let file = SocketFile {
        path,
        inode,
        removed,
    };
    Ok((listener, file))
}

fn gid_of(group: &str) -> Result<u32, BindError> {
    let found = Group::from_name(group).ok().flatten();
    found
        .map(|group| group.gid.as_raw())
        .ok_or_else(|| BindError::NoGroup(group.to_owned()))
}

/// No longer than the path itself: the kernel allows 107 bytes, and the path may use them all.
fn beside(path: &Path) -> PathBuf {
    let name = path
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut shorter = name;
    shorter.pop();
    path.with_file_name(shorter + "~")
}

/// A path may be taken over when there is nothing, or a socket on which nobody answers.
fn nobody_answers(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => Err(BindError::NotASocket),
        Ok(_) => match knock(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            _ => Err(BindError::Taken),
        },
        Err(_) => Ok(()),
    }
}

/// Does not wait: somebody whose queue is full is somebody.
fn knock(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

impl SocketFile {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From now on these may connect.
    pub fn permit(&self, permit: Permit) -> io::Result<()> {
        if self.is_in_place() {
            permit.set_on(&self.path)?;
        }
        Ok(())
    }

    /// Lets nobody connect any more. Who has connected stays.
    pub fn remove(&self) {
        if self.is_in_place() && !self.removed.swap(true, Relaxed) {
            let _ = fs::remove_file(&self.path);
        }
    }

    fn is_in_place(&self) -> bool {
        let is_ours = |file: fs::Metadata| file.ino() == self.inode;
        !self.removed.load(Relaxed) && fs::symlink_metadata(&self.path).is_ok_and(is_ours)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn permit(mode: u32) -> Permit {
        Permit::new(mode, None).unwrap()
    }

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_socket_has_its_mode_and_its_file_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let (_listener, file) = bind(&path, permit(0o640)).unwrap();
        assert_eq!(mode_of(&path), 0o640);
        file.permit(permit(0o666)).unwrap();
        assert_eq!(mode_of(&path), 0o666);
        drop(file);
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
    }

    #[test]
    fn a_socket_that_a_crash_left_behind_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert!(bind(&path, permit(0o600)).is_ok());
    }

    #[test]
    fn a_socket_on_which_somebody_answers_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let first = bind(&path, permit(0o600)).unwrap();
        let refused = bind(&path, permit(0o600));
        assert!(matches!(refused, Err(BindError::Taken)));
        assert!(UnixStream::connect(&path).is_ok());
        drop(first);
    }

    #[test]
    fn somebody_whose_queue_is_full_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let (busy, _file) = bind(&path, permit(0o600)).unwrap();
        socket2::SockRef::from(&busy).listen(0).unwrap();
        let _queued = UnixStream::connect(&path).unwrap();
        let refused = bind(&path, permit(0o600));
        assert!(matches!(refused, Err(BindError::Taken)));
    }

    #[test]
    fn what_is_not_a_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        fs::write(&path, "precious").unwrap();
        let refused = bind(&path, permit(0o600));
        assert!(matches!(refused, Err(BindError::NotASocket)));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_socket_that_was_replaced_leaves_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let old = bind(&path, permit(0o600)).unwrap();
        fs::remove_file(&path).unwrap();
        let new = bind(&path, permit(0o600)).unwrap();
        old.1.permit(permit(0o666)).unwrap();
        drop(old);
        assert_eq!(mode_of(&path), 0o600);
        assert!(UnixStream::connect(&path).is_ok());
        drop(new);
    }

    #[test]
    fn a_group_that_is_not_there_is_told() {
        let refused = Permit::new(0o660, Some("no-such-group"));
        assert!(matches!(refused, Err(BindError::NoGroup(_))));
    }
}
