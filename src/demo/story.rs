//! The walk: what is done at each step, and the row that tells what came of it.

use std::{fmt::Display, path::PathBuf, process::ExitCode, time::Duration};

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{apps::App, load::Load, table::Table};
use crate::{
    app::{self, Running, StartError},
    cli::{
        Failure,
        client::{Call, Client},
    },
    units::Address,
};

/// How long each step is watched.
const STEP: Duration = Duration::from_secs(2);
const PER_SECOND: u32 = 500;

pub struct Options {
    /// Keep running afterwards, until interrupted.
    pub hold: bool,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("cannot start: {0}")]
    Start(#[from] StartError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{}", .0.message)]
    Admin(Failure),
    #[error("{0}")]
    Unexpected(String),
}

/// Runs the demonstration; 1 if any request failed or a step did not do what it should.
pub fn run(options: &Options) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime
        .map_err(Failed::from)
        .and_then(|runtime| runtime.block_on(demonstrate(options)))
    {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failures) => {
            say(&format!("{failures} requests failed"));
            ExitCode::FAILURE
        }
        Err(error) => {
            say(&format!("the demonstration stopped: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "this is a demonstration's page")]
pub(super) fn say(text: &str) {
    println!("{text}");
}

/// Returns how many requests failed.
async fn demonstrate(options: &Options) -> Result<u64, Failed> {
    let folder = tempfile::Builder::new().prefix("cutover-demo-").tempdir()?;
    let mut stage = Stage::set(&folder).await?;
    say(&stage.bill());
    say(&Table::head());
    stage.walk().await?;
    stage.roll_out().await?;
    say(&format!("\n{}", stage.table.summary()));
    let failures = stage.table.failures;
    if options.hold {
        say(&stage.hints());
        tokio::signal::ctrl_c().await?;
    }
    drop(stage.load);
    stage.proxy.stop().await;
    Ok(failures)
}

/// Everything that takes part.
pub(super) struct Stage {
    pub(super) blue: App,
    green: App,
    /// A second endpoint of green, which an edit of the file adds.
    green2: App,
    file: PathBuf,
    proxy: Running,
    admin: Client,
    pub(super) load: Load,
    pub(super) table: Table,
}

impl Stage {
    async fn set(folder: &TempDir) -> Result<Self, Failed> {
        let (blue, green, green2) = (
            App::start("blue").await?,
            App::start("green").await?,
            App::start("green").await?,
        );
        blue.warm();
        let file = folder.path().join("cutover.toml");
        std::fs::write(&file, config(&blue, &[&green]))?;
        let options = app::Options {
            config: file.clone(),
            signals: false,
        };
        let proxy = Running::start(options).await?;
        let address: Address = proxy
            .bound()
            .admin
            .parse()
            .map_err(|error| unexpected(&error))?;
        let admin = Client::new(address, None);
        let target = proxy.bound().listeners[0].ip();
        let target = target.expect("its file has an address");
        let load = Load::start(target, PER_SECOND);
        Ok(Self {
            blue,
            green,
            green2,
            file,
            proxy,
            admin,
            load,
            table: Table::default(),
        })
    }

    async fn walk(&mut self) -> Result<(), Failed> {
        self.watch("all to blue").await?;

        match self.shift(90, 10).await {
            Err(Failed::Admin(refusal)) => say(&format!(
                "  green is still warming up, so a canary is refused: {}",
                refusal.message
            )),
            _ => return Err(unexpected("weight was moved to a pool that is not ready")),
        }
        self.green.warm();
        self.until_ready("green", 1).await?;

        self.shift(90, 10).await?;
        self.watch("canary: 10 % to green").await?;
        self.shift(50, 50).await?;
        self.watch("half and half").await?;

        let switched = self
            .post(
                "switch",
                json!({"to": "green", "wait": "drained", "reason": "the canary did well"}),
            )
            .await?;
        expect_safe(&switched)?;
        self.watch("switch: blue may be stopped now").await?;

        self.green2.warm();
        std::fs::write(&self.file, config(&self.blue, &[&self.green, &self.green2]))?;
        self.until_ready("green", 2).await?;
        self.watch("file edited: a second green").await?;

        let drain = format!("pools/green/endpoints/{}/drain", self.green.address);
        let drained = self.post(&drain, json!({"wait": "drained"})).await?;
        expect_safe(&drained)?;
        self.watch("first green drained").await?;

        self.post("rollback", json!({"reason": "a change of mind"}))
            .await?;
        self.watch("rollback to blue").await
    }

    async fn shift(&self, blue: u32, green: u32) -> Result<Value, Failed> {
        let body = json!({"weights": {"blue": blue, "green": green}});
        self.send(Method::PUT, "weights", &body).await
    }

    pub(super) async fn post(&self, verb: &str, body: Value) -> Result<Value, Failed> {
        self.send(Method::POST, verb, &body).await
    }

    async fn send(&self, method: Method, verb: &str, body: &Value) -> Result<Value, Failed> {
        let call = Call::new(method, format!("/v1/services/app/{verb}"), body);
        let answer = self.admin.call(call.map_err(Failed::Admin)?).await;
        let answer = answer.map_err(Failed::Admin)?;
        serde_json::from_slice(&answer).map_err(|error| unexpected(&error))
    }

    pub(super) async fn ask(&self, target: &str) -> Result<Value, Failed> {
        self.admin.get(target).await.map_err(Failed::Admin)
    }

    /// Lets the load run for a step and prints what came of it.
    async fn watch(&mut self, step: &str) -> Result<(), Failed> {
        drop(self.load.take());
        tokio::time::sleep(STEP).await;
        let (requested, seen) = (self.shares().await?, self.load.take());
        say(&self.table.row(step, &requested, &seen));
        Ok(())
    }

    /// What each pool is to get now.
    pub(super) async fn shares(&self) -> Result<[(&'static str, f64); 2], Failed> {
        let service = self.ask("/v1/services/app").await?;
        let share = |pool: &str| service["share"]["requested"][pool].as_f64().unwrap_or(0.0);
        Ok([("blue", share("blue")), ("green", share("green"))])
    }

    async fn until_ready(&self, pool: &str, count: u64) -> Result<(), Failed> {
        let bound = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let service = self.ask("/v1/services/app").await?;
            if service["pools"][pool]["ready"].as_u64() == Some(count) {
                return Ok(());
            }
            if tokio::time::Instant::now() > bound {
                return Err(unexpected(&format!(
                    "{pool} has not {count} ready endpoints: {}",
                    service["pools"][pool]
                )));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn bill(&self) -> String {
        format!(
            "Two versions of a small app behind Cutover; {PER_SECOND} requests a second, each sent once and never again.\n\n  \
             proxy   http://{}\n  file    {}\n  admin   {}\n",
            self.proxy.bound().listeners[0],
            self.file.display(),
            self.proxy.bound().admin
        )
    }

    fn hints(&self) -> String {
        let program = std::env::current_exe()
            .map_or_else(|_| "cutover".to_owned(), |path| path.display().to_string());
        let on = format!("{program} --admin {}", self.proxy.bound().admin);
        let lines = [
            format!("curl -i http://{}/hello", self.proxy.bound().listeners[0]),
            format!("{on} status"),
            format!("{on} shift app green=25%"),
            format!("{on} switch app green --wait"),
            format!("{on} rollback app"),
            format!("{on} rollout start app --to green --preset fast --follow"),
            format!("{on} events"),
            format!("$EDITOR {}", self.file.display()),
        ];
        format!(
            "\nStill running; try, in another terminal (Ctrl-C here ends it):\n\n  {}\n",
            lines.join("\n  ")
        )
    }
}

pub(super) fn unexpected(what: &(impl Display + ?Sized)) -> Failed {
    Failed::Unexpected(what.to_string())
}

fn expect_safe(answer: &Value) -> Result<(), Failed> {
    if answer["safe_to_stop"] == true {
        Ok(())
    } else {
        Err(unexpected(&format!("not safe to stop: {answer}")))
    }
}

fn config(blue: &App, green: &[&App]) -> String {
    let green: Vec<_> = green
        .iter()
        .map(|app| format!("\"{}\"", app.address))
        .collect();
    format!(
        r#"state_dir = "state"

[[listeners]]
address = "127.0.0.1:0"

[services.app]
weights = {{ blue = 100, green = 0 }}
probe   = {{ path = "/healthz", interval = "200ms", timeout = "100ms" }}
pools.blue.endpoints  = ["{}"]
pools.green.endpoints = [{}]
"#,
        blue.address,
        green.join(", ")
    )
}
