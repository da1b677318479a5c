use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reload::{compare, merge};
use super::*;

/// A configuration that is right; cases put lines in or in place.
const GOOD: &str = "\
listen: {address: '127.0.0.1:6432'}
clusters:
  main:
    kind: dsql
    endpoint: abc.dsql.us-east-1.on.aws
  plain:
    kind: postgres
    endpoint: 127.0.0.1:5432
databases:
  app: {cluster: main}
  bench: {cluster: plain, upstream_database: bench}
users:
  - {name: app, password: hunter2, databases: [app, bench]}
";

fn password_of(config: &Config) -> &str {
    config.users[0]
        .password
        .as_ref()
        .map_or("", |password| &password.0)
}

fn parse(text: &str) -> Result<Config, Vec<String>> {
    Config::parse(Path::new("/nowhere/p.yaml"), text).map_err(|problems| {
        let lines = problems.iter().map(ToString::to_string);
        lines.map(|line| line.replace("/nowhere/", "")).collect()
    })
}

fn errors(text: &str) -> Vec<String> {
    parse(text).err().unwrap_or_default()
}

/// `GOOD` with one text in place of another.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("dsql-proxy-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("temporary folder");
    folder
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("temporary file");
    path
}

#[test]
fn a_good_file_is_read_with_defaults() {
    let config = parse(GOOD).expect("right");
    assert_eq!(config.clusters["main"].user, Text("admin".to_owned()));
    assert_eq!(config.clusters["main"].pool, Pool::default());
    assert_eq!(config.databases["app"].dialect, Dialect::Compat);
    let secret = Secret("hunter2".to_owned());
    assert_eq!(config.users[0].password, Some(secret));
    assert_eq!(config.listen.login_timeout, Duration::from_secs(15));
    assert_eq!(config.admin, None);
    assert!(config.users[0].retry && Retry::default().insight_keys);
}

#[test]
fn the_example_file_is_right_and_shows_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/dsql-proxy.yaml");
    let config = Config::load(&path).expect("the example is right");
    assert_eq!(config.clusters["main"].pool, Pool::default());
    assert_eq!(config.auth, Auth::default());
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.log, Log::default());
    let bare = parse(GOOD).expect("right");
    assert_eq!(config.listen, bare.listen);
    assert_eq!(config.workers, bare.workers);
}

/// Every key of the example that is commented out is one the format knows.
#[test]
fn the_example_file_with_its_comments_opened_has_no_unknown_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/dsql-proxy.yaml");
    let text = std::fs::read_to_string(path).expect("the example");
    let keys = [
        "tls:",
        "  certificate:",
        "  private_key:",
        "  required:",
        "connect_to:",
        "region:",
    ];
    let more = [
        "credentials:",
        "  access_key_id:",
        "  secret_access_key:",
        "  session_token:",
    ];
    let last = ["ca_file:", "password:", "valid_until:"];
    let keys = [&keys[..], &more[..], &last[..]].concat();
    let mut opened = text;
    for key in keys {
        let commented = format!("# {key}");
        assert!(opened.contains(&commented), "{key} is not in the example");
        opened = opened.replace(&commented, key);
    }
    let errors = errors(&opened);
    assert!(!errors.is_empty(), "the files it names are not there");
    for error in errors {
        let files = error.contains("cannot read") || error.contains("is not set");
        let roots = error.contains("ca_file");
        assert!(files || roots, "{error}");
    }
}

