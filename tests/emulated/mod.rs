//! An emulated cluster for tests: starting it, tokens by the AWS SDK, TLS, the admin endpoint.

// Each test binary uses its own part of it.
#![allow(dead_code)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dsql::auth_token::{AuthTokenGenerator, Config};
use aws_smithy_async::time::StaticTimeSource;
use dsql_proxy::emulator::account::Account;
use dsql_proxy::emulator::{Emulator, EmulatorOptions};
use dsql_proxy::wire::frontend::SSL_REQUEST;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

/// A client's connection.
pub type Tls = StreamOwned<ClientConnection, TcpStream>;

const LOOPBACK: &str = "127.0.0.1:0";
/// How long an answer may take; a hang is a failure, not a wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder that the user PostgreSQL runs as can enter, also when tests run as root.
pub fn open_folder() -> tempfile::TempDir {
    let dir = tempfile::Builder::new()
        .prefix("dsql-")
        .tempdir_in("/tmp")
        .unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// An emulator in `dir` on free ports.
pub fn options(dir: &Path) -> EmulatorOptions {
    EmulatorOptions {
        dir: dir.to_owned(),
        listen: LOOPBACK.parse().unwrap(),
        admin: LOOPBACK.parse().unwrap(),
        pg_bin: None,
        fresh: false,
        as_of: None,
        job_duration: dsql_proxy::emulator::JOB_DURATION,
    }
}

/// A new cluster, and the folder that goes when it is dropped.
pub fn start() -> (Emulator, tempfile::TempDir) {
    let dir = open_folder();
    let emulator = Emulator::start(&options(dir.path())).unwrap();
    (emulator, dir)
}

/// A token by the AWS SDK, which shares no code with the emulator's check; `life` in seconds.
pub fn sdk_token(
    account: &Account,
    user: &str,
    life: u64,
    at: SystemTime,
    session_token: Option<&str>,
) -> String {
    let keys = Credentials::new(
        &account.access_key_id,
        &account.secret_access_key,
        session_token.map(str::to_owned),
        None,
        "test",
    );
    let sdk = SdkConfig::builder()
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .region(Region::new(account.region.clone()))
        .time_source(StaticTimeSource::new(at))
        .build();
    let config = Config::builder()
        .hostname(&account.endpoint)
        .expires_in(life)
        .build()
        .unwrap();
    let generator = AuthTokenGenerator::new(config);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let token = runtime.block_on(async {
        if user == "admin" {
            generator.db_connect_admin_auth_token(&sdk).await
        } else {
            generator.db_connect_auth_token(&sdk).await
        }
    });
    token.unwrap().as_str().to_owned()
}

/// TLS that trusts the emulator alone.
pub fn client_tls(emulator: &Emulator) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(emulator.authority_file()).unwrap();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A connection on which an SSLRequest was answered.
pub fn after_ssl_request(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(&SSL_REQUEST).unwrap();
    let mut answer = [0];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"S");
    socket
}

/// TLS on a socket, for the emulator's name.
pub fn secure(emulator: &Emulator, config: ClientConfig, socket: TcpStream) -> Tls {
    let name = ServerName::try_from(emulator.account().endpoint.clone()).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, socket)
}

/// TLS behind an SSLRequest, nothing sent yet.
pub fn dial(emulator: &Emulator) -> Tls {
    let socket = after_ssl_request(emulator.address());
    secure(emulator, client_tls(emulator), socket)
}

/// A request to the admin endpoint with one more header; status and body, null if it is no JSON.
pub fn http(
    emulator: &Emulator,
    header: &str,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, Value) {
    let mut socket = TcpStream::connect(emulator.admin_address()).unwrap();
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\n{header}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}
