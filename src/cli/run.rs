//! `dsql-proxy run --config FILE`: the proxy.

use super::{Failure, RunArguments};

/// Not built yet.
///
/// # Errors
/// Always.
pub fn run(_: &RunArguments) -> Result<(), Failure> {
    Err(Failure::Start("not built yet".to_owned()))
}
