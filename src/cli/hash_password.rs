//! `dsql-proxy hash-password`: a SCRAM-SHA-256 verifier for a password from standard input.

use std::io::{IsTerminal as _, Read, Write as _};

use pgwire::api::auth::sasl::scram::{ScramSecret, gen_salted_password};
use rand::RngCore as _;

use super::{Failure, HashPasswordArguments, print};
use crate::config::verifier::Verifier;

/// Bytes of a password at most.
const PASSWORD_SIZE: u64 = 64 * 1024;
/// Bytes of salt, as many as PostgreSQL takes.
const SALT_SIZE: usize = 16;

/// Reads one line from standard input and prints its verifier.
///
/// # Errors
/// [`Failure::Wrong`] if the input is not one line of text.
pub fn run(arguments: &HashPasswordArguments) -> Result<(), Failure> {
    let input = std::io::stdin();
    if input.is_terminal() {
        let hint = "Password (it will show), then Enter and Ctrl-D:";
        let _ = writeln!(std::io::stderr(), "{hint}");
    }
    let password = read_password(input.lock()).map_err(Failure::Wrong)?;
    let mut salt = [0; SALT_SIZE];
    rand::rng().fill_bytes(&mut salt);
    print(&verifier(&password, &salt, arguments.iterations)?.to_string())
}

/// One line, its end dropped.
fn read_password(input: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    input
        .take(PASSWORD_SIZE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot read standard input: {error}"))?;
    if bytes.len() as u64 > PASSWORD_SIZE {
        return Err(format!("a password has {PASSWORD_SIZE} bytes at most"));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "the password is not UTF-8 text")?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    match text.as_str() {
        "" => Err("no password on standard input".to_owned()),
        _ if text.contains(['\n', '\0']) => {
            Err("the password is more than one line, or has a NUL byte".to_owned())
        }
        _ => Ok(text),
    }
}

/// The password is prepared by SASLprep, or taken as it is where that is not possible, as
/// PostgreSQL does it.
fn verifier(password: &str, salt: &[u8], iterations: u32) -> Result<Verifier, Failure> {
    let rounds = iterations as usize;
    let salted = gen_salted_password(password, salt, rounds);
    let broken = || Failure::Start("a verifier could not be made".to_owned());
    match ScramSecret::verifier_from_salted_password(salt.to_vec(), salted, rounds) {
        ScramSecret::Verifier {
            salt,
            stored_key,
            server_key,
            ..
        } => Ok(Verifier {
            iterations,
            salt,
            stored_key: stored_key.try_into().map_err(|_| broken())?,
            server_key: server_key.try_into().map_err(|_| broken())?,
        }),
        ScramSecret::SaltedPassword { .. } => Err(broken()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_one_line() {
        let long = "x".repeat(PASSWORD_SIZE as usize);
        let cases: [(&[u8], Option<&str>); 12] = [
            (b"secret", Some("secret")),
            (b"secret\n", Some("secret")),
            (b"secret\r\n", Some("secret")),
            (b" two words \n", Some(" two words ")),
            (b"secret\r", Some("secret\r")),
            (b"secret\n\n", None),
            (b"one\ntwo", None),
            (b"a\0b", None),
            (b"\xff", None),
            (b"\n", None),
            (b"", None),
            (long.as_bytes(), Some(&long)),
        ];
        for (input, expected) in cases {
            let read = read_password(input).ok();
            assert_eq!(read.as_deref(), expected);
        }
        let longer = format!("{long}x");
        assert!(read_password(longer.as_bytes()).is_err());
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
            let made = verifier(password, b"0123456789abcdef", iterations).expect("made");
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
