//! `dsql-proxy emulate`: the emulator alone.

use super::{EmulateArguments, Failure};

/// Not built yet.
///
/// # Errors
/// Always.
pub fn run(_: &EmulateArguments) -> Result<(), Failure> {
    Err(Failure::Start("not built yet".to_owned()))
}
