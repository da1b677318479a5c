//! Tokens and certificates in place of passwords.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::*;
use crate::config::ListenTls;

const ISSUER: &str = "https://idp.example";
const AUDIENCE: &str = "dsql-proxy";
const FAR: (i32, u8, u8) = (2100, 1, 1);

/// An issuer's key, which its key set names.
struct Signer {
    key: KeyPair,
    id: &'static str,
}

impl Signer {
    fn new(id: &'static str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self { key, id }
    }

    fn public(&self) -> Value {
        // An uncompressed point: 4, x, y.
        let point = self.key.public_key_raw();
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id,
               "x": encoded(&point[1..33]), "y": encoded(&point[33..65])})
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_with(Header::new(Algorithm::ES256), claims)
    }

    fn sign_with(&self, mut header: Header, claims: &Value) -> String {
        header.kid = Some(self.id.to_owned());
        let key = EncodingKey::from_ec_der(&self.key.serialize_der());
        encode(&header, claims, &key).unwrap()
    }
}

fn encoded(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_secs()
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "exp": now() + 600, "sub": "fleet", "tenant_id": "acme", "level": 7})
}

/// Users `fleet` (token, claim `sub`), `any` (token, no claim) and `app`.
async fn token_host(signers: &[&Signer]) -> Host {
    let folder = Folder::new();
    let keys: Vec<Value> = signers.iter().map(|signer| signer.public()).collect();
    let file = folder.file("jwks.json");
    std::fs::write(&file, json!({"keys": keys}).to_string()).unwrap();
    let certificate = Certificate::new();
    let mut config = config();
    config.listen.tls = Some(folder.tls(&certificate));
    let issuer = |claim: Option<&str>| json!({"issuer": ISSUER, "audience": AUDIENCE, "keys_file": file, "user_claim": claim});
    let mut bound = issuer(Some("sub"));
    bound["user_claim"] = json!("sub");
    let mut free = issuer(None);
    free.as_object_mut().unwrap().remove("user_claim");
    config.tokens = serde_json::from_value(json!({"idp": bound, "free": free})).unwrap();
    for (name, issuer) in [("fleet", "idp"), ("any", "free")] {
        let user = json!({"name": name, "token": issuer, "databases": ["app"]});
        config.users.push(serde_json::from_value(user).unwrap());
    }
    Host::start(config, Some(certificate), folder, |_| {}).await
}

async fn show(host: &Host, user: &str, token: &str) -> (Client, JoinHandle<Arrival>) {
    let (mut client, arrival) = host.visit_tls().await;
    client.start(user, "app").await;
    let request = client.frame().await;
    assert_eq!(request, (b'R', vec![0, 0, 0, 3]), "a password is asked for");
    client.write(&password_message(token.as_bytes())).await;
    (client, arrival)
}

