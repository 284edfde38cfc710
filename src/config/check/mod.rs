//! From the file as typed to a plan, or to every problem that stands between. Pure: what it needs of the world is in
//! [`World`].

mod admin;
mod admission;
mod discover;
mod errors;
mod faults;
mod listeners;
mod mirror;
mod notify;
mod pools;
mod probe;
mod rollout;
mod routes;
mod rules;
mod services;
mod slow_start;
mod tls;
mod transport;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use super::{
    file::{Place, Table, View, keys, nearest},
    plan::{Plan, Shutdown, Startup},
    problem::{Code, ENOUGH, Problem},
};
use crate::{
    tls::Authorities,
    units::{ListenAddress, Secret, SecretSource, Timestamp},
};

pub use rollout::rollout;

/// What is in a file, or why it can't be read; `None` where it is not to be.
pub type Bytes = Result<Option<Vec<u8>>, String>;

/// What a plan takes from outside the file.
pub struct World<'a> {
    /// The folder that relative paths start from.
    pub base: &'a Path,
    /// Where the file names no `state_dir`.
    pub state_dir: PathBuf,
    /// Of the service manager.
    pub runtime_dir: Option<PathBuf>,
    pub now: Timestamp,
    /// Cores to work on.
    pub cores: NonZeroUsize,
    pub secret: &'a dyn Fn(&SecretSource) -> Result<Secret, String>,
    /// What the system has is not looked at.
    pub offline: bool,
    /// A file of certificates or of a key, by its path as it is typed.
    pub pem: &'a dyn Fn(&str) -> Bytes,
    /// The contents of an error page.
    pub page: &'a dyn Fn(&str) -> Result<bytes::Bytes, String>,
}

/// A file and those it includes, walked and joined.
pub struct File {
    pub root: Table,
    /// The beginning of the file: where what is missing is told.
    pub place: Place,
}

/// One check under way.
struct Check<'a> {
    world: &'a World<'a>,
    problems: &'a mut Vec<Problem>,
    /// The listeners' addresses.
    bound: Vec<ListenAddress>,
    /// Whom the system trusts, once somebody has asked.
    of_system: Option<Authorities>,
}

/// The plan, where nothing is wrong.
pub fn check(file: &File, world: &World<'_>, problems: &mut Vec<Problem>) -> Option<Plan> {
    let root = View::new(&file.root, keys::ROOT, file.place, "");
    let mut check = Check {
        world,
        problems,
        bound: Vec::new(),
        of_system: None,
    };
    let plan = check.plan(&root);
    problems.is_empty().then_some(plan)
}

impl Check<'_> {
    fn plan(&mut self, root: &View<'_>) -> Plan {
        let startup = root.within("startup");
        let shutdown = root.within("shutdown");
        let state_dir = root.text("state_dir").map_or_else(
            || self.world.state_dir.clone(),
            |text| self.world.base.join(text),
        );
        let telemetry = self.telemetry(&root.within("telemetry"));
        let admin = self.admin(root, &state_dir);
        let listeners = self.listeners(root);
        self.no_address_twice(root);
        self.bound = listeners
            .iter()
            .map(|listener| listener.address.clone())
            .collect();
        let errors = self.error_pages(&root.within("defaults")).into();
        let services = self.services(root);
        let routes = self.routes(root);
        Plan {
            state_dir,
            workers: self.workers(root),
            watch: root.flag("watch"),
            startup: Startup {
                wait: startup.span("wait"),
            },
            shutdown: Shutdown {
                lame_duck: shutdown.span("lame_duck"),
                deadline: shutdown.span("deadline"),
            },
            admin,
            telemetry,
            errors,
            listeners,
            routes,
            services,
            notify: self.notify(root),
        }
    }

    fn workers(&self, root: &View<'_>) -> NonZeroUsize {
        NonZeroUsize::new(root.integer("workers")).unwrap_or(self.world.cores)
    }

    fn tell(&mut self, problem: Problem) {
        if self.problems.len() < ENOUGH {
            self.problems.push(problem);
        }
    }

    /// The name most like `text`; not looked for once there is more to tell than anybody reads.
    fn near<'b>(&self, text: &str, names: impl Iterator<Item = &'b str>) -> Option<&'b str> {
        (self.problems.len() < ENOUGH / 10)
            .then(|| nearest(text, names))
            .flatten()
    }

    /// A secret's reference, resolved.
    fn secret(&mut self, view: &View<'_>, name: &str) -> Option<Secret> {
        let node = view.node(name).filter(|node| !node.is_faulty())?;
        let secret = view.within(name);
        let sources = ["file", "env", "credential"];
        let named: Vec<_> = sources.into_iter().filter(|key| secret.has(key)).collect();
        let [named] = named[..] else {
            self.tell(
                Problem::new(
                    Code::Conflict,
                    node.place,
                    format!("`{}` names {} sources", secret.path, named.len()),
                )
                .key(&secret.path)
                .expected("one of { file = }, { env = } or { credential = }"),
            );
            return None;
        };
        let text = secret.text(named)?.to_owned();
        let source = match named {
            "file" => SecretSource::File(text),
            "env" => SecretSource::Env(text),
            _ => SecretSource::Credential(text),
        };
        match (self.world.secret)(&source) {
            Ok(secret) => Some(secret),
            Err(why) => {
                let path = secret.path_of(named);
                self.tell(
                    Problem::new(
                        Code::Unreadable,
                        secret.place_of(named),
                        format!("the secret can't be read: {why}"),
                    )
                    .key(path),
                );
                None
            }
        }
    }
}

/// Tells the second of two equal things, and where the first is.
fn twice(what: &str, path: &str, first: Place, second: Place) -> Problem {
    Problem::new(Code::Duplicate, second, format!("{what} stands twice"))
        .key(path)
        .also(first, "first here")
}
