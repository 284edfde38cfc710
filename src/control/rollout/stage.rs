use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a rollout stands. A pause is beside it: it goes on from where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "stage")]
pub enum Stage {
    /// The new pool is being proven, and whoever is to be asked before the start is asked.
    Preparing {
        phase: Phase,
    },
    /// One of the plan's steps.
    Stepping {
        step: usize,
        phase: Phase,
    },
    /// The new pool is about to get everything.
    Promoting {
        phase: Phase,
    },
    /// It has everything, and is judged; the old one stays warm.
    Baking,
    /// The old pool ends its work; it is kept to go back to.
    Draining,
    /// The new pool has lost its weight and ends its work.
    RollingBack,
    Succeeded,
    /// The old version serves.
    Failed,
    /// Another one was begun before this had ended.
    Superseded,
}

/// What a stage waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Passes of probes that were begun after the start.
    Proving,
    /// Answers of hooks.
    Asking,
    /// The change of weights to serve.
    Shifting,
    /// Of a batch of endpoints: that it ends its work.
    Emptying,
    /// Somebody who puts others in the place of the empty batch: hooks, or a person's word.
    Replacing,
    /// The end of its drain to be in force.
    Restoring,
    /// The first requests after it, whose latency says nothing.
    WarmingUp,
    /// What the step says: time, a judgement, or somebody's word.
    Waiting,
    /// More data, since the step's time was over before enough was known.
    Extending,
}

impl Phase {
    /// Of a batch of endpoints: requests go to it, or are about to.
    pub fn serves(self) -> bool {
        matches!(
            self,
            Self::Proving | Self::WarmingUp | Self::Waiting | Self::Extending
        )
    }
}

impl Stage {
    /// Nothing comes after it.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Superseded)
    }

    /// The two versions are compared.
    pub fn compares(self) -> bool {
        matches!(
            self,
            Self::Preparing { .. } | Self::Stepping { .. } | Self::Promoting { .. } | Self::Baking
        )
    }

    /// The step, where it is in one.
    pub fn step(self) -> Option<usize> {
        match self {
            Self::Stepping { step, .. } => Some(step),
            _ => None,
        }
    }

    pub fn phase(self) -> Option<Phase> {
        match self {
            Self::Preparing { phase }
            | Self::Stepping { phase, .. }
            | Self::Promoting { phase } => Some(phase),
            _ => None,
        }
    }

    /// The same with another phase.
    #[must_use]
    pub fn with(self, phase: Phase) -> Self {
        match self {
            Self::Preparing { .. } => Self::Preparing { phase },
            Self::Stepping { step, .. } => Self::Stepping { step, phase },
            Self::Promoting { .. } => Self::Promoting { phase },
            other => other,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preparing { .. } => "preparing",
            Self::Stepping { .. } => "stepping",
            Self::Promoting { .. } => "promoting",
            Self::Baking => "baking",
            Self::Draining => "draining",
            Self::RollingBack => "rolling-back",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step() {
            Some(step) => write!(f, "step {}", step + 1),
            None => f.write_str(self.as_str()),
        }
    }
}
