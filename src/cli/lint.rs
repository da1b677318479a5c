//! `dsql-proxy lint`: what would become of every statement of SQL files.

mod fix;
mod report;

use std::path::Path;

use serde::Serialize;

use super::explain::{Report, parse_month, rules};
use super::{Failure, LintArguments, print};
use crate::config::schema::Dialect;
use crate::policy::{
    DdlInTransaction, Month, Rules, SessionFacts, Switches, TransactionFacts, decide,
};
use crate::sql::Statement;
use crate::sql::script::{Part, parts};

/// One statement of a file and what would become of it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    /// The file.
    pub file: String,
    /// Line on which the statement begins, from 1.
    pub line: usize,
    /// Column likewise, in characters.
    pub column: usize,
    /// Its first words.
    pub statement: String,
    /// What would become of it.
    #[serde(flatten)]
    pub report: Report,
}

impl Finding {
    pub(super) fn refused(&self) -> bool {
        self.report.decision == "reject"
    }
}

/// How findings are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people; statements that go on as they are are counted only.
    #[default]
    Text,
    /// One JSON document with every statement.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// JUnit XML, for CI.
    Junit,
}

/// The profile of this name.
///
/// # Errors
/// There is none.
pub(super) fn profile(name: &str) -> Result<Dialect, Failure> {
    match name {
        "strict" => Ok(Dialect::Strict),
        "compat" => Ok(Dialect::Compat),
        "off" => Ok(Dialect::Off),
        _ => Err(Failure::Usage(
            "--profile is strict, compat or off".to_owned(),
        )),
    }
}

/// The month of `--as-of`, or the newest one the rules know.
pub(super) fn month(given: Option<&str>, rules: &Rules) -> Result<Month, Failure> {
    given.map_or(Ok(rules.newest), parse_month)
}

/// Reads the files and prints what would become of them.
///
/// # Errors
/// [`Failure::Wrong`] when something would be refused, [`Failure::Start`] when a file cannot be read.
pub fn run(arguments: &LintArguments) -> Result<(), Failure> {
    let rules = rules(arguments.rules.as_deref())?;
    let facts = SessionFacts {
        profile: profile(&arguments.profile)?,
        as_of: month(arguments.as_of.as_deref(), &rules)?,
        switches: Switches {
            ddl_in_transaction: match arguments.split_transactions {
                true => DdlInTransaction::Split,
                false => DdlInTransaction::Reject,
            },
            ..Switches::default()
        },
        transaction: TransactionFacts::default(),
    };
    let mut findings = Vec::new();
    for file in &arguments.files {
        let text = read(file)?;
        if arguments.fix {
            print(fix::fixed(&text, &facts, &rules).trim_end())?;
        }
        findings.extend(lint(&file.display().to_string(), &text, &facts, &rules));
    }
    let refused = findings.iter().filter(|finding| finding.refused()).count();
    if !arguments.fix {
        print(report::write(&findings, arguments.format).trim_end())?;
    }
    if refused == 0 {
        return Ok(());
    }
    Err(Failure::Wrong(match refused {
        1 => "1 statement would be refused".to_owned(),
        count => format!("{count} statements would be refused"),
    }))
}

fn read(file: &Path) -> Result<String, Failure> {
    let bytes = std::fs::read(file)
        .map_err(|error| Failure::Start(format!("{}: {error}", file.display())))?;
    String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        Failure::Wrong(format!(
            "{}:{line}: the file is not UTF-8, the only encoding of Aurora DSQL",
            file.display()
        ))
    })
}

/// What would become of every statement of a file.
pub(super) fn lint(file: &str, text: &str, facts: &SessionFacts, rules: &Rules) -> Vec<Finding> {
    let mut facts = *facts;
    let mut findings = Vec::new();
    let mut lines = Lines::new(text);
    for part in parts(text) {
        let Part::Statement(span) = part else {
            continue;
        };
        let statement = &text[span.clone()];
        let report = judge(statement, &mut facts, rules);
        let (line, column) = lines.place(span.start);
        findings.push(Finding {
            file: file.to_owned(),
            line,
            column,
            statement: first_words(statement),
            report,
        });
    }
    findings
}

fn judge(text: &str, facts: &mut SessionFacts, rules: &Rules) -> Report {
    let read = match Statement::read(text) {
        Ok(read) => read,
        Err(error) => return Report::unread(&error),
    };
    // The file was split where PostgreSQL's own lexer would: one statement, or none of a psql
    // variable that is no statement.
    let Some(statement) = read.first() else {
        return Report::unread(&crate::sql::statement::ParseError::Syntax(
            "no statement".to_owned(),
        ));
    };
    let decision = decide(statement, facts, rules);
    facts.transaction = facts.transaction.after(statement, &decision);
    Report::of(&decision, text)
}

fn first_words(text: &str) -> String {
    const LONGEST: usize = 80;
    let words: Vec<&str> = text.split_whitespace().take(20).collect();
    let joined = words.join(" ");
    match joined.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &joined[..end]),
        None => joined,
    }
}

/// Lines of a text, counted in one pass.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    begin: usize,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
            begin: 0,
        }
    }

    /// Line and column of a place behind the last one asked for.
    fn place(&mut self, at: usize) -> (usize, usize) {
        for (offset, byte) in self.text.as_bytes()[self.at..at].iter().enumerate() {
            if *byte == b'\n' {
                self.line += 1;
                self.begin = self.at + offset + 1;
            }
        }
        self.at = at;
        (self.line, 1 + self.text[self.begin..at].chars().count())
    }
}

#[cfg(test)]
mod tests;
