use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{net::TcpStream, time::timeout};

use super::{
    connection::{Patience, linger},
    stream::Stream,
};
use crate::{
    config::plan,
    telemetry::WorkerShard,
    tls::{
        Accepted, Acceptor, Certificate, Challenges, ClientAuth, Failure, Secure, ServerSettings,
        Tickets,
    },
};

/// Certificates that were got by themselves, by the authority's directory and the host.
pub type Issued = BTreeMap<(String, String), Certificate>;

/// Meets those clients of a listener that speak TLS.
pub(super) struct Guard {
    plan: Arc<plan::ListenerTls>,
    h2: bool,
    /// In the order in which they are preferred.
    pub certificates: Vec<Certificate>,
    tickets: Tickets,
    acceptor: Acceptor,
}

/// How one listener's handshakes are bounded.
#[derive(Clone)]
pub(super) struct Bounds {
    /// Under way over all workers.
    pub under_way: Arc<AtomicU32>,
    pub limit: u32,
    pub time: Duration,
}

impl Guard {
    /// The guard of a listener; the one `before` where nothing has changed.
    pub(super) fn of(
        listener: &plan::Listener,
        issued: &Issued,
        challenges: &Arc<Challenges>,
        before: Option<&Arc<Self>>,
    ) -> io::Result<Option<Arc<Self>>> {
        let Some(plan) = &listener.tls else {
            return Ok(None);
        };
        let certificates = certificates(plan, issued);
        if let Some(before) = before
            && before.plan == *plan
            && before.h2 == listener.h2
            && before.certificates == certificates
        {
            return Ok(Some(before.clone()));
        }
        // A ticket is good for the rules by which its client was verified.
        let tickets = match before.filter(|before| before.plan.client_auth == plan.client_auth) {
            Some(before) => before.tickets.clone(),
            None => Tickets::new().map_err(io::Error::other)?,
        };
        let client_auth = plan.client_auth.as_ref().and_then(|auth| {
            Some(ClientAuth {
                authorities: auth.authorities.clone()?,
                required: auth.required,
            })
        });
        let acceptor = Acceptor::new(ServerSettings {
            certificates: certificates.clone(),
            min_version: plan.min_version,
            h1: true,
            h2: listener.h2,
            client_auth,
            strict_sni: plan.strict_sni,
            tickets: tickets.clone(),
            challenges: challenges.clone(),
        });
        Ok(Some(Arc::new(Self {
            plan: plan.clone(),
            h2: listener.h2,
            certificates,
            tickets,
            acceptor: acceptor.map_err(io::Error::other)?,
        })))
    }

    /// Makes a connection safe, or tells its client why not.
    pub(super) async fn admit(
        &self,
        stream: TcpStream,
        bounds: &Bounds,
        shard: &WorkerShard,
    ) -> Option<(Stream, Secure)> {
        let met = self.meet(stream, bounds).await;
        shard.shook_hands(met.as_ref().map_or_else(|refused| ended(refused.0), |_| 0));
        match met {
            Ok(Accepted { stream, secure }) => Some((Stream::Secure(Box::new(stream)), secure)),
            Err((failure, stream)) => {
                tracing::debug!(reason = failure.as_str(), "no TLS handshake");
                if let Some(stream) = stream {
                    linger(stream, Patience::SHORT).await;
                }
                None
            }
        }
    }

    async fn meet(
        &self,
        stream: TcpStream,
        bounds: &Bounds,
    ) -> Result<Accepted<TcpStream>, (Failure, Option<TcpStream>)> {
        // A handshake costs a thousand times what a word of refusal is worth.
        let _turn = Turn::take(bounds).ok_or((Failure::Limit, None))?;
        match timeout(bounds.time, self.acceptor.accept(stream)).await {
            Ok(Ok(accepted)) => Ok(accepted),
            Ok(Err(refused)) => Err((refused.failure, Some(refused.stream))),
            Err(_) => Err((Failure::Timeout, None)),
        }
    }
}

/// How a handshake that failed is counted; 0 is one that did not.
pub(super) fn ended(failure: Failure) -> usize {
    let place = Failure::ALL.iter().position(|known| *known == failure);
    place.map_or(Failure::ALL.len(), |place| place + 1)
}

/// Those of the file first, then those that were got.
fn certificates(plan: &plan::ListenerTls, issued: &Issued) -> Vec<Certificate> {
    let pairs = plan.certificates.iter();
    let mut all: Vec<_> = pairs.filter_map(|pair| pair.certificate.clone()).collect();
    if let Some(acme) = &plan.acme {
        let key = |host: &String| (acme.directory.clone(), host.clone());
        all.extend(
            acme.hosts
                .iter()
                .filter_map(|host| issued.get(&key(host)).cloned()),
        );
    }
    all
}

/// A handshake's place among those a listener may have under way.
struct Turn(Arc<AtomicU32>);

impl Turn {
    fn take(bounds: &Bounds) -> Option<Self> {
        let turn = Self(bounds.under_way.clone());
        (turn.0.fetch_add(1, Relaxed) < bounds.limit).then_some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
