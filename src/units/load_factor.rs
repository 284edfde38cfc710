use std::{fmt, str::FromStr};

use super::Malformed;

/// How much more than its part of the load one may have, as people write it: `150%` is half as much again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadFactor(u32);

impl LoadFactor {
    const LEAST: u32 = 101;
    const MOST: u32 = 10_000;

    pub fn percent(self) -> u32 {
        self.0
    }
}

impl FromStr for LoadFactor {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let digits = text.strip_suffix('%').unwrap_or_default();
        let right = digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let percent = digits.parse().ok().filter(|_| right);
        percent
            .filter(|percent| (Self::LEAST..=Self::MOST).contains(percent))
            .map(Self)
            .ok_or_else(|| {
                Malformed("expected a whole percentage from 101% to 10000%, such as 150%".into())
            })
    }
}

impl fmt::Display for LoadFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_print_as_they_are_written_and_are_above_the_whole() {
        for text in ["101%", "150%", "10000%"] {
            let read = text.parse::<LoadFactor>();
            assert_eq!(read.map(|factor| factor.to_string()).as_deref(), Ok(text));
        }
        for bad in [
            "", "%", "150", "100%", "0%", "10001%", "1.5", "150.5%", "+150%", "000150%", "none",
        ] {
            assert!(bad.parse::<LoadFactor>().is_err(), "{bad}");
        }
    }
}
