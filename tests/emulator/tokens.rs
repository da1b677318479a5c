//! Tokens: the AWS SDK's own are accepted, and every kind of bad one is answered as DSQL does.

use std::time::{Duration, SystemTime};

use dsql_proxy::emulator::account::Account;
use dsql_proxy::emulator::verify::{AccessKey, Expectation, verify};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::Test;
use crate::client::{Failure, Session};
use crate::emulated::sdk_token;
use crate::ground::{Ground, TOKENS};

pub const TESTS: &[Test] = &[
    ("tokens::of_the_sdk_are_accepted", of_the_sdk_are_accepted),
    ("tokens::bad_ones_are_refused", bad_ones_are_refused),
    ("tokens::any_bit_counts", any_bit_counts),
    (
        "tokens::order_of_parameters_does_not_count",
        order_of_parameters_does_not_count,
    ),
    (
        "tokens::their_life_is_on_the_clock",
        their_life_is_on_the_clock,
    ),
    ("tokens::of_temporary_credentials", of_temporary_credentials),
    ("tokens::roles_need_a_mapping", roles_need_a_mapping),
    (
        "tokens::are_compared_in_constant_time",
        are_compared_in_constant_time,
    ),
];

const ADMIN: &[(&str, &str)] = &[("user", "admin"), ("database", "postgres")];
const DENIED: &str = "unable to accept connection, access denied";

/// FATAL 08006 with the reason in the HINT and nowhere else.
#[track_caller]
fn is_denied(failure: &Failure, hint: &str) {
    let shown = (
        failure.severity.as_str(),
        failure.sqlstate.as_str(),
        failure.message.as_str(),
    );
    assert_eq!(shown, ("FATAL", "08006", DENIED), "{failure}");
    assert!(failure.hint.starts_with(hint), "{failure}, not {hint}");
    assert!(
        !failure.hint.is_empty() && failure.detail.is_empty(),
        "{failure}"
    );
}

fn of_the_sdk_are_accepted(ground: &mut Ground) {
    ground.admin().run("SELECT 1");
    ground.set_up(&[
        "CREATE ROLE clerk WITH LOGIN",
        "AWS IAM GRANT clerk TO 'arn:aws:iam::123456789012:role/clerk'",
    ]);
    let mut clerk = ground.connect("clerk");
    assert_eq!(
        clerk.run("SELECT current_user").rows[0][0].as_deref(),
        Some("clerk")
    );
    let mapped = "SELECT arn, pg_role_name FROM sys.iam_pg_role_mappings";
    let rows = ground.admin().run(mapped).rows;
    let row = ["arn:aws:iam::123456789012:role/clerk", "clerk"].map(|text| Some(text.to_owned()));
    assert_eq!(rows, [row.to_vec()]);
    // Any life up to a week.
    for life in [1, 60, 604_800] {
        let token = ground.token_of(ground.emulator.account(), "admin", life, SystemTime::now());
        let session = Session::open(&ground.door, ADMIN, &token);
        assert!(life == 1 || session.is_ok(), "{life}");
    }
}

/// A token signed here from the published description, around whatever it says.
pub struct Forge {
    pub host: String,
    pub signed_host: String,
    pub method: &'static str,
    pub path: &'static str,
    pub payload: Option<&'static str>,
    /// Name and value, not yet encoded.
    pub parameters: Vec<(String, String)>,
    pub secret: String,
    pub day: String,
    pub region: String,
    pub service: &'static str,
}

impl Forge {
    /// What the SDK would make for `admin`.
    pub fn new(account: &Account, at: SystemTime) -> Self {
        let date = stamp(at);
        let day = date[..8].to_owned();
        let region = account.region.clone();
        let credential = format!("{}/{day}/{region}/dsql/aws4_request", account.access_key_id);
        let parameters = [
            ("Action", "DbConnectAdmin"),
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Date", &date),
            ("X-Amz-Expires", "900"),
            ("X-Amz-SignedHeaders", "host"),
        ];
        Self {
            host: account.endpoint.clone(),
            signed_host: account.endpoint.clone(),
            method: "GET",
            path: "/",
            payload: None,
            parameters: parameters
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .to_vec(),
            secret: account.secret_access_key.clone(),
            day,
            region,
            service: "dsql",
        }
    }