#[test]
fn wrong_values_are_named_with_line_column_and_key() {
    let pool = |entry: &str| with("kind: dsql", &format!("kind: dsql\n    pool: {{{entry}}}"));
    let cases = [
        // The shape of the file.
        (String::new(), "p.yaml:1:1: the file is empty"),
        (
            format!("{GOOD}---\na: 1\n"),
            "p.yaml:14:1: a second document begins; write one",
        ),
        (
            "- a\n".to_owned(),
            "p.yaml:1:1: expected a section of keys, found a list",
        ),
        (
            with("databases:\n", "\tdatabases:\n"),
            "p.yaml:8:15: not valid YAML: while scanning a plain scalar, found a tab",
        ),
        // Keys.
        (
            with("kind: dsql", "kind: dsql\n    colour: red"),
            "p.yaml:5:5: clusters.main.colour: unknown key; known here: kind, endpoint, connect_to, region, user, password, tls, direct_tls, credentials, ca_file, pool",
        ),
        (
            with("    kind: dsql\n", "    kind: dsql\n    kind: postgres\n"),
            "p.yaml:5:5: clusters.main.kind: key given twice, first in line 4",
        ),
        (
            with("    kind: dsql\n", ""),
            "p.yaml:3:3: clusters.main.kind: missing",
        ),
        (
            with("listen: {address: '127.0.0.1:6432'}\n", ""),
            "p.yaml:1:1: listen: missing",
        ),
        (
            with("kind: dsql", "kind: dsql\n    pool:"),
            "p.yaml:5:5: clusters.main.pool: expected a section of keys, found nothing",
        ),
        // Values of the wrong kind.
        (
            with("kind: dsql", "kind: mysql"),
            "p.yaml:4:11: clusters.main.kind: unknown value: write dsql or postgres",
        ),
        (
            with("'127.0.0.1:6432'", "localhost"),
            "p.yaml:1:19: listen.address: invalid socket address syntax",
        ),
        (
            pool("size: many"),
            "p.yaml:5:18: clusters.main.pool.size: expected a whole number from 0 to 18446744073709551615",
        ),
        (
            pool("connect_rate: 4294967296"),
            "p.yaml:5:26: clusters.main.pool.connect_rate: expected a whole number from 0 to 4294967295",
        ),
        (
            pool("max_age: 5"),
            "p.yaml:5:21: clusters.main.pool.max_age: expected a whole number and ms, s, m or h, such as 5s",
        ),
        (
            with("databases: [app, bench]", "databases: app"),
            "p.yaml:13:47: users[0].databases: expected a list, found a single value",
        ),
        (
            with("databases: [app, bench]", "databases: [app], admin: yes"),
            "p.yaml:13:61: users[0].admin: expected true or false",
        ),
        (
            with("hunter2", "{vault: hunter2}"),
            "p.yaml:13:17: users[0].password: expected text, {env: NAME} or {file: PATH}, found a section",
        ),
        (
            with("hunter2", ""),
            "p.yaml:13:17: users[0].password: has no value; write one (in quotes if it is empty or begins with #) or remove the key",
        ),
        (
            with("hunter2", "{env: DSQL_PROXY_TEST_NO_SUCH_VARIABLE}"),
            "p.yaml:13:17: users[0].password: environment variable DSQL_PROXY_TEST_NO_SUCH_VARIABLE is not set",
        ),
        (
            with("hunter2", "{file: no-such-file}"),
            "p.yaml:13:17: users[0].password: cannot read no-such-file: No such file or directory (os error 2)",
        ),
        // Secrets that YAML takes for something else.
        (
            with("hunter2", "!hunter2"),
            "p.yaml:13:27: tags are not supported; quote a value that begins with !",
        ),
        (
            with("hunter2", "*hunter2"),
            "p.yaml:13:27: not valid YAML: while parsing node, found unknown anchor",
        ),
        (
            with("hunter2", "hunter2, x"),
            "p.yaml:13:36: users[0]: unknown key; known here: name, password, token, certificate, databases, admin, valid_until, retry, tenant, tenants, unrestricted",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(errors(&text), [expected], "{text}");
    }
}

#[test]
fn rules_across_keys() {
    let main = |line: &str| with("kind: dsql", &format!("kind: dsql\n    {line}"));
    let plain = |line: &str| with("kind: postgres", &format!("kind: postgres\n    {line}"));
    let user = |entry: &str| with("databases: [app, bench]", entry);
    let cases = [
        // Clusters.
        (
            main("password: hunter2"),
            "5:15: clusters.main.password: a dsql cluster takes IAM tokens, not passwords; remove it",
        ),
        (
            main("tls: require"),
            "5:10: clusters.main.tls: a dsql cluster is always verified; remove it (ca_file adds a root)",
        ),
        (
            main("region: eu-west-1"),
            "5:13: clusters.main.region: not the region in endpoint",
        ),
        (
            with("abc.dsql.us-east-1.on.aws", "db.example.com"),
            "5:15: clusters.main.endpoint: not of the form <id>.dsql.<region>.on.aws; write region beside it",
        ),
        (
            with("abc.dsql.us-east-1.on.aws", "/tmp"),
            "5:15: clusters.main.endpoint: a dsql cluster is reached by TLS over TCP, not by a unix socket",
        ),
        (
            with("abc.dsql.us-east-1.on.aws", "abc.dsql.us-east-1.on.aws:0"),
            "5:15: clusters.main.endpoint: a port is a number from 1 to 65535",
        ),
        (
            main("connect_to: /tmp"),
            "5:17: clusters.main.connect_to: expected host, host:port or [IPv6]:port",
        ),
        (
            main("user: ''"),
            "5:11: clusters.main.user: empty, or has a NUL byte",
        ),
        (
            main("pool: {size: 0}"),
            "5:18: clusters.main.pool.size: expected 1 or more",
        ),
        (
            main("pool: {min: 21}"),
            "5:17: clusters.main.pool.min: above size",
        ),
        (
            main("pool: {connect_rate: 0}"),
            "5:26: clusters.main.pool.connect_rate: expected 1 or more",
        ),
        (
            main("pool: {wait_timeout: 0}"),
            "5:26: clusters.main.pool.wait_timeout: expected more than 0",
        ),
        (
            main("pool: {max_age: 61m}"),
            "5:21: clusters.main.pool.max_age: DSQL ends connections after 60m; expected 60m or less",
        ),
        (
            main("ca_file: no-such-file"),
            "5:14: clusters.main.ca_file: cannot read no-such-file: No such file or directory (os error 2)",
        ),
        (
            main("credentials: {access_key_id: a, secret_access_key: ''}"),
            "5:56: clusters.main.credentials.secret_access_key: empty",
        ),
        (
            plain("region: us-east-1"),
            "8:13: clusters.plain.region: only a dsql cluster has it; remove it",
        ),
        (
            plain("credentials: {access_key_id: a, secret_access_key: b}"),
            "8:5: clusters.plain.credentials: only a dsql cluster has it; remove it",
        ),
        (
            plain("direct_tls: true"),
            "8:17: clusters.plain.direct_tls: needs tls: require or tls: verify-full",
        ),
        (
            with(
                "endpoint: 127.0.0.1:5432",
                "endpoint: /tmp\n    tls: require",
            ),
            "9:10: clusters.plain.tls: there is no TLS on a unix socket",
        ),
        // Databases.
        (
            with("cluster: main", "cluster: other"),
            "10:18: databases.app.cluster: not one of clusters",
        ),
        (
            with("cluster: main", "cluster: main, upstream_database: app"),
            "10:43: databases.app.upstream_database: a dsql cluster has one database, postgres",
        ),
        (
            with("  app: {", "  dsqlproxy: {cluster: main}\n  app: {"),
            "10:3: databases.dsqlproxy: the name of the console; choose another",
        ),
        // Users.
        (
            user("databases: [app, other]"),
            "13:53: users[0].databases[1]: not one of databases",
        ),
        (
            user("databases: [dsqlproxy]"),
            "13:48: users[0].databases[0]: the console is for users with admin: true; remove it",
        ),
        (
            with("password: hunter2", "admin: true"),
            "13:5: users[0]: needs one of password, token and certificate",
        ),
        (
            user("databases: [app], token: idp"),
            "13:5: users[0]: has more than one of password, token and certificate",
        ),
        (
            with("password: hunter2", "token: idp"),
            "13:24: users[0].token: not one of tokens",
        ),
        (
            with("password: hunter2", "certificate: app"),
            "13:30: users[0].certificate: nobody vouches for clients' certificates; write listen.tls.client_ca",
        ),
        (
            user("tenants: [a, a]"),
            "13:49: users[0].tenants[1]: empty, or there twice",
        ),
        (
            format!("{GOOD}  - {{name: app, password: x, admin: true}}\n"),
            "14:12: users[1].name: the same name as users[0]",
        ),
        (
            with("hunter2", "'SCRAM-SHA-256$4096:hunter2'"),
            "13:27: users[0].password: a verifier is SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, as hash-password prints it",
        ),
        (
            with("hunter2", "md5d41d8cd98f00b204e9800998ecf8427e"),
            "13:27: users[0].password: an md5 hash is no longer safe and not supported; use hash-password",
        ),
        (
            with("hunter2", "''"),
            "13:27: users[0].password: empty, or has a NUL byte",
        ),
        (
            user("databases: [app], valid_until: 2027-02-29"),
            "13:67: users[0].valid_until: expected a moment such as 2027-01-31T12:00:00Z",
        ),
        // Listeners and limits.
        (
            format!("{GOOD}admin: {{address: '127.0.0.1:6432'}}\n"),
            "14:18: admin.address: the same address as listen.address",
        ),
        (
            format!("{GOOD}admin: {{address: '0.0.0.0:6432'}}\n"),
            "14:18: admin.address: the same address as listen.address",
        ),
        (
            format!("{GOOD}auth: {{cleartext: true}}\n"),
            "14:19: auth.cleartext: passwords are taken as cleartext inside TLS only; write listen.tls",
        ),
        (
            format!("{GOOD}auth: {{max_failures: 0}}\n"),
            "14:22: auth.max_failures: expected 1 or more",
        ),
        (
            format!("{GOOD}limits: {{clients: 0}}\n"),
            "14:19: limits.clients: expected 1 or more",
        ),
        (
            format!("{GOOD}workers: 2000\n"),
            "14:10: workers: expected 1024 or fewer",
        ),
        (
            with("'127.0.0.1:6432'", "'127.0.0.1:6432', login_timeout: 0"),
            "1:52: listen.login_timeout: expected more than 0",
        ),
        (
            format!("{GOOD}log: {{level: '='}}\n"),
            "14:14: log.level: expected a level (error, warn, info, debug, trace) or a filter such as info,dsql_proxy::pool=debug",
        ),
        (
            with("cluster: main", "cluster: main, retry: {attempts: 11}"),
            "10:42: databases.app.retry.attempts: expected 10 or less",
        ),
        // Tenants.
        (
            with("cluster: main", "cluster: main, tenancy: shop"),
            "10:33: databases.app.tenancy: not one of tenancy",
        ),
        (
            user("databases: [app], tenant: acme"),
            "13:48: users[0].databases[0]: this database has no tenancy, which would bind the user to its tenant",
        ),
        (
            user("databases: [], tenant: ''"),
            "13:59: users[0].tenant: empty",
        ),
        (
            user("databases: [app], tenant: ~"),
            "13:54: users[0].tenant: has no value; write one (in quotes if it is empty or begins with #) or remove the key",
        ),
        (
            user("databases: [], tenant: acme, unrestricted: true"),
            "13:79: users[0].unrestricted: the user is bound to a tenant; remove one of the two",
        ),
        (
            format!("{GOOD}tenancy: {{shop: {{}}}}\n"),
            "14:11: tenancy.shop.file: missing",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(errors(&text), [format!("p.yaml:{expected}")], "{text}");
    }
}

/// A tenant's statements are proven as they are, and what sees columns as other types rewrites them.
#[test]
fn columns_are_kept_as_text_without_tenancy_alone() {
    let with_keys = |keys: &str| {
        let entry = format!("app: {{cluster: main, unstorable_columns: text, {keys}}}");
        let text = with("app: {cluster: main}", &entry);
        errors(&format!("{text}tenancy: {{shop: {{file: shop.yaml}}}}\n"))
    };
    let refusal =
        "databases.app.unstorable_columns: only with dialect: compat, and without tenancy";
    for (keys, refused) in [
        ("dialect: compat", false),
        ("dialect: compat, tenancy: shop", true),
        ("dialect: strict", true),
    ] {
        let found = with_keys(keys);
        let found = found.iter().any(|error| error.contains(refusal));
        assert_eq!(found, refused, "{keys}");
    }
}

#[test]
fn every_error_is_reported_at_once_in_the_order_of_the_file() {
    let text = "\
listen: {address: here, colour: red}
clusters:
  main: {kind: dsql, endpoint: abc.dsql.us-east-1.on.aws, pool: {size: 0}}
  other: {kind: mysql, endpoint: x}
databases:
  app: {cluster: main}
  b: {cluster: other}
  c: {cluster: none}
users:
  - {name: [x], password: y, databases: [app]}
  - {name: u, password: y, databases: [app, d]}
  - {name: u, password: y, databases: [app]}
";
    // `listen` cannot be read, so rules across keys are not looked at.
    let shape = [
        "p.yaml:1:19: listen.address: invalid socket address syntax",
        "p.yaml:1:25: listen.colour: unknown key; known here: address, tls, max_unauthenticated, login_timeout",
        "p.yaml:4:17: clusters.other.kind: unknown value: write dsql or postgres",
        "p.yaml:10:6: users[0].name: expected text, found a list",
    ];
    assert_eq!(errors(text), shape);
    let text = text.replace("here", "127.0.0.1:1");
    let all = [
        "p.yaml:1:32: listen.colour: unknown key; known here: address, tls, max_unauthenticated, login_timeout",
        "p.yaml:3:72: clusters.main.pool.size: expected 1 or more",
        "p.yaml:4:17: clusters.other.kind: unknown value: write dsql or postgres",
        "p.yaml:8:16: databases.c.cluster: not one of clusters",
        "p.yaml:10:6: users[0].name: expected text, found a list",
        "p.yaml:11:45: users[1].databases[1]: not one of databases",
        "p.yaml:12:12: users[2].name: the same name as users[1]",
    ];
    assert_eq!(errors(&text), all);
}

#[test]
fn a_file_that_is_not_there() {
    let problems = Config::load(Path::new("/no/such/file.yaml")).expect_err("not there");
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let expected = "/no/such/file.yaml: cannot read /no/such/file.yaml: \
                    No such file or directory (os error 2)";
    assert_eq!(lines, [expected]);
}

#[test]
fn text_from_files_and_the_environment() {
    let folder = scratch("values");
    write(&folder, "secret", "from a file \n");
    write(&folder, "crlf", "two\nlines\r\n");
    write(&folder, "empty", "\n");
    let text = with("hunter2", "{file: secret}")
        .replace(
            "endpoint: 127.0.0.1:5432",
            "endpoint: 127.0.0.1:5432\n    password: {file: crlf}",
        )
        // Cargo sets it for tests.
        .replace(
            "upstream_database: bench",
            "upstream_database: {env: CARGO_PKG_NAME}",
        );
    let path = write(&folder, "p.yaml", &text);
    let config = Config::load(&path).expect("right");
    assert_eq!(password_of(&config), "from a file ");
    assert_eq!(config.databases["bench"].upstream_database.0, "dsql-proxy");
    let password = config.clusters["plain"].password.clone();
    assert_eq!(password, Some(Secret("two\nlines".to_owned())));

    write(&folder, "p.yaml", &with("hunter2", "{file: empty}"));
    let problems = Config::load(&path).expect_err("an empty password");
    assert!(
        problems[0].message.ends_with("empty is empty"),
        "{}",
        problems[0]
    );
    std::fs::remove_dir_all(folder).expect("temporary folder");
}

#[test]
fn scalars_stay_as_they_are_written() {
    for password in ["007", "1e5", "no", "0x1F", "1.50", "2027-01-01"] {
        let config = parse(&with("hunter2", password)).expect("right");
        assert_eq!(password_of(&config), password);
    }
    let config = parse(&with("hunter2", "'null'")).expect("right");
    assert_eq!(password_of(&config), "null");
}

#[test]
fn anchors_work_and_bombs_do_not() {
    let shared = with("kind: dsql", "kind: dsql\n    pool: &pool {size: 3}")
        .replace("kind: postgres", "kind: postgres\n    pool: *pool");
    let config = parse(&shared).expect("right");
    assert_eq!(config.clusters["plain"].pool.size, 3);

    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    let errors = errors(&bomb);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].ends_with("too many values"), "{errors:?}");

    let deep = "a: ".to_owned() + &"[".repeat(1000) + &"]".repeat(1000);
    assert_eq!(super::tests::errors(&deep).len(), 1);
}

