//! Why there is no upstream connection, in the words of the operator, the pool and the client.

use std::io;
use std::time::Duration;

use thiserror::Error;

use super::token::TokenError;
use crate::wire::backend::error_fields;
use crate::wire::reply::ClientError;
use crate::wire::sqlstate::{self, SqlState};

/// What was being done when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Loading AWS credentials and signing a token.
    Credentials,
    /// Looking up the host's addresses.
    Resolve,
    /// Opening the socket.
    Connect,
    /// TLS, from SSLRequest to the end of the handshake.
    Tls,
    /// Startup message to ReadyForQuery.
    Login,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Credentials => "loading credentials",
            Self::Resolve => "name resolution",
            Self::Connect => "connect",
            Self::Tls => "TLS handshake",
            Self::Login => "login",
        })
    }
}

/// What to do about a failed connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// Once more, now, with a fresh token. `connect` does so itself and never returns this.
    RetryOnce,
    /// The server is there and wants to be left alone for a moment; waiting clients keep waiting.
    Busy,
    /// It will be refused again until somebody changes something: long pause, not ready.
    Denied,
    /// Network or server down: short, growing pauses.
    Unreachable,
    /// What answers is not the server we know: as `Denied`.
    Broken,
}

/// An ErrorResponse received during login. Safe to log: control characters and secrets are out,
/// long texts cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// SQLSTATE as sent; empty when there was none.
    pub code: String,
    /// Primary message.
    pub message: String,
    /// DETAIL, or empty.
    pub detail: String,
    /// HINT, or empty. DSQL gives its reason here.
    pub hint: String,
}

/// Longest text of a server that is kept, in bytes.
const TEXT_LIMIT: usize = 1000;

impl Refusal {
    /// Reads the body of an ErrorResponse; `secret` is what must not come back in it.
    pub(super) fn read(body: &[u8], secret: Option<&str>) -> Self {
        let fields = error_fields(body);
        let text = |bytes: &[u8]| clean(bytes, secret);
        Self {
            code: text(fields.code),
            message: text(fields.message),
            detail: text(fields.detail),
            hint: text(fields.hint),
        }
    }

    fn backoff(&self) -> Backoff {
        let message = self.message.to_ascii_lowercase();
        let hint = self.hint.to_ascii_lowercase();
        let busy = ["waking up", "too many open connections", "rate exceeded"];
        let denied = [
            "access denied",
            "sni was not received",
            "iam authentication failed",
            "must be less than a week",
        ];
        if self.code == "08006" && hint.contains("signature expired") {
            Backoff::RetryOnce
        } else if busy.iter().any(|words| message.contains(words)) {
            Backoff::Busy
        } else if denied.iter().any(|words| message.contains(words)) {
            Backoff::Denied
        } else {
            match (self.code.as_str(), self.code.get(..2)) {
                ("57P03" | "53200" | "53300" | "53400", _) => Backoff::Busy,
                // Role, password, database, startup parameter: all from the configuration.
                ("57P04", _) | (_, Some("0A" | "22" | "28" | "3D" | "42")) => Backoff::Denied,
                ("08P01", _) => Backoff::Broken,
                _ => Backoff::Unreachable,
            }
        }
    }

    /// The server's SQLSTATE where it means the same to a client of the proxy. A refused login of
    /// the proxy (class 28, DSQL's 08006) is none of the client's, who would doubt his password.
    fn code_for_client(&self) -> Option<SqlState> {
        const PASSED: &[SqlState] = &[
            sqlstate::FEATURE_NOT_SUPPORTED,
            sqlstate::INVALID_PARAMETER_VALUE,
            sqlstate::INVALID_CATALOG_NAME,
            sqlstate::TOO_MANY_CONNECTIONS,
            sqlstate::CONFIGURATION_LIMIT_EXCEEDED,
            sqlstate::ADMIN_SHUTDOWN,
            sqlstate::CANNOT_CONNECT_NOW,
            sqlstate::INTERNAL_ERROR,
            "22021",
            "42501",
            "42704",
            "53000",
            "53100",
            "53200",
            "55000",
            "57P02",
            "57P04",
            "58000",
            "58030",
        ];
        PASSED.iter().copied().find(|code| *code == self.code)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = if self.code.is_empty() {
            "no SQLSTATE"
        } else {
            &self.code
        };
        write!(f, "{code} {}", self.message)?;
        if !self.detail.is_empty() {
            write!(f, " DETAIL: {}", self.detail)?;
        }
        if !self.hint.is_empty() {
            write!(f, " HINT: {}", self.hint)?;
        }
        Ok(())
    }
}

