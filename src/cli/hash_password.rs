//! `dsql-proxy hash-password`: a SCRAM-SHA-256 verifier for a password from standard input.

use std::io::{IsTerminal as _, Read, Write as _};

use super::{Failure, HashPasswordArguments, print};
use crate::config::verifier::Verifier;

/// Bytes of a password at most.
const PASSWORD_SIZE: u64 = 64 * 1024;

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
    print(&Verifier::generate(&password, arguments.iterations).to_string())
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
}
