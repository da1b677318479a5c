//! What a StartupMessage asks for.

use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

/// The newest minor version of protocol 3 that is spoken.
pub(super) const NEWEST_MINOR: u16 = 2;

/// Setting by which a client chooses among the tenants it may be. It goes no further.
const TENANT: &str = "dsqlproxy.tenant";

/// A StartupMessage, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) user: String,
    pub(super) database: String,
    /// The tenant asked for: setting [`TENANT`].
    pub(super) tenant: Option<String>,
    /// Settings, those of `options` first; a later one of the same name has replaced an earlier.
    pub(super) settings: Vec<(String, String)>,
}

/// Names of the `_pq_.` options asked for; none is known.
pub(super) fn unknown_options(parameters: &[(String, String)]) -> Vec<String> {
    parameters
        .iter()
        .filter(|(name, _)| name.starts_with("_pq_."))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Sorts the parameters.
///
/// # Errors
/// No user (28000), replication asked for (0A000), `options` with anything but settings (22023).
pub(super) fn read(parameters: Vec<(String, String)>) -> Result<Request, ClientError> {
    let (mut user, mut database, mut options) = (String::new(), String::new(), String::new());
    let mut direct = Vec::new();
    for (name, value) in parameters {
        match name.as_str() {
            "user" => user = value,
            "database" => database = value,
            "options" => options = value,
            "replication" => refuse_replication(&value)?,
            _ if name.starts_with("_pq_.") => {}
            _ => direct.push((name, value)),
        }
    }
    if user.is_empty() {
        return Err(ClientError::fatal(
            sqlstate::INVALID_AUTHORIZATION,
            "no PostgreSQL user name specified in startup packet",
        ));
    }
    if database.is_empty() {
        database.clone_from(&user);
    }
    let mut settings = Vec::new();
    for (name, value) in read_options(&options)?.into_iter().chain(direct) {
        settings.retain(|(other, _): &(String, String)| !other.eq_ignore_ascii_case(&name));
        settings.push((name, value));
    }
    let tenant = settings
        .iter()
        .position(|(name, _)| name.eq_ignore_ascii_case(TENANT))
        .map(|at| settings.remove(at).1);
    Ok(Request {
        user,
        database,
        tenant,
        settings,
    })
}

fn refuse_replication(value: &str) -> Result<(), ClientError> {
    match read_bool(value) {
        Some(false) => Ok(()),
        Some(true) => Err(no_replication()),
        None if value == "database" => Err(no_replication()),
        None => Err(ClientError::fatal(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!("invalid value for parameter \"replication\": \"{value}\""),
        )
        .hint("Valid values are: \"false\", 0, \"true\", 1, \"database\".")),
    }
}

fn no_replication() -> ClientError {
    ClientError::fatal(
        sqlstate::FEATURE_NOT_SUPPORTED,
        "replication connections are not supported",
    )
    .hint("Connect without the \"replication\" parameter.")
}

/// PostgreSQL's spellings of booleans: unique prefixes of true, false, yes, no; on, of(f); 1, 0.
fn read_bool(value: &str) -> Option<bool> {
    let value = value.to_ascii_lowercase();
    let prefix = |word: &str| !value.is_empty() && word.starts_with(&value);
    match value.as_str() {
        "1" | "on" => Some(true),
        "0" | "of" | "off" => Some(false),
        _ if prefix("true") || prefix("yes") => Some(true),
        _ if prefix("false") || prefix("no") => Some(false),
        _ => None,
    }
}

/// Reads `-c name=value` and `--name=value`, separated by white space that a backslash can quote.
fn read_options(options: &str) -> Result<Vec<(String, String)>, ClientError> {
    let mut settings = Vec::new();
    let mut words = split(options).into_iter();
    while let Some(word) = words.next() {
        let setting = if let Some(long) = word.strip_prefix("--") {
            long.to_owned()
        } else if word == "-c" {
            words.next().ok_or_else(|| refuse_option(&word))?
        } else if let Some(attached) = word.strip_prefix("-c") {
            attached.to_owned()
        } else {
            return Err(refuse_option(&word));
        };
        match setting.split_once('=') {
            // As PostgreSQL does, so that --statement-timeout=5 can be written.
            Some((name, value)) if !name.is_empty() => {
                settings.push((name.replace('-', "_"), value.to_owned()));
            }
            _ => return Err(refuse_option(&word)),
        }
    }
    Ok(settings)
}

fn refuse_option(word: &str) -> ClientError {
    ClientError::fatal(
        sqlstate::INVALID_PARAMETER_VALUE,
        format!("invalid command-line argument in startup options: {word}"),
    )
    .hint("Only settings can be given, as -c name=value or --name=value.")
}

fn split(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        if matches!(character, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c') {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_default();
        if character == '\\' {
            word.extend(characters.next());
        } else {
            word.push(character);
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|&(name, value)| (name.into(), value.into()))
            .collect()
    }

    #[test]
    fn parameters_are_sorted() {
        let request = read(pairs(&[
            ("user", "u"),
            ("application_name", "psql"),
            ("_pq_.command", "1"),
            ("replication", "off"),
            (
                "options",
                "-c a=1 --search-path=x\\ y -cb=2=3 -c application_name=o",
            ),
            ("A", "5"),
        ]))
        .unwrap();
        assert_eq!(
            (request.user.as_str(), request.database.as_str()),
            ("u", "u")
        );
        assert_eq!(
            request.settings,
            pairs(&[
                ("search_path", "x y"),
                ("b", "2=3"),
                ("application_name", "psql"),
                ("A", "5"),
            ])
        );
        assert_eq!(
            unknown_options(&pairs(&[("a", ""), ("_pq_.x", "1")])),
            ["_pq_.x"]
        );
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("database", "d")], "28000"),
            (&[("user", "")], "28000"),
            (&[("user", "u"), ("replication", "true")], "0A000"),
            (&[("user", "u"), ("replication", "1")], "0A000"),
            (&[("user", "u"), ("replication", "ON")], "0A000"),
            (&[("user", "u"), ("replication", "database")], "0A000"),
            (&[("user", "u"), ("replication", "maybe")], "22023"),
            (&[("user", "u"), ("replication", "")], "22023"),
        ];
        for (parameters, code) in cases {
            assert_eq!(
                read(pairs(parameters)).unwrap_err().code,
                *code,
                "{parameters:?}"
            );
        }
    }

    #[test]
    fn options_are_settings_or_refused_by_name() {
        let good: &[(&str, &[(&str, &str)])] = &[
            ("", &[]),
            ("  \t", &[]),
            ("-c a=", &[("a", "")]),
            ("-c a=x\\\\y", &[("a", "x\\y")]),
            ("  -c  a=1  ", &[("a", "1")]),
            ("-c a.b=1", &[("a.b", "1")]),
            ("-c a=1\\", &[("a", "1")]),
        ];
        for (options, expected) in good {
            assert_eq!(
                read_options(options).unwrap(),
                pairs(expected),
                "{options:?}"
            );
        }
        for (options, named) in [
            ("-e", "-e"),
            ("-c", "-c"),
            ("-c a", "-c"),
            ("--a", "--a"),
            ("--=1", "--=1"),
            ("-d 5", "-d"),
            ("x=1", "x=1"),
            ("-c a=1 -W3", "-W3"),
        ] {
            let error = read_options(options).unwrap_err();
            assert_eq!(error.code, sqlstate::INVALID_PARAMETER_VALUE);
            assert!(
                error.message.ends_with(&format!(": {named}")),
                "{}",
                error.message
            );
        }
    }
}
