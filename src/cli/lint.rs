//! `dsql-proxy lint`: what would become of every statement of SQL files.

mod fix;
mod missing;
mod mysql;
mod report;

use std::path::Path;

use serde::Serialize;

use self::fix::Fixer;
use self::missing::Missing;
use super::explain::{Report, parse_month, rules};
use super::{Failure, LintArguments, print};
use crate::config::schema::Dialect;
use crate::policy::{
    Action, DdlInTransaction, Decision, Month, Rules, SessionFacts, Switches, TableRebuild,
    TransactionFacts, decide,
};
use crate::sql::Statement;
use crate::sql::script::{Part, parts};
use crate::sql::statement::ParseError;

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

/// What files are written for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// PostgreSQL: output of pg_dump, migrations.
    #[default]
    Postgresql,
    /// MySQL and MariaDB: output of mysqldump and phpMyAdmin.
    Mysql,
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
            // A table that only the proxy makes anew is no schema for DSQL.
            table_rebuild: TableRebuild::Reject,
            ..Switches::default()
        },
        transaction: TransactionFacts::default(),
        created: false,
        tenants: false,
    };
    let mut findings = Vec::new();
    let mut missing = Missing::default();
    let mut fixer = Fixer::new(&facts, &rules);
    for file in &arguments.files {
        let text = read(file)?;
        if arguments.fix {
            let fixed = match arguments.from {
                Source::Postgresql => fixer.fix(&text),
                Source::Mysql => fixer.fix_mysql(&text),
            };
            print(fixed.trim_end())?;
        }
        let name = file.display().to_string();
        findings.extend(match arguments.from {
            Source::Postgresql => lint_file(&name, &text, &facts, &rules, &mut missing),
            Source::Mysql => lint_mysql(&name, &text, &facts, &rules, &mut missing),
        });
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

/// Statements that are looked at at once, by all cores.
const WAVE: usize = 4096;

/// What would become of every statement of a file, in which `missing` lacks to begin with.
fn lint_file(
    file: &str,
    text: &str,
    facts: &SessionFacts,
    rules: &Rules,
    missing: &mut Missing,
) -> Vec<Finding> {
    let mut facts = *facts;
    let mut findings = Vec::new();
    let mut lines = Lines::new(text);
    let mut spans = parts(text).filter_map(|part| match part {
        Part::Statement(span) => Some(span),
        Part::Command(_) | Part::Data(_) => None,
    });
    loop {
        let wave: Vec<_> = spans.by_ref().take(WAVE).collect();
        if wave.is_empty() {
            return findings;
        }
        let texts: Vec<&str> = wave.iter().map(|span| &text[span.clone()]).collect();
        for (span, opinion) in wave.iter().zip(opinions(&texts, &facts, rules)) {
            let statement = &text[span.clone()];
            let (line, column) = lines.place(span.start);
            let place = format!("{file}:{line}");
            let report = opinion.settle(statement, &mut facts, rules, missing, &place);
            findings.push(Finding {
                file: file.to_owned(),
                line,
                column,
                statement: first_words(statement),
                report,
            });
        }
    }
}

/// What is thought of a statement before it is known what came before it.
struct Opinion {
    read: Result<Statement, ParseError>,
    /// The facts under which it was decided, and the decision.
    decided: Option<(SessionFacts, Decision)>,
}

impl Opinion {
    fn of(text: &str, facts: &SessionFacts, rules: &Rules) -> Self {
        let read = read_one(text);
        let decided = read
            .as_ref()
            .ok()
            .map(|statement| (*facts, decide(statement, facts, rules)));
        Self { read, decided }
    }

    /// What becomes of it at its place.
    fn settle(
        self,
        text: &str,
        facts: &mut SessionFacts,
        rules: &Rules,
        missing: &mut Missing,
        place: &str,
    ) -> Report {
        let statement = match self.read {
            Ok(statement) => statement,
            Err(error) => return Report::unread(&error),
        };
        let mut decision = match self.decided {
            Some((known, decision)) if known == *facts => decision,
            _ => decide(&statement, facts, rules),
        };
        if let Some(node) = statement.node() {
            decision = missing.weigh(node, decision);
            let done = !matches!(decision.action, Action::Reject(_) | Action::Answer(_));
            missing.note(node, done, place);
        }
        facts.transaction = facts.transaction.after(&statement, &decision);
        Report::of(&decision, text)
    }
}

/// An opinion of each text, made on all cores: reading takes the time.
fn opinions(texts: &[&str], facts: &SessionFacts, rules: &Rules) -> Vec<Opinion> {
    const FEW: usize = 64;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = texts.len().div_ceil(cores).max(FEW);
    let work = |texts: &[&str]| -> Vec<Opinion> {
        let opinion = |text: &&str| Opinion::of(text, facts, rules);
        texts.iter().map(opinion).collect()
    };
    if texts.len() <= share {
        return work(texts);
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> = texts
            .chunks(share)
            .map(|texts| (texts, scope.spawn(move || work(texts))))
            .collect();
        workers
            .into_iter()
            // A worker that died has its part done here, where the same happens in the open.
            .flat_map(|(texts, worker)| worker.join().unwrap_or_else(|_| work(texts)))
            .collect()
    })
}

