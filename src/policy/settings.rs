//! Settings that the proxy keeps for its clients, because the server has none of that name or does
//! nothing about it.
//!
//! Names, units and messages are those of PostgreSQL's manual, chapter "Server Configuration"; what
//! DSQL takes and what not is in its list of supported parameters.

use std::time::Duration;

/// Which settings are kept by the proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// None.
    #[default]
    Nothing,
    /// The proxy's own, `dsqlproxy.…`; timeouts are the server's business.
    Own,
    /// The proxy's own, and the timeouts that DSQL lacks.
    All,
}

/// What values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Milliseconds, 0 is never.
    Milliseconds,
    /// on or off.
    Switch,
    /// One of these words.
    Words(&'static [&'static str]),
}

/// One setting that the proxy keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Its value as SHOW tells it, when nobody has set it.
    pub default: &'static str,
    kind: Kind,
}

/// Statements that run for longer are cancelled.
pub const STATEMENT_TIMEOUT: &str = "statement_timeout";
/// Transactions that last longer end their session.
pub const TRANSACTION_TIMEOUT: &str = "transaction_timeout";
/// A client that leaves a transaction idle for longer is disconnected.
pub const IDLE_IN_TRANSACTION_TIMEOUT: &str = "idle_in_transaction_session_timeout";

/// Whether transactions are run again after conflicts.
pub const RETRY: &str = "dsqlproxy.retry";
/// What becomes of savepoints.
pub const SAVEPOINTS: &str = "dsqlproxy.savepoints";
/// What becomes of more DDL in a transaction than DSQL takes.
pub const DDL_IN_TRANSACTION: &str = "dsqlproxy.ddl_in_transaction";
/// What becomes of statements that change more rows than a transaction may.
pub const LARGE_DML: &str = "dsqlproxy.large_dml";
/// Whether CREATE INDEX waits until the index is there.
pub const INDEX_WAIT: &str = "dsqlproxy.index_wait";

const SETTINGS: &[Setting] = &[
    timeout(STATEMENT_TIMEOUT),
    timeout(TRANSACTION_TIMEOUT),
    timeout(IDLE_IN_TRANSACTION_TIMEOUT),
    // Nothing waits for a lock on DSQL.
    timeout("lock_timeout"),
    Setting {
        name: RETRY,
        default: "on",
        kind: Kind::Switch,
    },
    Setting {
        name: SAVEPOINTS,
        default: "emulate",
        kind: Kind::Words(&["emulate", "reject"]),
    },
    Setting {
        name: DDL_IN_TRANSACTION,
        default: "reject",
        kind: Kind::Words(&["reject", "split"]),
    },
    Setting {
        name: LARGE_DML,
        default: "refuse",
        kind: Kind::Words(&["refuse", "batch"]),
    },
    Setting {
        name: INDEX_WAIT,
        default: "on",
        kind: Kind::Switch,
    },
];

const fn timeout(name: &'static str) -> Setting {
    Setting {
        name,
        default: "0",
        kind: Kind::Milliseconds,
    }
}

/// Why a value is refused; SQLSTATE 22023.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The message.
    pub message: String,
    /// The HINT, if there is one.
    pub hint: Option<String>,
}

/// The setting of a name in lower case, if the proxy keeps it.
#[must_use]
pub fn find(name: &str, scope: Scope) -> Option<&'static Setting> {
    let own = name.starts_with("dsqlproxy.");
    let kept = match scope {
        Scope::Nothing => false,
        Scope::Own => own,
        Scope::All => true,
    };
    let settings = kept.then_some(SETTINGS)?;
    settings.iter().find(|setting| setting.name == name)
}

impl Setting {
    /// Reads a value as SET gives it, without quotes; gives it as SHOW tells it.
    ///
    /// # Errors
    /// What PostgreSQL says of such a value.
    pub fn read(&self, value: &str) -> Result<String, Refused> {
        match self.kind {
            Kind::Milliseconds => self.read_milliseconds(value).map(show_milliseconds),
            Kind::Switch => match read_switch(value) {
                Some(true) => Ok("on".to_owned()),
                Some(false) => Ok("off".to_owned()),
                None => Err(Refused {
                    message: format!("parameter \"{}\" requires a Boolean value", self.name),
                    hint: None,
                }),
            },
            Kind::Words(words) => {
                let found = words.iter().find(|word| word.eq_ignore_ascii_case(value));
                found.map(|word| (*word).to_owned()).ok_or_else(|| {
                    self.invalid(
                        value,
                        Some(format!("Available values: {}.", words.join(", "))),
                    )
                })
            }
        }
    }

