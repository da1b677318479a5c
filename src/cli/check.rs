//! `dsql-proxy check --config FILE`: everything that is wrong with a configuration file.

use super::{CheckArguments, Failure, print};
use crate::config::Config;
use crate::server::{policies_of, rules_of};

/// Reads and checks the file. Findings are the result and go to standard output, one a line.
///
/// # Errors
/// [`Failure::Wrong`] with the number of findings.
pub fn run(arguments: &CheckArguments) -> Result<(), Failure> {
    let file = arguments.config.display();
    let problems = match Config::load(&arguments.config) {
        Ok(config) => match rules_of(&config) {
            Ok(_) => match policies_of(&config) {
                Ok(_) => return print(&format!("{file}: right")),
                Err(error) => {
                    for line in error.lines() {
                        print(line)?;
                    }
                    return Err(Failure::Wrong(counted(
                        &file.to_string(),
                        error.lines().len(),
                    )));
                }
            },
            Err(error) => {
                print(&format!("dialect: {error}"))?;
                return Err(Failure::Wrong(format!("{file}: 1 problem")));
            }
        },
        Err(problems) => problems,
    };
    for problem in &problems {
        print(&problem.to_string())?;
    }
    Err(Failure::Wrong(counted(&file.to_string(), problems.len())))
}

fn counted(file: &str, problems: usize) -> String {
    match problems {
        1 => format!("{file}: 1 problem"),
        count => format!("{file}: {count} problems"),
    }
}
