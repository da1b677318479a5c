//! `dsql-proxy token --config FILE --cluster C`: a fresh DSQL token, to log in by hand.

use crate::config::Config;

/// Not built yet.
///
/// # Errors
/// Always.
pub fn run(_: &Config, _: &str) -> Result<String, String> {
    Err("not built yet".to_owned())
}
