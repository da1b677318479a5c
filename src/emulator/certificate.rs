//! The emulator's own certificate authority and the cluster's server certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;

use super::private_file;
use super::verify::civil_date;

/// The application protocol of PostgreSQL inside TLS (ALPN).
pub const ALPN: &[u8] = b"postgresql";

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A file could not be read or written.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A key or certificate could not be made from what is there.
    #[error("certificate of the emulated cluster: {0}")]
    Make(#[from] rcgen::Error),
    /// TLS refused the certificate.
    #[error("certificate of the emulated cluster: {0}")]
    Tls(#[from] rustls::Error),
}

/// Makes the TLS configuration of the cluster `endpoint`.
///
/// The authority is made once and kept in `dir` (`ca.crt` for clients, `ca.key` for the owner
/// only), so that clients may keep trusting it; the server certificate is made anew at each start
/// and never leaves memory, so that it cannot be out of date.
///
/// # Errors
/// Files that cannot be read or written, a key that is none.
pub fn server_config(dir: &Path, endpoint: &str) -> Result<Arc<ServerConfig>, CertificateError> {
    let authority_key = keep_authority(dir)?;
    let authority = authority_parameters()?;
    let issuer = Issuer::from_params(&authority, &authority_key);
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(vec![endpoint.to_owned()])?;
    parameters
        .distinguished_name
        .push(DnType::CommonName, endpoint);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.use_authority_key_identifier_extension = true;
    set_life(&mut parameters, 800);
    let certificate = parameters.signed_by(&key, &issuer)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// Where the authority's certificate is, for clients to trust.
#[must_use]
pub fn authority_path(dir: &Path) -> PathBuf {
    dir.join("ca.crt")
}

fn keep_authority(dir: &Path) -> Result<KeyPair, CertificateError> {
    let key_path = dir.join("ca.key");
    let certificate_path = authority_path(dir);
    if key_path.exists() && certificate_path.exists() {
        let pem = std::fs::read_to_string(&key_path).map_err(file_error(&key_path))?;
        return Ok(KeyPair::from_pem(&pem)?);
    }
    let key = KeyPair::generate()?;
    let certificate = authority_parameters()?.self_signed(&key)?;
    private_file::write(&key_path, key.serialize_pem().as_bytes())
        .map_err(file_error(&key_path))?;
    std::fs::write(&certificate_path, certificate.pem()).map_err(file_error(&certificate_path))?;
    Ok(key)
}

fn file_error(path: &Path) -> impl FnOnce(std::io::Error) -> CertificateError {
    let path = path.to_owned();
    move |cause| CertificateError::File { path, cause }
}

/// The same at each start but for its dates: a server certificate names its issuer by subject and
/// key, both of which stay.
fn authority_parameters() -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new(Vec::<String>::new())?;
    parameters
        .distinguished_name
        .push(DnType::CommonName, "dsql-proxy emulator CA");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_life(&mut parameters, 20 * 365);
    Ok(parameters)
}

/// Sets the life of a certificate: from yesterday, for clocks that disagree, to `days` from now.
fn set_life(parameters: &mut CertificateParams, days: u64) {
    let day = Duration::from_secs(86_400);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let date = |moment: Duration| {
        let (year, month, day) = civil_date(moment.as_secs());
        // All three are within range by construction; the fallbacks only satisfy the types.
        date_time_ymd(
            i32::try_from(year).unwrap_or(9999),
            u8::try_from(month).unwrap_or(1),
            u8::try_from(day).unwrap_or(1),
        )
    };
    parameters.not_before = date(now.saturating_sub(day));
    parameters.not_after = date(now + Duration::from_secs(days * 86_400));
}
