//! The listeners of the admin API and of telemetry, and the limits that keep slow clients from hurting.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
        net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream},
    },
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use axum::{Router, body::Body};
use http::Request;
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use nix::unistd::{Group, Uid, User};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener, UnixStream},
};

use super::{
    auth::Peer,
    guests::{Guests, Work},
    patience::Patience,
};
use crate::{config::plan, units::Address};

/// Open at once on one listener; see [`Guests`].
const CONNECTIONS: usize = 256;
/// From the first byte waited for to the end of a request's head; so also how long a connection stands idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may leave an answer unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
const HEADER_BYTES: usize = 32 << 10;
/// After a failed accept (out of descriptors, mostly), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{path}: somebody answers on this socket; is another cutover running?")]
    Taken { path: PathBuf },
    #[error("{path}: there is something that is not a socket; move it away")]
    NotASocket { path: PathBuf },
    #[error("{address}: {source}")]
    Io { address: String, source: io::Error },
    #[error("{path}: no group {group} on this machine")]
    NoGroup { path: PathBuf, group: String },
    #[error(
        "{0}: the admin API off loopback needs TLS, which this version does not offer; use 127.0.0.1 or unix:/path"
    )]
    OffLoopback(String),
}

/// A bound listener; not yet answering.
pub struct Listener(Kind);

enum Kind {
    Tcp(std::net::TcpListener),
    Unix(StdUnixListener, SocketFile),
}

/// The file of a listening socket, removed when the listener goes, unless another has taken its place.
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The listener of the admin API.
pub fn bind(admin: &plan::Admin) -> Result<Listener, BindError> {
    match &admin.address {
        Address::Unix(path) => bind_unix(path, admin.mode, admin.group.as_deref()),
        Address::Ip(address) if address.ip().is_loopback() => bind_tcp(*address),
        Address::Named(host, port) if &**host == "localhost" => {
            bind_tcp(SocketAddr::from(([127, 0, 0, 1], *port)))
        }
        address @ (Address::Ip(_) | Address::Named(..)) => {
            Err(BindError::OffLoopback(address.to_string()))
        }
    }
}

/// The listener of `[telemetry] address`.
pub fn bind_tcp(address: SocketAddr) -> Result<Listener, BindError> {
    let bound = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound
        .map(|listener| Listener(Kind::Tcp(listener)))
        .map_err(|source| BindError::Io {
            address: address.to_string(),
            source,
        })
}

/// Binds beside the path and renames over it, so that nobody can connect before mode and group are set, and a socket
/// file that a crash has left behind is replaced in one step.
fn bind_unix(path: &Path, mode: u32, group: Option<&str>) -> Result<Listener, BindError> {
    let failed = |source| BindError::Io {
        address: path.display().to_string(),
        source,
    };
    let gid = group.map(|group| gid_of(path, group)).transpose()?;
    nobody_answers(path)?;
    let beside = beside(path);
    if fs::symlink_metadata(&beside).is_ok_and(|file| file.file_type().is_socket()) {
        fs::remove_file(&beside).map_err(failed)?;
    }
    let listener = StdUnixListener::bind(&beside).map_err(failed)?;
    let ready = listener
        .set_nonblocking(true)
        .and_then(|()| chown(&beside, None, gid))
        .and_then(|()| fs::set_permissions(&beside, fs::Permissions::from_mode(mode)))
        .and_then(|()| fs::symlink_metadata(&beside))
        .and_then(|file| fs::rename(&beside, path).map(|()| file.ino()));
    let inode = ready.map_err(|source| {
        let _ = fs::remove_file(&beside);
        failed(source)
    })?;
    let file = SocketFile {
        path: path.to_owned(),
        inode,
    };
    Ok(Listener(Kind::Unix(listener, file)))
}

fn gid_of(path: &Path, group: &str) -> Result<u32, BindError> {
    let found = Group::from_name(group).ok().flatten();
    found
        .map(|group| group.gid.as_raw())
        .ok_or_else(|| BindError::NoGroup {
            path: path.to_owned(),
            group: group.to_owned(),
        })
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
        Ok(file) if !file.file_type().is_socket() => Err(BindError::NotASocket {
            path: path.to_owned(),
        }),
        Ok(_) => match StdUnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            _ => Err(BindError::Taken {
                path: path.to_owned(),
            }),
        },
        Err(_) => Ok(()),
    }
}

