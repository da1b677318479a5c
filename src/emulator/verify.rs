//! Verification of IAM tokens as Aurora DSQL does it: by signing again and comparing.
//!
//! A token is a SigV4 presigned `GET /` URL without its scheme. This check is written from the
//! published signature description and shares no code with the AWS SDK that makes the proxy's
//! tokens, so that one mistake cannot hide on both sides.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The longest life a token may ask for, in seconds: one week (AWS's limit for presigned URLs).
pub const MAX_EXPIRES: u64 = 604_800;
/// How far in the future a token may be dated, for clocks that disagree.
pub const MAX_SKEW: Duration = Duration::from_secs(300);
/// The user whose tokens must say `DbConnectAdmin`; every other user's say `DbConnect`.
pub const ADMIN: &str = "admin";

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// One access key of the emulated account.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// Access key id.
    pub id: String,
    /// Secret access key.
    pub secret: String,
    /// Session token of temporary credentials; the presented token must then carry it.
    pub session_token: Option<String>,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What a good token was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Endpoint name of the cluster, lower case, without port.
    pub host: String,
    /// AWS region of the cluster.
    pub region: String,
    /// Keys of the account.
    pub keys: Vec<AccessKey>,
}

/// Why a token was refused. Aurora DSQL tells the reason in the HINT only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Not `<host>/?<parameters>` in its strict form; says what is wrong.
    Malformed(&'static str),
    /// Signed for another endpoint.
    Host,
    /// Signed for another region, service or date, or with another algorithm; says which.
    Scope(&'static str),
    /// `X-Amz-Expires` is above [`MAX_EXPIRES`].
    ExpiresTooLong,
    /// No such access key in the account.
    UnknownKey,
    /// The session token is missing, not asked for, or another one.
    SessionToken,
    /// The signature is not that of the account's key.
    Signature,
    /// Dated more than [`MAX_SKEW`] in the future. Both moments in the form of `X-Amz-Date`.
    NotYetValid {
        /// Date of the token.
        signed: String,
        /// The verifier's clock.
        now: String,
    },
    /// Its time is over. Both moments in the form of `X-Amz-Date`.
    Expired {
        /// Last moment of the token.
        until: String,
        /// The verifier's clock.
        now: String,
    },
    /// The action does not belong to the user.
    Action {
        /// User that logs in.
        user: String,
        /// Action of the token.
        action: &'static str,
    },
}

impl Refusal {
    /// The HINT of the FATAL error; the client learns the reason from nothing else.
    ///
    /// `Signature expired`, `Wrong user to action mapping` and the week are Aurora DSQL's words as
    /// captured from live clusters; the others have no published capture and are this emulator's.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Malformed(what) => format!("The token is malformed: {what}"),
            Self::Host => "The token was signed for another endpoint".to_owned(),
            Self::Scope(what) => format!("The token was signed for another {what}"),
            Self::ExpiresTooLong => {
                "X-Amz-Expires must be less than a week (in seconds)".to_owned()
            }
            Self::UnknownKey => "The access key of the token is not known".to_owned(),
            Self::SessionToken => "The session token of the token is not valid".to_owned(),
            Self::Signature => "The signature of the token does not match".to_owned(),
            Self::NotYetValid { signed, now } => {
                format!("Signature not yet current: {signed} is later than {now} + 5 min")
            }
            Self::Expired { until, now } => {
                format!("Signature expired: {until} is now earlier than {now}")
            }
            Self::Action { user, action } => {
                format!("Wrong user to action mapping. user: {user}, action: {action}")
            }
        }
    }
}

/// Checks a token for a login of `user` at the moment `now`.
///
/// # Errors
/// The first thing found wrong. What only the holder of the key may learn (age, action) is told
/// only when the signature is good.
pub fn verify(
    token: &[u8],
    user: &str,
    expect: &Expectation,
    now: SystemTime,
) -> Result<(), Refusal> {
    verify_by(token, user, expect, &|_| now)
}