/// Puts a word that must not show in every place of a file, one after the other.
#[test]
fn no_value_shows_in_an_error_or_in_debug_output() {
    const WORD: &str = "Xyzzy-secret";
    let text = with("hunter2", "'Xyzzy-secret-password'")
        .replace("endpoint: 127.0.0.1:5432", "endpoint: 127.0.0.1:5432\n    password: Xyzzy-secret-other")
        .replace("kind: dsql", "kind: dsql\n    credentials: {access_key_id: id, secret_access_key: Xyzzy-secret-key, session_token: Xyzzy-secret-token}");
    let config = parse(&text).expect("right");
    let debug = format!("{config:?}");
    assert!(
        debug.contains("<secret>") && !debug.contains(WORD),
        "{debug}"
    );

    let values = [
        "'127.0.0.1:6432'",
        "dsql",
        "abc.dsql.us-east-1.on.aws",
        "main}",
        "[app, bench]",
        "hunter2",
    ];
    let forms = [
        "Xyzzy-secret",
        "'Xyzzy-secret",
        "!Xyzzy-secret",
        "*Xyzzy-secret",
        "&Xyzzy-secret",
        "#Xyzzy-secret",
        "{Xyzzy-secret}",
        "{a: Xyzzy-secret}",
        "[Xyzzy-secret]",
        "x, Xyzzy-secret",
        "@Xyzzy-secret",
        "%Xyzzy-secret",
        "'x' Xyzzy-secret",
        "Xyzzy-secret: y: z",
        "|Xyzzy-secret",
        "\"\\Xyzzy-secret\"",
    ];
    for value in values {
        for form in forms {
            let text = GOOD.replacen(value, form, 1);
            for error in errors(&text) {
                assert!(!error.contains(WORD), "{error}\n{text}");
            }
        }
    }
}