#[tokio::test]
async fn a_token_is_a_password_and_says_who_it_is() {
    let signer = Signer::new("one");
    let host = token_host(&[&signer]).await;
    for user in ["fleet", "any"] {
        let (mut client, arrival) = show(&host, user, &signer.sign(&claims())).await;
        assert_eq!(client.frame().await, (b'R', vec![0; 4]));
        let identity = identity(arrival).await;
        let shown = identity.claims().unwrap();
        assert_eq!(shown.issuer(), if user == "fleet" { "idp" } else { "free" });
        assert_eq!(shown.get("tenant_id"), Some("acme"));
        assert_eq!((shown.get("level"), shown.get("none")), (Some("7"), None));
        assert!(identity.until().unwrap() > SystemTime::now() + Duration::from_secs(500));
    }
    assert_eq!(host.gate.counters().logins_ok(Method::Token), 2);
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_not_told() {
    let (signer, other) = (Signer::new("one"), Signer::new("one"));
    let unknown = Signer::new("two");
    let host = token_host(&[&signer]).await;
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let mut critical = Header::new(Algorithm::ES256);
    critical.crit = Some(vec!["exp".to_owned()]);
    // The public key as the secret of a symmetric signature, which a library may fall for.
    let mut symmetric = Header::new(Algorithm::HS256);
    symmetric.kid = Some("one".to_owned());
    let secret = EncodingKey::from_secret(signer.key.public_key_raw());
    let good = signer.sign(&claims());
    let (head, tail) = good.rsplit_once('.').unwrap();
    let unsigned = format!(
        "{}.{}.",
        encoded(br#"{"alg":"none"}"#),
        encoded(claims().to_string().as_bytes())
    );
    let tokens = [
        ("signed by another", other.sign(&claims())),
        ("signed by an unknown key", unknown.sign(&claims())),
        ("not signed", unsigned),
        ("without its signature", format!("{head}.")),
        ("cut short", format!("{head}.{}", &tail[1..])),
        ("symmetric", encode(&symmetric, &claims(), &secret).unwrap()),
        ("critical", signer.sign_with(critical, &claims())),
        ("expired", signer.sign(&with("exp", json!(now() - 31)))),
        ("expiry is text", signer.sign(&with("exp", json!("never")))),
        ("expiry is beyond", signer.sign(&with("exp", json!(1e300)))),
        (
            "expiry is the last",
            signer.sign(&with("exp", json!(u64::MAX))),
        ),
        ("no expiry", signer.sign(&without("exp"))),
        ("not yet", signer.sign(&with("nbf", json!(now() + 120)))),
        (
            "issuer",
            signer.sign(&with("iss", json!("https://else.example"))),
        ),
        ("no issuer", signer.sign(&without("iss"))),
        ("audience", signer.sign(&with("aud", json!(["others"])))),
        ("no audience", signer.sign(&without("aud"))),
        ("another user", signer.sign(&with("sub", json!("app")))),
        ("no user", signer.sign(&without("sub"))),
        ("no token", "secret".to_owned()),
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
    ];
    let count = tokens.len() as u64;
    for (what, token) in tokens {
        // So that the throttle has nothing to say.
        host.gate
            .throttle
            .succeed(Peer::Inet("127.0.0.1:1".parse().unwrap()), "fleet");
        let (mut client, arrival) = show(&host, "fleet", &token).await;
        assert_eq!(client.error().await, bad_password("fleet"), "{what}");
        ended(arrival).await;
    }
    assert_eq!(host.gate.counters().logins_failed(Method::Token), count);
    assert_eq!(host.gate.counters().logins_ok(Method::Token), 0);
}

#[tokio::test]
async fn tokens_stay_inside_tls() {
    let signer = Signer::new("one");
    let host = token_host(&[&signer]).await;
    let (mut client, arrival) = host.visit().await;
    client.start("fleet", "app").await;
    let (code, message) = client.error().await;
    assert_eq!(code, "28000");
    assert!(message.contains("requires TLS"), "{message}");
    ended(arrival).await;
}

#[tokio::test]
async fn new_keys_come_with_a_reload() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let host = token_host(&[&old]).await;
    let file = host.folder.file("jwks.json");
    let mut config = config();
    let issuer = json!({"issuer": ISSUER, "audience": AUDIENCE, "keys_file": file});
    config.tokens = serde_json::from_value(json!({"idp": issuer})).unwrap();
    let user = json!({"name": "fleet", "token": "idp", "databases": ["app"]});
    config.users.push(serde_json::from_value(user).unwrap());

    std::fs::write(&file, json!({"keys": []}).to_string()).unwrap();
    assert!(
        host.gate.reload_users(&config).is_err(),
        "no keys, no reload"
    );
    let (mut client, arrival) = show(&host, "fleet", &old.sign(&claims())).await;
    assert_eq!(client.frame().await, (b'R', vec![0; 4]));
    identity(arrival).await;

    std::fs::write(&file, json!({"keys": [new.public()]}).to_string()).unwrap();
    host.gate.reload_users(&config).unwrap();
    let (mut client, arrival) = show(&host, "fleet", &old.sign(&claims())).await;
    assert_eq!(client.error().await, bad_password("fleet"));
    ended(arrival).await;
    let (mut client, arrival) = show(&host, "fleet", &new.sign(&claims())).await;
    assert_eq!(client.frame().await, (b'R', vec![0; 4]));
    identity(arrival).await;
}

/// Users `acme` (certificate of that name), `any` (of any name) and `app` (password).
async fn certificate_host(authority: &Certificate) -> Host {
    let folder = Folder::new();
    let file = folder.file("clients.pem");
    std::fs::write(&file, authority.certificate_pem()).unwrap();
    let certificate = Certificate::new();
    let mut config = config();
    config.listen.tls = Some(ListenTls {
        client_ca: Some(file),
        ..folder.tls(&certificate)
    });
    for (name, wanted) in [("acme", "acme.example"), ("any", "*")] {
        let user = json!({"name": name, "certificate": wanted, "databases": ["app"]});
        config.users.push(serde_json::from_value(user).unwrap());
    }
    Host::start(config, Some(certificate), folder, |_| {}).await
}

async fn come_with(
    host: &Host,
    own: Option<&Certificate>,
) -> (io::Result<Client>, JoinHandle<Arrival>) {
    let (mut client, arrival) = host.visit().await;
    client.write(&SSL_REQUEST).await;
    assert_eq!(client.byte().await, b'S');
    let server = host.certificate.as_ref().unwrap();
    (client.encrypt_as(server, &[], own).await, arrival)
}

#[tokio::test]
async fn a_certificate_is_a_login() {
    let authority = Certificate::authority();
    let host = certificate_host(&authority).await;
    let names: [(&[&str], &[&str]); 2] = [(&["acme.example"], &[]), (&["x"], &["acme.example"])];
    for (common, dns) in names {
        let own = authority.vouch(common, dns, FAR);
        for user in ["acme", "any"] {
            let (client, arrival) = come_with(&host, Some(&own)).await;
            let mut client = client.unwrap();
            client.start(user, "app").await;
            assert_eq!(
                client.frame().await,
                (b'R', vec![0; 4]),
                "{common:?} {user}"
            );
            let identity = identity(arrival).await;
            let subject = identity.certificate().unwrap();
            assert_eq!(subject.common_name(), Some(common[0]));
            assert_eq!(subject.dns_name(), dns.first().copied());
        }
    }
    assert_eq!(host.gate.counters().logins_ok(Method::Certificate), 4);

    // It is no login for those who have a password.
    let own = authority.vouch(&["app"], &[], FAR);
    let (client, arrival) = come_with(&host, Some(&own)).await;
    let mut client = client.unwrap();
    client.start("app", "app").await;
    let scram = client.prove("app", Some(host.end_point())).await;
    client.accept(scram).await;
    assert_eq!(identity(arrival).await.certificate(), None);
}

#[tokio::test]
async fn only_the_right_certificate_is_a_login() {
    let (authority, stranger) = (Certificate::authority(), Certificate::authority());
    let host = certificate_host(&authority).await;
    let (client, arrival) = come_with(&host, None).await;
    let mut client = client.unwrap();
    client.start("acme", "app").await;
    let (code, message) = client.error().await;
    assert_eq!(code, "28000");
    assert_eq!(message, "connection requires a valid client certificate");
    ended(arrival).await;

    let names: [&[&str]; 4] = [
        &["globex"],
        &[],
        &["acme.example", "globex"],
        &["acme.example\0"],
    ];
    for common in names {
        let own = authority.vouch(common, &[], FAR);
        let (client, arrival) = come_with(&host, Some(&own)).await;
        let mut client = client.unwrap();
        client.start("acme", "app").await;
        let refused = "certificate authentication failed for user \"acme\"";
        assert_eq!(
            client.error().await,
            ("28000".into(), refused.into()),
            "{common:?}"
        );
        ended(arrival).await;
    }

    let strangers = [
        stranger.vouch(&["acme.example"], &[], FAR),
        authority.vouch(&["acme.example"], &[], (2020, 1, 1)),
    ];
    for own in strangers {
        let (client, arrival) = come_with(&host, Some(&own)).await;
        // The handshake fails, which TLS 1.3 tells the client after its side of it.
        if let Ok(mut client) = client {
            let _ = client
                .0
                .write_all(&packet(0, &[("user", "acme"), ("database", "app")]))
                .await;
            assert_eq!(client.rest().await, b"");
        }
        ended(arrival).await;
    }
    assert_eq!(host.gate.counters().logins_ok(Method::Certificate), 0);
}