impl Listener {
    /// Where it listens, with the port that was picked for port 0.
    pub fn address(&self) -> String {
        match &self.0 {
            Kind::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|_| String::new(), |address| address.to_string()),
            Kind::Unix(_, file) => format!("unix:{}", file.path.display()),
        }
    }

    /// Answers until the future is dropped.
    pub async fn serve(self, router: Router) -> io::Result<()> {
        match self.0 {
            Kind::Tcp(listener) => over_tcp(TcpListener::from_std(listener)?, router).await,
            Kind::Unix(listener, file) => {
                let _removed_at_the_end = file;
                over_unix(UnixListener::from_std(listener)?, router).await
            }
        }
    }
}

async fn over_tcp(listener: TcpListener, router: Router) -> io::Result<()> {
    let guests = Guests::new(CONNECTIONS);
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let _ = stream.set_nodelay(true);
                let router = router.clone();
                guests.admit(|work| serve_connection(stream, Peer::Tcp { client }, router, work));
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn over_unix(listener: UnixListener, router: Router) -> io::Result<()> {
    let guests = Guests::new(CONNECTIONS);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                guests.admit(|work| async move {
                    let user = user_of(&stream).await;
                    serve_connection(stream, Peer::Unix { user }, router, work).await;
                });
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "the admin listener can't accept");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// The peer's user by name. On a thread of its own, because the name may come over the network (NSS).
async fn user_of(stream: &UnixStream) -> String {
    let Ok(credentials) = stream.peer_cred() else {
        return "unknown".to_owned();
    };
    let uid = credentials.uid();
    let found = tokio::task::spawn_blocking(move || User::from_uid(Uid::from_raw(uid))).await;
    match found {
        Ok(Ok(Some(user))) => user.name,
        _ => format!("uid:{uid}"),
    }
}

async fn serve_connection<S>(stream: S, peer: Peer, router: Router, work: Work)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        let under_way = work.begin();
        let answer = router.call(request);
        async move {
            // Held by the body, because a stream of events is at work for as long as it lasts.
            let held = move |frame| {
                let _ = &under_way;
                frame
            };
            answer
                .await
                .map(|answer| answer.map(|body| body.map_frame(held)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_header_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(Patience::new(stream, WRITE_TIMEOUT)), service);
    if let Err(error) = pin!(connection).await {
        tracing::debug!(%error, "an admin connection broke");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn admin(path: &Path) -> plan::Admin {
        plan::Admin {
            address: Address::Unix(Arc::new(path.to_owned())),
            mode: 0o640,
            group: None,
            tokens: Vec::new(),
        }
    }

    #[test]
    fn a_socket_has_its_mode_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let listener = bind(&admin(&path)).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(listener.address(), format!("unix:{}", path.display()));
        drop(listener);
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
    }

    #[test]
    fn a_socket_that_a_crash_left_behind_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        drop(StdUnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert!(bind(&admin(&path)).is_ok());
    }

    #[test]
    fn a_socket_on_which_somebody_answers_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let first = bind(&admin(&path)).unwrap();
        assert!(matches!(bind(&admin(&path)), Err(BindError::Taken { .. })));
        assert!(StdUnixStream::connect(&path).is_ok());
        drop(first);
    }

    #[test]
    fn what_is_not_a_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            bind(&admin(&path)),
            Err(BindError::NotASocket { .. })
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_listener_that_was_replaced_leaves_the_new_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let old = bind(&admin(&path)).unwrap();
        fs::remove_file(&path).unwrap();
        let new = bind(&admin(&path)).unwrap();
        drop(old);
        assert!(StdUnixStream::connect(&path).is_ok());
        drop(new);
    }

    #[test]
    fn off_loopback_is_refused() {
        for address in [
            "0.0.0.0:9900",
            "192.0.2.1:9900",
            "[::]:9900",
            "admin.example:9900",
        ] {
            let admin = plan::Admin {
                address: address.parse().unwrap(),
                ..admin(Path::new("/unused"))
            };
            assert!(
                matches!(bind(&admin), Err(BindError::OffLoopback(_))),
                "{address}"
            );
        }
    }
}
