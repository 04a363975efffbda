//! Amounts as people write them, in flags, variables and files alike: `64KiB`, `1.5s`.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A number of bytes: `4096`, `64KiB`, `1MiB`, `2GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A stretch of time: seconds if nothing else is said (`10`, `0.5`), else `250ms`, `10s`, `5m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub Duration);

/// So many in a time: `100` (a second), `100/s`, `600/m`, `5000/10s`; of bytes `1MiB/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many: at least one.
    pub count: u64,
    /// In this time, which is not none.
    pub period: Duration,
}

/// Longest time that makes sense anywhere: a year. Keeps later additions to a clock from overflowing.
const LONGEST_SECONDS: f64 = 366.0 * 86_400.0;

impl Bytes {
    /// As a length in memory; more than there can be is as much as there can be.
    pub fn to_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Bytes, String> {
        let (number, unit) = split_unit(text);
        let factor: u64 = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            _ => return Err(format!("{unit:?} is no unit of bytes; write 65536, 64KiB, 1MiB or 1GiB")),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        bytes.map(Bytes).ok_or_else(|| format!("{text:?} is no number of bytes; write 65536, 64KiB or 1MiB"))
    }
}

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seconds, String> {
        let (number, unit) = split_unit(text);
        let factor = match unit {
            "" | "s" => 1.0,
            "ms" => 0.001,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            _ => return Err(format!("{unit:?} is no unit of time; write 10, 2.5, 250ms, 10s or 5m")),
        };
        let seconds = number.parse::<f64>().ok().map(|number| number * factor);
        match seconds {
            Some(seconds) if (0.0..=LONGEST_SECONDS).contains(&seconds) => {
                Ok(Seconds(Duration::from_secs_f64(seconds)))
            }
            _ => Err(format!("{text:?} is no time in seconds; write 10, 2.5, 250ms, 10s or 5m")),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let bad = || format!("{text:?} is no rate; write 100, 100/s, 600/m or 1MiB/s");
        let (count, period) = text.split_once('/').unwrap_or((text, "s"));
        let count = count.trim().parse::<Bytes>().map_err(|_| bad())?.0;
        let period = period.trim();
        let number = if period.starts_with(|c: char| c.is_ascii_digit()) { "" } else { "1" };
        let period = format!("{number}{period}").parse::<Seconds>().map_err(|_| bad())?.0;
        match count == 0 || period.is_zero() {
            true => Err(format!("{text:?} lets nothing through; raise it or leave it out")),
            false => Ok(Rate { count, period }),
        }
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rate, D::Error> {
        deserializer.deserialize_any(Written(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        deserializer.deserialize_any(Written(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Seconds, D::Error> {
        deserializer.deserialize_any(Written(PhantomData))
    }
}

/// Reads a number, or text with a unit, as the same text would be read on the command line.
struct Written<T>(PhantomData<T>);

impl<T: FromStr<Err = String>> Visitor<'_> for Written<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a text with a number and its unit")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// The digits in front, and what follows them.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_and_without_a_unit() {
        for (text, bytes) in
            [("0", 0), ("65536", 65_536), ("64KiB", 65_536), ("1 MiB", 1 << 20), ("2GB", 2_000_000_000)]
        {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "KiB", "-1", "1.5MiB", "64K", "1mib", "99999999999GiB", "١KiB"] {
            assert!(text.parse::<Bytes>().unwrap_err().contains("write 65536"), "{text}");
        }
    }

    #[test]
    fn rates_are_read_with_and_without_their_time() {
        for (text, count, millis) in [
            ("100", 100, 1_000),
            ("100/s", 100, 1_000),
            ("600 / m", 600, 60_000),
            ("1/250ms", 1, 250),
            ("5000/10s", 5_000, 10_000),
            ("1MiB/s", 1 << 20, 1_000),
        ] {
            assert_eq!(text.parse(), Ok(Rate { count, period: Duration::from_millis(millis) }), "{text}");
        }
        for text in ["", "/s", "100/d", "0.5/s", "100/s/s", "-1/s"] {
            assert!(text.parse::<Rate>().unwrap_err().contains("write 100"), "{text}");
        }
        for text in ["0", "1/0s"] {
            assert!(text.parse::<Rate>().unwrap_err().contains("lets nothing through"), "{text}");
        }
    }

    #[test]
    fn times_are_read_with_and_without_a_unit() {
        for (text, millis) in [("10", 10_000), ("0.5", 500), ("250ms", 250), ("2 s", 2_000), ("5m", 300_000)]
        {
            assert_eq!(text.parse(), Ok(Seconds(Duration::from_millis(millis))), "{text}");
        }
        for text in ["", "s", "-1", "1e9", "1d", "1.2.3", "99999999999999999", "inf", "NaN"] {
            assert!(text.parse::<Seconds>().unwrap_err().contains("write 10"), "{text}");
        }
    }
}
