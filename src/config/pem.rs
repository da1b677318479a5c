//! Certificates and keys from PEM files.

use std::path::Path;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::ListenTls;

/// What is wrong with a certificate and its key, and which key of `listen.tls` it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemError {
    /// `certificate` or `private_key`.
    pub key: &'static str,
    /// A sentence for the operator, without file contents.
    pub message: String,
}

impl std::fmt::Display for PemError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

impl std::error::Error for PemError {}

/// Reads the chain and the key a server shows to its clients, and sees that they belong together.
///
/// # Errors
/// A file that cannot be read, is not PEM, holds nothing of use, or a key of another certificate.
pub fn certified_key(tls: &ListenTls) -> Result<CertifiedKey, PemError> {
    let wrong = |key, message| PemError { key, message };
    let chain = certificates(&tls.certificate).map_err(|message| wrong("certificate", message))?;
    let private = PrivateKeyDer::from_pem_file(&tls.private_key).map_err(|error| {
        let message = pem_message(&tls.private_key, &error, "private key");
        wrong("private_key", message)
    })?;
    // The provider's error may describe the key; the file's name is enough.
    let signing = aws_lc_rs::sign::any_supported_type(&private).map_err(|_| {
        let path = tls.private_key.display();
        wrong(
            "private_key",
            format!("{path} holds a key of an unknown kind"),
        )
    })?;
    let certified = CertifiedKey::new(chain, signing);
    certified.keys_match().map_err(|error| {
        use rustls::Error::{InconsistentKeys, InvalidCertificate};
        let message = match error {
            InconsistentKeys(_) => "is not the key of the certificate",
            InvalidCertificate(_) => {
                let path = tls.certificate.display();
                return wrong("certificate", format!("{path} holds a damaged certificate"));
            }
            _ => "cannot be used with the certificate",
        };
        wrong(
            "private_key",
            format!("{} {message}", tls.private_key.display()),
        )
    })?;
    Ok(certified)
}

/// Reads every certificate of a PEM file, in its order; at least one.
///
/// # Errors
/// A sentence for the operator.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error| pem_message(path, &error, "certificate");
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(wrong)?;
    match chain.is_empty() {
        true => Err(format!("{} holds no certificate", path.display())),
        false => Ok(chain),
    }
}

/// Adds every certificate of a PEM file to `roots`.
///
/// # Errors
/// A sentence for the operator.
pub fn add_roots(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    for certificate in certificates(path)? {
        // What exactly is wrong in it is nothing an operator could mend.
        let damaged = |_| format!("{} holds a damaged certificate", path.display());
        roots.add(certificate).map_err(damaged)?;
    }
    Ok(())
}

/// PEM errors can quote lines of the file, which may be a key.
fn pem_message(path: &Path, error: &rustls_pki_types::pem::Error, what: &str) -> String {
    use rustls_pki_types::pem::Error;
    let path = path.display();
    match error {
        Error::Io(error) => format!("cannot read {path}: {error}"),
        Error::NoItemsFound => format!("{path} holds no {what}"),
        _ => format!("{path} is not well-formed PEM"),
    }
}
