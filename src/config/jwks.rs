//! Public keys of token issuers: a JSON web key set (RFC 7517) in a file.

use std::path::Path;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

/// Longest file, in bytes.
const FILE_SIZE: u64 = 1 << 20;

/// A key that signatures are checked with.
pub struct Key {
    /// `kid`, which tokens name it by.
    pub id: Option<String>,
    /// What it may have signed with; never a symmetric algorithm, whose "public" key could sign.
    pub algorithms: Vec<Algorithm>,
    /// The key itself.
    pub decoding: DecodingKey,
}

/// Reads the signing keys of a file; at least one. Keys of other kinds and uses are passed over.
///
/// # Errors
/// A sentence for the operator.
pub fn read(path: &Path) -> Result<Vec<Key>, String> {
    let shown = path.display();
    let unread = |error| format!("cannot read {shown}: {error}");
    if std::fs::metadata(path).map_err(unread)?.len() > FILE_SIZE {
        return Err(format!("{shown} is larger than 1 MiB"));
    }
    let text = std::fs::read(path).map_err(unread)?;
    let set: JwkSet = serde_json::from_slice(&text)
        .map_err(|error| format!("{shown} is no JSON web key set: {error}"))?;
    let signs = |key: &&Jwk| {
        let other = |usage| !matches!(usage, &PublicKeyUse::Signature);
        !key.common.public_key_use.as_ref().is_some_and(other)
    };
    let keys: Vec<Key> = set.keys.iter().filter(signs).filter_map(key).collect();
    match keys.is_empty() {
        true => Err(format!("{shown} holds no public key for signatures")),
        false => Ok(keys),
    }
}

fn key(key: &Jwk) -> Option<Key> {
    let own = key.common.key_algorithm;
    let algorithms: Vec<Algorithm> = possible(&key.algorithm)
        .iter()
        .filter(|algorithm| own.is_none_or(|own| own.to_string() == format!("{algorithm:?}")))
        .copied()
        .collect();
    let decoding = DecodingKey::from_jwk(key).ok()?;
    (!algorithms.is_empty()).then(|| Key {
        id: key.common.key_id.clone(),
        algorithms,
        decoding,
    })
}

/// What a key of this kind can sign with.
fn possible(parameters: &AlgorithmParameters) -> &'static [Algorithm] {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match parameters {
        AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[EdDSA],
        _ => &[],
    }
}