#[test]
fn certificates_are_read_and_compared_with_their_keys() {
    let folder = scratch("tls");
    let make =
        |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let (one, other) = (make("one"), make("other"));
    write(&folder, "one.crt", &one.cert.pem());
    write(&folder, "one.key", &one.signing_key.serialize_pem());
    write(&folder, "other.key", &other.signing_key.serialize_pem());
    write(&folder, "empty", "");
    write(
        &folder,
        "broken",
        "-----BEGIN CERTIFICATE-----\nXyzzy-secret\n-----END CERTIFICATE-----\n",
    );
    let cases = [
        ("one.crt", "one.key", None),
        (
            "one.crt",
            "other.key",
            Some("private_key: other.key is not the key of the certificate"),
        ),
        (
            "one.crt",
            "empty",
            Some("private_key: empty holds no private key"),
        ),
        (
            "one.crt",
            "one.crt",
            Some("private_key: one.crt holds no private key"),
        ),
        (
            "one.key",
            "one.key",
            Some("certificate: one.key holds no certificate"),
        ),
        (
            "broken",
            "one.key",
            Some("certificate: broken is not well-formed PEM"),
        ),
        (
            "none",
            "one.key",
            Some("certificate: cannot read none: No such file or directory (os error 2)"),
        ),
    ];
    for (certificate, key, expected) in cases {
        let tls =
            format!("'127.0.0.1:6432', tls: {{certificate: {certificate}, private_key: {key}}}");
        let path = write(&folder, "p.yaml", &with("'127.0.0.1:6432'", &tls));
        let found: Vec<String> = match Config::load(&path) {
            Ok(config) => {
                let tls = config.listen.tls.expect("read");
                assert_eq!(tls.certificate, folder.join("one.crt"));
                Vec::new()
            }
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        };
        let prefix = folder.join("").display().to_string();
        let found: Vec<String> = found.iter().map(|line| line.replace(&prefix, "")).collect();
        assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
        for (line, expected) in found.iter().zip(expected) {
            assert!(line.ends_with(&format!("listen.tls.{expected}")), "{line}");
        }
    }
    // Roots are read the same way.
    let ca = "kind: postgres\n    tls: verify-full\n    ca_file: ";
    for (file, right) in [("one.crt", true), ("empty", false), ("broken", false)] {
        let text = with("kind: postgres", &format!("{ca}{file}"));
        let path = write(&folder, "p.yaml", &text);
        assert_eq!(Config::load(&path).is_ok(), right, "{file}");
    }
    std::fs::remove_dir_all(folder).expect("temporary folder");
}