/// As [`verify`], at the moment that `clock` gives for the date of the token.
///
/// # Errors
/// As [`verify`].
pub fn verify_by(
    token: &[u8],
    user: &str,
    expect: &Expectation,
    clock: &dyn Fn(SystemTime) -> SystemTime,
) -> Result<(), Refusal> {
    let presented = Presented::read(token)?;
    if presented.host != expect.host {
        return Err(Refusal::Host);
    }
    let date = check_scope(&presented, &expect.region)?;
    let key = find_key(&presented, expect)?;
    check_signature(&presented, key, &expect.region)?;
    let now = clock(UNIX_EPOCH + Duration::from_secs(date));
    check_time(date, presented.expires, now)?;
    check_action(user, presented.action)
}

/// A token taken apart; every value is percent-decoded.
struct Presented<'a> {
    host: &'a str,
    action: &'static str,
    algorithm: String,
    credential: String,
    date: String,
    expires: u64,
    signed_headers: String,
    session_token: Option<String>,
    signature: [u8; 32],
    /// Canonical query string: everything but the signature, encoded anew, sorted.
    canonical: String,
}

impl<'a> Presented<'a> {
    fn read(token: &'a [u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(token).map_err(|_| Refusal::Malformed("it is not text"))?;
        let (host, query) = text
            .split_once("/?")
            .ok_or(Refusal::Malformed("it is not <host>/?<parameters>"))?;
        if host.is_empty() || !host.bytes().all(is_host_byte) {
            return Err(Refusal::Malformed("the host is not a plain name"));
        }
        let mut parameters = read_parameters(query)?;
        let signature = parameters
            .remove("X-Amz-Signature")
            .and_then(|hex| read_signature(&hex))
            .ok_or(Refusal::Malformed(
                "X-Amz-Signature is not 64 lower-case hex digits",
            ))?;
        let canonical = canonical_query(&parameters);
        let mut take = |name: &str, missing| {
            parameters
                .remove(name)
                .filter(|value| !value.is_empty())
                .ok_or(Refusal::Malformed(missing))
        };
        Ok(Self {
            host,
            action: read_action(&take("Action", "Action is missing")?)?,
            algorithm: take("X-Amz-Algorithm", "X-Amz-Algorithm is missing")?,
            credential: take("X-Amz-Credential", "X-Amz-Credential is missing")?,
            date: take("X-Amz-Date", "X-Amz-Date is missing")?,
            expires: read_expires(&take("X-Amz-Expires", "X-Amz-Expires is missing")?)?,
            signed_headers: take("X-Amz-SignedHeaders", "X-Amz-SignedHeaders is missing")?,
            session_token: parameters.remove("X-Amz-Security-Token"),
            signature,
            canonical,
        })
    }
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-')
}

const KNOWN: [&str; 8] = [
    "Action",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];

fn read_parameters(query: &str) -> Result<BTreeMap<&str, String>, Refusal> {
    let mut parameters = BTreeMap::new();
    for pair in query.split('&') {
        let (name, value) = pair
            .split_once('=')
            .ok_or(Refusal::Malformed("a parameter has no value"))?;
        if !KNOWN.contains(&name) {
            return Err(Refusal::Malformed("a parameter is unknown"));
        }
        if parameters.insert(name, decode(value)?).is_some() {
            return Err(Refusal::Malformed("a parameter is given twice"));
        }
    }
    Ok(parameters)
}

