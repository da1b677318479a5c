//! Certificates that clients show, once the TLS library has found that `listen.tls.client_ca` vouches
//! for them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Whom a certificate speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    common_name: Option<String>,
    dns: Vec<String>,
    until: SystemTime,
}

impl Subject {
    /// Without a certificate, for the tests of what comes behind one.
    #[cfg(test)]
    pub(crate) fn assume(common_name: Option<&str>, dns: &[&str]) -> Self {
        Self {
            common_name: common_name.map(str::to_owned),
            dns: dns.iter().map(|name| (*name).to_owned()).collect(),
            until: SystemTime::now() + Duration::from_secs(60),
        }
    }

    /// Reads a certificate that was verified; `None`: it names nobody in a way that is understood.
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let mut names = certificate.subject().iter_common_name();
        // Of several names (some libraries take the first, some the last) none is the one.
        let common_name = match (names.next(), names.next()) {
            (Some(name), None) => name.as_str().ok().map(str::to_owned),
            _ => None,
        };
        let dns = certificate
            .subject_alternative_name()
            .ok()?
            .map(|extension| {
                extension
                    .value
                    .general_names
                    .iter()
                    .filter_map(dns)
                    .collect()
            })
            .unwrap_or_default();
        let end = certificate.validity().not_after.timestamp();
        let clean = |name: &str| !name.is_empty() && !name.contains('\0');
        Some(Self {
            common_name: common_name.filter(|name| clean(name)),
            dns,
            until: UNIX_EPOCH + Duration::from_secs(u64::try_from(end).ok()?),
        })
    }

    /// When the certificate ends.
    #[must_use]
    pub fn until(&self) -> SystemTime {
        self.until
    }

    /// Its only common name.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// Its DNS name, if it has exactly one.
    #[must_use]
    pub fn dns_name(&self) -> Option<&str> {
        match self.dns.as_slice() {
            [name] => Some(name),
            _ => None,
        }
    }

    /// Whether it bears this name, in any of its places. Names are compared as they are written: what
    /// is configured is the operator's spelling.
    pub(super) fn bears(&self, name: &str) -> bool {
        self.common_name.as_deref() == Some(name) || self.dns.iter().any(|dns| dns == name)
    }
}

fn dns(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) if !name.is_empty() && !name.contains('\0') => {
            Some((*name).to_owned())
        }
        _ => None,
    }
}
