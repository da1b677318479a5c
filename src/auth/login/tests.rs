mod shown;

use super::*;
use crate::auth::testing::{Certificate, Folder, config};
use crate::config::verifier::Verifier;
use crate::config::{Config, Secret, User as ConfigUser};
use crate::wire::backend::error_fields;
use crate::wire::frontend::{SSL_REQUEST, put_cancel};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;

const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];
/// No test may hang; a wait that long is a failure.
const PATIENCE: Duration = Duration::from_secs(30);

struct Host {
    gate: Arc<Gate>,
    listener: TcpListener,
    certificate: Option<Certificate>,
    folder: Folder,
}

impl Host {
    async fn plain(change: impl FnOnce(&mut Config)) -> Self {
        Self::start(config(), None, Folder::new(), change).await
    }

    async fn tls(change: impl FnOnce(&mut Config)) -> Self {
        let folder = Folder::new();
        let certificate = Certificate::new();
        let mut config = config();
        config.listen.tls = Some(folder.tls(&certificate));
        Self::start(config, Some(certificate), folder, change).await
    }

    async fn start(
        mut config: Config,
        certificate: Option<Certificate>,
        folder: Folder,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        change(&mut config);
        Self {
            gate: Arc::new(Gate::new(&config).unwrap()),
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            certificate,
            folder,
        }
    }

    /// A connected client and what becomes of it.
    async fn visit(&self) -> (Client, JoinHandle<Arrival>) {
        let address = self.listener.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let (socket, peer) = self.listener.accept().await.unwrap();
        client.set_nodelay(true).unwrap();
        let gate = Arc::clone(&self.gate);
        let arrival =
            tokio::spawn(
                async move { receive(Socket::Tcp(socket), Peer::Inet(peer), &gate).await },
            );
        (Client(Stream::Plain(Socket::Tcp(client))), arrival)
    }

    async fn visit_tls(&self) -> (Client, JoinHandle<Arrival>) {
        let (mut client, arrival) = self.visit().await;
        client.write(&SSL_REQUEST).await;
        assert_eq!(client.byte().await, b'S');
        (
            client
                .encrypt(self.certificate.as_ref().unwrap(), &[])
                .await
                .unwrap(),
            arrival,
        )
    }

    fn end_point(&self) -> ChannelBinding {
        ChannelBinding::tls_server_end_point(self.certificate.as_ref().unwrap().end_point())
    }
}

struct Client(Stream);

impl Client {
    async fn encrypt(self, certificate: &Certificate, alpn: &[&[u8]]) -> io::Result<Self> {
        self.encrypt_as(certificate, alpn, None).await
    }

    /// With a certificate of the client's own.
    async fn encrypt_as(
        self,
        certificate: &Certificate,
        alpn: &[&[u8]],
        own: Option<&Certificate>,
    ) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(vec![own.der().clone()], own.private_key())
                .unwrap(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let Stream::Plain(socket) = self.0 else {
            unreachable!()
        };
        let name = "localhost".try_into().unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(name, socket)
            .await?;
        Ok(Self(Stream::Client(Box::new(stream))))
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
        self.0.flush().await.unwrap();
    }

    async fn write_slowly(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write(&[*byte]).await;
            tokio::task::yield_now().await;
        }
    }

    async fn byte(&mut self) -> u8 {
        timeout(PATIENCE, self.0.read_u8()).await.unwrap().unwrap()
    }

    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let tag = self.byte().await;
        let length = self.0.read_u32().await.unwrap() as usize;
        let mut body = vec![0; length - 4];
        self.0.read_exact(&mut body).await.unwrap();
        (tag, body)
    }

    /// Everything up to the end of the connection; a reset counts as an end.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut rest))
            .await
            .unwrap();
        rest
    }

    /// SQLSTATE and message of the one error that ends the connection.
    async fn error(&mut self) -> (String, String) {
        let (tag, body) = self.frame().await;
        assert_eq!(tag, b'E', "{body:?}");
        let fields = error_fields(&body);
        assert!(fields.is_fatal());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let error = (text(fields.code), text(fields.message));
        assert_eq!(self.rest().await, b"", "nothing behind the error");
        error
    }

    async fn start(&mut self, user: &str, database: &str) {
        self.write(&packet(0, &[("user", user), ("database", database)]))
            .await;
    }

    /// Client's side of SCRAM up to its proof; expects the question next.
    async fn prove(&mut self, password: &str, binding: Option<ChannelBinding>) -> ScramSha256 {
        let (tag, offer) = self.frame().await;
        assert_eq!((tag, &offer[..4]), (b'R', &[0, 0, 0, 10][..]), "{offer:?}");
        self.prove_to(&offer, password, binding).await
    }

    async fn prove_to(
        &mut self,
        offer: &[u8],
        password: &str,
        binding: Option<ChannelBinding>,
    ) -> ScramSha256 {
        let plus = offer.ends_with(b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
        assert!(plus || &offer[4..] == b"SCRAM-SHA-256\0\0");
        assert!(plus || binding.is_none());
        let name = if binding.is_some() {
            "SCRAM-SHA-256-PLUS"
        } else {
            "SCRAM-SHA-256"
        };
        let binding = binding.unwrap_or_else(ChannelBinding::unsupported);
        let mut scram = ScramSha256::new(password.as_bytes(), binding);
        self.write(&initial(name, scram.message())).await;
        let (tag, body) = self.frame().await;
        assert_eq!((tag, &body[..4]), (b'R', &[0, 0, 0, 11][..]), "{body:?}");
        scram.update(&body[4..]).unwrap();
        let mut proof = Vec::new();
        put(&mut proof, b'p', &[scram.message()]);
        self.write(&proof).await;
        scram
    }

    async fn accept(&mut self, mut scram: ScramSha256) {
        let (tag, body) = self.frame().await;
        assert_eq!((tag, &body[..4]), (b'R', &[0, 0, 0, 12][..]), "{body:?}");
        scram.finish(&body[4..]).unwrap();
        assert_eq!(self.frame().await, (b'R', vec![0; 4]));
    }

    async fn log_in(&mut self, user: &str, database: &str, password: &str) {
        self.start(user, database).await;
        let scram = self.prove(password, None).await;
        self.accept(scram).await;
    }

    async fn fail(&mut self, user: &str, database: &str, password: &str) -> (String, String) {
        self.start(user, database).await;
        self.prove(password, None).await;
        self.error().await
    }
}

