//! Settings that the proxy keeps for its clients, because the server has none of that name or does
//! nothing about it.
//!
//! Names, units and messages are those of PostgreSQL's manual, chapter "Server Configuration"; what
//! DSQL takes and what not is in its list of supported parameters.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use crate::wire::sqlstate::{self, SqlState};

/// Which settings are kept by the proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// None.
    #[default]
    Nothing,
    /// The proxy's own, `dsqlproxy.…`; timeouts are the server's business.
    Own,
    /// The proxy's own, and all that DSQL does not take.
    All,
}

/// What values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// An integer in a unit, between two numbers.
    Integer { unit: Unit, least: f64, most: f64 },
    /// A number between two others.
    Real { least: f64, most: f64 },
    /// on or off.
    Switch,
    /// One of these words, parted by commas.
    Words(&'static str),
    /// Any text.
    Text,
    /// One value only, as the server has no other.
    Only,
    /// What the server is.
    Fixed,
}

/// What an integer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Plain,
    /// Bytes, so many at once.
    Bytes(u32),
    /// Microseconds, so many at once.
    Time(u32),
}

/// One setting that the proxy keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Its name, in lower case.
    pub name: Cow<'static, str>,
    /// Its value as SHOW tells it, when nobody has set it; names with a dot have none.
    pub default: Option<&'static str>,
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
/// What becomes of changes of a table for which it has to be made anew.
pub const TABLE_REBUILD: &str = "dsqlproxy.table_rebuild";
/// What becomes of columns of types that DSQL does not store.
pub const UNSTORABLE_COLUMNS: &str = "dsqlproxy.unstorable_columns";
/// What `transaction_isolation` tells: the level that Aurora DSQL has, or the one that was asked for.
pub const SHOWN_ISOLATION: &str = "dsqlproxy.shown_isolation";
/// Whether CREATE INDEX waits until the index is there.
pub const INDEX_WAIT: &str = "dsqlproxy.index_wait";

/// Highest level of messages that a client wants to be spared.
pub const CLIENT_MIN_MESSAGES: &str = "client_min_messages";
/// Transactions are READ ONLY unless they say otherwise.
pub const DEFAULT_READ_ONLY: &str = "default_transaction_read_only";
/// Transactions are DEFERRABLE unless they say otherwise.
pub const DEFAULT_DEFERRABLE: &str = "default_transaction_deferrable";
/// The isolation level of transactions that name none.
pub const DEFAULT_ISOLATION: &str = "default_transaction_isolation";

/// PostgreSQL's settings: name, kind, unit, least, most, words, whether they can be set, default.
/// Those of DSQL itself are not among them, nor those whose value it tells.
///
/// Source: `pg_settings` of PostgreSQL 15 as it is installed, and for isolation, collation and
/// languages DSQL's guide.
const TABLE: &str = include_str!("settings.tsv");

/// Settings of DSQL itself: SET of these goes upstream (DSQL guide, "Accessing Aurora DSQL").
const UPSTREAM: [&str; 17] = [
    "application_name",
    "client_encoding",
    "datestyle",
    "disable_sync_create_index",
    "dsql.enable_batched_nestloop",
    "enable_bitmapscan",
    "enable_hashjoin",
    "enable_indexonlyscan",
    "enable_indexscan",
    "enable_material",
    "enable_mergejoin",
    "enable_nestloop",
    "enable_seqscan",
    "extra_float_digits",
    "intervalstyle",
    "search_path",
    "timezone",
];

/// Those whose other values mean that texts or answers read otherwise.
const ONLY: [&str; 4] = [
    "bytea_output",
    "standard_conforming_strings",
    "escape_string_warning",
    "transform_null_equals",
];

fn own() -> [Setting; 12] {
    let setting = |name: &'static str, default, kind| Setting {
        name: Cow::Borrowed(name),
        default: Some(default),
        kind,
    };
    [
        timeout(STATEMENT_TIMEOUT),
        timeout(TRANSACTION_TIMEOUT),
        timeout(IDLE_IN_TRANSACTION_TIMEOUT),
        // Nothing waits for a lock on DSQL.
        timeout("lock_timeout"),
        setting(RETRY, "on", Kind::Switch),
        setting(SAVEPOINTS, "emulate", Kind::Words("emulate,reject")),
        setting(DDL_IN_TRANSACTION, "reject", Kind::Words("reject,split")),
        setting(LARGE_DML, "refuse", Kind::Words("refuse,batch")),
        setting(TABLE_REBUILD, "small", Kind::Words("reject,small,rebuild")),
        setting(UNSTORABLE_COLUMNS, "refuse", Kind::Words("refuse,text")),
        setting(INDEX_WAIT, "on", Kind::Switch),
        setting(SHOWN_ISOLATION, "actual", Kind::Words("actual,asked")),
    ]
}