#[test]
fn reloads_tell_live_changes_from_others() {
    let old = parse(GOOD).expect("right");
    assert!(compare(&old, &old).is_empty());
    let text = with("hunter2", "hunter3")
        .replace("6432", "6430")
        .replace("kind: postgres", "kind: postgres\n    pool: {size: 3}")
        .replace("  app: {cluster", "  new: {cluster: main}\n  app: {cluster")
        + "  - {name: second, password: x, databases: [new]}\n\
           log: {level: debug, format: json}\nlimits: {clients: 5}\nworkers: 3\n";
    let new = parse(&text).expect("right");
    let changes = compare(&old, &new);
    assert_eq!(
        changes.live,
        [
            "users.app changed",
            "users.second added",
            "log.level changed"
        ]
    );
    assert_eq!(
        changes.restart,
        [
            "limits changed",
            "listen.address changed",
            "workers changed",
            "log.format changed",
            "clusters.plain changed",
            "databases.new added"
        ]
    );
    // What was merged differs from the old one in live keys and from the new one in others.
    let merged = merge(&old, &new);
    assert_eq!(compare(&old, &merged).live, changes.live);
    assert_eq!(compare(&old, &merged).restart, [""; 0]);
    assert_eq!(compare(&merged, &new).live, [""; 0]);
    assert_eq!(compare(&merged, &new).restart, changes.restart);
    let removed = compare(&new, &old);
    assert!(removed.live.contains(&"users.second removed".to_owned()));
    assert!(
        removed
            .restart
            .contains(&"databases.new removed".to_owned())
    );
}

