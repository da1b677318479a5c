//! Certificates, configurations and byte-level clients for the tests of this module.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};

use crate::config::{Config, ListenTls};

pub(super) struct Certificate {
    params: CertificateParams,
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Certificate {
    pub(super) fn new() -> Self {
        Self::signed_by(KeyPair::generate().unwrap())
    }

    pub(super) fn ed25519() -> Self {
        Self::signed_by(KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap())
    }

    fn signed_by(key: KeyPair) -> Self {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        Self::of(params, key)
    }

    /// One that can vouch for others.
    pub(super) fn authority() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self::of(params, KeyPair::generate().unwrap())
    }

    fn of(params: CertificateParams, key: KeyPair) -> Self {
        let certificate = params.self_signed(&key).unwrap();
        Self {
            params,
            certificate,
            key,
        }
    }

    pub(super) fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    /// One that `self` vouches for: names of the subject.
    pub(super) fn vouch(
        &self,
        common_names: &[&str],
        dns: &[&str],
        not_after: (i32, u8, u8),
    ) -> Self {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = dns.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for name in common_names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        let (year, month, day) = not_after;
        params.not_after = rcgen::date_time_ymd(year, month, day);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Self {
            params,
            certificate,
            key,
        }
    }

    pub(super) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    pub(super) fn der(&self) -> &rustls_pki_types::CertificateDer<'static> {
        self.certificate.der()
    }

    /// Channel binding data of `tls-server-end-point`.
    pub(super) fn end_point(&self) -> Vec<u8> {
        Sha256::digest(self.certificate.der()).to_vec()
    }
}

/// A folder that goes with its test.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes the files of a certificate, over those of an earlier one.
    pub(super) fn tls(&self, certificate: &Certificate) -> ListenTls {
        let files = ListenTls {
            certificate: self.file("server.crt"),
            private_key: self.file("server.key"),
            required: false,
            client_ca: None,
        };
        std::fs::write(&files.certificate, certificate.certificate_pem()).unwrap();
        std::fs::write(&files.private_key, certificate.key.serialize_pem()).unwrap();
        files
    }
}

/// Databases `app` and `other`; users `app` (password `app`, for `app`), `root` (admin) and `old`
/// (expired).
pub(super) fn config() -> Config {
    serde_json::from_value(serde_json::json!({
        "listen": {"address": "127.0.0.1:0", "login_timeout": "20s"},
        "clusters": {"main": {"kind": "postgres", "endpoint": "localhost"}},
        "databases": {"app": {"cluster": "main"}, "other": {"cluster": "main"}},
        "users": [
            {"name": "app", "password": "app", "databases": ["app"]},
            {"name": "root", "password": "root", "admin": true},
            {"name": "old", "password": "old", "databases": ["app"], "valid_until": "2020-01-01T00:00:00Z"},
        ],
    }))
    .unwrap()
}
