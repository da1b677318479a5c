//! The emulated AWS account: one cluster, one access key, both made on first start.

use std::io;
use std::path::Path;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::private_file;
use super::verify::{AccessKey, Expectation};

/// The file in the state folder that holds the account, as JSON.
pub const FILE: &str = "account.json";
const REGION: &str = "us-east-1";

/// What a client needs to know to reach the emulated cluster.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Endpoint name of the cluster, as in `<id>.dsql.<region>.on.aws`.
    pub endpoint: String,
    /// Region of the cluster.
    pub region: String,
    /// Access key id.
    pub access_key_id: String,
    /// Secret access key.
    pub secret_access_key: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("endpoint", &self.endpoint)
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

impl Account {
    /// Reads the account kept in `dir`, or makes one and keeps it there (mode 0600).
    ///
    /// # Errors
    /// Files that cannot be read or written, or hold something else.
    pub fn keep(dir: &Path) -> io::Result<Self> {
        let path = dir.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let account = Self::random();
                private_file::write(&path, &serde_json::to_vec_pretty(&account)?)?;
                Ok(account)
            }
            Err(error) => Err(error),
        }
    }

    fn random() -> Self {
        let id = random_text(b"abcdefghijklmnopqrstuvwxyz234567", 26);
        Self {
            endpoint: format!("{id}.dsql.{REGION}.on.aws"),
            region: REGION.to_owned(),
            // Not of the form of a real key, so that no scanner takes it for a leaked one.
            access_key_id: format!("EMULATED{}", random_text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", 12)),
            secret_access_key: random_text(
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
                40,
            ),
        }
    }

    /// What a good token for this cluster looks like.
    #[must_use]
    pub fn expectation(&self) -> Expectation {
        Expectation {
            host: self.endpoint.clone(),
            region: self.region.clone(),
            keys: vec![AccessKey {
                id: self.access_key_id.clone(),
                secret: self.secret_access_key.clone(),
                session_token: None,
            }],
        }
    }

    /// The cluster's id: the first label of its endpoint.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        self.endpoint.split('.').next().unwrap_or_default()
    }
}

fn random_text(alphabet: &[u8], length: usize) -> String {
    let mut random = rand::rng();
    (0..length)
        .map(|_| char::from(alphabet[random.random_range(0..alphabet.len())]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_account_stays_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = Account::keep(dir.path()).unwrap();
        assert_eq!(Account::keep(dir.path()).unwrap(), first);
        assert_eq!(first.cluster_id().len(), 26);
        let mode = std::fs::metadata(dir.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{first:?}").contains(&first.secret_access_key));
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(Account::keep(dir.path()).is_err());
    }
}
