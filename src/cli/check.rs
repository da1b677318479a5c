//! `dsql-proxy check --config FILE`: everything that is wrong with a configuration file.

use super::{CheckArguments, Failure, print};
use crate::config::Config;

/// Reads and checks the file. Findings are the result and go to standard output, one a line.
///
/// # Errors
/// [`Failure::Wrong`] with the number of findings.
pub fn run(arguments: &CheckArguments) -> Result<(), Failure> {
    let file = arguments.config.display();
    let Err(problems) = Config::load(&arguments.config) else {
        return print(&format!("{file}: right"));
    };
    for problem in &problems {
        print(&problem.to_string())?;
    }
    Err(Failure::Wrong(match problems.len() {
        1 => format!("{file}: 1 problem"),
        count => format!("{file}: {count} problems"),
    }))
}