#[test]
fn tls_keys_need_a_restart() {
    let mut old = parse(GOOD).expect("right");
    let mut new = old.clone();
    let tls = |certificate: &str| ListenTls {
        certificate: certificate.into(),
        private_key: "key".into(),
        required: false,
        client_ca: None,
    };
    new.listen.tls = Some(tls("a"));
    assert_eq!(compare(&old, &new).restart, ["listen.tls changed"]);
    assert_eq!(merge(&old, &new).listen.tls, None);
    old.listen.tls = Some(tls("b"));
    assert_eq!(compare(&old, &new).restart, ["listen.tls changed"]);
    assert_eq!(merge(&old, &new).listen.tls, old.listen.tls);
}

proptest::proptest! {
    /// Cuts a piece out of a good file and puts another in: always an answer, never a panic.
    #[test]
    fn damaged_files_are_answered(
        at in 0..GOOD.len(),
        cut in 0..20_usize,
        piece in "[-a-z0-9:{}\\[\\],&*!|>'\"%@#?~. \n\t\u{fe}-\u{ff}]{0,8}",
    ) {
        let end = (at + cut).min(GOOD.len());
        let text = format!("{}{piece}{}", &GOOD[..at], &GOOD[end..]);
        if let Err(problems) = Config::parse(Path::new("/nowhere/p.yaml"), &text) {
            proptest::prop_assert!(!problems.is_empty());
            for problem in problems {
                proptest::prop_assert!(problem.line > 0 && problem.column > 0, "{problem}");
            }
        }
    }
}