/// What would become of every statement of a file of MySQL, put into PostgreSQL's words first.
fn lint_mysql(
    file: &str,
    text: &str,
    facts: &SessionFacts,
    rules: &Rules,
    missing: &mut Missing,
) -> Vec<Finding> {
    const RULE: &str = "mysql";
    let mut facts = *facts;
    let mut findings = Vec::new();
    let mut lines = Lines::new(text);
    let mut later = Vec::new();
    for converted in mysql::convert(text) {
        let (line, column) = lines.place(converted.at);
        let place = format!("{file}:{line}");
        let mut report = Report {
            decision: "rewrite",
            sql: Vec::new(),
            notices: converted.notices,
            sqlstate: None,
            message: None,
            hint: None,
            rules: vec![RULE.to_owned()],
        };
        if let Some(error) = converted.refusal {
            report.reject(&error);
        }
        for sql in &converted.sql {
            report.add(judge(sql, &mut facts, rules, missing, &place));
        }
        later.extend(
            converted
                .later
                .into_iter()
                .map(|sql| (findings.len(), place.clone(), sql)),
        );
        findings.push(Finding {
            file: file.to_owned(),
            line,
            column,
            statement: first_words(&converted.text),
            report,
        });
    }
    for (at, place, sql) in later {
        let report = judge(&sql, &mut facts, rules, missing, &place);
        findings[at].report.add(report);
    }
    findings
}

fn judge(
    text: &str,
    facts: &mut SessionFacts,
    rules: &Rules,
    missing: &mut Missing,
    place: &str,
) -> Report {
    Opinion::of(text, facts, rules).settle(text, facts, rules, missing, place)
}

/// Reads the one statement of a part of a file; psql's variables are constants and names in it.
fn read_one(text: &str) -> Result<Statement, ParseError> {
    let read = match Statement::read(text) {
        Err(ParseError::Syntax(error)) => {
            let filled = fill_variables(text);
            match Statement::read(&filled) {
                Ok(read) if filled != text => read,
                _ => return Err(ParseError::Syntax(error)),
            }
        }
        read => read?,
    };
    // The file was split where PostgreSQL's own lexer would: one statement, or none of a psql
    // variable that is no statement.
    let statement = read.into_iter().next();
    statement.ok_or_else(|| ParseError::Syntax("no statement".to_owned()))
}

/// The text with `:'name'`, `:"name"` and `:name` without their colons, as long as before.
fn fill_variables(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        let next = rest.peek().copied().unwrap_or(' ');
        let begins = matches!(next, '\'' | '"' | '_') || (next.is_alphabetic() && before != ':');
        match letter == ':' && before != ':' && begins {
            true => out.push(' '),
            false => out.push(letter),
        }
        before = letter;
    }
    out
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

/// What would become of every statement of a file.
#[cfg(test)]
fn lint(file: &str, text: &str, facts: &SessionFacts, rules: &Rules) -> Vec<Finding> {
    lint_file(file, text, facts, rules, &mut Missing::default())
}

#[cfg(test)]
mod tests;
