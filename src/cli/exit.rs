//! How a command ends.

use std::process::ExitCode;

use crate::admin::problem::{Code, Document};

/// The exit codes. Scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    InvalidConfig = 3,
    /// The admin API did not answer.
    Unreachable = 4,
    /// By a gate; nothing was changed.
    Refused = 5,
    /// Somebody else was faster, or the key was used for something else.
    Conflict = 6,
    /// Changed, but what was waited for did not come in time.
    TimedOut = 7,
    /// A new version was taken back: the old one serves.
    RolledBack = 8,
    /// By Ctrl-C, which undoes nothing: as a shell says it of what a signal has ended.
    Left = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
    /// What to type.
    pub hint: Option<String>,
    /// The answer, where there was one.
    pub problem: Option<Box<Document>>,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
            problem: None,
        }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn answered(problem: Document) -> Self {
        Self {
            exit: of(problem.code),
            message: problem.detail.clone(),
            hint: problem.hint.clone(),
            problem: Some(Box::new(problem)),
        }
    }
}

fn of(code: Code) -> Exit {
    match code {
        Code::PoolNotReady
        | Code::LastReadyEndpoint
        | Code::NothingSettled
        | Code::InvalidTransition
        | Code::Frozen => Exit::Refused,
        Code::RevisionMismatch | Code::IdempotencyMismatch | Code::RolloutRunning => Exit::Conflict,
        Code::InvalidConfig | Code::InvalidPlan => Exit::InvalidConfig,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_by_a_gate_a_conflict_and_a_bad_file_have_their_own_codes() {
        let code = |code: Code| of(code) as u8;
        assert_eq!(code(Code::PoolNotReady), 5);
        assert_eq!(code(Code::LastReadyEndpoint), 5);
        assert_eq!(code(Code::RevisionMismatch), 6);
        assert_eq!(code(Code::InvalidConfig), 3);
        assert_eq!(code(Code::UnknownService), 1);
    }
}
