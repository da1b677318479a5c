//! Durations (`250ms`, `5s`, `55m`, `2h`) as YAML scalars.

use std::time::Duration;

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
    let wrong = || {
        format!("invalid duration \"{text}\": write a whole number and ms, s, m or h, such as 5s")
    };
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
        _ => Err(format!("duration \"{text}\" is above one year")),
    }
}

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}
