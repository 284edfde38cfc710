use crate::{config::plan::Bound, units::Percent};

/// What a figure says of the new version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// In words.
    Bad(String),
    /// Nothing: there is nothing to compare it with.
    Unknown(String),
}

/// Whether the new version's figure keeps its bound. `stable`: the stable version's, where it is known.
///
/// Of a stable figure of 0 there are no parts: a figure of 0 keeps it, and of any other nothing is said, since one order where there was none is
/// neither 5 % more nor less than that. Who would have a bound there sets `min` or `max`. Of one below 0 the parts are those of its size.
pub fn judge(bound: Bound, stable: Option<f64>, candidate: f64) -> Verdict {
    match bound {
        Bound::Between { min, max } => between(candidate, min, max),
        Bound::Stable { max_drop, max_rise } => match stable {
            None => Verdict::Unknown("the stable version has no figure".to_owned()),
            Some(stable) if stable == 0.0 && candidate != 0.0 => Verdict::Unknown(format!(
                "the stable version's is 0, of which {} is no part",
                shown(candidate)
            )),
            Some(stable) => beside(candidate, stable, max_drop, max_rise),
        },
    }
}

fn between(candidate: f64, min: Option<f64>, max: Option<f64>) -> Verdict {
    let figure = shown(candidate);
    match (min, max) {
        (Some(min), _) if candidate < min => {
            Verdict::Bad(format!("{figure} is below {}", shown(min)))
        }
        (_, Some(max)) if candidate > max => {
            Verdict::Bad(format!("{figure} is above {}", shown(max)))
        }
        _ => Verdict::Good,
    }
}

fn beside(
    candidate: f64,
    stable: f64,
    max_drop: Option<Percent>,
    max_rise: Option<Percent>,
) -> Verdict {
    let part = |percent: Percent| percent.part() * stable.abs();
    let told = |direction, percent: Percent| {
        let (figure, stable) = (shown(candidate), shown(stable));
        let than = "than the stable version's";
        Verdict::Bad(format!(
            "{figure} is more than {percent} {direction} {than} {stable}"
        ))
    };
    match (max_drop, max_rise) {
        (Some(drop), _) if candidate < stable - part(drop) => told("lower", drop),
        (_, Some(rise)) if candidate > stable + part(rise) => told("higher", rise),
        _ => Verdict::Good,
    }
}

/// As people write it down: three decimals of what is neither large nor tiny.
pub(super) fn shown(figure: f64) -> String {
    if figure != 0.0 && !(1e-3..1e9).contains(&figure.abs()) {
        return format!("{figure:.3e}");
    }
    let text = format!("{figure:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(text: &str) -> Percent {
        text.parse().expect("a percentage")
    }

    fn drop_of(text: &str) -> Bound {
        Bound::Stable {
            max_drop: Some(percent(text)),
            max_rise: None,
        }
    }

    fn rise_of(text: &str) -> Bound {
        Bound::Stable {
            max_drop: None,
            max_rise: Some(percent(text)),
        }
    }

    fn is_bad(bound: Bound, stable: f64, candidate: f64) -> bool {
        matches!(judge(bound, Some(stable), candidate), Verdict::Bad(_))
    }

    #[test]
    fn a_drop_or_a_rise_is_bad_beyond_its_part_of_the_stable_figure() {
        assert!(!is_bad(drop_of("5%"), 200.0, 190.0));
        assert!(is_bad(drop_of("5%"), 200.0, 189.9));
        assert!(!is_bad(drop_of("5%"), 200.0, 1000.0));
        assert!(!is_bad(rise_of("20%"), 200.0, 240.0));
        assert!(is_bad(rise_of("20%"), 200.0, 240.1));
        assert!(!is_bad(rise_of("20%"), 200.0, 0.0));
        let told = judge(drop_of("5%"), Some(200.0), 150.0);
        let words = "150 is more than 5% lower than the stable version's 200";
        assert_eq!(told, Verdict::Bad(words.into()));
    }

    #[test]
    fn of_a_figure_below_zero_the_parts_are_those_of_its_size() {
        assert!(!is_bad(drop_of("10%"), -100.0, -110.0));
        assert!(is_bad(drop_of("10%"), -100.0, -111.0));
        assert!(!is_bad(rise_of("10%"), -100.0, -90.0));
        assert!(is_bad(rise_of("10%"), -100.0, -89.0));
    }

    #[test]
    fn beside_a_stable_figure_of_zero_only_zero_says_anything() {
        for bound in [drop_of("5%"), rise_of("5%")] {
            assert_eq!(judge(bound, Some(0.0), 0.0), Verdict::Good);
            assert_eq!(judge(bound, Some(-0.0), 0.0), Verdict::Good);
            for candidate in [1.0, -1.0] {
                let verdict = judge(bound, Some(0.0), candidate);
                assert!(matches!(verdict, Verdict::Unknown(_)), "{verdict:?}");
            }
        }
    }

    #[test]
    fn without_a_stable_figure_nothing_is_compared() {
        let verdict = judge(drop_of("5%"), None, 1.0);
        assert!(matches!(verdict, Verdict::Unknown(_)));
    }

    #[test]
    fn a_bound_of_its_own_needs_no_stable_figure() {
        let bound = |min, max| Bound::Between { min, max };
        let judged = |bound, candidate| judge(bound, None, candidate);
        assert_eq!(judged(bound(Some(1.0), Some(2.0)), 1.0), Verdict::Good);
        assert_eq!(judged(bound(Some(1.0), Some(2.0)), 2.0), Verdict::Good);
        let below = Verdict::Bad("0.5 is below 1".into());
        assert_eq!(judged(bound(Some(1.0), None), 0.5), below);
        let above = Verdict::Bad("2.001 is above 2".into());
        assert_eq!(judged(bound(None, Some(2.0)), 2.001), above);
        assert_eq!(judged(bound(None, None), f64::MAX), Verdict::Good);
    }

    #[test]
    fn figures_are_shown_as_people_write_them() {
        for (figure, text) in [
            (0.0, "0"),
            (12.5, "12.5"),
            (-3.0, "-3"),
            (1200.0, "1200"),
            (0.000_123_4, "1.234e-4"),
            (2.5e12, "2.500e12"),
        ] {
            assert_eq!(shown(figure), text);
        }
    }
}
