//! From an accepted socket to an [`Identity`]: encryption, startup packet, login.
//!
//! [`receive`] reads exactly the bytes it needs, so that whatever a client sends after its login
//! is still there for the session. [`Gate`] is what all logins share.

mod certificate;
mod cleartext;
mod counters;
mod login;
mod parameters;
mod scram;
#[cfg(test)]
mod testing;
mod throttle;
mod tls;
mod token;
mod users;
mod verifier;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use thiserror::Error;

pub use certificate::Subject;
pub use counters::{Counters, Method};
pub use login::{Arrival, receive};
pub use tls::TlsError;
pub use token::{Claims, TokenError};
pub use users::UserError;
pub use verifier::{DEFAULT_ITERATIONS, SALT_LENGTH};

use crate::config::Config;
use crate::net::Peer;
use cleartext::Hashing;
use throttle::Throttle;
use tls::Tls;
use token::Issuers;
use users::Users;

/// Name of the virtual database that is the operators' console.
pub const CONSOLE: &str = "dsqlproxy";

/// Cancel requests with a wrong key that one origin may send within a minute. Above what late
/// cancels of a large honest fleet come to, far below what guessing a key would need.
const MAX_MISSED_CANCELS: u32 = 1000;

/// A client that has proved who it is, and what it asked for. Only a login makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    user: String,
    database: String,
    entries: Vec<String>,
    admin: bool,
    retry: bool,
    binding: Binding,
    claims: Option<Box<Claims>>,
    certificate: Option<Box<Subject>>,
    selected: Option<String>,
    minor: u16,
    parameters: Vec<(String, String)>,
}

/// What the configuration says of a user's rows, in databases with a tenant policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// Those of this tenant alone.
    Tenant(String),
    /// Those of one of these tenants, which the client chooses at its login.
    OneOf(Vec<String>),
    /// Those of all tenants.
    Unrestricted,
    /// Nothing: the policy file, a token or a certificate may name the tenant.
    Unsaid,
}

impl Identity {
    /// Login name.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Name of the entry in `databases:`, or [`CONSOLE`] (then [`Identity::admin`] is true), or any other
    /// name, of a database that was created from one of [`Identity::entries`] or does not exist.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Names of the entries that the user may connect to, as the configuration lists them.
    #[must_use]
    pub fn entries(&self) -> &[String] {
        &self.entries
    }

    /// Whether the user is an operator.
    #[must_use]
    pub fn admin(&self) -> bool {
        self.admin
    }

    /// Whether the user's transactions may be run again after conflicts.
    #[must_use]
    pub fn retry(&self) -> bool {
        self.retry
    }

    /// Whose rows the user may see, where a tenant policy applies.
    #[must_use]
    pub fn binding(&self) -> &Binding {
        &self.binding
    }

    /// What the token says that the client logged in with.
    #[must_use]
    pub fn claims(&self) -> Option<&Claims> {
        self.claims.as_deref()
    }

    /// Whom the certificate speaks of that the client logged in with.
    #[must_use]
    pub fn certificate(&self) -> Option<&Subject> {
        self.certificate.as_deref()
    }

    /// The tenant that the client asks for. It proves nothing.
    #[must_use]
    pub fn selected(&self) -> Option<&str> {
        self.selected.as_deref()
    }

    /// When the login no longer holds: the end of its token or certificate.
    #[must_use]
    pub fn until(&self) -> Option<SystemTime> {
        let token = self.claims.as_deref().map(Claims::until);
        token.or(self.certificate.as_deref().map(Subject::until))
    }

    /// Minor version of protocol 3 to speak: 2 has long cancel keys, 0 and 1 are the same.
    #[must_use]
    pub fn minor(&self) -> u16 {
        self.minor
    }

    /// Settings of the startup packet, those in `options` included; names are unique (in any case
    /// of letters), not checked against what the server knows.
    #[must_use]
    pub fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    /// An identity without a login, for the tests of what comes behind one.
    #[cfg(test)]
    pub(crate) fn assume(user: &str, database: &str, admin: bool, minor: u16) -> Self {
        Self {
            user: user.to_owned(),
            database: database.to_owned(),
            entries: match database {
                CONSOLE => Vec::new(),
                database => vec![database.to_owned()],
            },
            admin,
            retry: true,
            binding: Binding::Unsaid,
            claims: None,
            certificate: None,
            selected: None,
            minor,
            parameters: Vec::new(),
        }
    }

