//! Pieces of servers that say what they are told to.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::config::{Cluster, ClusterKind, Credentials, Secret, Text};
use crate::wire::frontend::{SSL_REQUEST, put};
use crate::wire::startup::{Startup, parse};

/// The DSQL host of the tests.
pub(super) const DSQL: &str = "test.dsql.us-east-1.on.aws";

/// A folder that goes away with its owner.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("dsql-proxy-upstream-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A certificate for `localhost` and [`DSQL`], and the CA it is of.
pub(super) struct Identity {
    pub(super) folder: Folder,
    pub(super) certificate_pem: String,
    pub(super) key_pem: String,
    key: KeyPair,
    chain: Vec<rustls_pki_types::CertificateDer<'static>>,
}

impl Identity {
    pub(super) fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(parameters, KeyPair::generate().expect("key"));
        let ca = ca.expect("ca");
        let names = vec!["localhost".to_owned(), DSQL.to_owned()];
        let key = KeyPair::generate().expect("key");
        let leaf = CertificateParams::new(names)
            .expect("names")
            .signed_by(&key, &ca);
        let leaf = leaf.expect("leaf");
        let folder = Folder::new();
        std::fs::write(folder.0.join("ca.crt"), ca.pem()).expect("ca file");
        Self {
            folder,
            certificate_pem: leaf.pem(),
            key_pem: key.serialize_pem(),
            key,
            chain: vec![leaf.der().clone()],
        }
    }

    pub(super) fn ca_file(&self) -> PathBuf {
        self.folder.0.join("ca.crt")
    }

    pub(super) fn acceptor(&self, alpn: &[&str]) -> tokio_rustls::TlsAcceptor {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).expect("key");
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_no_client_auth()
                .with_single_cert(self.chain.clone(), key)
                .expect("certificate");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config).into()
    }
}

/// A `dsql` cluster that is dialled at `address`.
pub(super) fn dsql(address: &str, identity: &Identity) -> Cluster {
    let mut cluster = super::cluster(ClusterKind::Dsql, DSQL);
    cluster.connect_to = Some(Text(address.to_owned()));
    cluster.ca_file = Some(identity.ca_file());
    cluster.credentials = Some(Credentials {
        access_key_id: Text("AKID".to_owned()),
        secret_access_key: Secret("secret".to_owned()),
        session_token: None,
    });
    cluster
}

/// A `postgres` cluster called `localhost`, dialled at `address`.
pub(super) fn plain(address: &str) -> Cluster {
    let mut cluster = super::cluster(ClusterKind::Postgres, "localhost");
    cluster.connect_to = Some(Text(address.to_owned()));
    cluster
}

pub(super) async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listener");
    let address = listener.local_addr().expect("address").to_string();
    (listener, address)
}

pub(super) async fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().await.expect("accept").0
}

/// Takes an SSLRequest, answers `S` and does the handshake; gives the stream and the SNI.
pub(super) async fn accept_tls(
    listener: &TcpListener,
    acceptor: &tokio_rustls::TlsAcceptor,
) -> io::Result<(tokio_rustls::server::TlsStream<TcpStream>, Option<String>)> {
    let mut socket = accept(listener).await;
    let mut request = [0; 8];
    socket.read_exact(&mut request).await?;
    assert_eq!(request, SSL_REQUEST);
    socket.write_all(b"S").await?;
    let stream = acceptor.accept(socket).await?;
    let name = stream.get_ref().1.server_name().map(str::to_owned);
    Ok((stream, name))
}

/// Reads an untyped packet: StartupMessage or CancelRequest.
pub(super) async fn startup(stream: &mut (impl AsyncRead + Unpin)) -> Startup {
    let length = stream.read_u32().await.expect("length") as usize;
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).await.expect("packet");
    parse(&body).expect("startup packet")
}

/// Reads the body of one password message.
pub(super) async fn password(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    assert_eq!(stream.read_u8().await.expect("type"), b'p');
    let length = stream.read_u32().await.expect("length") as usize;
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).await.expect("message");
    body
}

pub(super) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, tag, &[body]);
    out
}

pub(super) fn request(number: u32, argument: &[u8]) -> Vec<u8> {
    message(b'R', &[&number.to_be_bytes(), argument].concat())
}

pub(super) fn error(code: &str, text: &str, hint: &str) -> Vec<u8> {
    message(
        b'E',
        format!("SFATAL\0VFATAL\0C{code}\0M{text}\0H{hint}\0\0").as_bytes(),
    )
}

/// AuthenticationOk, one parameter, the cancel key (7, 1234) and ReadyForQuery.
pub(super) fn welcome() -> Vec<u8> {
    [
        request(0, b""),
        message(b'S', b"server_version\x0016.15\0"),
        message(b'N', b"SNOTICE\0Mhello\0\0"),
        message(b'K', b"\0\0\0\x071234"),
        message(b'Z', b"I"),
    ]
    .concat()
}

pub(super) async fn say(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    stream.write_all(bytes).await.expect("write");
    stream.flush().await.expect("flush");
}
