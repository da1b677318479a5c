//! SCRAM-SHA-256 verifiers: what is kept instead of a password (RFC 5802, RFC 7677).

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pgwire::api::auth::sasl::scram::ScramSecret;
use subtle::ConstantTimeEq;
use thiserror::Error;

/// PostgreSQL's default for `scram_iterations`.
pub const DEFAULT_ITERATIONS: u32 = 4096;
/// Bytes of salt in the verifiers PostgreSQL makes.
pub const SALT_LENGTH: usize = 16;

const PREFIX: &str = "SCRAM-SHA-256$";
const KEY_LENGTH: usize = 32;
/// Hash rounds between two looks at the flag that says nobody waits any more (about a millisecond).
const ROUNDS_PER_LOOK: u32 = 512;

/// Salt, iteration count and the two keys derived from a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    salt: Vec<u8>,
    iterations: u32,
    stored_key: [u8; KEY_LENGTH],
    server_key: [u8; KEY_LENGTH],
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<verifier>")
    }
}

/// A text that begins like a verifier and is none. Says nothing of the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a SCRAM verifier: expected SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>")]
pub struct VerifierError;

impl Verifier {
    /// Whether a configured password is meant as a verifier.
    #[must_use]
    pub fn looks_like_one(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Reads PostgreSQL's form, as found in `pg_authid.rolpassword`.
    ///
    /// # Errors
    /// [`VerifierError`] for any other layout, iteration count zero or above 2^31 - 1, an empty
    /// salt, or keys that are not 32 bytes.
    pub fn parse(text: &str) -> Result<Self, VerifierError> {
        let rest = text.strip_prefix(PREFIX).ok_or(VerifierError)?;
        let (head, keys) = rest.split_once('$').ok_or(VerifierError)?;
        let (iterations, salt) = head.split_once(':').ok_or(VerifierError)?;
        let (stored, server) = keys.split_once(':').ok_or(VerifierError)?;
        let iterations = iterations.parse::<u32>().map_err(|_| VerifierError)?;
        let salt = STANDARD.decode(salt).map_err(|_| VerifierError)?;
        if iterations == 0 || iterations > i32::MAX.cast_unsigned() || salt.is_empty() {
            return Err(VerifierError);
        }
        Ok(Self {
            salt,
            iterations,
            stored_key: key(stored)?,
            server_key: key(server)?,
        })
    }

    /// Derives a verifier; takes some milliseconds with the default number of iterations.
    #[must_use]
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        // Nobody can abandon this one, so the derivation always ends with a value.
        let salted = salt_password(password, salt, iterations, &AtomicBool::new(false))
            .unwrap_or([0; KEY_LENGTH]);
        Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: stored_key(&salted),
            server_key: sign(&salted, b"Server Key"),
        }
    }

    /// Derives a verifier with a random salt, as `hash-password` prints it.
    #[must_use]
    pub fn generate(password: &str, iterations: u32) -> Self {
        Self::derive(password, &rand::random::<[u8; SALT_LENGTH]>(), iterations)
    }

    /// A verifier that no password is known for: the keys are 64 bytes of `noise`.
    pub(super) fn without_password(
        salt: [u8; SALT_LENGTH],
        iterations: u32,
        noise: [[u8; KEY_LENGTH]; 2],
    ) -> Self {
        let [stored_key, server_key] = noise;
        Self {
            salt: salt.to_vec(),
            iterations,
            stored_key,
            server_key,
        }
    }

    /// PostgreSQL's form. A secret: with it a server can be impersonated and passwords guessed.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!(
            "{PREFIX}{}:{}${}:{}",
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key),
            STANDARD.encode(self.server_key)
        )
    }

    /// Hash rounds a client or [`Verifier::check`] has to do.
    #[must_use]
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Whether this is the password; `None` when `abandoned` became true on the way.
    #[must_use]
    pub fn check(&self, password: &str, abandoned: &AtomicBool) -> Option<bool> {
        let salted = salt_password(password, &self.salt, self.iterations, abandoned)?;
        Some(stored_key(&salted).ct_eq(&self.stored_key).into())
    }

    /// The same in the form of the SCRAM state machine.
    pub(super) fn to_secret(&self) -> ScramSecret {
        ScramSecret::Verifier {
            salt: self.salt.clone(),
            iterations: self.iterations as usize,
            stored_key: self.stored_key.to_vec(),
            server_key: self.server_key.to_vec(),
        }
    }
}

fn key(text: &str) -> Result<[u8; KEY_LENGTH], VerifierError> {
    let bytes = STANDARD.decode(text).map_err(|_| VerifierError)?;
    bytes.try_into().map_err(|_| VerifierError)
}

