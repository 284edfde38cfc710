use std::fmt;

use serde::{Deserialize, Serialize};

/// What is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// It is no worse than it may be: go on.
    Good,
    /// It is worse: go back.
    Bad,
    /// Neither: wait.
    NotEnough {
        /// How many more of the candidate's requests would tell, if it goes on like this; `None`: as measured it is worse than it may be,
        /// and more requests would rather tell that.
        more: Option<u64>,
    },
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    Volume,
    Errors,
    /// The slowest requests.
    Tail,
    /// All requests.
    Bulk,
}

/// One thing that was looked at, and what it proves, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub of: Of,
    #[serde(flatten)]
    pub verdict: Verdict,
    pub text: String,
}

/// All that one look found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    #[serde(flatten)]
    pub verdict: Verdict,
    pub findings: Vec<Finding>,
}

impl Finding {
    pub(super) fn too_few(requests: u64, least: u64) -> Self {
        Self {
            of: Of::Volume,
            verdict: Verdict::NotEnough {
                more: Some(least.saturating_sub(requests)),
            },
            text: format!("{requests} requests: nothing is concluded below {least}"),
        }
    }

    pub(super) fn of_late(mut self) -> Self {
        self.text.insert_str(0, "of late: ");
        self
    }
}

impl Judgement {
    pub(super) fn of(findings: Vec<Finding>) -> Self {
        let mut judgement = Self {
            verdict: Verdict::Good,
            findings: Vec::new(),
        };
        judgement.add(findings);
        judgement
    }

    /// One that is bad is enough, and all must be good.
    pub(super) fn add(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            self.verdict = match (self.verdict, finding.verdict) {
                (Verdict::Bad, _) | (_, Verdict::Bad) => Verdict::Bad,
                (Verdict::Good, other) | (other, Verdict::Good) => other,
                (Verdict::NotEnough { more: one }, Verdict::NotEnough { more: other }) => {
                    Verdict::NotEnough {
                        more: one.zip(other).map(|(one, other)| one.max(other)),
                    }
                }
            };
            self.findings.push(finding);
        }
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Where it is bad, only why.
        let told =
            |finding: &&Finding| self.verdict != Verdict::Bad || finding.verdict == Verdict::Bad;
        for (index, finding) in self.findings.iter().filter(told).enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { "; " }, finding.text)?;
        }
        Ok(())
    }
}
