//! `proxy`: apps of one's own behind the proxy, without a file.

use std::{
    fmt::Write as _,
    io::{Write as _, stderr},
    path::Path,
    process::ExitCode,
    str::FromStr,
};

use clap::Args;

use super::output::complain;
use crate::{
    cli::{Exit, Failure},
    units::{Address, Malformed, Name},
};

#[derive(Debug, Args)]
pub struct Proxy {
    /// Where to listen: `:8080` on loopback, `0.0.0.0:8080` everywhere
    #[arg(value_name = "LISTEN", value_parser = on_loopback)]
    listen: Address,
    /// A version and where it is reached: `blue=:3001`, or several endpoints with commas; the first gets all traffic
    #[arg(value_name = "POOL=ADDRESS", required = true)]
    pools: Vec<Version>,
    /// Ask this path whether an endpoint is ready; unless said, a connection that opens is enough
    #[arg(long, value_name = "PATH")]
    probe: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
struct Version {
    pool: Name,
    endpoints: Vec<Address>,
}

/// `:8080` is short for this machine's own 8080.
fn on_loopback(text: &str) -> Result<Address, Malformed> {
    match text.strip_prefix(':') {
        Some(port) => format!("127.0.0.1:{port}").parse(),
        None => text.parse(),
    }
}

impl FromStr for Version {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let expected = || Malformed("expected POOL=ADDRESS, such as blue=:3001".into());
        let (pool, endpoints) = text.split_once('=').ok_or_else(expected)?;
        Ok(Self {
            pool: pool.parse()?,
            endpoints: endpoints
                .split(',')
                .map(on_loopback)
                .collect::<Result<_, _>>()?,
        })
    }
}

/// Ends when the proxy has ended. What was shifted meanwhile is forgotten with the folder that held it.
pub fn proxy(args: &Proxy) -> ExitCode {
    let folder = tempfile::Builder::new().prefix("cutover-").tempdir();
    let written = folder.and_then(|folder| {
        let file = folder.path().join("cutover.toml");
        std::fs::write(&file, config(args))?;
        Ok((folder, file))
    });
    match written {
        Ok((folder, file)) => {
            let _ = writeln!(stderr(), "{}", invitation(args, folder.path()));
            crate::app::run(&file)
        }
        Err(error) => {
            complain(&Failure::new(Exit::Failed, error.to_string()));
            Exit::Failed.into()
        }
    }
}

/// The file that would say the same.
fn config(args: &Proxy) -> String {
    let mut text = format!(
        "[[listeners]]\naddress = \"{}\"\n\n[services.app]\n",
        args.listen
    );
    let weights = args.pools.iter().enumerate();
    let weights: Vec<_> = weights
        .map(|(index, version)| format!("{} = {}", version.pool, if index == 0 { 100 } else { 0 }))
        .collect();
    let _ = writeln!(text, "weights = {{ {} }}", weights.join(", "));
    if let Some(path) = &args.probe {
        let _ = writeln!(text, "probe.path = {}", quoted(path));
    }
    for version in &args.pools {
        let endpoints: Vec<_> = version
            .endpoints
            .iter()
            .map(|it| quoted(&it.to_string()))
            .collect();
        let _ = writeln!(
            text,
            "pools.{}.endpoints = [{}]",
            version.pool,
            endpoints.join(", ")
        );
    }
    text
}

/// A basic string of TOML, which JSON's escapes are a part of.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn invitation(args: &Proxy, folder: &Path) -> String {
    let admin = folder.join("cutover-state/admin.sock");
    let last = args
        .pools
        .last()
        .map_or("green", |version| version.pool.as_str());
    let on = format!("cutover --admin unix:{}", admin.display());
    format!(
        "http://{}\n\n  {on} status\n  {on} shift app {last}=10%\n  {on} switch app {last} --wait\n  {on} rollback app\n",
        args.listen
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(pools: &[&str]) -> Proxy {
        Proxy {
            listen: on_loopback(":8080").unwrap(),
            pools: pools.iter().map(|pool| pool.parse().unwrap()).collect(),
            probe: Some("/up?deep=1".into()),
        }
    }

    #[test]
    fn the_file_it_stands_for_is_a_valid_one() {
        let text = config(&args(&["blue=:3001,:3002", "green=app.internal:80"]));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cutover.toml");
        std::fs::write(&file, &text).unwrap();
        let plan = crate::config::load(&file).unwrap().plan;
        let service = &plan.services["app"];
        assert_eq!(service.weights.to_string(), "blue=100");
        assert_eq!(service.pools["blue"].endpoints.len(), 2);
        assert_eq!(plan.listeners[0].address.to_string(), "127.0.0.1:8080");
    }

    #[test]
    fn what_is_no_pool_is_refused() {
        for bad in [
            "blue",
            "blue=",
            "=:3001",
            "Blue=:3001",
            "blue=:0",
            "blue=:3001,",
        ] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }
}