const fn timeout(name: &'static str) -> Setting {
    Setting {
        name: Cow::Borrowed(name),
        default: Some("0"),
        kind: Kind::Integer {
            unit: Unit::Time(1000),
            least: 0.0,
            most: i32::MAX as f64,
        },
    }
}

fn all() -> &'static BTreeMap<&'static str, Setting> {
    static ALL: OnceLock<BTreeMap<&'static str, Setting>> = OnceLock::new();
    ALL.get_or_init(|| {
        let table = TABLE.lines().filter_map(read_line);
        let all = table.chain(own()).filter_map(|setting| match setting.name {
            Cow::Borrowed(name) => Some((name, setting)),
            Cow::Owned(_) => None,
        });
        all.collect()
    })
}

fn read_line(line: &'static str) -> Option<Setting> {
    let fields: Vec<&'static str> = line.split('\t').collect();
    let [name, kind, unit, least, most, words, access, default] = fields.as_slice() else {
        return None;
    };
    let number = |text: &str, otherwise| text.parse().unwrap_or(otherwise);
    let (least, most) = (number(least, f64::MIN), number(most, f64::MAX));
    let kind = match *kind {
        _ if *access == "f" => Kind::Fixed,
        _ if ONLY.contains(name) => Kind::Only,
        "b" => Kind::Switch,
        "e" => Kind::Words(words),
        "i" => Kind::Integer {
            unit: match *unit {
                "B" => Unit::Bytes(1),
                "kB" => Unit::Bytes(1024),
                "8kB" => Unit::Bytes(8192),
                "ms" => Unit::Time(1000),
                "s" => Unit::Time(1_000_000),
                _ => Unit::Plain,
            },
            least,
            most,
        },
        "r" => Kind::Real { least, most },
        _ => Kind::Text,
    };
    Some(Setting {
        name: Cow::Borrowed(name),
        default: Some(default),
        kind,
    })
}

/// Why a value is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// SQLSTATE.
    pub code: SqlState,
    /// The message.
    pub message: String,
    /// The HINT, if there is one.
    pub hint: Option<String>,
}

/// The setting of a name in lower case, if the proxy keeps it.
#[must_use]
pub fn find(name: &str, scope: Scope) -> Option<Setting> {
    let own = name.starts_with("dsqlproxy.");
    match scope {
        Scope::Nothing => None,
        Scope::Own if !own => None,
        Scope::All if UPSTREAM.contains(&name) => None,
        _ => all().get(name).cloned().or_else(|| custom(name, own)),
    }
}

/// The value of a setting that nobody has set, as SHOW tells it.
#[must_use]
pub fn default(name: &str, scope: Scope) -> Option<&'static str> {
    let known = match scope {
        Scope::Nothing => false,
        Scope::Own => name.starts_with("dsqlproxy."),
        Scope::All => true,
    };
    known.then(|| all().get(name)?.default).flatten()
}

/// Names and values of all settings that the proxy keeps for its clients, as they are when nobody
/// has set them.
pub fn defaults() -> impl Iterator<Item = (&'static str, &'static str)> {
    all()
        .iter()
        .filter_map(|(name, setting)| Some((*name, setting.default?)))
}

/// SET of this goes upstream.
#[must_use]
pub fn is_upstream(name: &str) -> bool {
    UPSTREAM.contains(&name)
}

/// A name with a dot is anybody's, but for the proxy's own.
fn custom(name: &str, own: bool) -> Option<Setting> {
    let is_word = |word: &str| {
        let mut bytes = word.bytes();
        let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80;
        bytes.next().is_some_and(first)
            && bytes.all(|byte| first(byte) || byte.is_ascii_digit() || byte == b'$')
    };
    let taken = !own && !name.starts_with("dsql.") && name.contains('.');
    (taken && name.split('.').all(is_word)).then(|| Setting {
        name: Cow::Owned(name.to_owned()),
        default: None,
        kind: Kind::Text,
    })
}

