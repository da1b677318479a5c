//! IAM tokens for Aurora DSQL: a presigned URL that serves as password.
//!
//! Made locally for each connect (about 0.1 ms), good for 15 minutes, checked by the server only
//! at login. Source: Aurora DSQL user guide, "Generating an authentication token".

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dsql::auth_token::{AuthTokenGenerator, Config as Signer};
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use thiserror::Error;

use super::credentials::{Keeper, in_full};
use crate::config::endpoint::{Endpoint, dsql_region};
use crate::config::{Cluster, ClusterKind};

/// Lifetime of a token in seconds, the default of AWS's own tools.
const EXPIRES: u64 = 900;
/// The role that needs the action `DbConnectAdmin`.
const ADMIN: &str = "admin";

static MINTED: AtomicU64 = AtomicU64::new(0);

/// A token. Never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token's text, to send as password.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<token>")
    }
}

/// Why there is no token.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The cluster logs in with a password.
    #[error("only clusters of kind dsql use tokens")]
    NotDsql,
    /// The endpoint is not a host name that can be signed.
    #[error("endpoint \"{0}\" is not a host name")]
    Endpoint(String),
    /// No region in the configuration and none in the endpoint.
    #[error("no region: write `region:`, endpoint \"{0}\" does not name one")]
    Region(String),
    /// Credentials could not be loaded, or the signing failed.
    #[error("no AWS credentials: {0}")]
    Credentials(String),
}

/// Makes tokens for one cluster and user. Keeps the SDK's configuration; cheap to ask.
pub struct TokenSource {
    signer: AuthTokenGenerator,
    sdk: SdkConfig,
    admin: bool,
    keeper: Option<Keeper>,
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSource")
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}

impl TokenSource {
    /// Prepares signing with the credentials of the configuration or of the AWS chain, which is
    /// asked when the first token is.
    ///
    /// # Errors
    /// Everything but [`TokenError::Credentials`].
    pub fn new(cluster: &Cluster) -> Result<Self, TokenError> {
        Self::with_clock(cluster, SharedTimeSource::new(SystemTimeSource::new()))
    }

    fn with_clock(cluster: &Cluster, clock: SharedTimeSource) -> Result<Self, TokenError> {
        if cluster.kind != ClusterKind::Dsql {
            return Err(TokenError::NotDsql);
        }
        let host = signed_host(&cluster.endpoint.0)?;
        let region = match &cluster.region {
            Some(region) => region.0.clone(),
            None => dsql_region(&host)
                .ok_or_else(|| TokenError::Region(host.clone()))?
                .to_owned(),
        };
        let keeper = cluster
            .credentials
            .is_none()
            .then(|| Keeper::of_default_chain(&region));
        let provider = match (&cluster.credentials, &keeper) {
            (Some(given), _) => SharedCredentialsProvider::new(Credentials::new(
                &given.access_key_id.0,
                &given.secret_access_key.0,
                given.session_token.as_ref().map(|token| token.0.clone()),
                None,
                "configuration",
            )),
            (None, Some(keeper)) => SharedCredentialsProvider::new(keeper.clone()),
            (None, None) => return Err(TokenError::Credentials("none configured".to_owned())),
        };
        let signer = Signer::builder()
            .hostname(host)
            .region(Region::new(region))
            .expires_in(EXPIRES)
            .build()
            .map_err(|error| TokenError::Credentials(error.to_string()))?;
        Ok(Self {
            signer: AuthTokenGenerator::new(signer),
            sdk: SdkConfig::builder()
                .credentials_provider(provider)
                .time_source(clock)
                .build(),
            admin: cluster.user.0 == ADMIN,
            keeper,
        })
    }

    /// Signs a token now. May wait for credentials; can be called on any runtime.
    ///
    /// # Errors
    /// [`TokenError::Credentials`].
    pub async fn mint(&self) -> Result<Token, TokenError> {
        let signed = if self.admin {
            self.signer.db_connect_admin_auth_token(&self.sdk).await
        } else {
            self.signer.db_connect_auth_token(&self.sdk).await
        };
        let token = signed.map_err(|error| TokenError::Credentials(in_full(error.as_ref())))?;
        MINTED.fetch_add(1, Ordering::Relaxed);
        Ok(Token(token.as_str().to_owned()))
    }

    /// Says that the server refused a token: credentials of the AWS chain are loaded anew before
    /// the next one is made. Does nothing when they are only seconds old, or static.
    pub fn invalidate(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.invalidate();
        }
    }
}

/// Makes one token for `cluster` and its user.
///
/// # Errors
/// See [`TokenError`].
pub async fn mint(cluster: &Cluster) -> Result<Token, TokenError> {
    TokenSource::new(cluster)?.mint().await
}

