//! What a rollout is where little is said of it.

use std::time::Duration;

use http::Method;

use super::{Batch, Rescue, Rollout, Step, Strategy, Then};
use crate::units::{Absolute, GuardSettings, JudgeSettings, Percent, Unsure};

/// How much a new version must show before it has all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Two steps, over in minutes: for what is changed many times a day.
    Fast,
    Standard,
    /// Small steps, long judgements, and a person who says so in the end.
    Careful,
}

const fn minutes(count: u64) -> Duration {
    Duration::from_mins(count)
}

/// A step of a canary: hundredths of a percent, then what it waits for.
const fn share(hundredths: u32, then: Then) -> Step {
    Step {
        share: Some(Percent::from_millionths(hundredths * 100)),
        mirror: None,
        then,
    }
}

const fn only(then: Then) -> Step {
    Step {
        share: None,
        mirror: None,
        then,
    }
}

/// Nothing happens until somebody says so; it is judged meanwhile.
const ASKED: Then = Then::Approval {
    timeout: None,
    on_timeout: Unsure::Rollback,
};

impl Preset {
    pub const ALL: [Self; 3] = [Self::Fast, Self::Standard, Self::Careful];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Standard => "standard",
            Self::Careful => "careful",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|preset| preset.as_str() == name)
    }

    pub fn steps(self, strategy: Strategy) -> Vec<Step> {
        use Then::{Hold, Judge};
        match (strategy, self) {
            (Strategy::Canary, Self::Fast) => vec![
                share(10_00, Judge(minutes(2))),
                share(50_00, Judge(minutes(5))),
            ],
            (Strategy::Canary, Self::Standard) => vec![
                share(1_00, Hold(minutes(2))),
                share(5_00, Judge(minutes(5))),
                share(25_00, Judge(minutes(5))),
                share(50_00, Judge(minutes(10))),
            ],
            (Strategy::Canary, Self::Careful) => vec![
                share(10, Hold(minutes(5))),
                share(1_00, Judge(minutes(10))),
                share(5_00, Judge(minutes(10))),
                share(10_00, Judge(minutes(15))),
                share(25_00, Judge(minutes(15))),
                share(50_00, Judge(minutes(30))),
                only(ASKED),
            ],
            (Strategy::BlueGreen, Self::Fast | Self::Standard) => Vec::new(),
            (Strategy::BlueGreen, Self::Careful) => vec![only(ASKED)],
            (Strategy::Rolling, Self::Fast) => vec![only(Judge(minutes(1)))],
            (Strategy::Rolling, Self::Standard) => vec![only(Judge(minutes(2)))],
            (Strategy::Rolling, Self::Careful) => vec![only(Judge(minutes(10)))],
        }
    }

    pub fn bake(self) -> Duration {
        match self {
            Self::Fast => minutes(5),
            Self::Standard => minutes(10),
            Self::Careful => minutes(30),
        }
    }
}

impl Rollout {
    /// All as it is without a word, but for these.
    pub fn preset(strategy: Strategy, preset: Preset) -> Self {
        Self {
            strategy,
            steps: preset.steps(strategy),
            batch: Batch::Count(1),
            ready_timeout: minutes(5),
            warm_up: Duration::from_secs(30),
            bake: preset.bake(),
            undo_window: Duration::from_hours(1),
            guard: GuardSettings::default(),
            judge: JudgeSettings::default(),
            rescue: Rescue::default(),
            absolute: Absolute::default(),
            freeze: Vec::new(),
            metrics: Vec::new(),
            hooks: Vec::new(),
        }
    }
}

/// A canary by the standard preset.
impl Default for Rollout {
    fn default() -> Self {
        Self::preset(Strategy::Canary, Preset::Standard)
    }
}

impl Default for Rescue {
    fn default() -> Self {
        Self {
            methods: vec![Method::GET, Method::HEAD],
            max_body: 64 * 1024,
        }
    }
}