    /// The same with what names its tenant.
    #[cfg(test)]
    pub(crate) fn assume_tenant(
        self,
        binding: Binding,
        claims: Option<Claims>,
        certificate: Option<Subject>,
        selected: Option<&str>,
    ) -> Self {
        Self {
            binding,
            claims: claims.map(Box::new),
            certificate: certificate.map(Box::new),
            selected: selected.map(str::to_owned),
            ..self
        }
    }
}

/// Why a [`Gate`] cannot be made or reloaded.
#[derive(Debug, Error)]
pub enum GateError {
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An entry of `users:`.
    #[error(transparent)]
    User(#[from] UserError),
    /// An entry of `tokens:`.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// Who may log in, and who vouches for them. One login keeps to one of these: names of users and issuers
/// may mean others after a reload.
struct Logins {
    users: Users,
    issuers: Issuers,
}

impl Logins {
    fn load(config: &Config, secret: [u8; 32]) -> Result<Self, GateError> {
        Ok(Self {
            users: Users::load(&config.users, secret)?,
            issuers: Issuers::load(&config.tokens)?,
        })
    }
}

/// What all logins share: certificate, users, limits and counts.
pub struct Gate {
    tls: Option<Tls>,
    logins: ArcSwap<Logins>,
    databases: HashSet<String>,
    /// Entries from which databases may be created.
    origins: HashSet<String>,
    throttle: Throttle,
    cancel_throttle: Throttle,
    hashing: Hashing,
    counters: Counters,
    cleartext: bool,
    max_unauthenticated: usize,
    login_timeout: Duration,
    secret: [u8; 32],
}

impl Gate {
    /// Loads certificate and users. Plain passwords cost some milliseconds each, so not on a relay thread.
    ///
    /// # Errors
    /// A certificate, key or user that cannot be used.
    pub fn new(config: &Config) -> Result<Self, GateError> {
        let secret = rand::random();
        Ok(Self {
            tls: config.listen.tls.as_ref().map(Tls::load).transpose()?,
            logins: ArcSwap::from_pointee(Logins::load(config, secret)?),
            databases: config.databases.keys().cloned().collect(),
            origins: config
                .databases
                .iter()
                .filter(|(_, database)| config.creates_databases(database))
                .map(|(name, _)| name.clone())
                .collect(),
            throttle: Throttle::new(config.auth.max_failures),
            cancel_throttle: Throttle::new(MAX_MISSED_CANCELS),
            hashing: Hashing::new(),
            counters: Counters::default(),
            cleartext: config.auth.cleartext,
            max_unauthenticated: config.listen.max_unauthenticated,
            login_timeout: config.listen.login_timeout,
            secret,
        })
    }

    /// Replaces the users and the issuers of tokens, whose key files are read again; logins that are
    /// under way finish with the old ones. Costs as much as [`Gate::new`].
    ///
    /// # Errors
    /// An entry that cannot be used; the old ones stay then.
    pub fn reload_users(&self, config: &Config) -> Result<(), GateError> {
        self.logins
            .store(Arc::new(Logins::load(config, self.secret)?));
        Ok(())
    }

    /// Reads certificate and key from their files again; connections made before keep theirs.
    ///
    /// # Errors
    /// Files that cannot be used; the old certificate stays then.
    pub fn reload_tls(&self) -> Result<(), GateError> {
        if let Some(tls) = &self.tls {
            tls.reload()?;
        }
        Ok(())
    }

    /// Counts of arrivals and logins.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// To be called for a cancel request whose key belongs to no session: an origin that sends too
    /// many is not listened to for a while, so that keys cannot be guessed.
    pub fn note_missed_cancel(&self, peer: Peer) {
        self.cancel_throttle.fail(peer, "", Instant::now());
    }
}