fn initial(name: &str, first: &[u8]) -> Vec<u8> {
    let length = u32::try_from(first.len()).unwrap().to_be_bytes();
    let mut out = Vec::new();
    put(&mut out, b'p', &[name.as_bytes(), b"\0", &length, first]);
    out
}

fn packet(minor: u16, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    crate::wire::frontend::put_startup(&mut out, parameters);
    out[6..8].copy_from_slice(&minor.to_be_bytes());
    out
}

fn password_message(password: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, b'p', &[password, b"\0"]);
    out
}

async fn identity(arrival: JoinHandle<Arrival>) -> Identity {
    session(arrival).await.1
}

async fn session(arrival: JoinHandle<Arrival>) -> (Stream, Identity) {
    match timeout(PATIENCE, arrival).await.unwrap().unwrap() {
        Arrival::Session { stream, identity } => (stream, identity),
        other => panic!("no session: {other:?}"),
    }
}

async fn ended(arrival: JoinHandle<Arrival>) {
    let arrival = timeout(PATIENCE, arrival).await.unwrap().unwrap();
    assert!(matches!(arrival, Arrival::Ended), "{arrival:?}");
}

fn bad_password(user: &str) -> (String, String) {
    (
        "28P01".into(),
        format!("password authentication failed for user \"{user}\""),
    )
}

#[tokio::test]
async fn a_login_gives_an_identity_and_leaves_later_bytes_alone() {
    let host = Host::plain(|_| {}).await;
    let (mut client, arrival) = host.visit().await;
    let parameters = [
        ("user", "app"),
        ("application_name", "t"),
        ("options", "-c search_path=x"),
    ];
    client.write(&packet(0, &parameters)).await;
    let mut scram = ScramSha256::new(b"app", ChannelBinding::unsupported());
    client.frame().await;
    client
        .write(&initial("SCRAM-SHA-256", scram.message()))
        .await;
    scram.update(&client.frame().await.1[4..]).unwrap();
    let mut proof = Vec::new();
    put(&mut proof, b'p', &[scram.message()]);
    proof.extend_from_slice(b"Q\0\0\0\x05\0");
    client.write(&proof).await;
    client.accept(scram).await;

    let (mut stream, identity) = session(arrival).await;
    assert_eq!((identity.user(), identity.database()), ("app", "app"));
    assert_eq!((identity.admin(), identity.minor()), (false, 0));
    let settings: Vec<_> = identity
        .parameters()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(settings, [("search_path", "x"), ("application_name", "t")]);
    let mut query = [0; 6];
    stream.read_exact(&mut query).await.unwrap();
    assert_eq!(&query, b"Q\0\0\0\x05\0");
    assert_eq!(host.gate.counters().logins_ok(Method::Scram), 1);
    assert_eq!(host.gate.counters().unauthenticated(), 0);
}

#[tokio::test]
async fn tls_logins_are_bound_to_the_certificate() {
    let host = Host::tls(|_| {}).await;
    let (mut client, arrival) = host.visit_tls().await;
    client.start("app", "app").await;
    let scram = client.prove("app", Some(host.end_point())).await;
    client.accept(scram).await;
    identity(arrival).await;

    let (mut client, arrival) = host.visit_tls().await;
    client.log_in("app", "app", "app").await;
    identity(arrival).await;

    let (mut client, arrival) = host.visit_tls().await;
    client.start("app", "app").await;
    let elsewhere = ChannelBinding::tls_server_end_point(Certificate::new().end_point());
    client.prove("app", Some(elsewhere)).await;
    assert_eq!(client.error().await.0, "28000");
    ended(arrival).await;

    let counters = host.gate.counters();
    assert_eq!(counters.logins_ok(Method::ScramPlus), 1);
    assert_eq!(counters.logins_ok(Method::Scram), 1);
    assert_eq!(counters.refused(), 1);
}