fn decode(value: &str) -> Result<String, Refusal> {
    const WRONG: Refusal = Refusal::Malformed("a value is not percent-encoded");
    let mut bytes = value.bytes();
    let mut out = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = bytes.next().and_then(hex_digit).ok_or(WRONG)?;
                let low = bytes.next().and_then(hex_digit).ok_or(WRONG)?;
                out.push(high << 4 | low);
            }
            other if is_unreserved(other) => out.push(other),
            _ => return Err(WRONG),
        }
    }
    String::from_utf8(out).map_err(|_| WRONG)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// RFC 3986, section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn canonical_query(parameters: &BTreeMap<&str, String>) -> String {
    let mut out = String::new();
    for (name, value) in parameters {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        for byte in value.bytes() {
            if is_unreserved(byte) {
                out.push(char::from(byte));
            } else {
                push_hex(&mut out, "%", byte, true);
            }
        }
    }
    out
}

fn push_hex(out: &mut String, before: &str, byte: u8, upper: bool) {
    // Writing into a String cannot fail.
    let _ = match upper {
        true => write!(out, "{before}{byte:02X}"),
        false => write!(out, "{before}{byte:02x}"),
    };
}

fn read_signature(hex: &str) -> Option<[u8; 32]> {
    let bytes: &[u8; 64] = hex.as_bytes().try_into().ok()?;
    if bytes.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(out)
}

fn read_action(value: &str) -> Result<&'static str, Refusal> {
    match value {
        "DbConnect" => Ok("DbConnect"),
        "DbConnectAdmin" => Ok("DbConnectAdmin"),
        _ => Err(Refusal::Malformed(
            "Action is neither DbConnect nor DbConnectAdmin",
        )),
    }
}

fn read_expires(value: &str) -> Result<u64, Refusal> {
    const WRONG: Refusal = Refusal::Malformed("X-Amz-Expires is not a positive number");
    if !value.bytes().all(|byte| byte.is_ascii_digit()) || value.starts_with('0') {
        return Err(WRONG);
    }
    match value.parse::<u64>() {
        Ok(seconds) if seconds <= MAX_EXPIRES => Ok(seconds),
        // All digits and still no u64: too large a number.
        _ => Err(Refusal::ExpiresTooLong),
    }
}

/// Checks algorithm, signed headers and credential scope; gives the date in seconds since 1970.
fn check_scope(presented: &Presented<'_>, region: &str) -> Result<u64, Refusal> {
    if presented.algorithm != ALGORITHM {
        return Err(Refusal::Scope("algorithm"));
    }
    if presented.signed_headers != "host" {
        return Err(Refusal::Scope("set of headers"));
    }
    let date = parse_date(&presented.date).ok_or(Refusal::Malformed("X-Amz-Date is not a date"))?;
    let scope = Scope::read(&presented.credential)?;
    if !presented.date.starts_with(scope.day) || scope.day.len() != 8 {
        return Err(Refusal::Scope("date"));
    }
    if scope.region != region {
        return Err(Refusal::Scope("region"));
    }
    if scope.service != "dsql" {
        return Err(Refusal::Scope("service"));
    }
    Ok(date)
}

struct Scope<'a> {
    key: &'a str,
    day: &'a str,
    region: &'a str,
    service: &'a str,
}

impl<'a> Scope<'a> {
    fn read(credential: &'a str) -> Result<Self, Refusal> {
        let mut parts = credential.split('/');
        let mut next = || parts.next().filter(|part| !part.is_empty());
        match (next(), next(), next(), next(), next(), next()) {
            (Some(key), Some(day), Some(region), Some(service), Some("aws4_request"), None)
                if !credential.ends_with('/') =>
            {
                Ok(Self {
                    key,
                    day,
                    region,
                    service,
                })
            }
            _ => Err(Refusal::Malformed(
                "X-Amz-Credential is not <key>/<day>/<region>/dsql/aws4_request",
            )),
        }
    }
}

fn find_key<'a>(
    presented: &Presented<'_>,
    expect: &'a Expectation,
) -> Result<&'a AccessKey, Refusal> {
    let scope = Scope::read(&presented.credential)?;
    let key = expect
        .keys
        .iter()
        .find(|key| key.id == scope.key)
        .ok_or(Refusal::UnknownKey)?;
    let same = match (&key.session_token, &presented.session_token) {
        (None, None) => true,
        (Some(known), Some(given)) => known.as_bytes().ct_eq(given.as_bytes()).into(),
        _ => false,
    };
    if same {
        Ok(key)
    } else {
        Err(Refusal::SessionToken)
    }
}