/// Tokens made since the process started.
#[must_use]
pub fn minted() -> u64 {
    MINTED.load(Ordering::Relaxed)
}

/// The host that is signed: no port, in lower case (the signer's URL is, and must be the same).
///
/// The SDK panics on hosts that are not part of a URL, so they end here.
fn signed_host(endpoint: &str) -> Result<String, TokenError> {
    let wrong = || TokenError::Endpoint(endpoint.to_owned());
    let Ok(Endpoint::Inet { host, .. }) = endpoint.parse() else {
        return Err(wrong());
    };
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let host = host.to_ascii_lowercase();
    let last = host.rsplit('.').next().unwrap_or_default();
    // A URL takes a host that ends in a number for an address, and decodes punycode.
    let number = last.starts_with(|c: char| c.is_ascii_digit());
    let odd = (number && host.parse::<Ipv4Addr>().is_err()) || host.contains("xn--");
    if host.len() <= 253 && host.split('.').all(label) && !odd {
        Ok(host)
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use aws_smithy_async::time::StaticTimeSource;

    use super::*;
    use crate::config::{Secret, Text};
    use crate::upstream::tests::cluster;

    fn dsql(endpoint: &str, user: &str) -> Cluster {
        let mut cluster = cluster(ClusterKind::Dsql, endpoint);
        cluster.user = Text(user.to_owned());
        cluster.credentials = Some(crate::config::Credentials {
            access_key_id: Text("access_key".to_owned()),
            secret_access_key: Secret("secret_key".to_owned()),
            session_token: None,
        });
        cluster
    }

    /// 2024-11-07T17:39:33Z, the moment of the vectors in the unit tests of AWS CLI and Java SDK.
    fn then() -> SharedTimeSource {
        let moment = UNIX_EPOCH + Duration::from_secs(1_731_001_173);
        SharedTimeSource::new(StaticTimeSource::new(moment))
    }

    #[tokio::test]
    async fn known_answers() {
        let cases = [
            (
                "app",
                "DbConnect",
                "e319d85380261f643d78a558f76257f05aacea758a6ccd42a2510e2ae0854a47",
            ),
            (
                "admin",
                "DbConnectAdmin",
                "a08adc4c84a490014ce374b90c98ba9ed015b77b451c0d9f9fb3f8ca8c6f9c36",
            ),
        ];
        for endpoint in [
            "test.dsql.us-east-1.on.aws",
            "TEST.dsql.us-east-1.on.aws:5432",
        ] {
            for (user, action, signature) in cases {
                let source =
                    TokenSource::with_clock(&dsql(endpoint, user), then()).expect("source");
                let token = source.mint().await.expect("token");
                assert_eq!(
                    token.expose(),
                    format!(
                        "test.dsql.us-east-1.on.aws/?Action={action}\
                         &X-Amz-Algorithm=AWS4-HMAC-SHA256\
                         &X-Amz-Credential=access_key%2F20241107%2Fus-east-1%2Fdsql%2Faws4_request\
                         &X-Amz-Date=20241107T173933Z&X-Amz-Expires=900\
                         &X-Amz-SignedHeaders=host&X-Amz-Signature={signature}"
                    )
                );
            }
        }
    }

    #[tokio::test]
    async fn a_session_token_is_part_of_the_query() {
        let mut cluster = dsql("test.dsql.us-east-1.on.aws", "app");
        if let Some(given) = &mut cluster.credentials {
            given.session_token = Some(Secret("a/b+c=".to_owned()));
        }
        let token = mint(&cluster).await.expect("token");
        assert!(
            token
                .expose()
                .contains("&X-Amz-Security-Token=a%2Fb%2Bc%3D")
        );
        assert_eq!(format!("{token:?}"), "<token>");
    }

    #[test]
    fn wrong_configurations_are_told_apart() {
        for endpoint in [
            "",
            "a b",
            "a/b",
            "a..b",
            "host:port",
            "[::1]",
            "a?b",
            "é.on.aws",
            "/tmp",
            "999.1.1.1",
            "a.0x7",
            "xn--a.b",
        ] {
            let made = TokenSource::new(&dsql(endpoint, "admin"));
            assert!(
                matches!(made, Err(TokenError::Endpoint(_))),
                "{endpoint}: {made:?}"
            );
        }
        let made = TokenSource::new(&dsql("localhost", "admin"));
        assert!(matches!(made, Err(TokenError::Region(_))));
        let made = TokenSource::new(&cluster(ClusterKind::Postgres, "localhost"));
        assert!(matches!(made, Err(TokenError::NotDsql)));
    }
}
