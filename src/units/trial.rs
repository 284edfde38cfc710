use serde::{Deserialize, Serialize};

use super::{Address, Name, Percent};

/// Two versions of a service side by side, of which one is on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The rollout's.
    pub id: u64,
    pub stable: Name,
    pub candidate: Name,
    /// Which of the sticky clients are the candidate's; another one draws another sample of them.
    pub salt: u64,
    /// `None`: what the candidate fails goes to nobody else on the trial's account.
    pub rescue: Option<RescueRule>,
    /// Of a rolling replacement, where both are one pool: its endpoints that are on trial beside the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub batch: Vec<Address>,
    /// Before the candidate has users: the part of stable's requests that it gets copies of. These requests alone are compared with their
    /// copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<Percent>,
}

/// Which requests that the candidate has failed go to the stable version instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescueRule {
    pub methods: Vec<String>,
    /// The largest body, in bytes, of which a copy is kept for it.
    pub max_body: u64,
}

/// One side of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    Stable,
    Candidate,
}

impl Arm {
    pub const ALL: [Self; 2] = [Self::Stable, Self::Candidate];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Candidate => "candidate",
        }
    }
}