#[tokio::test]
async fn plain_connections_are_not_offered_a_binding() {
    let host = Host::tls(|_| {}).await;
    let (mut client, arrival) = host.visit().await;
    client.start("app", "app").await;
    let (_, offer) = client.frame().await;
    assert_eq!(offer, b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    let scram = client.prove_to(&offer, "app", None).await;
    client.accept(scram).await;
    identity(arrival).await;
}

#[tokio::test]
async fn a_certificate_without_binding_offers_plain_scram() {
    let mut host = Host::tls(|_| {}).await;
    let certificate = Certificate::ed25519();
    host.folder.tls(&certificate);
    host.certificate = Some(certificate);
    host.gate.reload_tls().unwrap();
    let (mut client, arrival) = host.visit_tls().await;
    client.start("app", "app").await;
    let (_, offer) = client.frame().await;
    assert_eq!(offer, b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    let scram = client.prove_to(&offer, "app", None).await;
    client.accept(scram).await;
    identity(arrival).await;
}

#[tokio::test]
async fn direct_tls_needs_the_protocol_name() {
    let host = Host::tls(|_| {}).await;
    let certificate = host.certificate.as_ref().unwrap();
    let (client, arrival) = host.visit().await;
    let mut client = client.encrypt(certificate, &[b"postgresql"]).await.unwrap();
    client.start("app", "app").await;
    let scram = client.prove("app", Some(host.end_point())).await;
    client.accept(scram).await;
    identity(arrival).await;

    let (client, arrival) = host.visit().await;
    let mut client = client.encrypt(certificate, &[]).await.unwrap();
    assert_eq!(client.rest().await, b"");
    ended(arrival).await;

    let (client, arrival) = host.visit().await;
    assert!(client.encrypt(certificate, &[b"http/1.1"]).await.is_err());
    ended(arrival).await;

    let plain = Host::plain(|_| {}).await;
    let (client, arrival) = plain.visit().await;
    assert!(client.encrypt(certificate, &[b"postgresql"]).await.is_err());
    ended(arrival).await;
}

#[tokio::test]
async fn required_tls_is_required() {
    let host = Host::tls(|config| config.listen.tls.as_mut().unwrap().required = true).await;
    let (mut client, arrival) = host.visit().await;
    client.start("app", "app").await;
    assert_eq!(client.error().await.0, "28000");
    ended(arrival).await;
    let (mut client, arrival) = host.visit_tls().await;
    client.log_in("app", "app", "app").await;
    identity(arrival).await;
}

#[tokio::test]
async fn a1_bytes_after_ssl_request_close_the_connection() {
    let host = Host::tls(|_| {}).await;
    let (mut client, arrival) = host.visit().await;
    let smuggled = packet(0, &[("user", "app")]);
    client.write(&[&SSL_REQUEST[..], &smuggled].concat()).await;
    assert_eq!(
        client.rest().await,
        b"",
        "not even an answer to the SSLRequest"
    );
    ended(arrival).await;
    assert_eq!(host.gate.counters().refused(), 1);
}

#[tokio::test]
async fn a1_bytes_after_the_answer_are_no_startup_packet() {
    let host = Host::tls(|_| {}).await;
    let (mut client, arrival) = host.visit().await;
    client.write(&SSL_REQUEST).await;
    assert_eq!(client.byte().await, b'S');
    client.write(&packet(0, &[("user", "app")])).await;
    let rest = client.rest().await;
    assert!(
        rest.is_empty() || rest[0] == 0x15,
        "closed or a TLS alert: {rest:?}"
    );
    ended(arrival).await;
}

#[tokio::test]
async fn a5_an_expired_user_is_refused_like_a_bad_password() {
    let host = Host::plain(|_| {}).await;
    let (mut client, arrival) = host.visit().await;
    assert_eq!(client.fail("old", "app", "old").await, bad_password("old"));
    ended(arrival).await;
    assert_eq!(host.gate.counters().logins_failed(Method::Scram), 1);
}

#[tokio::test]
async fn a17_unknown_user_database_and_password_look_the_same() {
    let host = Host::plain(|_| {}).await;
    for (user, database, password) in [
        ("app", "app", "wrong"),
        ("app", "no_such", "wrong"),
        ("ghost", "app", "x"),
        ("ghost", "no_such", "x"),
        ("app", "other", "wrong"),
        ("app", "dsqlproxy", "wrong"),
        ("old", "app", "old"),
    ] {
        let (mut client, arrival) = host.visit().await;
        client.start(user, database).await;
        let (_, offer) = client.frame().await;
        assert_eq!(offer, b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        client
            .write(&initial("SCRAM-SHA-256", scram.message()))
            .await;
        let (_, body) = client.frame().await;
        let first = String::from_utf8(body[4..].to_vec()).unwrap();
        let fields: Vec<_> = first.split(',').collect();
        assert_eq!(
            fields[1].len(),
            "s=".len() + 24,
            "a salt of 16 bytes: {first}"
        );
        assert_eq!(fields[2], "i=4096");
        scram.update(first.as_bytes()).unwrap();
        let mut proof = Vec::new();
        put(&mut proof, b'p', &[scram.message()]);
        client.write(&proof).await;
        assert_eq!(
            client.error().await,
            bad_password(user),
            "{user} {database}"
        );
        ended(arrival).await;
    }
    assert_eq!(host.gate.counters().logins_failed(Method::Scram), 7);
}

#[tokio::test]
async fn databases_are_checked_behind_the_password() {
    let host = Host::plain(|_| {}).await;
    for (user, database, expected) in [
        (
            "app",
            "no_such",
            ("3D000", "database \"no_such\" does not exist"),
        ),
        (
            "app",
            "other",
            ("42501", "permission denied for database \"other\""),
        ),
        (
            "app",
            "dsqlproxy",
            ("42501", "permission denied for database \"dsqlproxy\""),
        ),
        ("root", "", ("3D000", "database \"root\" does not exist")),
    ] {
        let (mut client, arrival) = host.visit().await;
        let (code, message) = client.fail(user, database, user).await;
        assert_eq!((code.as_str(), message.as_str()), expected);
        ended(arrival).await;
    }
    let (mut client, arrival) = host.visit().await;
    client.log_in("root", "dsqlproxy", "root").await;
    let identity = identity(arrival).await;
    assert_eq!((identity.user(), identity.database()), ("root", CONSOLE));
    assert!(identity.admin() && identity.entries().is_empty());
    assert_eq!(host.gate.counters().refused(), 4);
}

#[test]
fn a7_random_startup_packets_never_panic() {
    use rand::SeedableRng;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut understood = 0;
    for _ in 0..100_000 {
        let bytes = random_packet(&mut random);
        let word = *bytes.first_chunk::<4>().unwrap();
        let Ok(length) = startup::body_length(word) else {
            continue;
        };
        let body = &bytes[4..bytes.len().min(4 + length)];
        if let Ok(Startup::Start { parameters, .. }) = startup::parse(body) {
            understood += 1;
            let _ = parameters::unknown_options(&parameters);
            let _ = parameters::read(parameters);
        }
    }
    assert!(understood > 1000, "only {understood} were startup packets");
}

/// A good packet with some of its bytes changed, cut or added, or plain noise.
fn random_packet(random: &mut impl rand::Rng) -> Vec<u8> {
    let mut bytes = match random.random_range(0..5) {
        0 => packet(0, &[("user", "app"), ("options", "-c a=b --c=d")]),
        1 => packet(2, &[("user", "app"), ("replication", "x"), ("_pq_.a", "")]),
        2 => [&SSL_REQUEST[..], &packet(0, &[("user", "u")])].concat(),
        3 => {
            let mut out = Vec::new();
            put_cancel(&mut out, 1, &[1; 4]);
            out
        }
        _ => (0..random.random_range(4..64))
            .map(|_| random.random())
            .collect(),
    };
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..bytes.len());
        bytes[at] = random.random();
    }
    match random.random_range(0..6) {
        0 => bytes.truncate(random.random_range(4..=bytes.len())),
        1 => bytes.extend((0..random.random_range(0..32)).map(|_| random.random::<u8>())),
        _ => {}
    }
    bytes
}

#[tokio::test]
async fn a7_random_bytes_end_with_one_error_or_a_closed_socket() {
    use rand::SeedableRng;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let host = Host::plain(|_| {}).await;
    for round in 0..3000 {
        let (client, server) = UnixStream::pair().unwrap();
        let mut client = Client(Stream::Plain(Socket::Unix(client)));
        // The socket takes all of it at once, so the client can write, leave and read.
        client.write(&random_packet(&mut random)).await;
        client.0.shutdown().await.unwrap();
        let arrival = receive(Socket::Unix(server), Peer::Local, &host.gate);
        let arrival = timeout(PATIENCE, arrival).await.unwrap();
        assert!(!matches!(arrival, Arrival::Session { .. }), "round {round}");
        drop(arrival);
        let answer = client.rest().await;
        let errors = answer
            .windows(7)
            .filter(|window| window == b"SFATAL\0")
            .count();
        assert!(errors <= 1, "round {round}: {answer:?}");
    }
    assert_eq!(host.gate.counters().unauthenticated(), 0);
}

#[tokio::test]
async fn malformed_packets_have_their_codes() {
    let host = Host::plain(|_| {}).await;
    for (bytes, code) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "08P01"),
        (b"\0\0\0\x07\0\x03\0".to_vec(), "08P01"),
        (b"\0\0\0\x09\0\x02\0\0\0".to_vec(), "0A000"),
        (b"\0\0\0\x09\0\x03\0\0x".to_vec(), "08P01"),
        (packet(0, &[("database", "app")]), "28000"),
        (
            packet(0, &[("user", "app"), ("replication", "database")]),
            "0A000",
        ),
        (packet(0, &[("user", "app"), ("options", "-e")]), "22023"),
    ] {
        let (mut client, arrival) = host.visit().await;
        client.write(&bytes).await;
        assert_eq!(client.error().await.0, code, "{bytes:?}");
        ended(arrival).await;
    }
    assert_eq!(host.gate.counters().refused(), 7);
}

