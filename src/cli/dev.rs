//! `dsql-proxy dev`: PostgreSQL, emulator and proxy on this machine.

use super::{DevArguments, Failure};

/// Not built yet.
///
/// # Errors
/// Always.
pub fn run(_: &DevArguments) -> Result<(), Failure> {
    Err(Failure::Start("not built yet".to_owned()))
}
