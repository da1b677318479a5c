//! `dsql-proxy token --config FILE --cluster C` or `--emulator DIR`: a fresh DSQL token, to log in by
//! hand or from a test suite in a language without the AWS SDK.

use std::path::Path;

use serde_json::json;
use thiserror::Error;

use super::{Failure, TokenArguments};
use crate::config::{Cluster, Config};
use crate::emulator::account::{Account, FILE as ACCOUNT_FILE};
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

/// The cluster of an emulator that has its state in `dir`, with `user` as the user to log in as.
///
/// # Errors
/// A sentence for standard error: no emulator was ever started there, or its file is not readable.
pub fn emulated_cluster(dir: &Path, user: &str) -> Result<Cluster, String> {
    let path = dir.join(ACCOUNT_FILE);
    let wrong = |error: &dyn std::fmt::Display| {
        format!("{}: {error}; start the emulator first", path.display())
    };
    let bytes = std::fs::read(&path).map_err(|error| wrong(&error))?;
    let account: Account = serde_json::from_slice(&bytes).map_err(|error| wrong(&error))?;
    serde_json::from_value(json!({
        "kind": "dsql",
        "endpoint": account.endpoint,
        "region": account.region,
        "user": user,
        "credentials": {
            "access_key_id": account.access_key_id,
            "secret_access_key": account.secret_access_key,
        },
    }))
    .map_err(|error| wrong(&error))
}

/// Makes the token that the arguments ask for, on a runtime of its own; gives the text to print.
///
/// # Errors
/// A sentence for standard error.
pub fn run(arguments: &TokenArguments) -> Result<String, Failure> {
    let made = match (&arguments.emulator, &arguments.config, &arguments.cluster) {
        (Some(dir), ..) => {
            let cluster = emulated_cluster(dir, &arguments.user).map_err(Failure::Wrong)?;
            wait_for(async { Ok(token::mint(&cluster).await?) })
        }
        (None, Some(config), Some(cluster)) => {
            let config = Config::load(config)?;
            wait_for(token(&config, cluster))
        }
        _ => {
            let what = "token needs --config and --cluster, or --emulator";
            return Err(Failure::Usage(what.to_owned()));
        }
    };
    made.map_err(Failure::Wrong)
}

fn wait_for(work: impl Future<Output = Result<Token, Error>>) -> Result<String, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start a runtime: {error}"))?
        .block_on(work)
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
        let run = |cluster: &str| wait_for(token(&config, cluster));
        let token = run("main").expect("token");
        assert!(token.starts_with("test.dsql.us-east-1.on.aws/?Action=DbConnectAdmin&"));
        let unknown = run("other").expect_err("unknown");
        assert!(unknown.contains("it has: main, plain"), "{unknown}");
        let plain = run("plain").expect_err("no tokens");
        assert!(plain.contains("kind dsql"), "{plain}");
    }

    #[test]
    fn an_emulator_is_known_by_its_folder() {
        let dir = tempfile::tempdir().expect("folder");
        let arguments = |user: &str| TokenArguments {
            config: None,
            cluster: None,
            emulator: Some(dir.path().to_owned()),
            user: user.to_owned(),
        };
        let Err(Failure::Wrong(sentence)) = run(&arguments("admin")) else {
            panic!("there is no emulator");
        };
        assert!(sentence.contains("start the emulator first"), "{sentence}");
        let account = Account::keep(dir.path()).expect("account");
        for (user, action) in [("admin", "DbConnectAdmin"), ("clerk", "DbConnect")] {
            let token = run(&arguments(user)).expect("token");
            let start = format!("{}/?Action={action}&", account.endpoint);
            assert!(token.starts_with(&start), "{user}");
        }
    }
}
