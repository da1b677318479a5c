//! Who may log in, and how an unknown name is made to look like a known one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use thiserror::Error;

use super::Binding;
use super::verifier::{DEFAULT_ITERATIONS, SALT_LENGTH, sign};
use crate::config;
use crate::config::units::parse_moment;
use crate::config::verifier::{PREFIX, Verifier};

/// An entry of `users:` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("user \"{name}\": {problem}")]
pub struct UserError {
    /// Name of the entry.
    pub name: String,
    /// What is wrong with it; never quotes the password.
    pub problem: String,
}

/// One login.
#[derive(Debug)]
pub(super) struct User {
    check: Check,
    databases: Vec<String>,
    admin: bool,
    retry: bool,
    binding: Binding,
    valid_until: Option<SystemTime>,
}

impl User {
    pub(super) fn may_use(&self, database: &str) -> bool {
        self.databases.iter().any(|name| name == database)
    }

    pub(super) fn databases(&self) -> &[String] {
        &self.databases
    }

    pub(super) fn is_admin(&self) -> bool {
        self.admin
    }

    pub(super) fn wants_retry(&self) -> bool {
        self.retry
    }

    pub(super) fn binding(&self) -> &Binding {
        &self.binding
    }
}

/// What stands behind a name. Only the log may tell these apart.
#[derive(Debug, Clone)]
pub(super) enum Standing {
    Known(Arc<User>),
    Unknown,
    Expired,
}

/// A name with what its login is run against.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) check: Check,
    pub(super) standing: Standing,
}

/// What a login has to pass.
#[derive(Debug, Clone)]
pub(super) enum Check {
    /// The password of this verifier; nobody's, where the name is unknown.
    Password(Arc<Verifier>),
    /// A token of this issuer.
    Token(String),
    /// A certificate that bears this name, [`ANYBODY`] for any.
    Certificate(String),
}

/// As the name in a certificate: whoever `listen.tls.client_ca` vouches for.
pub(super) const ANYBODY: &str = "*";

/// All logins.
#[derive(Debug)]
pub(super) struct Users {
    entries: HashMap<String, Arc<User>>,
    disguise: Disguise,
}

/// Makes verifiers for names that do not exist. A name always gets the same salt, which is also
/// the salt of a user configured with a plain password, so that salts tell nothing.
#[derive(Debug, Clone)]
struct Disguise {
    secret: [u8; 32],
    iterations: u32,
}

impl Disguise {
    fn salt(&self, name: &str) -> [u8; SALT_LENGTH] {
        let mut salt = [0; SALT_LENGTH];
        salt.copy_from_slice(&self.mix("salt", name)[..SALT_LENGTH]);
        salt
    }

    fn verifier(&self, name: &str) -> Verifier {
        let noise = [self.mix("stored key", name), self.mix("server key", name)];
        Verifier::without_password(self.salt(name), self.iterations, noise)
    }

    fn mix(&self, purpose: &str, name: &str) -> [u8; 32] {
        sign(
            &self.secret,
            &[purpose.as_bytes(), b"\0", name.as_bytes()].concat(),
        )
    }
}

impl Users {
    /// Takes the configured list. Plain passwords cost one derivation (milliseconds) each.
    ///
    /// `secret` must stay the same for the life of the process, else reloads would show which
    /// salts belong to nobody.
    pub(super) fn load(list: &[config::User], secret: [u8; 32]) -> Result<Self, UserError> {
        let mut disguise = Disguise {
            secret,
            iterations: DEFAULT_ITERATIONS,
        };
        let mut entries = HashMap::with_capacity(list.len());
        for user in list {
            let name = user.name.0.clone();
            let entry = load_user(user, &disguise).map_err(|problem| UserError {
                name: name.clone(),
                problem,
            })?;
            if entries.insert(name.clone(), Arc::new(entry)).is_some() {
                let problem = "is there twice".to_owned();
                return Err(UserError { name, problem });
            }
        }
        disguise.iterations = usual_iterations(entries.values());
        Ok(Self { entries, disguise })
    }

    /// Looks a name up. Takes the same work whether there is one or not.
    pub(super) fn find(&self, name: &str, now: SystemTime) -> Candidate {
        let disguise = Check::Password(Arc::new(self.disguise.verifier(name)));
        match self.entries.get(name) {
            None => Candidate {
                check: disguise,
                standing: Standing::Unknown,
            },
            Some(user) => Candidate {
                check: user.check.clone(),
                standing: match user.valid_until {
                    Some(end) if now >= end => Standing::Expired,
                    _ => Standing::Known(Arc::clone(user)),
                },
            },
        }
    }
}