/// `Hi` of RFC 5802 (PBKDF2 of one block), in pieces so that it can be given up.
fn salt_password(
    password: &str,
    salt: &[u8],
    iterations: u32,
    abandoned: &AtomicBool,
) -> Option<[u8; KEY_LENGTH]> {
    // PostgreSQL takes a password that SASLprep refuses as it is.
    let prepared = stringprep::saslprep(password).unwrap_or(Cow::Borrowed(password));
    let key = hmac::Key::new(hmac::HMAC_SHA256, prepared.as_bytes());
    let mut block = sign_with(&key, &[salt, &[0, 0, 0, 1]].concat());
    let mut result = block;
    for round in 1..iterations {
        if round % ROUNDS_PER_LOOK == 0 && abandoned.load(Ordering::Relaxed) {
            return None;
        }
        block = sign_with(&key, &block);
        for (sum, byte) in result.iter_mut().zip(block) {
            *sum ^= byte;
        }
    }
    Some(result)
}

fn stored_key(salted: &[u8]) -> [u8; KEY_LENGTH] {
    let client_key = sign(salted, b"Client Key");
    to_array(digest::digest(&digest::SHA256, &client_key).as_ref())
}

/// HMAC-SHA-256.
pub(super) fn sign(key: &[u8], message: &[u8]) -> [u8; KEY_LENGTH] {
    sign_with(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
}

fn sign_with(key: &hmac::Key, message: &[u8]) -> [u8; KEY_LENGTH] {
    to_array(hmac::sign(key, message).as_ref())
}

/// SHA-256 values have 32 bytes by construction.
fn to_array(bytes: &[u8]) -> [u8; KEY_LENGTH] {
    let mut array = [0; KEY_LENGTH];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivation_agrees_with_an_independent_one() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        for password in ["pencil", "", "pässwörd", "I\u{ad}X", "a\u{7}b"] {
            let salted = pgwire::api::auth::sasl::scram::gen_salted_password(password, &salt, 4096);
            let other = ScramSecret::verifier_from_salted_password(salt.clone(), salted, 4096);
            let ScramSecret::Verifier {
                stored_key,
                server_key,
                ..
            } = other
            else {
                unreachable!()
            };
            let verifier = Verifier::derive(password, &salt, 4096);
            assert_eq!(verifier.stored_key.as_slice(), stored_key, "{password:?}");
            assert_eq!(verifier.server_key.as_slice(), server_key, "{password:?}");
        }
    }

    #[test]
    fn text_form_round_trips_and_checks() {
        let verifier = Verifier::generate("s3cret", 64);
        let again = Verifier::parse(&verifier.to_text()).unwrap();
        assert_eq!(again, verifier);
        let stay = AtomicBool::new(false);
        assert_eq!(again.check("s3cret", &stay), Some(true));
        assert_eq!(again.check("S3cret", &stay), Some(false));
        assert_ne!(
            verifier,
            Verifier::generate("s3cret", 64),
            "salts are random"
        );
        assert!(!format!("{verifier:?}").contains("SCRAM"));
    }

    #[test]
    fn broken_verifiers_are_refused() {
        let key = STANDARD.encode([1; 32]);
        let short = STANDARD.encode([1; 31]);
        for text in [
            String::new(),
            "md5abc".into(),
            "SCRAM-SHA-256$".into(),
            format!("SCRAM-SHA-256$4096:c2FsdA==${key}"),
            format!("SCRAM-SHA-256$0:c2FsdA==${key}:{key}"),
            format!("SCRAM-SHA-256$2147483648:c2FsdA==${key}:{key}"),
            format!("SCRAM-SHA-256$-1:c2FsdA==${key}:{key}"),
            format!("SCRAM-SHA-256$4096:${key}:{key}"),
            format!("SCRAM-SHA-256$4096:*${key}:{key}"),
            format!("SCRAM-SHA-256$4096:c2FsdA==${short}:{key}"),
            format!("SCRAM-SHA-256$4096:c2FsdA==${key}:{short}"),
        ] {
            assert_eq!(Verifier::parse(&text), Err(VerifierError), "{text}");
        }
        assert!(Verifier::parse(&format!("SCRAM-SHA-256$4096:c2FsdA==${key}:{key}")).is_ok());
    }

    #[test]
    fn a11_an_abandoned_hash_stops() {
        let verifier = Verifier {
            iterations: u32::MAX,
            ..Verifier::generate("x", 1)
        };
        // Four thousand million rounds would take the better part of an hour.
        assert_eq!(verifier.check("x", &AtomicBool::new(true)), None);
    }
}
