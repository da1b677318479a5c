//! TLS for clients: the certificate, its reload, and its channel binding.

use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pgwire::api::auth::sasl::scram::ScramServerAuth;
use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::CertificateDer;
use thiserror::Error;

use crate::config::ListenTls;
use crate::config::pem::{self, PemError};

/// Protocol name in ALPN (PostgreSQL 17 and later).
pub(super) const ALPN: &[u8] = b"postgresql";

/// A certificate or key that cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The files hold none, or not two that belong together.
    #[error("listen.tls.{0}")]
    Files(#[from] PemError),
    /// The file of those who vouch for clients cannot be used.
    #[error("listen.tls.client_ca: {0}")]
    ClientCa(String),
    /// The TLS library cannot work with them.
    #[error("listen.tls: {0}")]
    Library(#[from] rustls::Error),
}

/// A certificate as it was loaded. One connection uses one `Credential` from handshake to login, so
/// that a reload in between cannot break its channel binding.
pub(super) struct Credential {
    pub(super) config: Arc<ServerConfig>,
    /// SCRAM with the binding to this certificate; without one only plain SCRAM can be offered.
    pub(super) binding: Option<ScramServerAuth>,
}

/// The current certificate.
pub(super) struct Tls {
    files: ListenTls,
    current: ArcSwap<Credential>,
}

impl Tls {
    /// Loads the certificate.
    pub(super) fn load(files: &ListenTls) -> Result<Self, TlsError> {
        Ok(Self {
            files: files.clone(),
            current: ArcSwap::from_pointee(load(files)?),
        })
    }

    /// Loads the same files again. When that fails the previous certificate stays in use.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(load(&self.files)?));
        Ok(())
    }

    pub(super) fn current(&self) -> Arc<Credential> {
        self.current.load_full()
    }

    pub(super) fn required(&self) -> bool {
        self.files.required
    }
}

fn load(files: &ListenTls) -> Result<Credential, TlsError> {
    let certified = pem::certified_key(files)?;
    let binding = certified.cert.first().and_then(|leaf| bind(leaf, files));
    Ok(Credential {
        config: Arc::new(configure(certified, files)?),
        binding,
    })
}

fn configure(certified: CertifiedKey, files: &ListenTls) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            pem::add_roots(&mut roots, path).map_err(TlsError::ClientCa)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| TlsError::ClientCa(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    if files.client_ca.is_some() {
        // A resumed session would bring a certificate back that may have expired since.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        // Each load has its own ticket key: a session resumed over a reload would show the client no
        // certificate, and it would bind to the one it saw before.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
    }
    config.max_early_data_size = 0;
    Ok(config)
}

fn bind(leaf: &CertificateDer<'_>, files: &ListenTls) -> Option<ScramServerAuth> {
    let mut scram = ScramServerAuth::new();
    match scram.configure_certificate(armor(leaf).as_bytes()) {
        Ok(()) => Some(scram),
        Err(error) => {
            tracing::warn!(
                certificate = %files.certificate.display(),
                %error,
                "no channel binding with this certificate: SCRAM-SHA-256-PLUS is not offered"
            );
            None
        }
    }
}

/// PEM of the very certificate that is served; the file may be another by now.
fn armor(certificate: &[u8]) -> String {
    let text = STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = behind;
    }
    pem + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::{Certificate, Folder};

    #[test]
    fn reload_takes_a_good_certificate_and_keeps_it_over_a_bad_one() {
        let folder = Folder::new();
        let files = folder.tls(&Certificate::new());
        let tls = Tls::load(&files).unwrap();
        let first = tls.current();
        assert!(first.binding.is_some());

        folder.tls(&Certificate::new());
        tls.reload().unwrap();
        let second = tls.current();
        assert!(!Arc::ptr_eq(&first, &second));

        for broken in [
            "",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            std::fs::write(&files.certificate, broken).unwrap();
            assert!(tls.reload().is_err(), "{broken:?}");
            assert!(Arc::ptr_eq(&second, &tls.current()));
        }
        std::fs::write(&files.certificate, Certificate::new().certificate_pem()).unwrap();
        let error = tls.reload().unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("listen.tls.private_key: ")
                && text.ends_with("is not the key of the certificate"),
            "{text}"
        );
        std::fs::remove_file(&files.private_key).unwrap();
        let error = tls.reload().unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("listen.tls.private_key: cannot read "),
            "{text}"
        );
    }

    #[test]
    fn a_certificate_without_binding_still_serves() {
        let folder = Folder::new();
        let tls = Tls::load(&folder.tls(&Certificate::ed25519())).unwrap();
        assert!(tls.current().binding.is_none());
    }
}
