//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the server's side (RFC 5802, RFC 5929, RFC 7677).
//!
//! The client's messages are cut out of their frames here; pgwire's state machine sees only the
//! SCRAM text inside.

use pgwire::api::auth::sasl::scram::{ScramServerAuth, ScramServerAuthWaitingForClientFinal};
use pgwire::error::{PgWireError, PgWireResult};
use thiserror::Error;

use super::counters::Method;
use crate::config::verifier::Verifier;
use crate::wire::frontend::put;
use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

const PLAIN: &[u8] = b"SCRAM-SHA-256";
const PLUS: &[u8] = b"SCRAM-SHA-256-PLUS";

/// Why an exchange ended without a login.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum ScramError {
    /// Whoever is at the other end does not know the password.
    #[error("wrong proof")]
    Proof,
    /// The client and we do not see the same TLS connection: someone may be in the middle.
    #[error("channel binding: {0}")]
    Binding(String),
    /// Not SCRAM.
    #[error("malformed SCRAM message: {0}")]
    Malformed(String),
}

impl ScramError {
    /// What the client is told, except of a wrong proof, which is told like any wrong password.
    pub(super) fn to_client(&self) -> ClientError {
        match self {
            Self::Binding(_) => ClientError::fatal(
                sqlstate::INVALID_AUTHORIZATION,
                "SCRAM channel binding check failed",
            )
            .hint("Something between client and proxy may be terminating TLS."),
            Self::Proof | Self::Malformed(_) => {
                ClientError::fatal(sqlstate::PROTOCOL_VIOLATION, "malformed SCRAM message")
            }
        }
    }
}

/// An exchange that waits for the client's proof.
#[derive(Debug)]
pub(super) struct Exchange(ScramServerAuthWaitingForClientFinal);

/// Appends AuthenticationSASL, the better mechanism first.
pub(super) fn put_offer(out: &mut Vec<u8>, with_binding: bool) {
    let plus: &[&[u8]] = if with_binding { &[PLUS, b"\0"] } else { &[] };
    let pieces = [&[&[0, 0, 0, 10][..]], plus, &[PLAIN, b"\0\0"]].concat();
    put(out, b'R', &pieces);
}

/// Appends AuthenticationSASLContinue.
pub(super) fn put_continue(out: &mut Vec<u8>, text: &str) {
    put(out, b'R', &[&[0, 0, 0, 11], text.as_bytes()]);
}

/// Appends AuthenticationSASLFinal.
pub(super) fn put_final(out: &mut Vec<u8>, text: &str) {
    put(out, b'R', &[&[0, 0, 0, 12], text.as_bytes()]);
}

/// Reads the body of a SASLInitialResponse: the mechanism chosen and the client's first message.
pub(super) fn read_initial(body: &[u8]) -> Result<(Method, &[u8]), ScramError> {
    let short = || ScramError::Malformed("short SASLInitialResponse".to_owned());
    let end = memchr::memchr(0, body).ok_or_else(short)?;
    let method = match &body[..end] {
        PLAIN => Method::Scram,
        PLUS => Method::ScramPlus,
        _ => return Err(ScramError::Malformed("unknown mechanism".to_owned())),
    };
    let (length, first) = body[end + 1..].split_first_chunk::<4>().ok_or_else(short)?;
    if u32::from_be_bytes(*length) as usize != first.len() {
        let problem = "length of the first message is not that of the frame";
        return Err(ScramError::Malformed(problem.to_owned()));
    }
    Ok((method, first))
}

/// Takes the client's first message; gives the exchange and the server's first message.
///
/// `binding` is what was offered: SCRAM bound to the certificate of this very connection.
pub(super) fn begin(
    binding: Option<&ScramServerAuth>,
    method: Method,
    client_first: &[u8],
    verifier: &Verifier,
) -> Result<(Exchange, String), ScramError> {
    check_flag(binding.is_some(), method, client_first)?;
    let unbound = ScramServerAuth::new();
    let (text, exchange) = classify(
        binding
            .unwrap_or(&unbound)
            .on_client_first_message_with_secret(client_first, verifier.to_secret()),
    )?;
    Ok((Exchange(exchange), text))
}

impl Exchange {
    /// Takes the client's final message; gives the server's, which proves that we know the verifier.
    pub(super) fn finish(&self, client_final: &[u8]) -> Result<String, ScramError> {
        classify(self.0.on_client_final_message(client_final))
    }
}

/// The mechanism's name is not covered by the proof, the flag is: they must say the same.
fn check_flag(offered: bool, method: Method, client_first: &[u8]) -> Result<(), ScramError> {
    let malformed = |text: &str| Err(ScramError::Malformed(text.to_owned()));
    match (client_first.first(), method) {
        (Some(b'p'), Method::ScramPlus) if offered => Ok(()),
        (_, Method::ScramPlus) if !offered => malformed("mechanism was not offered"),
        (_, Method::ScramPlus) => malformed("mechanism with binding, message without"),
        (Some(b'p'), _) => malformed("mechanism without binding, message with"),
        (Some(b'y'), _) if offered => Err(ScramError::Binding(
            "the client believes that it was not offered".to_owned(),
        )),
        (Some(b'y' | b'n'), _) => Ok(()),
        _ => malformed("unknown channel binding flag"),
    }
}

