use std::fmt;

use super::{NoFigure, Verdict, judge, rule::shown};
use crate::config::plan::Bound;

/// Bad looks in a row that are believed: a figure of sampled rates swings, and one that is bad stays so for another look.
const BELIEVED: u32 = 2;
/// Looks in a row without a figure, after which somebody is told.
const SILENT: u32 = 5;

/// What one figure has said in a row.
#[derive(Debug, Clone, Default)]
pub struct Record {
    bad: u32,
    silent: u32,
}

/// What a look says, beside those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The figure keeps its bound.
    Kept(String),
    /// It does not, for the first time: the next look decides.
    Doubtful(String),
    /// It did not before either.
    Bad(String),
    /// There is none, which says nothing of the new version.
    NoData(String),
    /// There has been none for several looks. Once, until there is one again; somebody is to be told.
    Silent(String),
}

impl Record {
    /// `stable`: `None` where it does not matter.
    pub fn take(
        &mut self,
        bound: Bound,
        stable: Result<Option<f64>, NoFigure>,
        candidate: Result<f64, NoFigure>,
    ) -> Finding {
        let both = candidate.and_then(|candidate| Ok((stable?, candidate)));
        let (stable, candidate) = match both {
            Ok(both) => both,
            Err(none) => return self.nothing(none.to_string()),
        };
        match judge(bound, stable, candidate) {
            // It was asked and has answered: that says nothing, but it is not silent.
            Verdict::Unknown(why) => {
                self.silent = 0;
                Finding::NoData(why)
            }
            Verdict::Good => {
                *self = Self::default();
                let beside = stable.map(|stable| format!(" beside {}", shown(stable)));
                let beside = beside.unwrap_or_default();
                Finding::Kept(format!("{}{beside}", shown(candidate)))
            }
            Verdict::Bad(why) => {
                self.silent = 0;
                self.bad = self.bad.saturating_add(1);
                if self.bad >= BELIEVED {
                    Finding::Bad(why)
                } else {
                    Finding::Doubtful(why)
                }
            }
        }
    }

    fn nothing(&mut self, why: String) -> Finding {
        self.silent = self.silent.saturating_add(1);
        if self.silent == SILENT {
            Finding::Silent(why)
        } else {
            Finding::NoData(why)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(said) | Self::Bad(said) => f.write_str(said),
            Self::Doubtful(said) => write!(f, "{said}; the next look decides"),
            Self::NoData(why) => write!(f, "no data: {why}"),
            Self::Silent(why) => write!(f, "no data in {SILENT} looks: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound = Bound::Between {
        min: Some(10.0),
        max: None,
    };

    /// Looks at these figures; `None`: there is none.
    fn looks(figures: &[Option<f64>]) -> Vec<&'static str> {
        let mut record = Record::default();
        let mut word = |figure: &Option<f64>| {
            let figure = figure.ok_or_else(|| NoFigure::Failed("is down".into()));
            match record.take(BOUND, Ok(None), figure) {
                Finding::Kept(_) => "kept",
                Finding::Doubtful(_) => "doubtful",
                Finding::Bad(_) => "bad",
                Finding::NoData(_) => "no data",
                Finding::Silent(_) => "silent",
            }
        };
        figures.iter().map(&mut word).collect()
    }

    #[test]
    fn a_figure_is_bad_when_it_was_bad_the_look_before() {
        let (good, bad) = (Some(20.0), Some(5.0));
        let told = looks(&[good, bad, good, bad, bad, bad]);
        assert_eq!(told, ["kept", "doubtful", "kept", "doubtful", "bad", "bad"]);
    }

    #[test]
    fn a_source_that_is_down_between_two_bad_looks_makes_nothing_better() {
        assert_eq!(
            looks(&[Some(5.0), None, Some(5.0)]),
            ["doubtful", "no data", "bad"]
        );
    }

    #[test]
    fn a_source_that_fails_for_long_is_told_once_and_takes_nothing_back() {
        let told = looks(&[None; 12]);
        assert_eq!(told.iter().filter(|word| **word == "silent").count(), 1);
        assert_eq!(told[4], "silent");
        assert!(!told.contains(&"bad"));
    }

    #[test]
    fn one_that_comes_back_and_fails_again_is_told_again() {
        let mut figures = vec![None; 5];
        figures.push(Some(20.0));
        figures.extend([None; 5]);
        let told = looks(&figures);
        assert_eq!((told[4], told[10]), ("silent", "silent"));
    }

    #[test]
    fn without_the_stable_figure_nothing_is_said() {
        let bound = Bound::Stable {
            max_drop: Some("5%".parse().expect("a percentage")),
            max_rise: None,
        };
        let none = NoFigure::Empty("has no such series".into());
        let told = Record::default().take(bound, Err(none), Ok(1.0));
        assert_eq!(told, Finding::NoData("has no such series".into()));
    }
}