    /// Some settings take one value only, as all of these do.
    #[must_use]
    pub fn only_one(&self) -> Refused {
        Refused {
            message: format!("SET {} takes only one argument", self.name),
            hint: None,
        }
    }

    fn invalid(&self, value: &str, hint: Option<String>) -> Refused {
        Refused {
            message: format!("invalid value for parameter \"{}\": \"{value}\"", self.name),
            hint,
        }
    }

    fn read_milliseconds(&self, value: &str) -> Result<u32, Refused> {
        let text = value.trim();
        let number_ends = number_length(text);
        let (number, unit) = text.split_at(number_ends);
        let Some(number) = read_number(number) else {
            return Err(self.invalid(value, None));
        };
        let factor = match unit.trim() {
            "us" => 0.001,
            "" | "ms" => 1.0,
            "s" => 1000.0,
            "min" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => 86_400_000.0,
            _ => {
                let hint = "Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".";
                return Err(self.invalid(value, Some(hint.to_owned())));
            }
        };
        let milliseconds = (number * factor).round_ties_even();
        if !(f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&milliseconds) {
            let hint = "Value exceeds integer range.".to_owned();
            return Err(self.invalid(value, Some(hint)));
        }
        if milliseconds < 0.0 {
            return Err(Refused {
                message: format!(
                    "{milliseconds} ms is outside the valid range for parameter \"{}\" (0 .. {})",
                    self.name,
                    i32::MAX
                ),
                hint: None,
            });
        }
        // Within the range, as was just seen.
        Ok(milliseconds as u32)
    }
}

/// The length of the number that a text begins with.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let signed = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let hex = bytes
        .get(signed..signed + 2)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"0x"));
    let mut at = signed;
    while let Some(byte) = bytes.get(at) {
        let exponent = |at: usize| {
            let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            bytes
                .get(at + 1 + sign)
                .is_some_and(u8::is_ascii_digit)
                .then_some(1 + sign)
        };
        match byte {
            b'0'..=b'9' | b'.' => at += 1,
            b'x' | b'X' if hex && at == signed + 1 => at += 1,
            b'a'..=b'f' | b'A'..=b'F' if hex => at += 1,
            b'e' | b'E' if !hex && at > signed => match exponent(at) {
                Some(length) => at += length,
                None => break,
            },
            _ => break,
        }
    }
    at
}

/// Decimal, hexadecimal and octal integers, and fractions.
fn read_number(text: &str) -> Option<f64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let based = |digits: &str, base| i64::from_str_radix(digits, base).ok();
    let octal =
        digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    let value = if let Some(hex) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        based(hex, 16)? as f64
    } else if octal {
        based(digits, 8)? as f64
    } else {
        digits
            .parse()
            .ok()
            .filter(|_| digits.starts_with(|c: char| c.is_ascii_digit() || c == '.'))?
    };
    Some(sign * value)
}

/// A time in the largest unit that tells it exactly, as SHOW does.
fn show_milliseconds(milliseconds: u32) -> String {
    const UNITS: [(u32, &str); 5] = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "min"),
        (1000, "s"),
        (1, "ms"),
    ];
    let fits = |unit: &&(u32, &str)| milliseconds.is_multiple_of(unit.0);
    match UNITS.iter().find(fits).filter(|_| milliseconds > 0) {
        Some((length, unit)) => format!("{}{unit}", milliseconds / length),
        None => "0".to_owned(),
    }
}

/// A time as SHOW tells it, from a configuration; at most what a setting can hold.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let most = i32::MAX.unsigned_abs();
    show_milliseconds(u32::try_from(duration.as_millis()).map_or(most, |value| value.min(most)))
}

/// A time from what SHOW tells; `None` for 0, which is never.
#[must_use]
pub fn read_duration(shown: &str) -> Option<Duration> {
    let milliseconds = timeout("").read_milliseconds(shown).ok()?;
    (milliseconds > 0).then(|| Duration::from_millis(milliseconds.into()))
}