impl Setting {
    /// Reads a value as SET gives it, without quotes; gives it as SHOW tells it.
    ///
    /// # Errors
    /// What PostgreSQL says of such a value.
    pub fn read(&self, value: &str) -> Result<String, Refused> {
        match self.kind {
            Kind::Integer { unit, least, most } => self.read_integer(value, unit, least, most),
            Kind::Real { least, most } => match read_number(value.trim()) {
                Some(number) if (least..=most).contains(&number) => Ok(number.to_string()),
                Some(number) => Err(self.outside(&number.to_string(), least, most)),
                None => Err(self.invalid(value, None)),
            },
            Kind::Switch => match read_switch(value) {
                Some(true) => Ok("on".to_owned()),
                Some(false) => Ok("off".to_owned()),
                None => Err(Refused {
                    code: sqlstate::INVALID_PARAMETER_VALUE,
                    message: format!("parameter \"{}\" requires a Boolean value", self.name),
                    hint: None,
                }),
            },
            Kind::Words(words) => self.read_word(value, words),
            Kind::Text => Ok(value.to_owned()),
            Kind::Only => self.read_only(value),
            Kind::Fixed => Err(Refused {
                code: CANNOT_BE_CHANGED,
                message: format!("parameter \"{}\" cannot be changed", self.name),
                hint: None,
            }),
        }
    }

    fn read_word(&self, value: &str, words: &str) -> Result<String, Refused> {
        let mut all = words.split(',');
        let found = all.find(|word| word.eq_ignore_ascii_case(value));
        // Switches that have grown other values still take all spellings of on and off.
        let switch = || match read_switch(value) {
            Some(true) => words.split(',').find(|word| *word == "on"),
            Some(false) => words.split(',').find(|word| *word == "off"),
            None => None,
        };
        let found = found.or_else(switch).map(str::to_owned);
        found.ok_or_else(|| {
            let words = words.replace(',', ", ");
            self.invalid(value, Some(format!("Available values: {words}.")))
        })
    }

    fn read_only(&self, value: &str) -> Result<String, Refused> {
        let only = self.default.unwrap_or_default();
        let same = match (read_switch(value), read_switch(only)) {
            (Some(value), Some(only)) => value == only,
            _ => value.eq_ignore_ascii_case(only),
        };
        match same {
            true => Ok(only.to_owned()),
            false => Err(Refused {
                code: sqlstate::FEATURE_NOT_SUPPORTED,
                message: format!("parameter \"{}\" can only be {only}", self.name),
                hint: Some("Aurora DSQL has no other value of it.".to_owned()),
            }),
        }
    }

    /// Some settings take one value only; others take a list as one text.
    ///
    /// # Errors
    /// What PostgreSQL says of a list.
    pub fn read_list(&self, values: &[String]) -> Result<String, Refused> {
        match self.kind {
            Kind::Text => Ok(values.join(", ")),
            _ => Err(Refused {
                code: sqlstate::INVALID_PARAMETER_VALUE,
                message: format!("SET {} takes only one argument", self.name),
                hint: None,
            }),
        }
    }

    fn invalid(&self, value: &str, hint: Option<String>) -> Refused {
        Refused {
            code: sqlstate::INVALID_PARAMETER_VALUE,
            message: format!("invalid value for parameter \"{}\": \"{value}\"", self.name),
            hint,
        }
    }

    fn outside(&self, value: &str, least: f64, most: f64) -> Refused {
        Refused {
            code: sqlstate::INVALID_PARAMETER_VALUE,
            message: format!(
                "{value} is outside the valid range for parameter \"{}\" ({least} .. {most})",
                self.name
            ),
            hint: None,
        }
    }

    fn read_integer(
        &self,
        value: &str,
        unit: Unit,
        least: f64,
        most: f64,
    ) -> Result<String, Refused> {
        let text = value.trim();
        let (number, given) = text.split_at(number_length(text));
        let Some(number) = read_number(number) else {
            return Err(self.invalid(value, None));
        };
        let Some(factor) = unit.factor(given.trim()) else {
            let hint = unit.hint().map(str::to_owned);
            return Err(self.invalid(value, hint));
        };
        let number = (number * factor).round_ties_even();
        if !(f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number) {
            let hint = "Value exceeds integer range.".to_owned();
            return Err(self.invalid(value, Some(hint)));
        }
        if !(least..=most).contains(&number) {
            let shown = match unit {
                Unit::Time(1000) => format!("{number} ms"),
                Unit::Time(_) => format!("{number} s"),
                Unit::Bytes(1024) => format!("{number} kB"),
                _ => number.to_string(),
            };
            return Err(self.outside(&shown, least, most));
        }
        // Within the range of i32, as was just seen.
        Ok(unit.show(number as i64))
    }
}

/// SQLSTATE of `cant_change_runtime_param`.
const CANNOT_BE_CHANGED: SqlState = "55P02";