fn load_user(user: &config::User, disguise: &Disguise) -> Result<User, String> {
    let check = load_check(user, disguise)?;
    let valid_until = match &user.valid_until {
        None => None,
        Some(text) => {
            let moment = parse_moment(&text.0);
            Some(moment.map_err(|error| format!("valid_until: {error}"))?)
        }
    };
    Ok(User {
        check,
        databases: user.databases.clone(),
        admin: user.admin,
        retry: user.retry,
        binding: match &user.tenant {
            Some(tenant) => Binding::Tenant(tenant.0.clone()),
            None if user.unrestricted => Binding::Unrestricted,
            None if !user.tenants.is_empty() => Binding::OneOf(user.tenants.clone()),
            None => Binding::Unsaid,
        },
        valid_until,
    })
}

fn load_check(user: &config::User, disguise: &Disguise) -> Result<Check, String> {
    match (&user.password, &user.token, &user.certificate) {
        (Some(password), None, None) => {
            let verifier = if password.0.is_empty() {
                return Err("the password is empty".to_owned());
            } else if password.0.starts_with(PREFIX) {
                password.0.parse()?
            } else {
                Verifier::derive(
                    &password.0,
                    &disguise.salt(&user.name.0),
                    DEFAULT_ITERATIONS,
                )
            };
            Ok(Check::Password(Arc::new(verifier)))
        }
        (None, Some(issuer), None) => Ok(Check::Token(issuer.0.clone())),
        (None, None, Some(name)) => Ok(Check::Certificate(name.0.clone())),
        _ => Err("has not exactly one of password, token and certificate".to_owned()),
    }
}

/// The count most users have, since that is what an unknown name should show.
fn usual_iterations<'a>(users: impl Iterator<Item = &'a Arc<User>>) -> u32 {
    let mut counts: HashMap<u32, usize> = HashMap::new();
    for user in users {
        if let Check::Password(verifier) = &user.check {
            *counts.entry(verifier.iterations).or_default() += 1;
        }
    }
    counts
        .into_iter()
        .max_by_key(|&(iterations, count)| (count, std::cmp::Reverse(iterations)))
        .map_or(DEFAULT_ITERATIONS, |(iterations, _)| iterations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, Text};
    use std::time::Duration;

    fn user(name: &str, password: &str) -> config::User {
        config::User {
            name: Text(name.into()),
            password: Some(Secret(password.into())),
            token: None,
            certificate: None,
            tenants: Vec::new(),
            databases: vec!["app".into()],
            admin: false,
            retry: true,
            valid_until: None,
            tenant: None,
            unrestricted: false,
        }
    }

    fn verifier(candidate: &Candidate) -> &Verifier {
        match &candidate.check {
            Check::Password(verifier) => verifier,
            other => panic!("no password: {other:?}"),
        }
    }

    fn salt_of(candidate: &Candidate) -> String {
        verifier(candidate)
            .to_string()
            .split('$')
            .nth(1)
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a17_an_unknown_name_has_a_stable_salt_and_the_usual_iterations() {
        let list = [
            user("a", &Verifier::generate("a", 5000).to_string()),
            user("b", &Verifier::generate("b", 5000).to_string()),
            user("c", "plain"),
        ];
        let users = Users::load(&list, [7; 32]).unwrap();
        let now = SystemTime::now();
        let ghost = users.find("ghost", now);
        assert!(matches!(ghost.standing, Standing::Unknown));
        assert_eq!(verifier(&ghost).iterations, 5000);
        assert_eq!(salt_of(&ghost), salt_of(&users.find("ghost", now)));
        assert_ne!(salt_of(&ghost), salt_of(&users.find("ghost2", now)));

        // After a reload that adds the user, its salt is what the unknown name had.
        let before = Users::load(&[], [7; 32]).unwrap().find("c", now);
        assert_eq!(salt_of(&before), salt_of(&users.find("c", now)));
    }

    #[test]
    fn a5_valid_until_ends_a_login() {
        let moment = "2026-03-01T10:00:00+02:00";
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_352_000);
        let list = [config::User {
            valid_until: Some(Text(moment.into())),
            ..user("a", "x")
        }];
        let users = Users::load(&list, [0; 32]).unwrap();
        let before = users.find("a", end - Duration::from_secs(1));
        assert!(matches!(before.standing, Standing::Known(_)));
        assert!(matches!(users.find("a", end).standing, Standing::Expired));
    }

    #[test]
    fn unusable_entries_are_named_without_their_password() {
        let bad_date = config::User {
            valid_until: Some(Text("tomorrow".into())),
            ..user("late", "x")
        };
        let cases = [
            (vec![user("a", "")], "user \"a\": the password is empty"),
            (
                vec![user("a", "x"), user("a", "y")],
                "user \"a\": is there twice",
            ),
            (
                vec![bad_date],
                "user \"late\": valid_until: expected a moment",
            ),
            (
                vec![user("v", "SCRAM-SHA-256$hidden")],
                "user \"v\": a verifier is SCRAM-SHA-256",
            ),
        ];
        for (list, expected) in cases {
            let error = Users::load(&list, [0; 32]).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains("hidden"));
        }
    }
}
