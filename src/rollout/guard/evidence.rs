use std::fmt;

use serde::{Deserialize, Serialize};

use crate::rollout::figures::percent;

/// Why the new version is taken back, in words (`Display`) and numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub cause: Cause,
    /// How many times likelier what was seen is if the version is bad. Were it not, this much would be reached at any time with a chance of at
    /// most 1 in as many.
    pub e_value: f64,
    /// What it had to reach is 1 in this.
    pub alpha: f64,
    /// The errors, as a multiple of stable's, that would have been tolerated.
    pub ratio: f64,
    pub candidate: Met,
    pub stable: Met,
    /// Failures that users have seen above what stable would have shown them.
    pub excess_failures: f64,
    /// So many clients met errors that some may have been counted more than once.
    pub forgetful: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It fails more often than is tolerated.
    Errors,
    /// It has shown users as many failures as it may.
    Budget,
}

/// What was met at one version.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Met {
    pub requests: u64,
    pub errors: u64,
    pub error_rate: f64,
    /// Clients whose first error was here.
    pub clients: u64,
    /// Failures that users have seen.
    pub failures: u64,
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} requests failed ({}), at {} clients",
            self.errors,
            self.requests,
            percent(self.error_rate),
            self.clients
        )
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cause == Cause::Budget {
            write!(
                f,
                "users saw {:.0} failures more than the stable version would have shown them; ",
                self.excess_failures
            )?;
        }
        write!(
            f,
            "the new version: {}; the stable one: {}; ",
            self.candidate, self.stable
        )?;
        let tolerated = if self.ratio > 1.0 {
            format!("no worse than {} times the stable one", self.ratio)
        } else {
            "no worse than the stable one".to_owned()
        };
        let one_in = self.e_value.min(1e9).floor();
        write!(
            f,
            "were it {tolerated}, this would be seen in at most 1 of {one_in:.0} rollouts"
        )?;
        if self.forgetful {
            f.write_str("; so many clients failed that some may count twice")?;
        }
        Ok(())
    }
}
