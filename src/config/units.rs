//! Durations (`250ms`, `5s`, `55m`, `2h`), sizes (`512KiB`, `10MiB`) and moments (RFC 3339) as YAML
//! scalars.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, de::Error};

/// Reads a duration: a whole number and one of `ms`, `s`, `m`, `h`, or `0`.
///
/// # Errors
/// What is wrong, in a sentence.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    // The text stays out of the message: it may be a secret in a wrong place.
    let wrong = || "expected a whole number and ms, s, m or h, such as 5s".to_owned();
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" if number == 0 => 1,
        _ => return Err(wrong()),
    };
    // Far-future timers are a known trap of timer wheels: a year is as good as never.
    let year = 365 * 24 * 3_600_000;
    match number.checked_mul(millis) {
        Some(total) if total <= year => Ok(Duration::from_millis(total)),
        _ => Err("a duration is one year (8760h) at most".to_owned()),
    }
}

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// The same where a key may be left out.
pub(super) fn optional_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

/// Reads a number of bytes: a whole number and one of `KiB`, `MiB`, `GiB`, or none of them.
///
/// # Errors
/// What is wrong, in a sentence.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let wrong = || "expected a whole number of bytes, or one and KiB, MiB or GiB".to_owned();
    let number: usize = digits.parse().map_err(|_| wrong())?;
    let factor = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    parse_size(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// Reads a moment such as `2027-01-31T12:00:00Z` or `2027-01-31 12:00:00.5+01:00` (RFC 3339).
/// Years 1970 to 9999; fractions of a second are dropped, a leap second is the second after it.
///
/// # Errors
/// A sentence that does not repeat the text.
pub fn parse_moment(text: &str) -> Result<SystemTime, String> {
    moment(text)
        .map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        .ok_or_else(|| "expected a moment such as 2027-01-31T12:00:00Z".to_owned())
}

/// Seconds since 1970.
fn moment(text: &str) -> Option<u64> {
    let text = text.as_bytes();
    let (date, rest) = text.split_at_checked(10)?;
    let (time, rest) = rest.split_at_checked(9)?;
    let [_, _, _, _, b'-', _, _, b'-', _, _] = date else {
        return None;
    };
    let [b'T' | b't' | b' ', _, _, b':', _, _, b':', _, _] = time else {
        return None;
    };
    let (year, month) = (number(&date[..4])?, number(&date[5..7])?);
    let day = number(&date[8..])?;
    let (hour, minute) = (number(&time[1..3])?, number(&time[4..6])?);
    let second = number(&time[7..])?;
    let in_range = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && (hour <= 23 && minute <= 59 && second <= 60);
    if !in_range {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    u64::try_from(seconds - offset(fraction(rest)?)?).ok()
}

fn number(digits: &[u8]) -> Option<i64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

/// What follows the fraction of a second, if there is one.
fn fraction(rest: &[u8]) -> Option<&[u8]> {
    let Some(digits) = rest.strip_prefix(b".") else {
        return Some(rest);
    };
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    (end > 0).then(|| &digits[end..])
}

/// Seconds east of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, hour, minute) = match zone {
        b"Z" | b"z" => return Some(0),
        [sign @ (b'+' | b'-'), hour @ .., b':', tens, ones] => (sign, hour, [*tens, *ones]),
        _ => return None,
    };
    let (hour, minute) = (number(hour)?, number(&minute)?);
    let seconds =
        (zone.len() == 6 && hour <= 23 && minute <= 59).then_some(hour * 3600 + minute * 60)?;
    Some(if *sign == b'-' { -seconds } else { seconds })
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let leaps = before / 4 - before / 100 + before / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);
    let months: i64 = (1..month).map(|month| days_in_month(year, month)).sum();
    (year - 1970) * 365 + leaps + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("250ms", Some(250)),
            ("5s", Some(5000)),
            ("55m", Some(3_300_000)),
            ("2h", Some(7_200_000)),
            ("8760h", Some(31_536_000_000)),
            ("8761h", None),
            ("99999999999999999999s", None),
            ("5", None),
            ("s", None),
            ("", None),
            ("-1s", None),
            ("1.5s", None),
            ("5 s", None),
            ("5sec", None),
        ];
        for (text, millis) in cases {
            let read = parse_duration(text).ok();
            assert_eq!(read, millis.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn sizes() {
        let cases = [
            ("0", Some(0)),
            ("1500", Some(1500)),
            ("512KiB", Some(512 * 1024)),
            ("64MiB", Some(64 * 1024 * 1024)),
            ("2GiB", Some(2 * 1024 * 1024 * 1024)),
            ("99999999999999999999", None),
            ("18446744073709551615KiB", None),
            ("KiB", None),
            ("", None),
            ("-1", None),
            ("1kB", None),
            ("1 KiB", None),
            ("1.5MiB", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text).ok(), bytes, "{text:?}");
        }
    }

    #[test]
    fn moments() {
        // Seconds as printed by `date -u -d … +%s`.
        let cases = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:34:56Z", Some(951_827_696)),
            ("2024-12-31T23:59:60Z", Some(1_735_689_600)),
            ("2027-01-31T12:00:00Z", Some(1_801_396_800)),
            ("2027-01-31 12:00:00.250+01:30", Some(1_801_391_400)),
            ("2027-01-31t12:00:00-08:00", Some(1_801_425_600)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400)),
            ("9999-12-31T23:59:59Z", Some(253_402_300_799)),
            ("1969-12-31T23:59:59Z", None),
            ("2100-02-29T00:00:00Z", None),
            ("2027-13-01T00:00:00Z", None),
            ("2027-00-01T00:00:00Z", None),
            ("2027-01-00T00:00:00Z", None),
            ("2027-01-31T24:00:00Z", None),
            ("2027-01-31T12:00:00", None),
            ("2027-01-31T12:00:00.Z", None),
            ("2027-01-31T12:00:00.5", None),
            ("2027-01-31T12:00:00+1:00", None),
            ("2027-01-31T12:00:00+24:00", None),
            ("2027-01-31", None),
            ("+027-01-31T12:00:00Z", None),
            ("ä027-01-31T12:00:00Z", None),
            ("", None),
        ];
        for (text, seconds) in cases {
            let expected = seconds.map(|s| SystemTime::UNIX_EPOCH + Duration::from_secs(s));
            assert_eq!(parse_moment(text).ok(), expected, "{text:?}");
        }
    }
}
