//! Certificates that are got by themselves: what the plan asks for goes to the keeper, and what becomes of it comes back.

use std::{future::pending, path::Path, sync::Arc};

use crate::{
    config::{Plan, plan},
    server::Issued,
    tls::Challenges,
    units::ListenAddress,
};

/// What has happened with certificates.
#[cfg_attr(
    not(feature = "acme"),
    expect(dead_code, reason = "nothing happens without ACME")
)]
pub enum News {
    /// There are others than before.
    Issued,
    /// In words, and whether it failed.
    Said { failed: bool, said: String },
}

#[cfg(feature = "acme")]
pub struct Certificates {
    keeper: crate::acme::Keeper,
    issued: tokio::sync::watch::Receiver<crate::acme::Issued>,
    told: tokio::sync::mpsc::UnboundedReceiver<crate::acme::News>,
}

#[cfg(feature = "acme")]
impl Certificates {
    /// The lock on `state_dir` must be held.
    pub fn new(state_dir: &Path, challenges: Arc<Challenges>) -> Self {
        let (keeper, issued, told) = crate::acme::Keeper::new(state_dir, challenges);
        Self {
            keeper,
            issued,
            told,
        }
    }

    /// Keeps those that the plan asks for, and no others.
    pub fn keep(&mut self, plan: &Plan) {
        let acmes = plan
            .listeners
            .iter()
            .filter_map(|listener| listener.tls.as_ref()?.acme.as_ref());
        let mut jobs: Vec<_> = acmes.flat_map(jobs).collect();
        // Two listeners may ask for the same.
        let mut seen = std::collections::HashSet::new();
        jobs.retain(|job| seen.insert((job.directory.clone(), job.host.clone())));
        self.keeper.keep(jobs);
    }

    pub fn issued(&mut self) -> Arc<Issued> {
        self.issued.borrow_and_update().clone()
    }

    pub async fn news(&mut self) -> News {
        use crate::acme::Outcome;
        tokio::select! {
            // Shown before it is told.
            biased;
            Ok(()) = self.issued.changed() => News::Issued,
            Some(news) = self.told.recv() => {
                let host = news.host;
                let (failed, said) = match news.outcome {
                    Outcome::Obtained { not_after } => {
                        (false, format!("got for {host}, {}", until(not_after)))
                    }
                    Outcome::Failed { why, again } => {
                        (true, format!("{host}: {why}; tried again in {}s", again.as_secs()))
                    }
                };
                News::Said { failed, said }
            }
            else => pending().await,
        }
    }
}

#[cfg(feature = "acme")]
fn jobs(acme: &plan::Acme) -> impl Iterator<Item = crate::acme::Job> {
    acme.hosts.iter().map(|host| crate::acme::Job {
        directory: acme.directory.clone(),
        host: host.clone(),
        email: acme.email.clone(),
        ca: acme.ca.as_ref().map(|ca| ca.text.clone()),
        method: if acme.by_handshake {
            crate::acme::Method::TlsAlpn01
        } else {
            crate::acme::Method::Http01
        },
        renew_before: acme.renew_before,
    })
}

/// Without ACME there are none.
#[cfg(not(feature = "acme"))]
pub struct Certificates;

#[cfg(not(feature = "acme"))]
#[expect(clippy::unused_self, reason = "as it is with ACME")]
impl Certificates {
    pub fn new(_: &Path, _: Arc<Challenges>) -> Self {
        Self
    }

    pub fn keep(&mut self, _: &Plan) {}

    pub fn issued(&mut self) -> Arc<Issued> {
        Arc::default()
    }

    pub async fn news(&mut self) -> News {
        pending().await
    }
}

/// What of a plan's own certificates is new, in words.
pub fn changes(before: &Plan, after: &Plan) -> Vec<String> {
    let known: Vec<_> = shown(before).collect();
    shown(after)
        .filter(|(address, pair)| {
            !known
                .iter()
                .any(|(at, old)| at == address && old.certificate == pair.certificate)
        })
        .filter_map(|(address, pair)| {
            let facts = pair.certificate.as_ref()?.facts();
            let names = facts.all_names().join(", ");
            let until = until(facts.not_after);
            Some(format!("{} on {address}: for {names}, {until}", pair.cert))
        })
        .collect()
}

fn shown(plan: &Plan) -> impl Iterator<Item = (&ListenAddress, &plan::Pair)> {
    plan.listeners.iter().flat_map(|listener| {
        let pairs = listener.tls.iter().flat_map(|tls| &tls.certificates);
        pairs.map(|pair| (&listener.address, pair))
    })
}

fn until(not_after: i64) -> String {
    match crate::units::Timestamp::from_second(not_after) {
        Ok(end) => format!("valid until {end}"),
        Err(_) => "valid without end".to_owned(),
    }
}
