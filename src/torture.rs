//! Every decoder on any bytes: what the fuzz targets and the bounded random test call.

use crate::sql::statement::parse;
use crate::sql::{classify, scan::Tokens};

use crate::wire::{backend, frame, frontend, startup};

/// The startup packet's decoder.
pub fn startup(bytes: &[u8]) {
    if let Some(word) = bytes.first_chunk::<4>() {
        let _ = startup::body_length(*word);
        let _ = startup::parse(&bytes[4..]);
    }
    let _ = startup::parse(bytes);
}

/// Frames of a client and what is read inside them, statement texts included.
pub fn frontend(mut bytes: &[u8]) {
    while let Ok(Some(header)) = frame::frontend_header(bytes) {
        let end = header.total.min(bytes.len());
        let body = &bytes[frame::HEADER..end];
        match header.tag {
            b'Q' => {
                if let Ok(text) = frontend::query(body) {
                    statement(text);
                }
            }
            b'P' => {
                if let Ok(parse) = frontend::parse(body) {
                    statement(parse.text);
                }
            }
            b'B' => {
                if let Ok(head) = frontend::bind_head(body) {
                    assert!(head.length <= body.len(), "the head lies within the body");
                }
            }
            b'D' | b'C' => {
                let _ = frontend::target(body);
            }
            b'E' => {
                let _ = frontend::execute(body);
            }
            _ => {}
        }
        bytes = &bytes[end..];
    }
}

/// Frames of a server and what is read inside them.
pub fn backend(mut bytes: &[u8]) {
    while let Ok(Some(header)) = frame::backend_header(bytes) {
        let end = header.total.min(bytes.len());
        let body = &bytes[frame::HEADER..end];
        let _ = backend::error_fields(body);
        let _ = backend::two_strings(body);
        let _ = backend::command_tag(body);
        bytes = &bytes[end..];
    }
}

fn statement(text: &[u8]) {
    let class = classify(text);
    if let Some(effects) = &class.effects {
        assert_eq!(
            effects.len(),
            class.statements,
            "one effect for each statement"
        );
    }
    assert!(
        Tokens::new(text).count() <= text.len(),
        "every token takes a byte"
    );
    if let Ok(text) = std::str::from_utf8(text) {
        for statement in parse(text).unwrap_or_default() {
            assert!(
                text.get(statement.span.clone()).is_some(),
                "a statement is a part of its text"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom;
    use rand::{Rng, SeedableRng};

    /// Inputs that reach deep, to be cut, spliced and flipped.
    const SEEDS: [&[u8]; 9] = [
        b"\0\0\0\x1d\0\x03\0\x02user\0app\0database\0x\0\0",
        b"\0\0\0\x10\x04\xd2\x16.\0\0\0\x01abcd",
        b"Q\0\0\0\x20SET a TO 'x'; SELECT $$;$$ --\n\0",
        b"P\0\0\0\x15s\0BEGIN; COMMIT\0\0\x01\0\0\0\x17",
        b"B\0\0\0\x10p\0s\0\0\0\0\0\0\0\0\0",
        b"Q\0\0\0\x24DO $a$ set /* /* */ */ U&\"x\"E'\\'\0",
        b"E\0\0\0\x1aSERROR\0VERROR\0C40001\0Mx\0\0",
        b"S\0\0\0\x0cTimeZone\0U\0Z\0\0\0\x05I",
        b"C\0\0\0\x0dSELECT 1\0D\0\0\0\x0a\0\x01\xff\xff\xff\xff",
    ];

    #[test]
    fn a7_any_bytes_are_read_without_panic() {
        let seed = std::env::var("DSQLPROXY_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed: u64 = seed.unwrap_or_else(rand::random);
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..200_000 {
            let bytes = mutate(&mut random);
            super::startup(&bytes);
            super::frontend(&bytes);
            super::backend(&bytes);
        }
    }

    fn mutate(random: &mut StdRng) -> Vec<u8> {
        let mut bytes: Vec<u8> = Vec::new();
        for _ in 0..random.random_range(1..4) {
            let piece = SEEDS.choose(random).copied().unwrap_or_default();
            let from = random.random_range(0..piece.len());
            bytes.extend_from_slice(if random.random() {
                piece
            } else {
                &piece[from..]
            });
        }
        for _ in 0..random.random_range(0..6) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        bytes.truncate(random.random_range(0..=bytes.len()));
        bytes
    }
}