fn clean(bytes: &[u8], secret: Option<&str>) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    // Shorter secrets are words that a message may hold by chance.
    if let Some(secret) = secret.filter(|secret| secret.len() >= 6) {
        text = text.replace(secret, "<secret>");
    }
    text = text.replace(char::is_control, " ");
    if text.len() > TEXT_LIMIT {
        text.truncate(text.floor_char_boundary(TEXT_LIMIT));
        text.push('…');
    }
    text
}

/// Why a connect failed. `Display` is the operator's line: cause, server's message and HINT.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// No token could be made; the server was not asked.
    #[error("no token for the login: {0}")]
    Token(#[from] TokenError),
    /// The socket failed.
    #[error("cannot reach {address} ({stage}): {source}")]
    Io {
        /// What was being done.
        stage: Stage,
        /// What was dialled.
        address: String,
        /// The cause.
        source: io::Error,
    },
    /// `connect_timeout` is over.
    #[error("no connection to {address} within {after:?} ({stage})")]
    Timeout {
        /// What was being done.
        stage: Stage,
        /// What was dialled.
        address: String,
        /// The limit.
        after: Duration,
    },
    /// The handshake failed.
    #[error("TLS with {address} failed: {source}")]
    Tls {
        /// What was dialled.
        address: String,
        /// The cause.
        source: rustls::Error,
    },
    /// The server has no TLS and the configuration insists on it.
    #[error("{address} does not offer TLS, which the configuration requires")]
    NoTls {
        /// What was dialled.
        address: String,
    },
    /// The server asks for a password and the configuration has none.
    #[error("{address} asks for a password and the cluster has none configured")]
    NoPassword {
        /// What was dialled.
        address: String,
    },
    /// The server did what no PostgreSQL does.
    #[error("{address} broke the protocol during login: {reason}")]
    Broken {
        /// What was dialled.
        address: String,
        /// What it did.
        reason: String,
    },
    /// The server refused.
    #[error("{address} refused the login of \"{user}\": {refusal}{}", skew_note(*.retried))]
    Refused {
        /// What was dialled.
        address: String,
        /// Who was refused.
        user: String,
        /// The server's words.
        refusal: Box<Refusal>,
        /// A fresh token was refused too.
        retried: bool,
    },
}

fn skew_note(retried: bool) -> &'static str {
    if retried {
        " (a fresh token was refused too: check this machine's clock)"
    } else {
        ""
    }
}

impl ConnectError {
    /// What to do next.
    #[must_use]
    pub fn backoff(&self) -> Backoff {
        match self {
            Self::Token(TokenError::Credentials(_)) | Self::Io { .. } | Self::Timeout { .. } => {
                Backoff::Unreachable
            }
            Self::Tls { source, .. } => match source {
                rustls::Error::InvalidCertificate(_) => Backoff::Denied,
                _ => Backoff::Broken,
            },
            Self::Token(_) | Self::NoTls { .. } | Self::NoPassword { .. } => Backoff::Denied,
            Self::Broken { .. } => Backoff::Broken,
            Self::Refused {
                refusal, retried, ..
            } => match refusal.backoff() {
                Backoff::RetryOnce if *retried => Backoff::Denied,
                other => other,
            },
        }
    }

    /// What a client that waited for the connection is told. Names neither address nor user.
    ///
    /// The severity is ERROR; a session that cannot go on makes it FATAL.
    #[must_use]
    pub fn client_error(&self) -> ClientError {
        if let Self::Refused { refusal, .. } = self
            && let Some(code) = refusal.code_for_client()
        {
            let told = format!("upstream refused the connection: {}", refusal.message);
            let error = ClientError::error(code, told);
            return match refusal.hint.as_str() {
                "" => error,
                hint => error.hint(hint),
            };
        }
        let (message, hint) = match self.backoff() {
            Backoff::Busy | Backoff::Unreachable => (
                "upstream is not reachable yet",
                "Try again later. The cause is in the proxy's log.",
            ),
            Backoff::RetryOnce | Backoff::Denied | Backoff::Broken => (
                "upstream is not reachable: it does not let the proxy in",
                "This needs the proxy's operator. The cause is in the proxy's log.",
            ),
        };
        ClientError::error(sqlstate::CANNOT_CONNECT_NOW, message).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str, message: &str, hint: &str, retried: bool) -> ConnectError {
        ConnectError::Refused {
            address: "db:5432".to_owned(),
            user: "admin".to_owned(),
            refusal: Box::new(Refusal {
                code: code.to_owned(),
                message: message.to_owned(),
                detail: String::new(),
                hint: hint.to_owned(),
            }),
            retried,
        }
    }