fn check_signature(
    presented: &Presented<'_>,
    key: &AccessKey,
    region: &str,
) -> Result<(), Refusal> {
    let expected = sign(presented, &key.secret, region)?;
    if expected.ct_eq(&presented.signature).into() {
        Ok(())
    } else {
        Err(Refusal::Signature)
    }
}

fn sign(presented: &Presented<'_>, secret: &str, region: &str) -> Result<[u8; 32], Refusal> {
    let request = format!(
        "GET\n/\n{}\nhost:{}\n\nhost\n{}",
        presented.canonical,
        presented.host,
        hex(&Sha256::digest(b""))
    );
    let day = presented.date.get(..8).unwrap_or_default();
    let text = format!(
        "{ALGORITHM}\n{}\n{day}/{region}/dsql/aws4_request\n{}",
        presented.date,
        hex(&Sha256::digest(request.as_bytes()))
    );
    let mut key = mac(format!("AWS4{secret}").as_bytes(), day)?;
    for part in [region, "dsql", "aws4_request", &text] {
        key = mac(&key, part)?;
    }
    Ok(key)
}

fn mac(key: &[u8], text: &str) -> Result<[u8; 32], Refusal> {
    // HMAC takes keys of any length; the error exists for other constructions.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| Refusal::Signature)?;
    mac.update(text.as_bytes());
    Ok(mac.finalize().into_bytes().into())
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        push_hex(&mut out, "", *byte, false);
    }
    out
}

fn check_time(date: u64, expires: u64, now: SystemTime) -> Result<(), Refusal> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if date > now + MAX_SKEW.as_secs() {
        return Err(Refusal::NotYetValid {
            signed: format_date(date),
            now: format_date(now),
        });
    }
    if now > date + expires {
        return Err(Refusal::Expired {
            until: format_date(date + expires),
            now: format_date(now),
        });
    }
    Ok(())
}

fn check_action(user: &str, action: &'static str) -> Result<(), Refusal> {
    if (user == ADMIN) == (action == "DbConnectAdmin") {
        return Ok(());
    }
    Err(Refusal::Action {
        user: user.to_owned(),
        action,
    })
}

/// Reads `YYYYMMDDTHHMMSSZ` (UTC); `None` unless it is a real moment from 1970 on.
fn parse_date(text: &str) -> Option<u64> {
    let bytes: &[u8; 16] = text.as_bytes().try_into().ok()?;
    if bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        bytes[range].iter().try_fold(0u64, |sum, byte| {
            byte.is_ascii_digit()
                .then(|| sum * 10 + u64::from(byte - b'0'))
        })
    };
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
    if hour > 23 || minute > 59 || second > 59 || year < 1970 {
        return None;
    }
    let days = days_of(year, month, day)?;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn month_days(year: u64, month: u64) -> Option<u64> {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if is_leap(year) { 29 } else { 28 }),
        _ => None,
    }
}

/// Days from 1970-01-01 to a date; `None` if there is no such day.
fn days_of(year: u64, month: u64, day: u64) -> Option<u64> {
    if day == 0 || day > month_days(year, month)? {
        return None;
    }
    let years: u64 = (1970..year)
        .map(|year| if is_leap(year) { 366 } else { 365 })
        .sum();
    let months: Option<u64> = (1..month).map(|month| month_days(year, month)).sum();
    Some(years + months? + day - 1)
}

