//! How SCRAM-SHA-256 verifiers are made and passwords checked against them (RFC 5802, RFC 7677).

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::{digest, hmac};
use pgwire::api::auth::sasl::scram::ScramSecret;
use subtle::ConstantTimeEq;

use crate::config::verifier::Verifier;

/// PostgreSQL's default for `scram_iterations`.
pub const DEFAULT_ITERATIONS: u32 = 4096;
/// Bytes of salt in the verifiers PostgreSQL makes.
pub const SALT_LENGTH: usize = 16;

const KEY_LENGTH: usize = 32;
/// Hash rounds between two looks at the flag that says nobody waits any more (about a millisecond).
const ROUNDS_PER_LOOK: u32 = 512;

impl Verifier {
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
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

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
        let again = verifier.to_string().parse::<Verifier>().unwrap();
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
    fn a11_an_abandoned_hash_stops() {
        let verifier = Verifier {
            iterations: u32::MAX,
            ..Verifier::generate("x", 1)
        };
        // Four thousand million rounds would take the better part of an hour.
        assert_eq!(verifier.check("x", &AtomicBool::new(true)), None);
    }

    /// Made with Python's hashlib and hmac, from the definition in RFC 5802.
    #[test]
    fn verifiers_have_postgresqls_form() {
        let cases = [
            ("app", 4096, APP),
            // SASLprep: a soft hyphen is dropped, a ligature is spelled out, NBSP is a space.
            ("I\u{ad}X", 1, IX),
            ("IX", 1, IX),
            ("\u{fb01}n\u{a0}x", 2, FIN),
            ("fin x", 2, FIN),
            // Control characters are prohibited, so the password is taken as it is.
            ("a\u{7}b", 1, BELL),
        ];
        for (password, iterations, expected) in cases {
            let made = Verifier::derive(password, b"0123456789abcdef", iterations);
            assert_eq!(made.to_string(), expected, "{password:?}");
            assert_eq!(made.to_string().parse(), Ok(made));
        }
    }

    const APP: &str = concat!(
        "SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$",
        "JhYJsQKltLKSkcYdLm2dH2esBeqZyXDASRx6R7of6R0=:bFkoQYg7LaJDZkD1XDiTnzbNYf5NlAc942vUvyw0+mc=",
    );
    const IX: &str = concat!(
        "SCRAM-SHA-256$1:MDEyMzQ1Njc4OWFiY2RlZg==$",
        "olZ0E/m5jXZ8DRNPl9jmw3hR2j3K08wZOvojCsWV/TQ=:srEjaaqHul0k7ZQD8aSUZUNXyR47aw4GgkfT4EpE2vc=",
    );
    const FIN: &str = concat!(
        "SCRAM-SHA-256$2:MDEyMzQ1Njc4OWFiY2RlZg==$",
        "0iMT4g2fqjBa+yMkEJNZosLrX/U9IEOElbUsH4h5UOk=:Rj6Y4Qg0PvbFuzonhemRNS0OqzZXRTEQUCDetaXDq9s=",
    );
    const BELL: &str = concat!(
        "SCRAM-SHA-256$1:MDEyMzQ1Njc4OWFiY2RlZg==$",
        "VlDSs5q9kpUSgndKWAAgIOK7DajjWRsYXW8M2RRV9kk=:c91LrAfujUsyMmZJlmc/TX8CDSUnmbL1W6F/e43UBDw=",
    );
}
