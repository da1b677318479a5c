//! JSON web tokens in place of passwords (RFC 7519): whose they are, and what they say.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::Value;
use thiserror::Error;

use crate::config::jwks::{self, Key};
use crate::config::{self, TokenIssuer};

/// How far the clocks of issuer and proxy may be apart.
const LEEWAY: Duration = Duration::from_secs(30);

/// Keys of an issuer that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("tokens.{issuer}.keys_file: {problem}")]
pub struct TokenError {
    /// Name of the entry.
    pub issuer: String,
    /// A sentence for the operator.
    pub problem: String,
}

/// What a token that was verified says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    issuer: String,
    values: BTreeMap<String, String>,
    until: SystemTime,
}

impl Claims {
    /// Without a token, for the tests of what comes behind one.
    #[cfg(test)]
    pub(crate) fn assume(issuer: &str, claim: &str, value: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            values: [(claim.to_owned(), value.to_owned())].into(),
            until: SystemTime::now() + LEEWAY,
        }
    }

    /// Entry of `tokens` that vouches for them.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// A claim that is text or a whole number. Arrays name nobody in particular.
    #[must_use]
    pub fn get(&self, claim: &str) -> Option<&str> {
        self.values.get(claim).map(String::as_str)
    }

    /// When they no longer hold.
    #[must_use]
    pub fn until(&self) -> SystemTime {
        self.until
    }
}

/// Issuers by their names in the configuration.
#[derive(Default)]
pub(super) struct Issuers(HashMap<String, Issuer>);

struct Issuer {
    rules: TokenIssuer,
    keys: Vec<Key>,
}

impl Issuers {
    /// Reads all key files.
    pub(super) fn load(
        issuers: &BTreeMap<String, config::TokenIssuer>,
    ) -> Result<Self, TokenError> {
        let mut known = HashMap::with_capacity(issuers.len());
        for (name, rules) in issuers {
            let keys = jwks::read(&rules.keys_file).map_err(|problem| TokenError {
                issuer: name.clone(),
                problem,
            })?;
            let rules = rules.clone();
            known.insert(name.clone(), Issuer { rules, keys });
        }
        Ok(Self(known))
    }

    /// What the token says, when this issuer made it for us and for `user`.
    ///
    /// # Errors
    /// Why it is worth nothing, for the log; nothing of the token is in it.
    pub(super) fn verify(&self, issuer: &str, token: &str, user: &str) -> Result<Claims, String> {
        let known = self.0.get(issuer).ok_or("its issuer is not configured")?;
        let values = known.decode(token)?;
        let claims = Claims {
            issuer: issuer.to_owned(),
            until: expiry(&values)?,
            values: values.into_iter().filter_map(plain).collect(),
        };
        match &known.rules.user_claim {
            Some(claim) if claims.get(&claim.0) != Some(user) => {
                Err(format!("its claim {} is not the user", claim.0))
            }
            _ => Ok(claims),
        }
    }
}

impl Issuer {
    fn decode(&self, token: &str) -> Result<BTreeMap<String, Value>, String> {
        let header = decode_header(token).map_err(|error| why(error.kind()))?;
        // Extensions that must be understood (RFC 7515, 4.1.11): none is.
        if header.crit.is_some() {
            return Err("it has critical extensions".to_owned());
        }
        let named = |key: &&Key| header.kid.is_none() || key.id == header.kid;
        let fits = |key: &&Key| key.algorithms.contains(&header.alg);
        let mut reason = "no key of the issuer fits".to_owned();
        for key in self.keys.iter().filter(named).filter(fits) {
            match decode(token, &key.decoding, &self.validation(key)) {
                Ok(token) => return Ok(token.claims),
                Err(error) => reason = why(error.kind()),
            }
        }
        Err(reason)
    }

    fn validation(&self, key: &Key) -> Validation {
        let mut validation = Validation::default();
        validation.algorithms.clone_from(&key.algorithms);
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&self.rules.issuer.0]);
        validation.set_audience(&[&self.rules.audience.0]);
        validation
    }
}

fn expiry(values: &BTreeMap<String, Value>) -> Result<SystemTime, String> {
    let seconds = values.get("exp").and_then(Value::as_f64).unwrap_or(0.0);
    Duration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|since| since.checked_add(LEEWAY))
        .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since))
        .ok_or_else(|| "its expiry is no moment".to_owned())
}

fn plain((claim, value): (String, Value)) -> Option<(String, String)> {
    let text = match value {
        Value::String(text) => text,
        Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
        _ => return None,
    };
    Some((claim, text))
}

/// The library's own sentences may quote what was sent.
fn why(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::InvalidSignature => "its signature is wrong".to_owned(),
        ErrorKind::ExpiredSignature => "it has expired".to_owned(),
        ErrorKind::ImmatureSignature => "it is not valid yet".to_owned(),
        ErrorKind::InvalidIssuer => "another has issued it".to_owned(),
        ErrorKind::InvalidAudience => "it is meant for others".to_owned(),
        ErrorKind::MissingRequiredClaim(claim) => format!("it has no claim {claim}"),
        ErrorKind::InvalidClaimFormat(claim) => format!("its claim {claim} is malformed"),
        _ => "it is no token that can be verified".to_owned(),
    }
}