#[tokio::test]
async fn a21_text_that_is_not_utf8_is_refused_not_altered() {
    let host = Host::plain(|_| {}).await;
    let (mut client, arrival) = host.visit().await;
    let mut bytes = packet(0, &[("user", "app")]);
    let at = bytes.iter().position(|&byte| byte == b'p').unwrap();
    bytes[at] = 0xe9;
    client.write(&bytes).await;
    assert_eq!(client.error().await.0, "22021");
    ended(arrival).await;
}

#[tokio::test]
async fn what_is_no_password_message_is_refused() {
    let host = Host::plain(|_| {}).await;
    for message in [
        &b"Q\0\0\0\x05\0"[..],
        b"p\0\0\0\x03",
        b"p\xff\xff\xff\xff",
        b"p\0\0\0\x04",
        b"p\0\0\x40\0",
    ] {
        let (mut client, arrival) = host.visit().await;
        client.start("app", "app").await;
        client.frame().await;
        client.write(message).await;
        assert_eq!(client.error().await.0, "08P01", "{message:?}");
        ended(arrival).await;
    }
}

#[tokio::test]
async fn a8_a_login_may_arrive_byte_by_byte() {
    let host = Host::plain(|_| {}).await;
    let (mut client, arrival) = host.visit().await;
    client.write_slowly(&SSL_REQUEST).await;
    assert_eq!(client.byte().await, b'N');
    client.write_slowly(&packet(0, &[("user", "app")])).await;
    client.frame().await;
    let mut scram = ScramSha256::new(b"app", ChannelBinding::unsupported());
    client
        .write_slowly(&initial("SCRAM-SHA-256", scram.message()))
        .await;
    scram.update(&client.frame().await.1[4..]).unwrap();
    let mut proof = Vec::new();
    put(&mut proof, b'p', &[scram.message()]);
    client.write_slowly(&proof).await;
    client.accept(scram).await;
    identity(arrival).await;
}