/// Year, month and day of a moment, in UTC.
pub(super) fn civil_date(seconds: u64) -> (u64, u64, u64) {
    let mut days = seconds / 86_400;
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let mut month = 1;
    while let Some(length) = month_days(year, month).filter(|length| days >= *length) {
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

/// Writes a moment in the form of `X-Amz-Date`.
fn format_date(seconds: u64) -> String {
    let (year, month, day) = civil_date(seconds);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "test.dsql.us-east-1.on.aws";
    const DATE: &str = "20241107T173933Z";
    const USER_SIGNATURE: &str = "e319d85380261f643d78a558f76257f05aacea758a6ccd42a2510e2ae0854a47";
    const ADMIN_SIGNATURE: &str =
        "a08adc4c84a490014ce374b90c98ba9ed015b77b451c0d9f9fb3f8ca8c6f9c36";

    fn expectation() -> Expectation {
        Expectation {
            host: HOST.to_owned(),
            region: "us-east-1".to_owned(),
            keys: vec![
                AccessKey {
                    id: "access_key".to_owned(),
                    secret: "secret_key".to_owned(),
                    session_token: None,
                },
                AccessKey {
                    id: "temporary".to_owned(),
                    secret: "other_secret".to_owned(),
                    session_token: Some("a/b+c=".to_owned()),
                },
            ],
        }
    }

    fn moment(text: &str) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(parse_date(text).unwrap())
    }

    fn known(action: &str, signature: &str) -> String {
        format!(
            "{HOST}/?Action={action}&X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=access_key%2F20241107%2Fus-east-1%2Fdsql%2Faws4_request\
             &X-Amz-Date={DATE}&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
             &X-Amz-Signature={signature}"
        )
    }

    /// Signs whatever the token says, so that only the fault under test is wrong.
    fn signed(unsigned: &str, secret: &str, region: &str) -> String {
        let zero = "0".repeat(64);
        let whole = format!("{unsigned}&X-Amz-Signature={zero}");
        let presented = Presented::read(whole.as_bytes()).ok().unwrap();
        let signature = hex(&sign(&presented, secret, region).unwrap());
        format!("{unsigned}&X-Amz-Signature={signature}")
    }

    fn good_unsigned() -> String {
        let token = known("DbConnect", USER_SIGNATURE);
        token.split_once("&X-Amz-Signature").unwrap().0.to_owned()
    }

    fn check(token: &str, user: &str) -> Result<(), Refusal> {
        verify(token.as_bytes(), user, &expectation(), moment(DATE))
    }

    #[test]
    fn known_answers_are_accepted() {
        assert_eq!(
            check(&known("DbConnect", USER_SIGNATURE), "someone"),
            Ok(())
        );
        assert_eq!(
            check(&known("DbConnectAdmin", ADMIN_SIGNATURE), "admin"),
            Ok(())
        );
    }

    #[test]
    fn the_order_of_parameters_does_not_matter() {
        let token = known("DbConnect", USER_SIGNATURE);
        let (host, query) = token.split_once("/?").unwrap();
        let mut parts: Vec<&str> = query.split('&').collect();
        for _ in 0..parts.len() {
            parts.rotate_left(1);
            assert_eq!(check(&format!("{host}/?{}", parts.join("&")), "u"), Ok(()));
        }
    }

    #[test]
    fn lower_case_escapes_mean_the_same() {
        let token = known("DbConnect", USER_SIGNATURE).replace("%2F", "%2f");
        assert_eq!(check(&token, "u"), Ok(()));
    }

    #[test]
    fn a_session_token_is_part_of_the_signature() {
        let unsigned = good_unsigned().replace("access_key", "temporary");
        let with = format!("{unsigned}&X-Amz-Security-Token=a%2Fb%2Bc%3D");
        assert_eq!(
            check(&signed(&with, "other_secret", "us-east-1"), "u"),
            Ok(())
        );
        assert_eq!(
            check(&signed(&unsigned, "other_secret", "us-east-1"), "u"),
            Err(Refusal::SessionToken)
        );
    }

    #[test]
    fn bad_tokens_are_refused_with_their_reason() {
        type Change = Box<dyn Fn(&str) -> String>;
        let swap = |from: &'static str, to: &'static str| -> Change {
            Box::new(move |token: &str| {
                assert!(token.contains(from), "{from}");
                token.replacen(from, to, 1)
            })
        };
        let add =
            |tail: &'static str| -> Change { Box::new(move |token| format!("{token}{tail}")) };
        let malformed = |refusal: &Refusal| matches!(refusal, Refusal::Malformed(_));
        let is_host = |refusal: &Refusal| *refusal == Refusal::Host;
        let is_signature = |refusal: &Refusal| *refusal == Refusal::Signature;
        let is_scope = |refusal: &Refusal| matches!(refusal, Refusal::Scope(_));
        let too_long = |refusal: &Refusal| *refusal == Refusal::ExpiresTooLong;
        let unknown_key = |refusal: &Refusal| *refusal == Refusal::UnknownKey;
        let session = |refusal: &Refusal| *refusal == Refusal::SessionToken;
        type Wanted<'a> = &'a dyn Fn(&Refusal) -> bool;
        // Changes to a token that was good, its signature kept.
        let cases: Vec<(Change, Wanted)> = vec![
            (Box::new(|_| String::new()), &malformed),
            (Box::new(|_| "password".to_owned()), &malformed),
            (Box::new(|_| "/?".to_owned()), &malformed),
            (Box::new(|_| format!("{HOST}/?")), &malformed),
            (Box::new(|token| format!("https://{token}")), &malformed),
            (swap("test.", "test:5432."), &malformed),
            (swap(".aws/?", ".aws:5432/?"), &malformed),
            (swap(".aws/?", ".aws/x?"), &malformed),
            (swap(".aws/?", ".aws?"), &malformed),
            (swap(".aws/?", ".aws//?"), &malformed),
            (swap("test.", "Test."), &malformed),
            (swap("test.", "user@test."), &malformed),
            (swap("test.", "other."), &is_host),
            (
                swap("Action=DbConnect", "Action=DbConnectAdmin"),
                &is_signature,
            ),
            (swap("Action=DbConnect", "Action=dbconnect"), &malformed),
            (swap("Action=DbConnect", "Action=GetCluster"), &malformed),
            (swap("Action=DbConnect", "Action="), &malformed),
            (swap("Action=DbConnect", "Action"), &malformed),
            (swap("Action=DbConnect&", ""), &malformed),
            (swap("Action=DbConnect&", "&"), &malformed),
            (add("&Action=DbConnect"), &malformed),
            (add("&X-Amz-Expires=900"), &malformed),
            (add("&x-amz-expires=900"), &malformed),
            (add("&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD"), &malformed),
            (add("&"), &malformed),
            (add(" "), &malformed),
            (add("#x"), &malformed),
            (add("%"), &malformed),
            (add("%2"), &malformed),
            (add("%zz"), &malformed),
            (add("%00"), &malformed),
            (
                swap("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
                &is_scope,
            ),
            (swap("Headers=host", "Headers=host%3Bx"), &is_scope),
            (swap("Headers=host", "Headers=HOST"), &is_scope),
            (swap("%2F20241107", "%2F20241108"), &is_scope),
            (swap("%2F20241107", "%2F2024110"), &is_scope),
            (swap("us-east-1%2F", "eu-west-1%2F"), &is_scope),
            (swap("%2Fdsql%2F", "%2Frds-db%2F"), &is_scope),
            (swap("aws4_request", "aws5_request"), &malformed),
            (swap("aws4_request", "aws4_request%2F"), &malformed),
            (swap("access_key%2F", "%2F"), &malformed),
            (swap("access_key", "nobody"), &unknown_key),
            (swap("access_key", "temporary"), &session),
            (add("&X-Amz-Security-Token=x"), &session),
            (add("&X-Amz-Security-Token=a+b"), &malformed),
            (swap("T173933Z", "T173934Z"), &is_signature),
            (swap("T173933Z", "T243933Z"), &malformed),
            (swap("T173933Z", "T173933"), &malformed),
            (
                swap("X-Amz-Date=20241107", "X-Amz-Date=20241307"),
                &malformed,
            ),
            (swap("Expires=900", "Expires=901"), &is_signature),
            (swap("Expires=900", "Expires=604800"), &is_signature),
            (swap("Expires=900", "Expires=604801"), &too_long),
            (
                swap("Expires=900", "Expires=99999999999999999999999"),
                &too_long,
            ),
            (swap("Expires=900", "Expires=0"), &malformed),
            (swap("Expires=900", "Expires=0900"), &malformed),
            (swap("Expires=900", "Expires=-900"), &malformed),
            (swap("Expires=900", "Expires=%2B900"), &malformed),
            (swap("Signature=e3", "Signature=e4"), &is_signature),
            (swap("Signature=e3", "Signature=E3"), &malformed),
            (swap("Signature=e3", "Signature=e"), &malformed),
            (swap("Signature=e3", "Signature=zz"), &malformed),
        ];
        let good = known("DbConnect", USER_SIGNATURE);
        for (change, wanted) in cases {
            let token = change(&good);
            let refusal = check(&token, "u").expect_err(&token);
            assert!(wanted(&refusal), "{token}: {refusal:?}");
        }
    }

    #[test]
    fn well_signed_tokens_are_refused_for_what_they_say() {
        let key = |token: &str| signed(token, "secret_key", "us-east-1");
        assert_eq!(
            check(&signed(&good_unsigned(), "wrong", "us-east-1"), "u"),
            Err(Refusal::Signature)
        );
        let admin = key(&good_unsigned().replace("DbConnect", "DbConnectAdmin"));
        assert_eq!(
            check(&admin, "app").map_err(|refusal| refusal.hint()),
            Err("Wrong user to action mapping. user: app, action: DbConnectAdmin".to_owned())
        );
        assert_eq!(
            check(&key(&good_unsigned()), "admin").map_err(|refusal| refusal.hint()),
            Err("Wrong user to action mapping. user: admin, action: DbConnect".to_owned())
        );
        let other_region = good_unsigned().replace("us-east-1%2F", "eu-west-1%2F");
        assert_eq!(
            check(&signed(&other_region, "secret_key", "eu-west-1"), "u"),
            Err(Refusal::Scope("region"))
        );
    }

    #[test]
    fn time_has_two_ends() {
        let token = known("DbConnect", USER_SIGNATURE);
        let at = |offset: i64| {
            let base = i64::try_from(parse_date(DATE).unwrap()).unwrap();
            let now = UNIX_EPOCH + Duration::from_secs((base + offset).unsigned_abs());
            verify(token.as_bytes(), "u", &expectation(), now)
        };
        assert_eq!(at(-300), Ok(()));
        assert!(matches!(at(-301), Err(Refusal::NotYetValid { .. })));
        assert_eq!(at(900), Ok(()));
        let late = at(901).expect_err("expired").hint();
        assert_eq!(
            late,
            "Signature expired: 20241107T175433Z is now earlier than 20241107T175434Z"
        );
    }

    #[test]
    fn dates_are_read_and_written() {
        for (text, seconds) in [
            ("19700101T000000Z", Some(0)),
            ("20000229T000000Z", Some(951_782_400)),
            ("20241107T173933Z", Some(1_731_001_173)),
            ("20230229T000000Z", None),
            ("20240431T000000Z", None),
            ("20240400T000000Z", None),
            ("20241107T175960Z", None),
            ("20241107t173933Z", None),
            ("19691231T235959Z", None),
            ("+0241107T173933Z", None),
        ] {
            assert_eq!(parse_date(text), seconds, "{text}");
            if let Some(seconds) = seconds {
                assert_eq!(format_date(seconds), text);
            }
        }
    }
}
