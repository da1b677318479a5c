//! Where a cluster is and how to log in there, made ready once from the configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use thiserror::Error;

use super::tls::{Trust, client_config};
use super::token::{Token, TokenError, TokenSource};
use crate::config::endpoint::Endpoint;
use crate::config::{Cluster, ClusterKind, Secret, UpstreamTls};

/// Why a cluster's configuration cannot be used.
#[derive(Debug, Error)]
pub enum TargetError {
    /// Not `host`, `host:port`, `[address]:port` or a folder.
    #[error(
        "{key} \"{value}\" is not a host with optional port{}",
        folder_note(key)
    )]
    Address {
        /// The configuration key.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// A setting that has no meaning beside another.
    #[error("{0}")]
    Conflict(&'static str),
    /// User, password or database with a NUL byte, or empty.
    #[error("{0} is empty or has a NUL byte")]
    Text(&'static str),
    /// What is wrong with the file of extra roots.
    #[error("ca_file: {0}")]
    CaFile(String),
    /// TLS could not be set up.
    #[error("TLS: {0}")]
    Tls(String),
    /// Tokens cannot be made.
    #[error(transparent)]
    Token(#[from] TokenError),
}

fn folder_note(key: &str) -> &'static str {
    match key {
        "endpoint" => " or, for postgres, the folder of a socket",
        _ => "",
    }
}

/// What is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// TLS of a target.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    /// Sent as SNI (unless it is an address), and checked with `verify-full`.
    pub(super) name: ServerName<'static>,
    /// Go on without TLS when the server has none.
    pub(super) optional: bool,
    /// No SSLRequest.
    pub(super) direct: bool,
}

/// What proves who we are.
#[derive(Debug)]
pub(super) enum Login {
    Password(Option<Secret>),
    Token(Box<TokenSource>),
}

/// An upstream database, ready to be connected to. Immutable; share it by `Arc`.
#[derive(Debug)]
pub struct Target {
    pub(super) address: Address,
    pub(super) tls: Option<Tls>,
    pub(super) user: String,
    pub(super) login: Login,
    pub(super) parameters: Vec<(&'static str, String)>,
    pub(super) timeout: Duration,
}

impl Target {
    /// Reads what it takes to connect to `database` at `cluster`. Loads root certificates; does
    /// not touch the network.
    ///
    /// # Errors
    /// What is wrong in the cluster's configuration.
    pub fn new(cluster: &Cluster, database: &str) -> Result<Self, TargetError> {
        let user = plain("user", &cluster.user.0)?;
        let database = plain("upstream_database", database)?;
        let login = login(cluster)?;
        let mut parameters = vec![("user", user.clone()), ("database", database)];
        if cluster.kind == ClusterKind::Dsql {
            // Shows in sys.* views there. Elsewhere it would show as a default of the sessions.
            parameters.push(("application_name", "dsql-proxy".to_owned()));
        }
        Ok(Self {
            address: address(cluster)?,
            tls: tls(cluster)?,
            user,
            login,
            parameters,
            timeout: cluster.pool.connect_timeout,
        })
    }

    /// What is dialled, for logs: `host:port` or the path of a socket.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The user logged in as.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// What is sent when a password is asked for.
    pub(super) async fn secret(&self) -> Result<Password, TokenError> {
        match &self.login {
            Login::Password(None) => Ok(Password::None),
            Login::Password(Some(secret)) => Ok(Password::Configured(secret.clone())),
            Login::Token(source) => Ok(Password::Token(source.mint().await?)),
        }
    }

    /// Lets the next token be made of fresh credentials.
    pub(super) fn invalidate(&self) {
        if let Login::Token(source) = &self.login {
            source.invalidate();
        }
    }
}

/// The secret of one login.
#[derive(Debug, Clone)]
pub(super) enum Password {
    None,
    Configured(Secret),
    /// Only ever sent as cleartext, inside verified TLS.
    Token(Token),
}

impl Password {
    pub(super) fn expose(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Configured(secret) => Some(&secret.0),
            Self::Token(token) => Some(token.expose()),
        }
    }
}

fn plain(what: &'static str, text: &str) -> Result<String, TargetError> {
    if text.is_empty() || text.contains('\0') {
        return Err(TargetError::Text(what));
    }
    Ok(text.to_owned())
}

fn login(cluster: &Cluster) -> Result<Login, TargetError> {
    if cluster.kind == ClusterKind::Dsql {
        return Ok(Login::Token(Box::new(TokenSource::new(cluster)?)));
    }
    if let Some(password) = &cluster.password {
        plain("password", &password.0)?;
    }
    Ok(Login::Password(cluster.password.clone()))
}

fn address(cluster: &Cluster) -> Result<Address, TargetError> {
    let (key, text) = match &cluster.connect_to {
        Some(other) => ("connect_to", &other.0),
        None => ("endpoint", &cluster.endpoint.0),
    };
    match text.parse() {
        Ok(Endpoint::Inet { host, port }) => Ok(Address::Tcp { host, port }),
        Ok(Endpoint::Unix { .. }) if cluster.kind == ClusterKind::Dsql => Err(
            TargetError::Conflict("a dsql endpoint is a host, not a folder"),
        ),
        Ok(Endpoint::Unix { folder, port }) if key == "endpoint" => Ok(Address::Unix(
            PathBuf::from(folder).join(format!(".s.PGSQL.{port}")),
        )),
        _ => Err(wrong_address(key, text)),
    }
}

fn wrong_address(key: &'static str, value: &str) -> TargetError {
    TargetError::Address {
        key,
        value: value.to_owned(),
    }
}

fn tls(cluster: &Cluster) -> Result<Option<Tls>, TargetError> {
    let mode = match cluster.kind {
        ClusterKind::Dsql => UpstreamTls::VerifyFull,
        ClusterKind::Postgres => cluster.tls.unwrap_or_default(),
    };
    refuse_conflicts(cluster, mode)?;
    let local = cluster.connect_to.is_none() && cluster.endpoint.0.starts_with('/');
    if mode == UpstreamTls::Disable || local {
        return Ok(None);
    }
    let trust = match mode {
        UpstreamTls::VerifyFull => Trust::Full(cluster.ca_file.as_deref()),
        _ => Trust::Any,
    };
    Ok(Some(Tls {
        config: client_config(trust, cluster.direct_tls)?,
        name: server_name(&cluster.endpoint.0)?,
        optional: mode == UpstreamTls::Prefer,
        direct: cluster.direct_tls,
    }))
}

fn server_name(endpoint: &str) -> Result<ServerName<'static>, TargetError> {
    let wrong = || wrong_address("endpoint", endpoint);
    match endpoint.parse() {
        Ok(Endpoint::Inet { host, .. }) => ServerName::try_from(host).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

/// Settings that look as if they protected something, and would not.
fn refuse_conflicts(cluster: &Cluster, mode: UpstreamTls) -> Result<(), TargetError> {
    let verifies = mode == UpstreamTls::VerifyFull;
    let local = cluster.endpoint.0.starts_with('/');
    let said = cluster
        .tls
        .is_some_and(|tls| !matches!(tls, UpstreamTls::Disable | UpstreamTls::Prefer));
    let conflict = if cluster.ca_file.is_some() && !verifies {
        "ca_file has no effect unless tls is verify-full"
    } else if cluster.direct_tls && !matches!(mode, UpstreamTls::Require | UpstreamTls::VerifyFull)
    {
        "direct_tls needs tls: require or verify-full"
    } else if local && said {
        "tls has no effect on a unix socket"
    } else {
        return Ok(());
    };
    Err(TargetError::Conflict(conflict))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Text;
    use crate::upstream::tests::cluster;

    #[test]
    fn addresses_are_what_is_dialled() {
        let cases = [
            ("db", None, "db:5432"),
            ("db:6000", None, "db:6000"),
            ("db:6000", Some("127.0.0.1:7"), "127.0.0.1:7"),
            ("[::1]:6000", None, "[::1]:6000"),
            ("/run/pg", None, "/run/pg/.s.PGSQL.5432"),
            ("/run/pg:6000", None, "/run/pg/.s.PGSQL.6000"),
        ];
        for (endpoint, connect_to, dialled) in cases {
            let mut cluster = cluster(ClusterKind::Postgres, endpoint);
            cluster.connect_to = connect_to.map(|to| Text(to.to_owned()));
            let target = Target::new(&cluster, "d").expect(endpoint);
            assert_eq!(target.address(), dialled);
            assert_eq!(target.tls.is_some(), !endpoint.starts_with('/'));
        }
    }

    #[test]
    fn wrong_settings_are_refused() {
        type Change = fn(&mut Cluster);
        let cases: &[(&str, Change)] = &[
            ("not a host", |c| c.endpoint = Text("a b".to_owned())),
            ("not a host", |c| c.endpoint = Text("/run/pg:x".to_owned())),
            ("connect_to", |c| {
                c.connect_to = Some(Text("/run/pg".to_owned()))
            }),
            ("user is empty", |c| c.user = Text(String::new())),
            ("password is empty", |c| {
                c.password = Some(Secret("a\0b".to_owned()))
            }),
            ("ca_file has no effect", |c| {
                c.ca_file = Some(PathBuf::from("/x"))
            }),
            ("ca_file: cannot read /nowhere", |c| {
                c.tls = Some(UpstreamTls::VerifyFull);
                c.ca_file = Some(PathBuf::from("/nowhere"));
            }),
            ("direct_tls needs", |c| c.direct_tls = true),
            ("unix socket", |c| {
                c.endpoint = Text("/run/pg".to_owned());
                c.tls = Some(UpstreamTls::Require);
            }),
            ("not a folder", |c| {
                c.kind = ClusterKind::Dsql;
                c.endpoint = Text("/run/pg".to_owned());
            }),
        ];
        for (expected, change) in cases {
            let mut cluster = cluster(ClusterKind::Postgres, "db");
            change(&mut cluster);
            let made = Target::new(&cluster, "d");
            // The endpoint of a dsql cluster is judged by the token source first.
            let said = made
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            let either = said.contains(expected)
                || (cluster.kind == ClusterKind::Dsql && said.contains("not a host name"));
            assert!(either, "{expected}: {said:?}");
        }
    }

    #[test]
    fn debug_shows_no_password() {
        let mut cluster = cluster(ClusterKind::Postgres, "db");
        cluster.password = Some(Secret("hunter2".to_owned()));
        let target = Target::new(&cluster, "d").expect("target");
        assert!(!format!("{target:?}").contains("hunter2"));
    }
}
