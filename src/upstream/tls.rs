//! TLS towards upstream servers.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::target::TargetError;
use crate::config::pem;

/// ALPN name of the PostgreSQL protocol, required in direct TLS.
pub(super) const ALPN: &[u8] = b"postgresql";

/// Whether the server's certificate is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trust<'a> {
    /// Chain and name must be right. Roots are the system's and those of the file.
    Full(Option<&'a Path>),
    /// Any certificate will do.
    Any,
}

/// Builds what a connector needs; done once for each target.
pub(super) fn client_config(
    trust: Trust<'_>,
    direct: bool,
) -> Result<Arc<ClientConfig>, TargetError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| TargetError::Tls(error.to_string()))?;
    let mut config = match trust {
        Trust::Full(file) => builder
            .with_root_certificates(roots(file)?)
            .with_no_client_auth(),
        Trust::Any => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth(),
    };
    if direct {
        config.alpn_protocols = vec![ALPN.to_vec()];
    }
    Ok(Arc::new(config))
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, TargetError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "a system root certificate could not be read");
    }
    // Trust stores hold odd certificates; those that cannot be used are left out.
    roots.add_parsable_certificates(system.certs);
    if let Some(file) = file {
        pem::add_roots(&mut roots, file).map_err(TargetError::CaFile)?;
    }
    if roots.is_empty() {
        return Err(TargetError::Tls(
            "no root certificates: install ca-certificates or write ca_file".to_owned(),
        ));
    }
    Ok(roots)
}

/// Takes any certificate: what `sslmode=prefer` and `require` mean in libpq. They keep listeners
/// out, not impostors; `verify-full` does both, and is what DSQL always gets.
///
/// The handshake's signature is checked all the same: it proves that the server owns the
/// certificate it shows, without which SCRAM's channel binding would bind to nothing.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];

/// The channel binding `tls-server-end-point` (RFC 5929): a hash of the server's certificate, with
/// the hash of its signature, or SHA-256 where that is MD5 or SHA-1.
///
/// `None` where the signature algorithm does not name one hash (Ed25519, RSA-PSS), or the bytes
/// are no certificate.
pub(super) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (fields, _) = der(0x30, certificate)?;
    let (_, behind) = der(0x30, fields)?;
    let (algorithm, _) = der(0x30, behind)?;
    let (oid, _) = der(0x06, algorithm)?;
    let hash = match (oid.strip_prefix(RSA), oid.strip_prefix(ECDSA)) {
        (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => Sha256::digest(certificate).to_vec(),
        (Some([12]), _) | (_, Some([3, 3])) => Sha384::digest(certificate).to_vec(),
        (Some([13]), _) | (_, Some([3, 4])) => Sha512::digest(certificate).to_vec(),
        _ => return None,
    };
    Some(hash)
}

/// Splits off one DER element with this tag: its content, and what follows it.
fn der(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    if head[0] != tag {
        return None;
    }
    let (length, rest) = match head[1] {
        short @ 0..=0x7f => (usize::from(short), rest),
        // Up to three length bytes: more than any certificate in a handshake has.
        long @ 0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let add = |sum: usize, byte: &u8| (sum << 8) | usize::from(*byte);
            (length.iter().fold(0, add), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let key = rcgen::KeyPair::generate_for(algorithm).expect("key");
        let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]);
        parameters
            .expect("params")
            .self_signed(&key)
            .expect("signed")
            .der()
            .to_vec()
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let cases = [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some(32)),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Some(48)),
            (&rcgen::PKCS_ECDSA_P521_SHA512, Some(64)),
            (&rcgen::PKCS_ED25519, None),
        ];
        for (algorithm, length) in cases {
            let der = certificate(algorithm);
            assert_eq!(
                server_end_point(&der).map(|hash| hash.len()),
                length,
                "{algorithm:?}"
            );
        }
        let der = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        assert_eq!(server_end_point(&der), Some(Sha256::digest(&der).to_vec()));
    }

    #[test]
    fn damaged_certificates_are_survived() {
        let der = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        for end in 0..der.len() {
            let _ = server_end_point(&der[..end]);
        }
        for at in 0..der.len() {
            for byte in [0, 0x80, 0x83, 0x84, 0xff] {
                let mut damaged = der.clone();
                damaged[at] = byte;
                let _ = server_end_point(&damaged);
            }
        }
        assert_eq!(server_end_point(&[0x30, 0x83, 0xff, 0xff, 0xff]), None);
    }
}