#[tokio::test]
async fn a8_startup_packets_are_limited() {
    let host = Host::plain(|_| {}).await;
    let (mut client, arrival) = host.visit().await;
    let long = "x".repeat(9000);
    client
        .write(&packet(0, &[("user", "app"), ("application_name", &long)]))
        .await;
    let scram = client.prove("app", None).await;
    client.accept(scram).await;
    assert_eq!(identity(arrival).await.parameters()[0].1, long);

    let (mut client, arrival) = host.visit().await;
    client
        .write(&packet(0, &[("user", "app"), ("x", &"x".repeat(10_000))]))
        .await;
    assert_eq!(client.error().await.0, "08P01");
    ended(arrival).await;
}

#[tokio::test]
async fn a9_long_cleartext_passwords() {
    let long = "p".repeat(4 << 10);
    let longer = "q".repeat(60 << 10);
    let host = Host::tls(|config| {
        config.auth.cleartext = true;
        config.users[0].password = Some(Secret(long.clone()));
        config.users.push(ConfigUser {
            password: Some(Secret(longer.clone())),
            admin: true,
            ..config.users[1].clone()
        });
        config.users[3].name.0 = "long".into();
    })
    .await;
    for (user, database, password) in [("app", "app", &long), ("long", CONSOLE, &longer)] {
        let (mut client, arrival) = host.visit_tls().await;
        client.start(user, database).await;
        assert_eq!(client.frame().await, (b'R', vec![0, 0, 0, 3]));
        client.write(&password_message(password.as_bytes())).await;
        assert_eq!(client.frame().await, (b'R', vec![0; 4]), "{user}");
        identity(arrival).await;
    }
    for wrong in [&long.as_bytes()[1..], b"", b"\xff\xfe"] {
        let (mut client, arrival) = host.visit_tls().await;
        client.start("app", "app").await;
        client.frame().await;
        client.write(&password_message(wrong)).await;
        assert_eq!(client.error().await, bad_password("app"));
        ended(arrival).await;
    }
    let (mut client, arrival) = host.visit_tls().await;
    client.start("app", "app").await;
    client.frame().await;
    client.write(b"p\0\x01\0\x06").await;
    assert_eq!(client.error().await.0, "08P01", "above 64 KiB");
    ended(arrival).await;
    assert_eq!(host.gate.counters().logins_ok(Method::Cleartext), 2);
    assert_eq!(host.gate.counters().logins_failed(Method::Cleartext), 3);
}

