//! TLS for clients: the certificate, its reload, and its channel binding.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use pgwire::api::auth::sasl::scram::ScramServerAuth;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

use crate::config::ListenTls;

/// Protocol name in ALPN (PostgreSQL 17 and later).
pub(super) const ALPN: &[u8] = b"postgresql";

/// A certificate or key that cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A file is not PEM, or has no certificate or key in it.
    #[error("{} holds no usable {what}: {cause}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
        /// Why.
        cause: String,
    },
    /// Certificate and key do not belong together, or cannot be used by the TLS library.
    #[error("certificate {} cannot be used: {cause}", path.display())]
    Pair {
        /// The certificate file.
        path: PathBuf,
        /// Why.
        cause: rustls::Error,
    },
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
    let pem = read(&files.certificate)?;
    let chain = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(&files.certificate, "certificate", error.to_string()))?;
    if chain.is_empty() {
        let cause = "no CERTIFICATE section".to_owned();
        return Err(unusable(&files.certificate, "certificate", cause));
    }
    let key = PrivateKeyDer::from_pem_slice(&read(&files.private_key)?)
        .map_err(|error| unusable(&files.private_key, "private key", error.to_string()))?;
    let pair = |cause| TlsError::Pair {
        path: files.certificate.clone(),
        cause,
    };
    let config = configure(chain, key).map_err(pair)?;
    Ok(Credential {
        config: Arc::new(config),
        binding: bind(&pem, &files.certificate),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|cause| TlsError::Read {
        path: path.to_owned(),
        cause,
    })
}

fn unusable(path: &Path, what: &'static str, cause: String) -> TlsError {
    TlsError::Pem {
        path: path.to_owned(),
        what,
        cause,
    }
}

fn configure(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Each load has its own ticket key: a session resumed over a reload would show the client no
    // certificate, and it would bind to the one it saw before.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.max_early_data_size = 0;
    Ok(config)
}

fn bind(pem: &[u8], path: &Path) -> Option<ScramServerAuth> {
    let mut scram = ScramServerAuth::new();
    match scram.configure_certificate(pem) {
        Ok(()) => Some(scram),
        Err(error) => {
            tracing::warn!(
                certificate = %path.display(),
                %error,
                "no channel binding with this certificate: SCRAM-SHA-256-PLUS is not offered"
            );
            None
        }
    }
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
        assert!(
            matches!(error, TlsError::Pair { .. }),
            "key of another certificate: {error}"
        );
        std::fs::remove_file(&files.private_key).unwrap();
        assert!(matches!(tls.reload(), Err(TlsError::Read { .. })));
    }

    #[test]
    fn a_certificate_without_binding_still_serves() {
        let folder = Folder::new();
        let tls = Tls::load(&folder.tls(&Certificate::ed25519())).unwrap();
        assert!(tls.current().binding.is_none());
    }
}
