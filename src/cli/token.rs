//! `dsql-proxy token --config FILE --cluster C`: a fresh DSQL token, to log in by hand.

use thiserror::Error;

use crate::config::Config;
use crate::upstream::token::{self, Token, TokenError};

/// Why no token was printed.
#[derive(Debug, Error)]
pub enum Error {
    /// The configuration has no such cluster.
    #[error("no cluster \"{name}\" in the configuration; it has: {known}")]
    UnknownCluster {
        /// What was asked for.
        name: String,
        /// Names of the clusters there are.
        known: String,
    },
    /// The token could not be made.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// Makes a token for the user of `cluster`.
///
/// # Errors
/// An unknown cluster, one that is not DSQL, or no AWS credentials.
pub async fn token(config: &Config, cluster: &str) -> Result<Token, Error> {
    let entry = config
        .clusters
        .get(cluster)
        .ok_or_else(|| Error::UnknownCluster {
            name: cluster.to_owned(),
            known: config
                .clusters
                .keys()
                .cloned()
                .collect::<Vec<_>>()
                .join(", "),
        })?;
    Ok(token::mint(entry).await?)
}

/// [`token()`] on a runtime of its own, as the text to print.
///
/// # Errors
/// A sentence for standard error.
pub fn run(config: &Config, cluster: &str) -> Result<String, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start a runtime: {error}"))?
        .block_on(token(config, cluster))
        .map(|token| token.expose().to_owned())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "
listen: {address: '127.0.0.1:6432'}
clusters:
  main:
    kind: dsql
    endpoint: test.dsql.us-east-1.on.aws
    credentials: {access_key_id: a, secret_access_key: s}
  plain: {kind: postgres, endpoint: localhost}
databases: {}
";

    #[test]
    fn a_token_or_a_reason() {
        let config: Config = serde_saphyr::from_str(CONFIG).expect("config");
        let token = run(&config, "main").expect("token");
        assert!(token.starts_with("test.dsql.us-east-1.on.aws/?Action=DbConnectAdmin&"));
        let unknown = run(&config, "other").expect_err("unknown");
        assert!(unknown.contains("it has: main, plain"), "{unknown}");
        let plain = run(&config, "plain").expect_err("no tokens");
        assert!(plain.contains("kind dsql"), "{plain}");
    }
}