#[tokio::test]
async fn cleartext_is_never_asked_for_without_tls() {
    let host = Host::tls(|config| config.auth.cleartext = true).await;
    let (mut client, arrival) = host.visit().await;
    client.log_in("app", "app", "app").await;
    identity(arrival).await;
}

#[tokio::test]
async fn the_verifier_of_an_empty_password_lets_nobody_in() {
    let host = Host::tls(|config| {
        config.auth.cleartext = true;
        config.users[0].password = Some(Secret(Verifier::generate("", 16).to_string()));
    })
    .await;
    for password in [&b""[..], b"\xff"] {
        let (mut client, arrival) = host.visit_tls().await;
        client.start("app", "app").await;
        client.frame().await;
        client.write(&password_message(password)).await;
        assert_eq!(client.error().await, bad_password("app"));
        ended(arrival).await;
    }
}

#[tokio::test]
async fn a10_slow_clients_are_dropped_counted_and_capped() {
    let host = Host::tls(|config| {
        config.listen.login_timeout = Duration::from_millis(1500);
        config.listen.max_unauthenticated = 4;
    })
    .await;
    let (mut half_tls, one) = host.visit().await;
    half_tls.write(&SSL_REQUEST).await;
    assert_eq!(half_tls.byte().await, b'S');
    half_tls.write(&[TLS_HANDSHAKE, 3]).await;
    let (mut half_startup, two) = host.visit().await;
    half_startup
        .write(&packet(0, &[("user", "app")])[..6])
        .await;
    let (mut no_password, three) = host.visit().await;
    no_password.start("app", "app").await;
    assert_eq!(no_password.byte().await, b'R');
    let (mut silent, four) = host.visit().await;

    // All four have their place by now or will, before the fifth task is run.
    let (mut fifth, five) = host.visit().await;
    assert_eq!(fifth.error().await.0, "53300");
    ended(five).await;

    assert_eq!(half_startup.error().await.0, "57014");
    assert_eq!(silent.error().await.0, "57014");
    assert_eq!(half_tls.rest().await, b"");
    assert!(
        no_password
            .rest()
            .await
            .windows(5)
            .any(|bytes| bytes == b"57014")
    );
    for arrival in [one, two, three, four] {
        ended(arrival).await;
    }
    let counters = host.gate.counters();
    assert_eq!((counters.timed_out(), counters.over_limit()), (4, 1));
    assert_eq!(counters.unauthenticated(), 0);
}

#[tokio::test]
async fn a11_hashing_ends_with_its_client() {
    let slow = Verifier::generate("x", 1)
        .to_string()
        .replacen("$1:", "$8000000:", 1);
    let host = Host::tls(|config| {
        config.auth.cleartext = true;
        config.users[0].password = Some(Secret(slow));
    })
    .await;
    // More than can be hashed at once: some are still in the queue when they leave.
    let clients = std::thread::available_parallelism().unwrap().get();
    for _ in 0..clients {
        let (mut client, arrival) = host.visit_tls().await;
        client.start("app", "app").await;
        client.frame().await;
        client.write(&password_message(b"x")).await;
        drop(client);
        ended(arrival).await;
    }
    let counters = host.gate.counters();
    // The login timeout would have ended them too, much later.
    assert_eq!((counters.left(), counters.timed_out()), (clients as u64, 0));
    assert_eq!(counters.logins_failed(Method::Cleartext), 0);
    // What they left does not keep anybody else waiting.
    let (mut client, arrival) = host.visit_tls().await;
    client.start("root", CONSOLE).await;
    client.frame().await;
    client.write(&password_message(b"root")).await;
    let answer = timeout(Duration::from_secs(3), client.frame()).await;
    assert_eq!(answer.unwrap(), (b'R', vec![0; 4]));
    identity(arrival).await;
}

#[tokio::test]
async fn a11_too_many_failures_are_refused_without_a_check() {
    let host = Host::plain(|config| config.auth.max_failures = 3).await;
    for _ in 0..3 {
        let (mut client, arrival) = host.visit().await;
        assert_eq!(
            client.fail("app", "app", "wrong").await,
            bad_password("app")
        );
        ended(arrival).await;
    }
    let (mut client, arrival) = host.visit().await;
    client.start("app", "app").await;
    let (code, message) = client.error().await;
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("53300", "too many failed login attempts")
    );
    ended(arrival).await;
    assert_eq!(host.gate.counters().throttled(), 1);
    let (mut client, arrival) = host.visit().await;
    client.log_in("root", CONSOLE, "root").await;
    identity(arrival).await;
}

#[tokio::test]
async fn a11_parallel_attempts_learn_no_more_than_serial_ones() {
    let host = Host::plain(|config| config.auth.max_failures = 2).await;
    let mut waiting = Vec::new();
    for _ in 0..6 {
        let (mut client, arrival) = host.visit().await;
        client.start("app", "app").await;
        assert_eq!(client.byte().await, b'R');
        waiting.push((client, arrival));
    }
    let mut codes = Vec::new();
    for (mut client, arrival) in waiting {
        let mut offer = vec![0; 4 + 4 + 15];
        client.0.read_exact(&mut offer).await.unwrap();
        client.prove_to(&offer[4..], "wrong", None).await;
        codes.push(client.error().await.0);
        ended(arrival).await;
    }
    assert_eq!(
        codes,
        ["28P01", "28P01", "53300", "53300", "53300", "53300"]
    );
}

