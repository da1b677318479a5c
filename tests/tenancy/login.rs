//! Sessions whose tenant is not that of their user's entry.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::json;

use crate::client::Login;
use crate::ground::{self, POLICY};
use crate::proxy;
use crate::wire::policy_file;

#[test]
fn a_user_of_several_tenants_chooses_one() {
    let _ground = ground::open();
    let file = policy_file();
    let proxy = proxy::plan()
        .tenancy("bare", &file)
        .user(&format!(
            "name: broker, password: \"{}\", tenants: [\"1\", \"2\"]",
            proxy::verifier("broker")
        ))
        .start();
    let broker = || Login::new("broker", "bare");
    let option = |tenant: &str| format!("-c dsqlproxy.tenant={tenant}");
    for tenant in ["1", "2"] {
        let mut client = proxy
            .login(&broker().with("options", &option(tenant)))
            .expect(tenant);
        let seen = client.scalar("SELECT string_agg(DISTINCT tenant_id::text, ',') FROM orders");
        assert_eq!(seen, tenant);
    }
    for refused in [broker().with("options", &option("3")), broker()] {
        let error = proxy.login(&refused).err().expect("no tenant");
        assert_eq!(error.sqlstate(), "28000");
    }
}

#[test]
fn a_connection_of_its_own_serves_one_tenant() {
    let _ground = ground::open();
    let file = policy_file();
    const CONNECTS: &str = "dsqlproxy_server_connects_total";
    // Three times another tenant has its turn.
    for (apart, opened) in [(true, 3.0), (false, 0.0)] {
        let mut plan = proxy::plan()
            .tenancy("bare", &file)
            .size(1)
            .pool("per_tenant", apart);
        for tenant in ["1", "2"] {
            plan = plan.user(&format!(
                "name: tenant_{tenant}, password: \"{}\", tenant: \"{tenant}\"",
                proxy::verifier(&format!("tenant_{tenant}"))
            ));
        }
        let proxy = plan.start();
        let login = |tenant: &str| {
            let user = format!("tenant_{tenant}");
            proxy.login(&Login::new(&user, "bare").password(&user))
        };
        let (mut one, mut two) = (login("1").expect("a tenant"), login("2").expect("a tenant"));
        let count = |client: &mut crate::client::Client| {
            client.scalar("SELECT string_agg(DISTINCT tenant_id::text, ',') FROM orders")
        };
        assert_eq!(count(&mut one), "1");
        let before = proxy.metrics().sum(CONNECTS, &[]);
        assert_eq!(count(&mut one), "1");
        assert_eq!(
            proxy.metrics().sum(CONNECTS, &[]),
            before,
            "its own is used again"
        );
        assert_eq!(count(&mut two), "2");
        assert_eq!(count(&mut one), "1");
        assert_eq!(count(&mut two), "2");
        let more = proxy.metrics().sum(CONNECTS, &[]) - before;
        assert_eq!(more, opened, "per_tenant: {apart}");
    }
}

/// A key whose public half is in a file, as a key set.
fn signer() -> (KeyPair, PathBuf) {
    use base64::Engine;
    let key = KeyPair::generate().expect("a key");
    let encoded = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let point = key.public_key_raw();
    let public = json!({"kty": "EC", "crv": "P-256", "x": encoded(&point[1..33]), "y": encoded(&point[33..65])});
    let file = std::env::temp_dir().join(format!("dsql-proxy-keys-{}.json", std::process::id()));
    std::fs::write(&file, json!({"keys": [public]}).to_string()).expect("a file");
    (key, file)
}

#[test]
fn a_claim_names_the_tenant_until_the_token_ends() {
    let _ground = ground::open();
    let file = policy_file();
    let rules = "tenant:\n  resolve: [jwt]\n  jwt: {issuer: idp, claim: tenant_id}\n";
    let policy = POLICY.replacen("tenant:\n", rules, 1);
    assert_ne!(policy, POLICY);
    std::fs::write(&file, policy).expect("a file");
    let (key, keys) = signer();
    let proxy = proxy::plan()
        .tls()
        .tenancy("bare", &file)
        .user("name: fleet, token: idp")
        .section(&format!(
            "tokens: {{idp: {{issuer: i, audience: a, keys_file: \"{}\"}}}}",
            keys.display()
        ))
        .start();
    let login = |tenant: &serde_json::Value, left: i64| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let expiry = i64::try_from(now.as_secs()).expect("a moment") + left;
        let claims = json!({"iss": "i", "aud": "a", "exp": expiry, "tenant_id": tenant});
        let signing = EncodingKey::from_ec_der(&key.serialize_der());
        let token = encode(&Header::new(Algorithm::ES256), &claims, &signing).expect("a token");
        let login = Login {
            tls: Some(proxy.tls_config()),
            ..Login::new("fleet", "bare").password(&token)
        };
        proxy.login(&login)
    };
    for tenant in [1, 2] {
        let mut client = login(&json!(tenant), 600).expect("a tenant");
        let seen = client.scalar("SELECT string_agg(DISTINCT tenant_id::text, ',') FROM orders");
        assert_eq!(seen, tenant.to_string());
    }
    for none in [json!(null), json!(""), json!("01"), json!([1]), json!("*")] {
        let error = login(&none, 600).err().expect("no tenant");
        assert_eq!(error.sqlstate(), "28000", "{none}");
    }

    // Thirty seconds are given for clocks that differ; so two are left.
    let mut client = login(&json!(1), -28).expect("still good");
    let mut working = login(&json!(1), -28).expect("still good");
    working.run("BEGIN");
    let frames = client.until_closed().expect("an end");
    assert_eq!(frames.last().expect("a word").sqlstate(), "28000");
    // A transaction may end first.
    assert_eq!(working.scalar("SELECT 1"), "1");
    working.send(&crate::message::query("COMMIT"));
    let frames = working.until_closed().expect("an end");
    assert!(frames.iter().any(|frame| frame.tag == b'C'), "{frames:?}");
    assert_eq!(frames.last().expect("a word").sqlstate(), "28000");
}
