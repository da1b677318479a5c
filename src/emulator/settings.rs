//! Which startup parameters a login may carry.

use super::rules::{INTERNAL, INVALID_SCHEMA, Rules, mentions_internal};
use crate::wire::reply::ClientError;
use crate::wire::sqlstate::FEATURE_NOT_SUPPORTED;

/// The option that names the cluster when the client cannot send its name by SNI.
const CLUSTER_ID: &str = "amzn-cluster-id";

/// What a StartupMessage asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `user`; empty when missing.
    pub user: String,
    /// `database`, if given.
    pub database: Option<String>,
    /// `amzn-cluster-id` out of `options`, if given.
    pub cluster_id: Option<String>,
    /// Settings, `options` first, in the order given.
    pub settings: Vec<(String, String)>,
    /// Protocol options (`_pq_.…`) that are not known.
    pub protocol_options: Vec<String>,
}

impl Request {
    /// Sorts the parameters of a StartupMessage; checks nothing yet.
    #[must_use]
    pub fn read(parameters: Vec<(String, String)>) -> Self {
        let mut request = Self::default();
        let mut settings = Vec::new();
        for (name, value) in parameters {
            match name.as_str() {
                "user" => request.user = value,
                "database" => request.database = Some(value).filter(|name| !name.is_empty()),
                "options" => request.add_options(&value),
                protocol if protocol.starts_with("_pq_.") => request.protocol_options.push(name),
                _ => settings.push((name, value)),
            }
        }
        request.settings.append(&mut settings);
        request
    }

    fn add_options(&mut self, options: &str) {
        let mut words = split_options(options).into_iter();
        while let Some(word) = words.next() {
            let setting = match word.as_str() {
                "-c" => words.next().unwrap_or_default(),
                _ => word
                    .strip_prefix("--")
                    .or_else(|| word.strip_prefix("-c"))
                    .unwrap_or(&word)
                    .to_owned(),
            };
            let (name, value) = setting.split_once('=').unwrap_or((&setting, ""));
            if name == CLUSTER_ID {
                self.cluster_id = Some(value.to_owned());
            } else {
                self.settings
                    .push((name.replace('-', "_"), value.to_owned()));
            }
        }
    }

    /// Checks the settings and gives them under the names that PostgreSQL knows them by.
    ///
    /// # Errors
    /// FATAL 0A000 for the first that DSQL does not take, 3F000 for one that names the emulator's
    /// own objects.
    pub fn allowed_settings<'a>(
        &'a self,
        rules: &'a Rules,
    ) -> Result<Vec<(&'a str, &'a str)>, ClientError> {
        let mut out = Vec::new();
        for (name, value) in &self.settings {
            if !rules.setting(name) {
                return Err(ClientError::fatal(
                    FEATURE_NOT_SUPPORTED,
                    format!("setting configuration parameter \"{name}\" not supported"),
                ));
            }
            if mentions_internal(value) {
                let message = format!("schema \"{INTERNAL}\" does not exist");
                return Err(ClientError::fatal(INVALID_SCHEMA, message));
            }
            out.push((rules.own_setting(name).unwrap_or(name), value.as_str()));
        }
        Ok(out)
    }
}

/// Splits `options` as PostgreSQL does: at white space, a backslash takes the next character as it
/// is.
fn split_options(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(parameters: &[(&str, &str)]) -> Request {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Request::read(parameters.iter().map(owned).collect())
    }

    #[test]
    fn options_are_split_as_postgres_does() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("", &[]),
            ("  ", &[]),
            ("-c a=b", &[("a", "b")]),
            ("-ca=b  -c  c=d", &[("a", "b"), ("c", "d")]),
            ("--search-path=x\\ y", &[("search_path", "x y")]),
            ("-c a=b\\\\c", &[("a", "b\\c")]),
            ("-c", &[("", "")]),
            ("-W 5", &[("_W", ""), ("5", "")]),
            ("-c a=\\", &[("a", "")]),
        ];
        for (options, expected) in cases {
            let settings = request(&[("options", options)]).settings;
            let settings: Vec<(&str, &str)> = settings
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str()))
                .collect();
            assert_eq!(&settings, expected, "{options}");
        }
    }

    #[test]
    fn known_parts_are_told_apart() {
        let request = request(&[
            ("user", "admin"),
            ("database", ""),
            ("DateStyle", "ISO"),
            ("_pq_.x", "1"),
            ("options", "-c amzn-cluster-id=abc -c search_path=s"),
        ]);
        assert_eq!(request.user, "admin");
        assert_eq!(request.database, None);
        assert_eq!(request.cluster_id.as_deref(), Some("abc"));
        assert_eq!(request.protocol_options, ["_pq_.x"]);
        assert_eq!(
            request.allowed_settings(&Rules::newest().unwrap()),
            Ok(vec![("search_path", "s"), ("DateStyle", "ISO")])
        );
    }

    #[test]
    fn only_the_allow_list_passes() {
        let rules = Rules::newest().unwrap();
        for name in rules.settings() {
            for name in [name.to_owned(), name.to_uppercase()] {
                let request = request(&[(&name, "x")]);
                assert!(request.allowed_settings(&rules).is_ok(), "{name}");
            }
        }
        assert_eq!(
            request(&[("disable_sync_create_index", "off")]).allowed_settings(&rules),
            Ok(vec![("pg_dsql.disable_sync_create_index", "off")])
        );
        for name in [
            "statement_timeout",
            "role",
            "replication",
            "default_transaction_isolation",
            "client_min_messages",
            "request.jwt.claims",
            "session_authorization",
        ] {
            for parameters in [
                vec![(name, "x")],
                vec![("options", &*format!("-c {name}=x"))],
            ] {
                let refusal = request(&parameters).allowed_settings(&rules).unwrap_err();
                assert_eq!(refusal.code, "0A000");
                assert_eq!(
                    refusal.message,
                    format!("setting configuration parameter \"{name}\" not supported")
                );
            }
        }
    }
}