#[tokio::test]
async fn a19_gss_and_ssl_are_answered_once_each_in_either_order() {
    let host = Host::tls(|_| {}).await;
    let (mut client, arrival) = host.visit().await;
    client.write(&GSS_REQUEST).await;
    assert_eq!(client.byte().await, b'N');
    client.write(&SSL_REQUEST).await;
    assert_eq!(client.byte().await, b'S');
    let mut client = client
        .encrypt(host.certificate.as_ref().unwrap(), &[])
        .await
        .unwrap();
    client.log_in("app", "app", "app").await;
    identity(arrival).await;

    let plain = Host::plain(|_| {}).await;
    for order in [[SSL_REQUEST, GSS_REQUEST], [GSS_REQUEST, SSL_REQUEST]] {
        let (mut client, arrival) = plain.visit().await;
        for request in order {
            client.write(&request).await;
            assert_eq!(client.byte().await, b'N');
        }
        client.log_in("app", "app", "app").await;
        identity(arrival).await;
    }
    for request in [SSL_REQUEST, GSS_REQUEST] {
        let (mut client, arrival) = plain.visit().await;
        client.write(&request).await;
        assert_eq!(client.byte().await, b'N');
        client.write(&request).await;
        assert_eq!(client.error().await.0, "0A000");
        ended(arrival).await;
    }
    let (mut client, arrival) = host.visit_tls().await;
    client.write(&SSL_REQUEST).await;
    assert_eq!(client.error().await.0, "0A000", "TLS inside TLS");
    ended(arrival).await;
}

#[tokio::test]
async fn a20_protocol_versions_are_negotiated() {
    let host = Host::plain(|_| {}).await;
    let negotiated = |minor: u8, options: &[&str]| {
        let mut body = vec![
            0,
            3,
            0,
            minor,
            0,
            0,
            0,
            u8::try_from(options.len()).unwrap(),
        ];
        for option in options {
            body.extend_from_slice(option.as_bytes());
            body.push(0);
        }
        Some(body)
    };
    for (minor, option, expected, spoken) in [
        (0, None, None, 0),
        // Reserved, never released: taken as it is, like PostgreSQL 18 does.
        (1, None, None, 1),
        (2, None, None, 2),
        (3, None, negotiated(2, &[]), 2),
        (9999, None, negotiated(2, &[]), 2),
        (0, Some("_pq_.x"), negotiated(0, &["_pq_.x"]), 0),
        (2, Some("_pq_.x"), negotiated(2, &["_pq_.x"]), 2),
        (9999, Some("_pq_.x"), negotiated(2, &["_pq_.x"]), 2),
    ] {
        let (mut client, arrival) = host.visit().await;
        let mut parameters = vec![("user", "app")];
        parameters.extend(option.map(|name| (name, "1")));
        client.write(&packet(minor, &parameters)).await;
        if let Some(expected) = expected {
            assert_eq!(client.frame().await, (b'v', expected), "{minor} {option:?}");
        }
        let scram = client.prove("app", None).await;
        client.accept(scram).await;
        let identity = identity(arrival).await;
        assert_eq!(identity.minor(), spoken);
        assert!(identity.parameters().is_empty());
    }
}