/// PostgreSQL's spellings of booleans: unique prefixes of true, false, yes, no; on, of(f); 1, 0.
#[must_use]
pub fn read_switch(value: &str) -> Option<bool> {
    let value = value.to_ascii_lowercase();
    let begins = |word: &str| !value.is_empty() && word.starts_with(&value);
    match value.as_str() {
        "1" | "on" => Some(true),
        "0" | "of" | "off" => Some(false),
        _ if begins("true") || begins("yes") => Some(true),
        _ if begins("false") || begins("no") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_by_scope() {
        let cases = [
            ("statement_timeout", false, false, true),
            ("lock_timeout", false, false, true),
            ("dsqlproxy.retry", false, true, true),
            ("dsqlproxy.other", false, false, false),
            ("search_path", false, false, false),
        ];
        for (name, nothing, own, all) in cases {
            let kept = [Scope::Nothing, Scope::Own, Scope::All].map(|s| find(name, s).is_some());
            assert_eq!(kept, [nothing, own, all], "{name}");
        }
        for setting in SETTINGS {
            assert_eq!(
                setting.read(setting.default).as_deref(),
                Ok(setting.default)
            );
        }
    }

    #[test]
    fn times_are_read_and_shown_as_by_postgresql() {
        let setting = find(STATEMENT_TIMEOUT, Scope::All).unwrap();
        let good = [
            ("0", "0"),
            ("5000", "5s"),
            ("'1500'", ""),
            ("1500", "1500ms"),
            ("5s", "5s"),
            (" 90 s ", "90s"),
            ("60s", "1min"),
            ("1.5s", "1500ms"),
            ("1e3", "1s"),
            ("0x10", "16ms"),
            ("010", "8ms"),
            ("2h", "2h"),
            ("36h", "36h"),
            ("1d", "1d"),
            ("1500us", "2ms"),
            ("2147483647", "2147483647ms"),
        ];
        for (value, shown) in good {
            match shown {
                "" => assert!(setting.read(value).is_err(), "{value}"),
                shown => assert_eq!(setting.read(value).as_deref(), Ok(shown), "{value}"),
            }
        }
        let units =
            "Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".";
        let bad = [
            (
                "soon",
                "invalid value for parameter \"statement_timeout\": \"soon\"",
                "",
            ),
            (
                "",
                "invalid value for parameter \"statement_timeout\": \"\"",
                "",
            ),
            (
                "5 apples",
                "invalid value for parameter \"statement_timeout\": \"5 apples\"",
                units,
            ),
            (
                "5S",
                "invalid value for parameter \"statement_timeout\": \"5S\"",
                units,
            ),
            (
                "-1",
                "-1 ms is outside the valid range for parameter \"statement_timeout\" (0 .. 2147483647)",
                "",
            ),
            (
                "1000000d",
                "invalid value for parameter \"statement_timeout\": \"1000000d\"",
                "Value exceeds integer range.",
            ),
        ];
        for (value, message, hint) in bad {
            let refused = setting.read(value).unwrap_err();
            assert_eq!(refused.message, message);
            assert_eq!(refused.hint.unwrap_or_default(), hint, "{value}");
        }
    }

    #[test]
    fn words_and_switches() {
        let retry = find("dsqlproxy.retry", Scope::Own).unwrap();
        assert_eq!(retry.read("OFF").as_deref(), Ok("off"));
        assert_eq!(retry.read("t").as_deref(), Ok("on"));
        assert_eq!(
            retry.read("o").unwrap_err().message,
            "parameter \"dsqlproxy.retry\" requires a Boolean value"
        );
        let savepoints = find("dsqlproxy.savepoints", Scope::Own).unwrap();
        assert_eq!(savepoints.read("Reject").as_deref(), Ok("reject"));
        let refused = savepoints.read("x").unwrap_err();
        assert_eq!(
            refused.hint.as_deref(),
            Some("Available values: emulate, reject.")
        );
    }

    #[test]
    fn durations_round_trip() {
        for (milliseconds, shown) in [
            (0, "0"),
            (1, "1ms"),
            (5000, "5s"),
            (u64::MAX, "2147483647ms"),
        ] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(show_duration(duration), shown);
        }
        assert_eq!(read_duration("0"), None);
        assert_eq!(read_duration("2min"), Some(Duration::from_secs(120)));
    }
}