    #[test]
    fn refusals_are_classified() {
        let denied = "unable to accept connection, access denied";
        let cases = [
            (
                "08006",
                denied,
                "Signature expired: 2026",
                Backoff::RetryOnce,
                "57P03",
            ),
            (
                "08006",
                denied,
                "Wrong user to action mapping. user: admin",
                Backoff::Denied,
                "57P03",
            ),
            (
                "08006",
                denied,
                "User: x is not authorized to perform",
                Backoff::Denied,
                "57P03",
            ),
            ("08006", denied, "", Backoff::Denied, "57P03"),
            (
                "",
                "unable to accept connection, waking up cluster",
                "",
                Backoff::Busy,
                "57P03",
            ),
            (
                "",
                "unable to accept connection, sni was not received",
                "",
                Backoff::Denied,
                "57P03",
            ),
            (
                "53300",
                "Unable to accept connection, too many",
                "",
                Backoff::Busy,
                "53300",
            ),
            (
                "53400",
                "Unable to accept connection, rate exceeded.",
                "",
                Backoff::Busy,
                "53400",
            ),
            (
                "0A000",
                "setting configuration parameter \"x\"",
                "",
                Backoff::Denied,
                "0A000",
            ),
            (
                "57P03",
                "the database system is starting up",
                "",
                Backoff::Busy,
                "57P03",
            ),
            (
                "28P01",
                "password authentication failed",
                "",
                Backoff::Denied,
                "57P03",
            ),
            (
                "28000",
                "no pg_hba.conf entry",
                "",
                Backoff::Denied,
                "57P03",
            ),
            (
                "3D000",
                "database \"x\" does not exist",
                "",
                Backoff::Denied,
                "3D000",
            ),
            (
                "57P01",
                "terminating connection",
                "",
                Backoff::Unreachable,
                "57P01",
            ),
            (
                "XX000",
                "server unavailable",
                "",
                Backoff::Unreachable,
                "XX000",
            ),
            ("08006", "something else", "", Backoff::Unreachable, "57P03"),
            ("", "", "", Backoff::Unreachable, "57P03"),
            ("ZZ\u{fffd}", "?", "", Backoff::Unreachable, "57P03"),
        ];
        for (code, message, hint, backoff, told) in cases {
            let error = refused(code, message, hint, false);
            assert_eq!(error.backoff(), backoff, "{error}");
            let client = error.client_error();
            assert_eq!(client.code, told, "{error}");
            assert!(client.hint.is_some() || client.code != "57P03" || code == "57P03");
        }
        let again = refused("08006", denied, "Signature expired", true);
        assert_eq!(again.backoff(), Backoff::Denied);
        assert!(again.to_string().contains("clock"), "{again}");
    }

    #[test]
    fn the_operator_reads_message_and_hint() {
        let error = refused("08006", "access denied", "Wrong user", false);
        assert_eq!(
            error.to_string(),
            "db:5432 refused the login of \"admin\": 08006 access denied HINT: Wrong user"
        );
        assert!(!format!("{:?}", error.client_error()).contains("db:5432"));
    }

    #[test]
    fn server_texts_are_made_safe() {
        let long = "é".repeat(5000);
        let body = format!("C08006\0Mno\nway pass-word\x1b[1m\0H{long}\0\0");
        let refusal = Refusal::read(body.as_bytes(), Some("pass-word"));
        assert_eq!(refusal.message, "no way <secret> [1m");
        assert!(refusal.hint.len() <= TEXT_LIMIT + '…'.len_utf8());
        assert_eq!(Refusal::read(b"M\xff", None).message, "");
        assert_eq!(Refusal::read(b"M\xff\0", None).message, "\u{fffd}");
    }
}