#[tokio::test]
async fn c9_cancel_requests_come_plain_and_encrypted() {
    let host = Host::tls(|config| config.listen.tls.as_mut().unwrap().required = true).await;
    for (encrypted, secret) in [(false, vec![7; 4]), (true, vec![9; 32])] {
        let (mut client, arrival) = if encrypted {
            host.visit_tls().await
        } else {
            host.visit().await
        };
        let mut bytes = Vec::new();
        put_cancel(&mut bytes, 42, &secret);
        client.write(&bytes).await;
        match timeout(PATIENCE, arrival).await.unwrap().unwrap() {
            Arrival::Cancel { pid, key, stream } => {
                assert_eq!((pid, key), (42, secret));
                drop(stream);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(client.rest().await, b"");
    }
    assert_eq!(host.gate.counters().cancels(), 2);
}

#[tokio::test]
async fn c12_guessing_cancel_keys_is_cut_off() {
    let host = Host::plain(|_| {}).await;
    for _ in 0..super::super::MAX_MISSED_CANCELS + 100 {
        host.gate.note_missed_cancel(Peer::Local);
    }
    let (mut client, server) = UnixStream::pair().unwrap();
    let mut bytes = Vec::new();
    put_cancel(&mut bytes, 42, &[1; 4]);
    client.write_all(&bytes).await.unwrap();
    let arrival = receive(Socket::Unix(server), Peer::Local, &host.gate).await;
    assert!(matches!(arrival, Arrival::Ended), "{arrival:?}");
    assert_eq!(host.gate.counters().throttled(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_is_no_failure() {
    let host = Host::plain(|_| {}).await;
    for bytes in [vec![], vec![0, 0], packet(0, &[("user", "app")])] {
        let (mut client, arrival) = host.visit().await;
        client.write(&bytes).await;
        drop(client);
        ended(arrival).await;
    }
    let counters = host.gate.counters();
    assert_eq!((counters.left(), counters.refused()), (3, 0));
    assert_eq!(counters.logins_failed(Method::Scram), 0);
}

#[tokio::test]
async fn users_are_reloaded_whole_or_not_at_all() {
    let host = Host::plain(|_| {}).await;
    let mut config = config();
    config.users[0].password = Some(Secret("changed".into()));
    host.gate.reload_users(&config).unwrap();
    let (mut client, arrival) = host.visit().await;
    client.log_in("app", "app", "changed").await;
    identity(arrival).await;
    config.users[1].password = Some(Secret(String::new()));
    config.users[0].password = Some(Secret("again".into()));
    assert!(host.gate.reload_users(&config).is_err());
    let (mut client, arrival) = host.visit().await;
    client.log_in("app", "app", "changed").await;
    identity(arrival).await;
}

#[tokio::test]
async fn a_certificate_reload_spares_logins_under_way() {
    let mut host = Host::tls(|_| {}).await;
    let (mut client, arrival) = host.visit_tls().await;
    let old = host.end_point();
    let certificate = Certificate::new();
    host.folder.tls(&certificate);
    host.gate.reload_tls().unwrap();
    client.start("app", "app").await;
    let scram = client.prove("app", Some(old)).await;
    client.accept(scram).await;
    identity(arrival).await;

    host.certificate = Some(certificate);
    let (mut client, arrival) = host.visit_tls().await;
    client.start("app", "app").await;
    let scram = client.prove("app", Some(host.end_point())).await;
    client.accept(scram).await;
    identity(arrival).await;
}

/// A session that knows one answer, enough for `psql -c`.
async fn answer_once(arrival: JoinHandle<Arrival>) -> Identity {
    let (mut stream, identity) = session(arrival).await;
    let mut out = Vec::new();
    crate::wire::reply::put_parameter(&mut out, "server_version", "16.0");
    crate::wire::reply::put_parameter(&mut out, "client_encoding", "UTF8");
    crate::wire::reply::put_key(&mut out, 1, &[0; 4]);
    put(&mut out, b'Z', &[b"I"]);
    stream.write_all(&out).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'Q');
    out.clear();
    put(&mut out, b'I', &[]);
    put(&mut out, b'Z', &[b"I"]);
    stream.write_all(&out).await.unwrap();
    stream.flush().await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    identity
}

#[tokio::test]
async fn psql_logs_in_plain_and_over_tls_with_channel_binding() {
    let host = Host::tls(|_| {}).await;
    let port = host.listener.local_addr().unwrap().port();
    let root = host.folder.file("server.crt");
    for (tls, password, good) in [
        ("sslmode=disable".to_owned(), "app", true),
        (
            "sslmode=prefer channel_binding=disable".to_owned(),
            "app",
            true,
        ),
        (
            format!(
                "sslmode=verify-full channel_binding=require sslrootcert={}",
                root.display()
            ),
            "app",
            true,
        ),
        (
            "sslmode=require channel_binding=require".to_owned(),
            "wrong",
            false,
        ),
    ] {
        let target =
            format!("host=localhost hostaddr=127.0.0.1 port={port} user=app dbname=app {tls}");
        let psql = tokio::process::Command::new("psql")
            .args(["-X", "-w", "-c", "", &target])
            .env("PGPASSWORD", password)
            .kill_on_drop(true)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("psql is needed (Debian package postgresql-client)");
        let (socket, peer) = timeout(PATIENCE, host.listener.accept())
            .await
            .unwrap()
            .unwrap();
        let gate = Arc::clone(&host.gate);
        let arrival =
            tokio::spawn(
                async move { receive(Socket::Tcp(socket), Peer::Inet(peer), &gate).await },
            );
        if good {
            let identity = answer_once(arrival).await;
            assert_eq!(identity.user(), "app");
            assert!(
                identity
                    .parameters()
                    .iter()
                    .any(|(name, _)| name == "application_name")
            );
        } else {
            ended(arrival).await;
        }
        let output = timeout(PATIENCE, psql.wait_with_output())
            .await
            .unwrap()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), good, "{tls}: {said}");
        let refusal = "password authentication failed for user \"app\"";
        assert_eq!(said.contains(refusal), !good, "{tls}: {said}");
    }
    let counters = host.gate.counters();
    assert_eq!(counters.logins_ok(Method::Scram), 2);
    assert_eq!(counters.logins_ok(Method::ScramPlus), 1);
    assert_eq!(counters.logins_failed(Method::ScramPlus), 1);
}