fn classify<T>(result: PgWireResult<T>) -> Result<T, ScramError> {
    result.map_err(|error| match error {
        PgWireError::InvalidPassword(_) => ScramError::Proof,
        PgWireError::InvalidScramMessage(text) if text.starts_with("Channel binding") => {
            ScramError::Binding(text)
        }
        // The text may quote what the client sent, which is no secret but has no bounds.
        PgWireError::InvalidScramMessage(text) => {
            ScramError::Malformed(text.chars().take(80).collect())
        }
        other => ScramError::Malformed(other.to_string().chars().take(80).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::Certificate;
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

    fn bound(certificate: &Certificate) -> ScramServerAuth {
        let mut scram = ScramServerAuth::new();
        scram
            .configure_certificate(certificate.certificate_pem().as_bytes())
            .unwrap();
        scram
    }

    fn run(
        binding: Option<&ScramServerAuth>,
        method: Method,
        client: ChannelBinding,
        password: &str,
    ) -> Result<(), ScramError> {
        let verifier = Verifier::derive("pencil", b"salt", 64);
        let mut client = ScramSha256::new(password.as_bytes(), client);
        let (exchange, first) = begin(binding, method, client.message(), &verifier)?;
        client.update(first.as_bytes()).unwrap();
        let last = exchange.finish(client.message())?;
        client.finish(last.as_bytes()).unwrap();
        Ok(())
    }

    fn kind(result: Result<(), ScramError>) -> &'static str {
        match result {
            Ok(()) => "ok",
            Err(ScramError::Proof) => "proof",
            Err(ScramError::Binding(_)) => "binding",
            Err(ScramError::Malformed(_)) => "malformed",
        }
    }

    #[test]
    fn mechanism_flag_and_binding_must_agree() {
        let ours = Certificate::new();
        let scram = bound(&ours);
        let right = || ChannelBinding::tls_server_end_point(ours.end_point());
        let wrong = || ChannelBinding::tls_server_end_point(Certificate::new().end_point());
        let y = ChannelBinding::unrequested;
        let n = ChannelBinding::unsupported;
        let with = Some(&scram);
        for (binding, method, client, password, expected) in [
            (with, Method::ScramPlus, right(), "pencil", "ok"),
            (with, Method::ScramPlus, right(), "pen", "proof"),
            (with, Method::ScramPlus, wrong(), "pencil", "binding"),
            (with, Method::ScramPlus, n(), "pencil", "malformed"),
            (with, Method::ScramPlus, y(), "pencil", "malformed"),
            (with, Method::Scram, n(), "pencil", "ok"),
            (with, Method::Scram, n(), "pen", "proof"),
            (with, Method::Scram, y(), "pencil", "binding"),
            (with, Method::Scram, right(), "pencil", "malformed"),
            (None, Method::Scram, n(), "pencil", "ok"),
            (None, Method::Scram, y(), "pencil", "ok"),
            (None, Method::Scram, right(), "pencil", "malformed"),
            (None, Method::ScramPlus, right(), "pencil", "malformed"),
        ] {
            let label = format!("{} {method:?} {password} {expected}", binding.is_some());
            assert_eq!(
                kind(run(binding, method, client, password)),
                expected,
                "{label}"
            );
        }
    }

    #[test]
    fn initial_responses_are_read_within_their_frame() {
        let good = b"SCRAM-SHA-256\0\0\0\0\x03n,,";
        assert_eq!(read_initial(good), Ok((Method::Scram, &b"n,,"[..])));
        let plus = b"SCRAM-SHA-256-PLUS\0\0\0\0\0";
        assert_eq!(read_initial(plus), Ok((Method::ScramPlus, &b""[..])));
        for bad in [
            &b""[..],
            b"SCRAM-SHA-256",
            b"SCRAM-SHA-256\0",
            b"SCRAM-SHA-256\0\0\0\0",
            b"SCRAM-SHA-256\0\0\0\0\x04n,,",
            b"SCRAM-SHA-256\0\0\0\0\x02n,,",
            b"SCRAM-SHA-256\0\xff\xff\xff\xff",
            b"SCRAM-SHA-1\0\0\0\0\x03n,,",
        ] {
            assert!(
                matches!(read_initial(bad), Err(ScramError::Malformed(_))),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a7_random_messages_never_panic() {
        use rand::{Rng, SeedableRng};
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let verifier = Verifier::derive("pencil", b"salt", 2);
        let alphabet: &[u8] = b"pnyrcsim=,,==AaZz09+/\0\xff\xc3";
        for _ in 0..20_000 {
            let mut text = [&b""[..], b"n,,n=u,r=x", b"y,,n=,r=", b"p=tls,,"]
                [random.random_range(0..4)]
            .to_vec();
            for _ in 0..random.random_range(0..24) {
                text.push(alphabet[random.random_range(0..alphabet.len())]);
            }
            let _ = read_initial(&text);
            if let Ok((exchange, _)) = begin(None, Method::Scram, &text, &verifier) {
                assert!(exchange.finish(&text).is_err());
            }
            let (exchange, first) = begin(None, Method::Scram, b"n,,n=,r=abc", &verifier).unwrap();
            let nonce = first.split(',').next().unwrap();
            let last = [b"c=biws,", nonce.as_bytes(), b",p=", &text[..]].concat();
            assert!(exchange.finish(&last).is_err());
        }
    }
}
