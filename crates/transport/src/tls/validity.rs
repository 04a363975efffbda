//! From when to when a certificate counts.

use std::fmt;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};

use super::{Pem, SetupError, pem};

/// The time in which a certificate is valid; `Display` shows the days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub not_before: UnixTime,
    /// Its last second.
    pub not_after: UnixTime,
}

/// When the first certificate of a file is valid, for whoever wants to warn before it expires.
///
/// # Errors
/// If there is none, or it isn't valid at `now`.
pub fn check_validity(file: &Pem<'_>, now: UnixTime) -> Result<Validity, SetupError> {
    let certificates = pem::certificates(file)?;
    let validity = certificates
        .first()
        .and_then(Validity::of)
        .ok_or_else(|| SetupError::about(file.name, "its first certificate is malformed"))?;
    if now > validity.not_after {
        let what = format!("the certificate expired on {}; renew it", date(validity.not_after));
        return Err(SetupError::about(file.name, what));
    }
    if now < validity.not_before {
        let what =
            format!("the certificate is not valid before {}; is the clock right?", date(validity.not_before));
        return Err(SetupError::about(file.name, what));
    }
    Ok(validity)
}

impl Validity {
    /// Reads it out of a certificate (RFC 5280 §4.1); `None` if that is malformed.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Validity> {
        let (certificate, _) = expect(SEQUENCE, certificate)?;
        let (fields, _) = expect(SEQUENCE, certificate)?;
        let fields = expect(EXPLICIT_VERSION, fields).map_or(fields, |(_, rest)| rest);
        let (_serial, fields) = expect(INTEGER, fields)?;
        let (_algorithm, fields) = expect(SEQUENCE, fields)?;
        let (_issuer, fields) = expect(SEQUENCE, fields)?;
        let (validity, _) = expect(SEQUENCE, fields)?;
        let (not_before, rest) = time(validity)?;
        let (not_after, _) = time(rest)?;
        Some(Validity { not_before, not_after })
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", date(self.not_before), date(self.not_after))
    }
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const EXPLICIT_VERSION: u8 = 0xa0;

/// The contents of the DER element of this type at the start of `input`, and what follows it.
fn expect(tag: u8, input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = input.split_first_chunk()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280 §4.1.2.5).
fn time(input: &[u8]) -> Option<(UnixTime, &[u8])> {
    let ((digits, rest), short) = match expect(UTC_TIME, input) {
        Some(found) => (found, true),
        None => (expect(GENERALIZED_TIME, input)?, false),
    };
    let digits = str::from_utf8(digits.strip_suffix(b"Z")?).ok()?;
    if digits.len() != if short { 12 } else { 14 } || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (year, others) = digits.split_at(digits.len() - 10);
    let year: i64 = year.parse().ok()?;
    let year = match (short, year) {
        (true, 0..50) => year + 2000,
        (true, _) => year + 1900,
        (false, _) => year,
    };
    let two = |at: usize| others.get(at..at + 2)?.parse::<i64>().ok();
    let days = days_from_civil(year, two(0)?, two(2)?);
    let seconds = days * 86_400 + two(4)? * 3_600 + two(6)? * 60 + two(8)?;
    // Before 1970 there was no TLS: such a date means "since ever".
    Some((UnixTime::since_unix_epoch(Duration::from_secs(seconds.max(0).unsigned_abs())), rest))
}

/// The day in UTC, as in `2026-11-20`.
pub(super) fn date(time: UnixTime) -> String {
    let days = i64::try_from(time.as_secs() / 86_400).unwrap_or(i64::MAX / 86_400);
    // Years begin in March here, so that the leap day is the last; eras are 400 years.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = (year + era * 400, if month < 10 { month + 3 } else { month - 9 });
    format!("{:04}-{month:02}-{day:02}", if month <= 2 { year + 1 } else { year })
}

/// Days since 1970-01-01 of a day in the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let month = if month > 2 { month - 3 } else { month + 9 };
    let day = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year * 365 + year / 4 - year / 100 + day - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse() {
        for (seconds, text) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_763_596_799, "2025-11-19"),
            (4_102_444_799, "2099-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(UnixTime::since_unix_epoch(Duration::from_secs(seconds))), text);
        }
        for day in 0..200_000 {
            let text = date(UnixTime::since_unix_epoch(Duration::from_secs(day * 86_400)));
            let part = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
            assert_eq!(days_from_civil(part(0..4), part(5..7), part(8..10)), day as i64, "{text}");
        }
        date(UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX)));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
            Validity::of(&CertificateDer::from([&[0x30, 0x38, 0x30, 0x36], &bytes[..]].concat()));
            time(&[&[0x17, 13], &bytes[..]].concat());
        }
    }
}
