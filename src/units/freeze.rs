use std::{fmt, str::FromStr};

use jiff::{
    ToSpan as _,
    civil::{Date, DateTime, Time, Weekday},
    tz::{TimeZone, TimeZoneDatabase},
};

use super::{Malformed, Timestamp};

/// When no rollout is begun: `Fri 16:00/Mon 08:00 Europe/Berlin` every week, or once
/// `2026-12-24T00:00/2026-12-27T08:00 Europe/Berlin`.
#[derive(Debug, Clone, PartialEq)]
pub struct Freeze {
    window: Window,
    /// With its rules as the machine knew them when the text was read.
    zone: TimeZone,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Window {
    Weekly((Weekday, Time), (Weekday, Time)),
    Once(DateTime, DateTime),
}

const DAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

/// So many windows may follow each other without a gap before nobody looks for the end any more.
const CHAIN: usize = 64;

impl Freeze {
    pub const EXPECTED: &str = "a window such as \"Fri 16:00/Mon 08:00 Europe/Berlin\", every week, or \"2026-12-24T00:00/2026-12-27T08:00 Europe/Berlin\"";

    /// The end of the window in force; `None`: there is none.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        match self.window {
            Window::Once(start, end) => self.within(start, end, now),
            Window::Weekly(start, end) => {
                let today = self.zone.to_datetime(now).date();
                // The week's window may have begun before today, and a clock that is put back may bring it back.
                let begun = days_from(start.0, today.weekday());
                [begun, begun + 7, begun - 7].into_iter().find_map(|ago| {
                    let from = today.checked_sub(ago.days()).ok()?;
                    let to = ends_on(from, start, end)?;
                    self.within(from.to_datetime(start.1), to.to_datetime(end.1), now)
                })
            }
        }
    }

    /// When the last of these is over that are in force or begin before another has ended.
    pub fn last_of(freezes: &[Self], now: Timestamp) -> Option<Timestamp> {
        let latest = |now| {
            let ends = freezes.iter().filter_map(|freeze| freeze.until(now));
            ends.max()
        };
        let mut end = latest(now)?;
        for _ in 0..CHAIN {
            match latest(end) {
                Some(later) => end = later,
                None => break,
            }
        }
        Some(end)
    }

    /// A time that the clock skips is the one that it is put to; of one that it shows twice, the first.
    fn within(&self, start: DateTime, end: DateTime, now: Timestamp) -> Option<Timestamp> {
        let start = self.zone.to_timestamp(start).ok()?;
        let end = self.zone.to_timestamp(end).ok()?;
        (start <= now && now < end).then_some(end)
    }
}

/// How many days `to` is after the last `from`.
fn days_from(from: Weekday, to: Weekday) -> i64 {
    i64::from(to.since(from))
}

/// The date on which a weekly window ends that begins on this one.
fn ends_on(from: Date, start: (Weekday, Time), end: (Weekday, Time)) -> Option<Date> {
    let days = match days_from(start.0, end.0) {
        0 if end.1 <= start.1 => 7,
        days => days,
    };
    from.checked_add(days.days()).ok()
}

impl FromStr for Freeze {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = || Malformed(format!("expected {}", Self::EXPECTED));
        let (times, name) = text.rsplit_once(' ').ok_or_else(wrong)?;
        let (start, end) = times.split_once('/').ok_or_else(wrong)?;
        let window = match (moment(start), moment(end)) {
            (Some(Moment::Weekly(start)), Some(Moment::Weekly(end))) if start != end => {
                Window::Weekly(start, end)
            }
            (Some(Moment::Once(start)), Some(Moment::Once(end))) if start < end => {
                Window::Once(start, end)
            }
            (Some(Moment::Weekly(_)), Some(Moment::Weekly(_)))
            | (Some(Moment::Once(_)), Some(Moment::Once(_))) => {
                return Err(Malformed(format!(
                    "expected a window that ends after it begins, and `{times}` does not"
                )));
            }
            _ => return Err(wrong()),
        };
        let zone = zone(name, jiff::tz::db())?;
        Ok(Self {
            window,
            zone,
            name: name.to_owned(),
        })
    }
}

enum Moment {
    Weekly((Weekday, Time)),
    Once(DateTime),
}

/// `Fri 16:00` or `2026-12-24T00:00`.
fn moment(text: &str) -> Option<Moment> {
    if let Some((date, at)) = text.split_once('T')
        && let [year, month, day] = date.split('-').collect::<Vec<_>>()[..]
    {
        let year = digits(year, 4)?;
        let (month, day) = (digits(month, 2)?, digits(day, 2)?);
        // Near the ends of the calendar there is no week before or after.
        if !(1970..=9000).contains(&year) {
            return None;
        }
        let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
        let date = Date::new(year, month, day).ok()?;
        return Some(Moment::Once(date.to_datetime(time(at)?)));
    }
    let (day, at) = text.split_once(' ')?;
    let named = |(name, _): &&(&str, Weekday)| name.eq_ignore_ascii_case(day);
    let (_, day) = DAYS.iter().find(named)?;
    Some(Moment::Weekly((*day, time(at)?)))
}

fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute) = (digits(hour, 2)?, digits(minute, 2)?);
    Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok()
}

fn digits(text: &str, count: usize) -> Option<i16> {
    let right = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    right.then(|| text.parse().ok()).flatten()
}

fn zone(name: &str, zones: &TimeZoneDatabase) -> Result<TimeZone, Malformed> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-/".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        return Err(Malformed(format!("expected {}", Freeze::EXPECTED)));
    }
    // Known without any data.
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    if zones.is_definitively_empty() {
        return Err(Malformed(format!(
            "expected UTC in place of `{name}`, because this machine has no time zones: install tzdata"
        )));
    }
    zones.get(name).map_err(|_| {
        Malformed(format!(
            "expected a time zone such as Europe/Berlin or UTC, and this machine knows no `{name}`"
        ))
    })
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = |day: Weekday| {
            let found = DAYS.iter().find(|(_, known)| *known == day);
            found.map_or("", |(name, _)| name)
        };
        match self.window {
            Window::Weekly(start, end) => write!(
                f,
                "{} {}/{} {}",
                day(start.0),
                start.1.strftime("%H:%M"),
                day(end.0),
                end.1.strftime("%H:%M")
            )?,
            Window::Once(start, end) => write!(
                f,
                "{}/{}",
                start.strftime("%Y-%m-%dT%H:%M"),
                end.strftime("%Y-%m-%dT%H:%M")
            )?,
        }
        write!(f, " {}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn freeze(text: &str) -> Freeze {
        text.parse().unwrap()
    }

    fn until(text: &str, now: &str) -> Option<String> {
        let end = freeze(text).until(at(now));
        end.map(|end| end.to_string())
    }

    #[test]
    fn a_weekend_is_frozen_from_its_first_minute_until_its_last() {
        let weekend = "Fri 16:00/Mon 08:00 UTC";
        let monday = Some("2026-11-30T08:00:00Z".to_owned());
        for (now, end) in [
            ("2026-11-27T15:59:59.999Z", None),
            ("2026-11-27T16:00:00Z", monday.clone()),
            ("2026-11-28T11:00:00Z", monday.clone()),
            ("2026-11-29T23:59:59Z", monday.clone()),
            ("2026-11-30T07:59:59.999Z", monday),
            ("2026-11-30T08:00:00Z", None),
            ("2026-12-02T12:00:00Z", None),
        ] {
            assert_eq!(until(weekend, now), end, "{now}");
        }
    }

    #[test]
    fn a_window_within_a_day_and_one_of_almost_a_week_hold_too() {
        let noon = "Wed 12:00/Wed 13:00 UTC";
        assert_eq!(
            until(noon, "2026-12-02T12:30:00Z").as_deref(),
            Some("2026-12-02T13:00:00Z")
        );
        assert_eq!(until(noon, "2026-12-02T13:00:00Z"), None);
        assert_eq!(until(noon, "2026-12-03T12:30:00Z"), None);
        // All but an hour of the week: what is left may be begun on Wednesdays only.
        let most = "Wed 13:00/Wed 12:00 UTC";
        assert_eq!(until(most, "2026-12-02T12:30:00Z"), None);
        for now in [
            "2026-12-02T13:00:00Z",
            "2026-12-08T23:00:00Z",
            "2026-12-09T11:59:00Z",
        ] {
            let end = Some("2026-12-09T12:00:00Z");
            assert_eq!(until(most, now).as_deref(), end, "{now}");
        }
    }

    #[test]
    fn the_hours_are_those_of_the_zone_in_summer_and_in_winter() {
        let berlin = "Fri 16:00/Mon 08:00 Europe/Berlin";
        // In winter Berlin is an hour ahead of UTC, in summer two.
        for (now, end) in [
            ("2026-01-09T14:59:00Z", None),
            ("2026-01-09T15:00:00Z", Some("2026-01-12T07:00:00Z")),
            ("2026-07-10T13:59:00Z", None),
            ("2026-07-10T14:00:00Z", Some("2026-07-13T06:00:00Z")),
            // Over the weekend on which the clock is put forward, and back.
            ("2026-03-27T15:00:00Z", Some("2026-03-30T06:00:00Z")),
            ("2026-10-23T14:00:00Z", Some("2026-10-26T07:00:00Z")),
        ] {
            assert_eq!(until(berlin, now).as_deref(), end, "{now}");
        }
    }

    #[test]
    fn a_time_that_the_clock_skips_or_shows_twice_is_one_moment() {
        // 02:30 is skipped on 29 March: what would begin then begins at 03:30.
        let spring = "Sun 02:30/Sun 06:00 Europe/Berlin";
        assert_eq!(until(spring, "2026-03-29T01:29:59Z"), None);
        assert_eq!(
            until(spring, "2026-03-29T01:30:00Z").as_deref(),
            Some("2026-03-29T04:00:00Z")
        );
        // 02:30 comes twice on 25 October: the first of them begins it, and ends it.
        let autumn = "Sun 02:30/Sun 06:00 Europe/Berlin";
        assert_eq!(until(autumn, "2026-10-25T00:29:59Z"), None);
        assert_eq!(
            until(autumn, "2026-10-25T00:30:00Z").as_deref(),
            Some("2026-10-25T05:00:00Z")
        );
        let night = "Sat 20:00/Sun 02:30 Europe/Berlin";
        assert_eq!(
            until(night, "2026-10-25T00:29:59Z").as_deref(),
            Some("2026-10-25T00:30:00Z")
        );
        assert_eq!(until(night, "2026-10-25T01:15:00Z"), None);
    }

    #[test]
    fn a_window_with_dates_is_over_for_ever() {
        let holidays = "2026-12-24T00:00/2026-12-27T08:00 Europe/Berlin";
        for (now, end) in [
            ("2026-12-23T22:59:59Z", None),
            ("2026-12-23T23:00:00Z", Some("2026-12-27T07:00:00Z")),
            ("2026-12-27T07:00:00Z", None),
            ("2027-12-24T12:00:00Z", None),
        ] {
            assert_eq!(until(holidays, now).as_deref(), end, "{now}");
        }
    }

    #[test]
    fn windows_that_touch_end_with_the_last_of_them() {
        let windows = [
            freeze("2026-12-24T00:00/2026-12-25T08:00 UTC"),
            freeze("Fri 06:00/Mon 08:00 UTC"),
            freeze("2026-12-28T08:00/2026-12-28T09:00 UTC"),
        ];
        let last = |now| Freeze::last_of(&windows, at(now));
        let end = Some(at("2026-12-28T09:00:00Z"));
        assert_eq!(last("2026-12-24T12:00:00Z"), end);
        assert_eq!(last("2026-12-28T09:00:00Z"), None);
        let always = [
            freeze("Mon 00:00/Thu 00:00 UTC"),
            freeze("Thu 00:00/Mon 00:00 UTC"),
        ];
        assert!(Freeze::last_of(&always, at("2026-12-24T12:00:00Z")).is_some());
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        for text in [
            "Fri 16:00/Mon 08:00 Europe/Berlin",
            "Sun 00:00/Sun 23:59 UTC",
            "2026-12-24T00:00/2026-12-27T08:00 America/New_York",
        ] {
            assert_eq!(freeze(text).to_string(), text);
        }
        assert_eq!(
            freeze("FRI 16:00/mon 08:00 UTC").to_string(),
            "Fri 16:00/Mon 08:00 UTC"
        );
    }

    #[test]
    fn a_machine_without_time_zones_says_so_and_knows_utc() {
        let none = TimeZoneDatabase::none();
        assert_eq!(zone("UTC", &none), Ok(TimeZone::UTC));
        let why = zone("Europe/Berlin", &none).unwrap_err().0;
        assert!(
            why.ends_with("this machine has no time zones: install tzdata"),
            "{why}"
        );
    }

    #[test]
    fn what_is_no_window_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "a window such as"),
            ("Fri 16:00/Mon 08:00", "a window such as"),
            ("Fri 16:00 Europe/Berlin", "a window such as"),
            ("Fri 24:00/Mon 08:00 UTC", "a window such as"),
            ("Fri 16:60/Mon 08:00 UTC", "a window such as"),
            ("Fri 4:00/Mon 08:00 UTC", "a window such as"),
            ("Friday 16:00/Mon 08:00 UTC", "a window such as"),
            ("Fri 16:00/2026-12-27T08:00 UTC", "a window such as"),
            ("2026-02-30T00:00/2026-12-27T08:00 UTC", "a window such as"),
            ("9999-01-01T00:00/9999-12-27T08:00 UTC", "a window such as"),
            ("Fri 16:00/Mon 08:00 ../../etc/passwd", "a window such as"),
            ("Fri 16:00/Mon 08:00 é", "a window such as"),
            ("Fri 16:00/Fri 16:00 UTC", "ends after it begins"),
            (
                "2026-12-27T08:00/2026-12-24T00:00 UTC",
                "ends after it begins",
            ),
            (
                "Fri 16:00/Mon 08:00 Europe/Berln",
                "knows no `Europe/Berln`",
            ),
            ("Fri 16:00/Mon 08:00 Europe", "knows no `Europe`"),
        ] {
            let why = text.parse::<Freeze>().unwrap_err().0;
            assert!(why.contains(reason), "{text}: {why}");
        }
    }
}
