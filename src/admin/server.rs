//! The listeners of the admin API and of telemetry, and the limits that keep slow clients from hurting.

use std::{
    io,
    net::SocketAddr,
    os::unix::net::UnixListener as StdUnixListener,
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
use nix::unistd::{Uid, User};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener, UnixStream},
};

use super::{
    auth::Peer,
    guests::{Guests, Work},
    patience::Patience,
};
use crate::{
    config::plan,
    units::Address,
    unix_socket::{self, Permit, SocketFile},
};

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
    #[error("{path}: {source}")]
    Unix {
        path: PathBuf,
        source: unix_socket::BindError,
    },
    #[error("{address}: {source}")]
    Io { address: String, source: io::Error },
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

fn bind_unix(path: &Path, mode: u32, group: Option<&str>) -> Result<Listener, BindError> {
    let bound = Permit::new(mode, group).and_then(|permit| unix_socket::bind(path, permit));
    bound
        .map(|(listener, file)| Listener(Kind::Unix(listener, file)))
        .map_err(|source| BindError::Unix {
            path: path.to_owned(),
            source,
        })
}

impl Listener {
    /// Where it listens, with the port that was picked for port 0.
    pub fn address(&self) -> String {
        match &self.0 {
            Kind::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|_| String::new(), |address| address.to_string()),
            Kind::Unix(_, file) => format!("unix:{}", file.path().display()),
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
    use std::{os::unix::fs::PermissionsExt, sync::Arc};

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
    fn a_socket_has_its_mode_and_a_second_listener_is_told_that_it_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let listener = bind(&admin(&path)).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(listener.address(), format!("unix:{}", path.display()));
        let taken = bind(&admin(&path)).map(|_| ()).unwrap_err().to_string();
        assert!(taken.starts_with(&path.display().to_string()) && taken.contains("somebody"));
        drop(listener);
        assert!(!path.exists());
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
