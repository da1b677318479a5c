//! SCRAM-SHA-256 verifiers in PostgreSQL's form: what is stored in place of a password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How every verifier begins.
pub const PREFIX: &str = "SCRAM-SHA-256$";

/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, as in `pg_authid.rolpassword`.
/// Whoever reads it can pose as the server, and can guess at the password off line.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// Rounds of PBKDF2.
    pub iterations: u32,
    /// Random bytes.
    pub salt: Vec<u8>,
    /// SHA-256 of the client key.
    pub stored_key: [u8; 32],
    /// HMAC of the salted password with `Server Key`.
    pub server_key: [u8; 32],
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<verifier>")
    }
}

impl std::fmt::Display for Verifier {
    /// The text to store. Not for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{PREFIX}{}:{}${}:{}",
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key),
            STANDARD.encode(self.server_key),
        )
    }
}

impl std::str::FromStr for Verifier {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).ok_or(
            "a verifier is SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, \
             as hash-password prints it",
        )
    }
}

fn read(text: &str) -> Option<Verifier> {
    let (head, keys) = text.strip_prefix(PREFIX)?.split_once('$')?;
    let (iterations, salt) = head.split_once(':')?;
    let (stored_key, server_key) = keys.split_once(':')?;
    let digits = iterations.bytes().all(|byte| byte.is_ascii_digit());
    // The upper end is that of a PostgreSQL integer; a client would have to run all of them.
    let iterations = iterations
        .parse()
        .ok()
        .filter(|&n| n > 0 && i32::try_from(n).is_ok());
    let key = |text: &str| STANDARD.decode(text).ok()?.try_into().ok();
    Some(Verifier {
        iterations: iterations.filter(|_| digits)?,
        salt: STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty())?,
        stored_key: key(stored_key)?,
        server_key: key(server_key)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn verifiers() {
        let good = format!("SCRAM-SHA-256$4096:c2FsdA==${KEY}:{KEY}");
        let verifier: Verifier = good.parse().expect("well-formed");
        assert_eq!(verifier.to_string(), good);
        assert_eq!(
            (verifier.iterations, verifier.salt),
            (4096, b"salt".to_vec())
        );

        let bad = [
            String::new(),
            "SCRAM-SHA-256$".to_owned(),
            format!("SCRAM-SHA-256$0:c2FsdA==${KEY}:{KEY}"),
            format!("SCRAM-SHA-256$+1:c2FsdA==${KEY}:{KEY}"),
            format!("SCRAM-SHA-256$2147483648:c2FsdA==${KEY}:{KEY}"),
            format!("SCRAM-SHA-256$4096:${KEY}:{KEY}"),
            format!("SCRAM-SHA-256$4096:c2FsdA${KEY}:{KEY}"),
            format!("SCRAM-SHA-256$4096:c2FsdA==${KEY}"),
            format!("SCRAM-SHA-256$4096:c2FsdA==$c2FsdA==:{KEY}"),
            format!("SCRAM-SHA-256$4096:c2FsdA==${KEY}:{KEY}:"),
            format!("scram-sha-256$4096:c2FsdA==${KEY}:{KEY}"),
        ];
        for text in bad {
            assert!(text.parse::<Verifier>().is_err(), "{text:?}");
        }
    }
}