    pub fn set(mut self, name: &str, value: &str) -> Self {
        match self.parameters.iter_mut().find(|(known, _)| known == name) {
            Some(parameter) => value.clone_into(&mut parameter.1),
            None => self.parameters.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    fn add(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.parameters.retain(|(known, _)| known != name);
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub fn sign(&self) -> String {
        let mut pairs: Vec<String> = self
            .parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        pairs.sort();
        let query = pairs.join("&");
        let date = self
            .parameters
            .iter()
            .find(|(name, _)| name == "X-Amz-Date");
        let date = date.map_or("", |(_, date)| date.as_str());
        let Self {
            method,
            path,
            day,
            region,
            service,
            ..
        } = self;
        let empty = digest(b"");
        let payload = self.payload.unwrap_or(&empty);
        let request = format!(
            "{method}\n{path}\n{query}\nhost:{}\n\nhost\n{payload}",
            self.signed_host
        );
        let scope = format!("{day}/{region}/{service}/aws4_request");
        let text = format!(
            "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
            digest(request.as_bytes())
        );
        let mut key = mac(format!("AWS4{}", self.secret).as_bytes(), day);
        for part in [region.as_str(), service, "aws4_request", &text] {
            key = mac(&key, part);
        }
        format!("{}/?{query}&X-Amz-Signature={}", self.host, hex(&key))
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encode(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value
        .bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

fn stamp(at: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(at)
        .format("%Y%m%dT%H%M%SZ")
        .to_string()
}

/// Kinds of bad tokens for `admin`: what is wrong, the token, how its HINT begins.
pub fn bad_tokens(ground: &Ground) -> Vec<(&'static str, String, &'static str)> {
    let account = ground.emulator.account();
    let now = ground.now();
    let forge = || Forge::new(account, now);
    let good = forge().sign();
    // By the machine's clock, which makers of tokens go by; old by any clock.
    let ago = |seconds| SystemTime::now() - Duration::from_secs(seconds);
    let ahead = |seconds| now + Duration::from_secs(seconds);
    let sdk = |account: &Account, user: &str, at| sdk_token(account, user, 900, at, None);
    let other = |change: &dyn Fn(&mut Account)| {
        let mut other = account.clone();
        change(&mut other);
        sdk(&other, "admin", now)
    };
    let credential = |text: &str| forge().set("X-Amz-Credential", text).sign();
    let (key, day, region) = (&account.access_key_id, &stamp(now)[..8], &account.region);
    let yesterday = stamp(now - Duration::from_secs(86_400))[..8].to_owned();
    let signature = good.split_once("Signature=").unwrap().1;
    let swap = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    let malformed = "The token is malformed";
    let does_not_match = "The signature of the token does not match";
    vec![
        // Age.
        (
            "expired",
            sdk(account, "admin", ago(1000)),
            "Signature expired: ",
        ),
        (
            "expired a day ago",
            sdk(account, "admin", ago(86_400)),
            "Signature expired: ",
        ),
        (
            "short life, over",
            forge_at(account, ago(70)).set("X-Amz-Expires", "60").sign(),
            "Signature expired: ",
        ),
        (
            "from the future",
            sdk(account, "admin", ahead(400)),
            "Signature not yet current: ",
        ),
        (
            "from tomorrow",
            sdk(account, "admin", ahead(90_000)),
            "Signature not yet current: ",
        ),
        // Whose.
        (
            "action of a role",
            sdk(account, "someone", now),
            "Wrong user to action mapping. user: admin, action: DbConnect",
        ),
        (
            "other region",
            other(&|a| a.region = "eu-west-1".to_owned()),
            "The token was signed for another region",
        ),
        (
            "other host",
            other(&|a| a.endpoint = format!("x{}", a.endpoint)),
            "The token was signed for another endpoint",
        ),
        (
            "wrong access key",
            other(&|a| a.access_key_id = "EMULATEDNOBODY".to_owned()),
            "The access key of the token is not known",
        ),
        (
            "wrong secret",
            other(&|a| a.secret_access_key = "wrong".to_owned()),
            does_not_match,
        ),
        (
            "session token nobody gave",
            sdk_token(account, "admin", 900, now, Some("0123456789abcdefghijkl")),
            "The session token of the token is not valid",
        ),
        // Life.
        (
            "a second above a week",
            sdk_token(account, "admin", 604_801, now, None),
            "X-Amz-Expires must be less than a week (in seconds)",
        ),
        (
            "more than fits",
            forge().set("X-Amz-Expires", "99999999999999999999").sign(),
            "X-Amz-Expires must be less than a week (in seconds)",
        ),
        (
            "no life",
            forge().set("X-Amz-Expires", "0").sign(),
            malformed,
        ),
        (
            "negative life",
            forge().set("X-Amz-Expires", "-900").sign(),
            malformed,
        ),
        (
            "life in words",
            forge().set("X-Amz-Expires", "15m").sign(),
            malformed,
        ),
        // Signed, but not what is to be signed.
        (
            "other method",
            forge().with(|f| f.method = "POST").sign(),
            does_not_match,
        ),
        (
            "other path",
            forge().with(|f| f.path = "/x").sign(),
            does_not_match,
        ),
        (
            "unsigned payload",
            forge()
                .with(|f| f.payload = Some("UNSIGNED-PAYLOAD"))
                .sign(),
            does_not_match,
        ),
        (
            "port in the signed host",
            forge().with(|f| f.signed_host += ":5432").sign(),
            does_not_match,
        ),
        (
            "other day in the key",
            forge().with(|f| f.day.clone_from(&yesterday)).sign(),
            does_not_match,
        ),
        (
            "other service in the key",
            forge().with(|f| f.service = "rds-db").sign(),
            does_not_match,
        ),
        (
            "scope of another service",
            credential(&format!("{key}/{day}/{region}/rds-db/aws4_request")),
            "The token was signed for another service",
        ),
        (
            "scope of another day",
            credential(&format!("{key}/{yesterday}/{region}/dsql/aws4_request")),
            "The token was signed for another date",
        ),
        (
            "scope with another end",
            credential(&format!("{key}/{day}/{region}/dsql/aws5_request")),
            malformed,
        ),
        (
            "scope too short",
            credential(&format!("{key}/{day}/{region}/dsql")),
            malformed,
        ),
        (
            "scope without key",
            credential(&format!("/{day}/{region}/dsql/aws4_request")),
            malformed,
        ),
        (
            "other algorithm",
            forge()
                .set("X-Amz-Algorithm", "AWS4-ECDSA-P256-SHA256")
                .sign(),
            "The token was signed for another algorithm",
        ),
        (
            "more headers signed",
            forge().set("X-Amz-SignedHeaders", "host;x-amz-date").sign(),
            "The token was signed for another set of headers",
        ),
        (
            "unknown action",
            forge().set("Action", "GetCluster").sign(),
            malformed,
        ),
        (
            "action in small letters",
            forge().set("Action", "dbconnectadmin").sign(),
            malformed,
        ),
        (
            "not a date",
            forge().set("X-Amz-Date", "yesterday").sign(),
            malformed,
        ),
        (
            "no such date",
            forge().set("X-Amz-Date", "20260230T000000Z").sign(),
            malformed,
        ),
        // Parameters missing, doubled, unknown.
        ("no action", forge().without("Action").sign(), malformed),
        (
            "no algorithm",
            forge().without("X-Amz-Algorithm").sign(),
            malformed,
        ),
        (
            "no credential",
            forge().without("X-Amz-Credential").sign(),
            malformed,
        ),
        ("no date", forge().without("X-Amz-Date").sign(), malformed),
        (
            "no life given",
            forge().without("X-Amz-Expires").sign(),
            malformed,
        ),
        (
            "no headers",
            forge().without("X-Amz-SignedHeaders").sign(),
            malformed,
        ),
        (
            "no signature",
            good.split_once("&X-Amz-Signature").unwrap().0.to_owned(),
            malformed,
        ),
        (
            "doubled action",
            forge().add("Action", "DbConnectAdmin").sign(),
            malformed,
        ),
        (
            "two actions",
            forge().add("Action", "DbConnect").sign(),
            malformed,
        ),
        (
            "doubled signature",
            format!("{good}&X-Amz-Signature={signature}"),
            malformed,
        ),
        (
            "unknown parameter, signed",
            forge().add("X-Extra", "1").sign(),
            malformed,
        ),
        (
            "unknown parameter, not signed",
            format!("{good}&X-Extra=1"),
            malformed,
        ),
        // Changed after it was signed.
        (
            "action exchanged",
            swap("DbConnectAdmin", "DbConnect"),
            does_not_match,
        ),
        (
            "life extended",
            swap("X-Amz-Expires=900", "X-Amz-Expires=901"),
            does_not_match,
        ),
        (
            "signature of zeros",
            swap(signature, &"0".repeat(64)),
            does_not_match,
        ),
        (
            "signature in capitals",
            swap(signature, &signature.to_uppercase()),
            malformed,
        ),
        (
            "signature too short",
            good[..good.len() - 1].to_owned(),
            malformed,
        ),
        ("signature too long", format!("{good}0"), malformed),
        ("not percent-encoded", swap("%2F", "/"), malformed),
        ("broken encoding", swap("%2F", "%2"), malformed),
        // The form around it.
        ("scheme left on", format!("https://{good}"), malformed),
        ("port in the host", swap("/?", ":5432/?"), malformed),
        (
            "host in capitals",
            swap(&account.endpoint, &account.endpoint.to_uppercase()),
            malformed,
        ),
        ("a path", swap("/?", "/x?"), malformed),
        ("a fragment", format!("{good}#x"), malformed),
        ("space behind it", format!("{good} "), malformed),
        ("line end behind it", format!("{good}\n"), malformed),
        ("in quotes", format!("\"{good}\""), malformed),
        ("twice", format!("{good}{good}"), malformed),
        ("cut off", good[..good.len() / 2].to_owned(), malformed),
        ("empty", String::new(), malformed),
        (
            "a password",
            "correct horse battery staple".to_owned(),
            malformed,
        ),
        ("not ASCII", "pässwörd".to_owned(), malformed),
    ]
}

fn forge_at(account: &Account, at: SystemTime) -> Forge {
    Forge::new(account, at)
}

fn bad_ones_are_refused(ground: &mut Ground) {
    // The signer itself is right: else every case below would be refused for nothing.
    let good = Forge::new(ground.emulator.account(), ground.now()).sign();
    assert!(Session::open(&ground.door, ADMIN, &good).is_ok());
    let cases = bad_tokens(ground);
    assert!(cases.len() >= 30);
    for (what, token, hint) in &cases {
        let failure = ground.refusal(ADMIN, token);
        assert!(
            failure.hint.starts_with(hint) && failure.message == DENIED,
            "{what}: {failure}, not {hint}"
        );
        is_denied(&failure, hint);
        assert!(
            !failure.to_string().contains("Signature="),
            "{what}: {failure}"
        );
    }
    // A role's own kinds.
    let admin = ground.token("admin");
    let mapping = "Wrong user to action mapping. user: clerk, action: DbConnectAdmin";
    is_denied(&ground.refusal(&[("user", "clerk")], &admin), mapping);
    ground.admin().run("SELECT 1");
}

fn any_bit_counts(ground: &mut Ground) {
    let account = ground.emulator.account();
    let expectation = account.expectation();
    let good = Forge::new(account, ground.now()).sign();
    let check = |token: &[u8]| verify(token, "admin", &expectation, ground.now());
    assert_eq!(check(good.as_bytes()), Ok(()));
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut token = good.clone().into_bytes();
            token[at] ^= 1 << bit;
            // %2F and %2f are one character; nothing else has two spellings.
            let same = good.as_bytes()[at.saturating_sub(2)] == b'%'
                && token[at].eq_ignore_ascii_case(&good.as_bytes()[at]);
            assert_eq!(check(&token).is_ok(), same, "bit {bit} of byte {at}");
        }
    }
    // And over the wire, one bit of the signature.
    let (head, last) = good.split_at(good.len() - 1);
    let last = if last == "0" { "1" } else { "0" };
    is_denied(
        &ground.refusal(ADMIN, &format!("{head}{last}")),
        "The signature of the token",
    );
}

fn order_of_parameters_does_not_count(ground: &mut Ground) {
    let good = ground.token("admin");
    let (host, query) = good.split_once("/?").unwrap();
    let mut parts: Vec<&str> = query.split('&').collect();
    for turn in 0..parts.len() * 2 {
        parts.rotate_left(1);
        if turn == parts.len() {
            parts.reverse();
        }
        let token = format!("{host}/?{}", parts.join("&"));
        TOKENS.lock().unwrap().push(token.clone());
        let session = Session::open(&ground.door, ADMIN, &token);
        session.unwrap_or_else(|lost| panic!("{token}: {lost}"));
    }
}

fn their_life_is_on_the_clock(ground: &mut Ground) {
    let account = ground.emulator.account().clone();
    // As an SDK does, which knows nothing of the emulator's clock.
    let made = || sdk_token(&account, "admin", 900, SystemTime::now(), None);
    let open = |ground: &Ground, token: &str| Session::open(&ground.door, ADMIN, token);
    let token = made();
    ground.advance(880);
    let mut session = open(ground, &token).unwrap_or_else(|lost| panic!("{lost}"));
    ground.advance(60);
    is_denied(&ground.refusal(ADMIN, &token), "Signature expired: ");
    // It is checked at connect only.
    session.run("SELECT 1");
    // One that is made now is good, by either clock.
    assert!(open(ground, &made()).is_ok());
    ground.admin().run("SELECT 1");
    ground.advance(7200);
    assert!(open(ground, &made()).is_ok());
    TOKENS.lock().unwrap().push(token);
}

fn of_temporary_credentials(ground: &mut Ground) {
    let account = ground.emulator.account();
    let session_token = "IQoJb3JpZ2luX2VjEJ//////////wEaCXVzLWVhc3QtMSJ+=";
    let expectation = Expectation {
        keys: vec![AccessKey {
            id: account.access_key_id.clone(),
            secret: account.secret_access_key.clone(),
            session_token: Some(session_token.to_owned()),
        }],
        ..account.expectation()
    };
    let now = ground.now();
    let hint = |token: &str| {
        let checked = verify(token.as_bytes(), "admin", &expectation, now);
        checked.map_err(|refusal| refusal.hint())
    };
    let with = |session_token| sdk_token(account, "admin", 900, now, session_token);
    assert_eq!(hint(&with(Some(session_token))), Ok(()));
    let not_valid = Err("The session token of the token is not valid".to_owned());
    assert_eq!(hint(&with(None)), not_valid, "missing");
    assert_eq!(hint(&with(Some("another"))), not_valid);
    // Put in without being signed.
    let unsigned = format!(
        "{}&X-Amz-Security-Token={}",
        with(None),
        encode(session_token)
    );
    assert_eq!(
        hint(&unsigned),
        Err("The signature of the token does not match".to_owned())
    );
}

fn roles_need_a_mapping(ground: &mut Ground) {
    let arn = "arn:aws:iam::123456789012:role/clerk";
    ground.set_up(&["CREATE ROLE clerk WITH LOGIN", "CREATE ROLE staff"]);
    let refusal = |ground: &Ground, user: &str| {
        let token = ground.token(user);
        ground.refusal(&[("user", user), ("database", "postgres")], &token)
    };
    let fails = |ground: &Ground, user: &str| {
        let failure = refusal(ground, user);
        let shown = (
            failure.severity.as_str(),
            failure.sqlstate.as_str(),
            failure.message.as_str(),
        );
        let message = format!("IAM authentication failed for user \"{user}\"");
        assert_eq!(shown, ("FATAL", "08006", message.as_str()), "{failure}");
    };
    // Not mapped, without LOGIN, not there, the owner of the data.
    for user in ["clerk", "staff", "nobody_here", "postgres"] {
        fails(ground, user);
    }
    let mut admin = ground.admin();
    let grant = format!("AWS IAM GRANT staff TO '{arn}'");
    let failure = admin.refused(&grant);
    assert!(
        failure.message.contains("must have the LOGIN attribute"),
        "{failure}"
    );
    ground.set_up(&[format!("AWS IAM GRANT clerk TO '{arn}'")]);
    ground.connect("clerk").run("SELECT 1");
    ground.set_up(&[format!("AWS IAM REVOKE clerk FROM '{arn}'")]);
    fails(ground, "clerk");
}

/// Timing cannot be tested; that the comparison is the one made for it can.
fn are_compared_in_constant_time(_: &mut Ground) {
    let source = include_str!("../../src/emulator/verify.rs");
    let code = source.split("#[cfg(test)]").next().unwrap();
    assert!(code.contains("use subtle::ConstantTimeEq;"));
    assert!(code.contains("expected.ct_eq(&presented.signature)"));
    for careless in [
        "signature ==",
        "== presented.signature",
        "signature !=",
        "!= presented.signature",
    ] {
        assert!(!code.contains(careless), "{careless}");
    }
}