/// Units of time, in microseconds, largest first.
const TIMES: [(i64, &str); 6] = [
    (86_400_000_000, "d"),
    (3_600_000_000, "h"),
    (60_000_000, "min"),
    (1_000_000, "s"),
    (1000, "ms"),
    (1, "us"),
];

/// Units of memory, in bytes, largest first.
const SIZES: [(i64, &str); 5] = [
    (1 << 40, "TB"),
    (1 << 30, "GB"),
    (1 << 20, "MB"),
    (1 << 10, "kB"),
    (1, "B"),
];

impl Unit {
    fn units(self) -> (&'static [(i64, &'static str)], u32) {
        match self {
            Self::Plain => (&[], 1),
            Self::Bytes(base) => (&SIZES, base),
            Self::Time(base) => (&TIMES, base),
        }
    }

    /// How many of the setting's own units are one of this name.
    fn factor(self, name: &str) -> Option<f64> {
        let (units, base) = self.units();
        if name.is_empty() {
            return Some(1.0);
        }
        let (size, _) = units.iter().find(|(_, known)| *known == name)?;
        Some(*size as f64 / f64::from(base))
    }

    fn hint(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bytes(_) => Some(
                "Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".",
            ),
            Self::Time(_) => Some(
                "Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".",
            ),
        }
    }

    /// A number in the largest unit that tells it exactly, as SHOW does.
    fn show(self, number: i64) -> String {
        let (units, base) = self.units();
        let whole = number * i64::from(base);
        let fits = |unit: &&(i64, &str)| whole % unit.0 == 0;
        match units.iter().find(fits).filter(|_| number > 0) {
            Some((size, name)) => format!("{}{name}", whole / size),
            None => number.to_string(),
        }
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

/// A time as SHOW tells it, from a configuration; at most what a setting can hold.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let milliseconds = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    Unit::Time(1000).show(milliseconds.min(i32::MAX.into()))
}

/// A time from what SHOW tells; `None` for 0, which is never.
#[must_use]
pub fn read_duration(shown: &str) -> Option<Duration> {
    let (number, unit) = shown.split_at(number_length(shown));
    let milliseconds = read_number(number)? * Unit::Time(1000).factor(unit)?;
    // Values were read by a setting, which has looked at their range.
    (milliseconds > 0.0).then(|| Duration::from_millis(milliseconds as u64))
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
            ("work_mem", false, false, true),
            ("my.variable", false, false, true),
            ("no_such_setting", false, false, false),
        ];
        for (name, nothing, own, all) in cases {
            let kept = [Scope::Nothing, Scope::Own, Scope::All].map(|s| find(name, s).is_some());
            assert_eq!(kept, [nothing, own, all], "{name}");
        }
        for setting in all().values() {
            let default = setting.default.expect("a default");
            if setting.kind != Kind::Fixed {
                assert_eq!(
                    setting.read(default).as_deref(),
                    Ok(default),
                    "{}",
                    setting.name
                );
            }
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
    fn values_of_other_kinds() {
        let cases = [
            ("work_mem", "4096", Ok("4MB")),
            ("work_mem", "65MB", Ok("65MB")),
            ("work_mem", "1.5GB", Ok("1536MB")),
            (
                "work_mem",
                "1",
                Err(
                    "1 kB is outside the valid range for parameter \"work_mem\" (64 .. 2147483647)",
                ),
            ),
            ("jit", "no", Ok("off")),
            ("synchronous_commit", "OFF", Ok("off")),
            ("synchronous_commit", "true", Ok("on")),
            ("xmloption", "Document", Ok("document")),
            (
                "client_min_messages",
                "loud",
                Err("invalid value for parameter \"client_min_messages\": \"loud\""),
            ),
            ("bytea_output", "HEX", Ok("hex")),
            (
                "bytea_output",
                "escape",
                Err("parameter \"bytea_output\" can only be hex"),
            ),
            ("standard_conforming_strings", "1", Ok("on")),
            (
                "max_connections",
                "5",
                Err("parameter \"max_connections\" cannot be changed"),
            ),
            ("seq_page_cost", "1.5", Ok("1.5")),
            ("my.variable", "x y", Ok("x y")),
        ];
        for (name, value, expected) in cases {
            let read = find(name, Scope::All).unwrap().read(value);
            let read = read.as_deref().map_err(|refused| refused.message.as_str());
            assert_eq!(read, expected, "{name} {value}");
        }
    }

    #[test]
    fn dsqls_own_settings_are_those_of_the_rules() {
        let rules = crate::policy::Rules::standard().unwrap();
        let mut known = rules.parameters.settings.clone();
        known.sort();
        assert_eq!(known, UPSTREAM);
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
