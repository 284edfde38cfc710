//! An endpoint that is out because of what it did to requests. Pure: what time it is, is an argument.

use std::time::{Duration, Instant};

use crate::units::{EndpointKey, Outliers, Span, Timestamp};

/// An endpoint that does worse by its requests than the others of its pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    pub endpoint: EndpointKey,
    pub cause: EjectionCause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EjectionCause {
    /// It could not be reached, several times in a row. A probe sees that, too, and says when it is over.
    Connect,
    /// It failed several requests in a row.
    Consecutive,
    /// It failed too large a part of its requests.
    Ratio,
}

impl EjectionCause {
    pub const ALL: [Self; 3] = [Self::Connect, Self::Consecutive, Self::Ratio];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Consecutive => "consecutive",
            Self::Ratio => "ratio",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Connect => "requests could not reach it, several in a row",
            Self::Consecutive => "it failed several requests in a row",
            Self::Ratio => "it failed too many of its requests, and more than the others",
        }
    }
}

/// One that is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    pub cause: EjectionCause,
    pub since: Timestamp,
    pub span: Duration,
    /// The how manieth in a row.
    pub times: u32,
    began: Instant,
}

impl Ejection {
    /// As an event tells of it.
    pub fn words(&self) -> String {
        format!(
            "{}; out for {}, time {} in a row",
            self.cause.words(),
            Span(self.span),
            self.times
        )
    }

    pub fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= self.span
    }

    /// Whether passes of its probe that were all begun since say that it is over.
    pub fn is_cured(&self, proven_since: impl FnOnce(Instant) -> bool) -> bool {
        self.cause == EjectionCause::Connect && proven_since(self.began)
    }
}

/// The ejections of one endpoint.
#[derive(Debug, Default)]
pub struct Ejections {
    pub now: Option<Ejection>,
    /// In a row, and when and after how long the last one ended.
    times: u32,
    ended: Option<(Instant, Duration)>,
}

impl Ejections {
    /// Takes it out. One that stayed in for as long as it had been out has begun anew.
    pub fn begin(
        &mut self,
        cause: EjectionCause,
        outliers: &Outliers,
        now: Instant,
        at: Timestamp,
    ) {
        let stayed =
            |(ended, span): (Instant, Duration)| now.saturating_duration_since(ended) >= span;
        if self.ended.is_none_or(stayed) {
            self.times = 0;
        }
        self.times = self.times.saturating_add(1);
        self.now = Some(Ejection {
            cause,
            since: at,
            span: outliers.ejection(self.times),
            times: self.times,
            began: now,
        });
    }

    pub fn end(&mut self, now: Instant) {
        if let Some(ended) = self.now.take() {
            self.ended = Some((now, ended.span));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Percent;

    #[test]
    fn one_that_is_taken_out_again_soon_is_out_for_longer_and_one_that_held_out_is_not() {
        let outliers = Outliers {
            consecutive: 5,
            ratio: Percent::NONE,
            volume: 1,
            eject: Duration::from_secs(10),
            max_eject: Duration::from_mins(5),
            max_ejected: Percent::WHOLE,
        };
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut ejections = Ejections::default();
        let mut eject = |from: u64, to: u64| {
            ejections.begin(
                EjectionCause::Ratio,
                &outliers,
                after(from),
                Timestamp::UNIX_EPOCH,
            );
            let begun = ejections.now.unwrap();
            let span = begun.span.as_secs();
            assert!(!begun.is_over(after(from + span - 1)) && begun.is_over(after(from + span)));
            ejections.end(after(to));
            (begun.times, span)
        };
        assert_eq!(eject(0, 10), (1, 10));
        assert_eq!(eject(15, 35), (2, 20));
        assert_eq!(eject(54, 84), (3, 30));
        assert_eq!(eject(114, 124), (1, 10));
    }
}
