use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::Malformed;

/// A span of time as people write it: `250ms`, `5s`, `2m`, `1h`, `1d`, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl FromStr for Span {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = || Malformed("expected a duration such as 250ms, 5s, 2m or 1h".into());
        let mut rest = text;
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit())
                .filter(|n| *n > 0)
                .ok_or_else(wrong)?;
            let count: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let letters = rest
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(rest.len());
            let unit = match &rest[..letters] {
                "ms" => Duration::from_millis(1),
                "s" => Duration::from_secs(1),
                "m" => Duration::from_mins(1),
                "h" => Duration::from_hours(1),
                "d" => Duration::from_hours(24),
                _ => return Err(wrong()),
            };
            let count = u32::try_from(count).map_err(|_| wrong())?;
            total = unit
                .checked_mul(count)
                .and_then(|part| total.checked_add(part))
                .ok_or_else(wrong)?;
            rest = &rest[letters..];
        }
        // A year bounds every sum with a clock, so that no deadline overflows.
        if text.is_empty() || total > Duration::from_hours(24 * 366) {
            Err(wrong())
        } else {
            Ok(Self(total))
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let unit = [("h", 3_600_000), ("m", 60_000), ("s", 1000)]
            .into_iter()
            .find(|(_, size)| millis >= *size && millis.is_multiple_of(*size));
        match unit {
            Some((unit, size)) => write!(f, "{}{unit}", millis / size),
            None => write!(f, "{millis}ms"),
        }
    }
}

/// A size in bytes as people write it: `512`, `64KiB`, `1MiB`, `2GiB`, `10kB`, `1MB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

const SIZE_UNITS: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
    ("", 1),
];

impl FromStr for ByteSize {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = || Malformed("expected a size such as 512B, 64KiB or 10MiB".into());
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let count: u64 = text[..digits].parse().map_err(|_| wrong())?;
        let (_, unit) = SIZE_UNITS
            .iter()
            .find(|(unit, _)| *unit == &text[digits..])
            .ok_or_else(wrong)?;
        count.checked_mul(*unit).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = SIZE_UNITS[..3]
            .iter()
            .find(|(_, size)| self.0 >= *size && self.0.is_multiple_of(*size));
        let (unit, size) = unit.copied().unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / size)
    }
}

/// A part of a whole as people write it: `2.5%`. Exact to a ten-thousandth of a percent, kept as millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(u32);

impl Percent {
    pub const NONE: Self = Self(0);
    pub const WHOLE: Self = Self(1_000_000);

    /// At most the whole.
    pub const fn from_millionths(millionths: u32) -> Self {
        Self(if millionths > 1_000_000 {
            1_000_000
        } else {
            millionths
        })
    }

    /// Millionths of the whole: `2.5%` is 25 000.
    pub fn millionths(self) -> u32 {
        self.0
    }

    /// Of 1.
    pub fn part(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// How many of `count` this part asks for, rounded up: 50 % of 3 is 2, and any part above 0 % of 1 is 1.
    pub fn of(self, count: usize) -> usize {
        let asked = (count as u128 * u128::from(self.0)).div_ceil(1_000_000);
        usize::try_from(asked).unwrap_or(count).min(count)
    }
}

impl FromStr for Percent {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = || Malformed("expected a percentage from 0% to 100%, such as 2.5%".into());
        let number = text.strip_suffix('%').ok_or_else(wrong)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 4 || whole.len() > 3 {
            return Err(wrong());
        }
        let parts: u32 = format!("{whole}{fraction:0<4}")
            .parse()
            .map_err(|_| wrong())?;
        if parts <= 1_000_000 {
            Ok(Self(parts))
        } else {
            Err(wrong())
        }
    }
}

impl TryFrom<String> for Percent {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl From<Percent> for String {
    fn from(percent: Percent) -> Self {
        percent.to_string()
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:04}", self.0 / 10_000, self.0 % 10_000);
        write!(f, "{}%", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_what_people_write() {
        let read = |text: &str| text.parse::<Span>().map(|span| span.0.as_millis());
        assert_eq!(read("250ms"), Ok(250));
        assert_eq!(read("1h30m"), Ok(5_400_000));
        assert_eq!(read("1d"), Ok(86_400_000));
        assert_eq!(read("0s"), Ok(0));
        for bad in [
            "",
            "5",
            "s",
            "-5s",
            "5 s",
            "1.5s",
            "5x",
            "99999999999h",
            "18446744073709551616s",
            "4294967295d",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_and_percents_print_as_they_are_written() {
        for text in ["64KiB", "1MiB", "2GiB", "513B"] {
            assert_eq!(
                text.parse::<ByteSize>()
                    .map(|size| size.to_string())
                    .as_deref(),
                Ok(text)
            );
        }
        for text in ["0%", "2.5%", "100%", "0.0001%"] {
            assert_eq!(
                text.parse::<Percent>()
                    .map(|percent| percent.to_string())
                    .as_deref(),
                Ok(text)
            );
        }
        for bad in [
            "",
            "%",
            "5",
            "101%",
            "-1%",
            "1.%",
            ".5%",
            "1.00001%",
            "100.0001%",
        ] {
            assert!(bad.parse::<Percent>().is_err(), "{bad}");
        }
        for bad in ["", "KiB", "1 KiB", "1kib", "-1B", "99999999999GiB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_part_of_endpoints_is_rounded_up() {
        let half: Percent = "50%".parse().unwrap();
        assert_eq!(
            (half.of(0), half.of(1), half.of(3), Percent::WHOLE.of(7)),
            (0, 1, 2, 7)
        );
    }
}
