//! Keeps a certificate for every name that is wanted: from disk at first, then from the authority, and renewed in time.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use instant_acme::{Account, AccountCredentials, CertificateIdentifier, NewAccount};
use tokio::{
    sync::{Mutex, Semaphore, mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{
    directory::Directory,
    order::{Failed, Method, order},
    store::{self, Store},
    timing,
};
use crate::tls::{Certificate, Challenges};

/// Orders under way at once.
const AT_ONCE: usize = 4;
/// For one order, with all its steps.
const ORDER: Duration = Duration::from_mins(5);
/// Clocks are set and machines sleep: the time is looked at again after this.
const LOOK: Duration = Duration::from_mins(10);

/// A name that a certificate is wanted for, and from whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Job {
    pub directory: String,
    pub host: String,
    pub email: Option<String>,
    /// Who signs the directory's own certificate, as PEM; nothing: those the system trusts.
    pub ca: Option<Bytes>,
    pub method: Method,
    /// Before the end of a certificate, at most a third of its life.
    pub renew_before: Duration,
}

/// The certificates that there are, by directory and host.
pub type Issued = Arc<BTreeMap<(String, String), Certificate>>;

/// What has become of a name.
#[derive(Debug, Clone)]
pub struct News {
    pub host: String,
    pub outcome: Outcome,
}

#[derive(Debug, Clone)]
pub enum Outcome {
    Obtained {
        not_after: i64,
    },
    /// Why, and how long until the next try.
    Failed {
        why: String,
        again: Duration,
    },
}

/// Keeps certificates for as long as it lives.
pub struct Keeper {
    shared: Arc<Shared>,
    jobs: HashMap<Job, AbortHandle>,
    tasks: JoinSet<()>,
}

struct Shared {
    store: Store,
    challenges: Arc<Challenges>,
    issued: watch::Sender<Issued>,
    news: mpsc::UnboundedSender<News>,
    accounts: Mutex<HashMap<String, Account>>,
    at_once: Semaphore,
}

impl Keeper {
    /// The keeper, what it has, and what it tells.
    pub fn new(
        state_dir: &std::path::Path,
        challenges: Arc<Challenges>,
    ) -> (Self, watch::Receiver<Issued>, mpsc::UnboundedReceiver<News>) {
        let (issued, has) = watch::channel(Issued::default());
        let (news, told) = mpsc::unbounded_channel();
        let shared = Shared {
            store: Store::new(state_dir),
            challenges,
            issued,
            news,
            accounts: Mutex::default(),
            at_once: Semaphore::new(AT_ONCE),
        };
        let keeper = Self {
            shared: shared.into(),
            jobs: HashMap::new(),
            tasks: JoinSet::new(),
        };
        (keeper, has, told)
    }

    /// Keeps certificates for these names and no others. What is on disk is published before this returns.
    pub fn keep(&mut self, wanted: Vec<Job>) {
        let mut published = BTreeMap::clone(&self.shared.issued.borrow());
        self.jobs.retain(|job, task| {
            let stays = wanted.contains(job);
            if !stays {
                task.abort();
                published.remove(&job.key());
            }
            stays
        });
        // Those that have ended were aborted.
        while self.tasks.try_join_next().is_some() {}
        for job in wanted {
            if self.jobs.contains_key(&job) {
                continue;
            }
            let kept = self.shared.kept(&job);
            if let Some(certificate) = &kept {
                published.insert(job.key(), certificate.clone());
            }
            let task = self.shared.clone().look_after(job.clone(), kept);
            self.jobs.insert(job, self.tasks.spawn(task));
        }
        self.shared.issued.send_replace(published.into());
    }
}

impl Job {
    fn key(&self) -> (String, String) {
        (self.directory.clone(), self.host.clone())
    }
}

impl Shared {
    /// As an earlier run left it. One that is broken is got anew.
    fn kept(&self, job: &Job) -> Option<Certificate> {
        let path = self.store.certificate(&job.directory, &job.host);
        let read = store::read(&path).map_err(|error| error.to_string());
        let certificate = read.and_then(|bytes| {
            let read = bytes.map(|bytes| Certificate::new(&bytes, &bytes));
            read.transpose().map_err(|error| error.to_string())
        });
        certificate.unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "a kept certificate is of no use");
            None
        })
    }

    async fn look_after(self: Arc<Self>, job: Job, mut certificate: Option<Certificate>) {
        let mut failures = 0;
        loop {
            if let Some(certificate) = &certificate {
                self.wait_for_renewal(&job, certificate).await;
            }
            match self.obtain(&job, certificate.as_ref()).await {
                Ok(new) => {
                    failures = 0;
                    let not_after = new.facts().not_after;
                    self.issued.send_modify(|issued| {
                        Arc::make_mut(issued).insert(job.key(), new.clone());
                    });
                    certificate = Some(new);
                    self.tell(&job, Outcome::Obtained { not_after });
                }
                Err(failed) => {
                    failures += 1;
                    let again = timing::pause(failures, fastrand::f64());
                    let why = failed.to_string();
                    self.tell(&job, Outcome::Failed { why, again });
                    sleep(again).await;
                }
            }
        }
    }

    fn tell(&self, job: &Job, outcome: Outcome) {
        let host = job.host.clone();
        // Nobody listens any more: the process ends.
        let _ = self.news.send(News { host, outcome });
    }

    /// Until it is time; at once where it is past.
    async fn wait_for_renewal(&self, job: &Job, certificate: &Certificate) {
        let facts = certificate.facts();
        let draw = fastrand::f64();
        let planned = timing::renewal(facts.not_before, facts.not_after, job.renew_before, draw);
        let mut due = planned;
        let mut ask_again = 0;
        loop {
            let now = now();
            if due <= now {
                return;
            }
            if ask_again <= now
                && let Some((suggested, pause)) = self.suggested(job, certificate, draw).await
            {
                // An authority that wants it sooner has a reason; later than planned is at our risk.
                due = suggested.min(planned);
                ask_again = now.saturating_add_unsigned(pause.as_secs().max(3600));
            } else if ask_again <= now {
                ask_again = now + 6 * 3600;
            }
            let left = u64::try_from(due - now).unwrap_or_default();
            sleep(Duration::from_secs(left).min(LOOK)).await;
        }
    }

    /// When the authority would have it renewed, if it says so (RFC 9773).
    async fn suggested(
        &self,
        job: &Job,
        certificate: &Certificate,
        draw: f64,
    ) -> Option<(i64, Duration)> {
        let account = self.account(job).await.ok()?;
        let id = identifier(certificate)?;
        let (info, again) = account.renewal_info(&id).await.ok()?;
        let window = info.suggested_window;
        let (start, end) = (window.start.unix_timestamp(), window.end.unix_timestamp());
        Some((timing::within(start, end, draw), again))
    }

    async fn obtain(&self, job: &Job, before: Option<&Certificate>) -> Result<Certificate, Failed> {
        let _turn = self.at_once.acquire().await.map_err(Failed::ours)?;
        let got = timeout(ORDER, async {
            let account = self.account(job).await?;
            let replaces = before.and_then(identifier);
            order(&account, &job.host, job.method, replaces, &self.challenges).await
        });
        let got = match got.await {
            Ok(Ok(got)) => got,
            Ok(Err(failed)) => {
                if failed.is_unknown_account() {
                    self.forget(job).await;
                }
                return Err(failed);
            }
            Err(_) => return Err(Failed::ours("the authority takes too long")),
        };
        let (chain, key) = (got.chain.as_bytes(), got.key.as_bytes());
        let certificate = Certificate::new(chain, key).map_err(Failed::ours)?;
        certificate.at(SystemTime::now()).map_err(Failed::ours)?;
        let path = self.store.certificate(&job.directory, &job.host);
        let text = format!("{}{}", got.key, got.chain);
        // It serves without being kept, until the next start.
        if let Err(error) = store::write(&path, text.as_bytes()) {
            tracing::error!(path = %path.display(), %error, "a certificate is not kept");
        }
        Ok(certificate)
    }

    /// The account with a directory: in memory, on disk, or made.
    async fn account(&self, job: &Job) -> Result<Account, Failed> {
        let mut accounts = self.accounts.lock().await;
        if let Some(account) = accounts.get(&job.directory) {
            return Ok(account.clone());
        }
        let http = Directory::new(job.ca.as_deref()).map_err(Failed::ours)?;
        let builder = Account::builder_with_http(Box::new(http));
        let path = self.store.account(&job.directory);
        let kept = store::read(&path).map_err(Failed::ours)?;
        let kept = kept.and_then(|bytes| serde_json::from_slice::<AccountCredentials>(&bytes).ok());
        let account = if let Some(credentials) = kept {
            builder.from_credentials(credentials).await?
        } else {
            let contact = job.email.iter().map(|email| format!("mailto:{email}"));
            let contact: Vec<_> = contact.collect();
            let contact: Vec<_> = contact.iter().map(String::as_str).collect();
            let new = NewAccount {
                contact: &contact,
                terms_of_service_agreed: true,
                only_return_existing: false,
            };
            let made = builder.create(&new, job.directory.clone(), None).await?;
            let text = serde_json::to_vec(&made.1).map_err(Failed::ours)?;
            store::write(&path, &text).map_err(Failed::ours)?;
            made.0
        };
        accounts.insert(job.directory.clone(), account.clone());
        Ok(account)
    }

    async fn forget(&self, job: &Job) {
        self.accounts.lock().await.remove(&job.directory);
        // Where it stays, the next try says so.
        let _ = std::fs::remove_file(self.store.account(&job.directory));
    }
}

fn identifier(certificate: &Certificate) -> Option<CertificateIdentifier<'static>> {
    CertificateIdentifier::try_from(certificate.der())
        .ok()
        .map(CertificateIdentifier::into_owned)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}
