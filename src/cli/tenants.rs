//! `dsql-proxy tenants check`: whether what an application sends would be open to its tenants.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use super::{Failure, TenantsCheckArguments, TenantsCommand, TenantsSyncArguments, explain, print};
use crate::config::Config;
use crate::policy::tenancy;
use crate::server::{TenantView, Told, sync_barriers};
use crate::sql::Statement;
use crate::sql::script::{Part, parts};

/// Refused statements of one rule that are printed.
const EXAMPLES: usize = 3;

/// Characters of a statement that are printed.
const SHOWN: usize = 120;

/// What would become of one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Accepted,
    /// By this rule, about this.
    Refused(String, String),
}

/// Runs the command.
///
/// # Errors
/// [`Failure::Wrong`] when a statement would be refused or tenants are not served at all.
pub fn run(command: &TenantsCommand) -> Result<(), Failure> {
    match command {
        TenantsCommand::Check(arguments) => check(arguments),
        TenantsCommand::Sync(arguments) => sync(arguments),
    }
}

fn sync(arguments: &TenantsSyncArguments) -> Result<(), Failure> {
    let config = Config::load(&arguments.config)?;
    let with_policy = config
        .databases
        .iter()
        .filter(|(_, entry)| entry.tenancy.is_some());
    let names: Vec<&str> = with_policy.map(|(name, _)| name.as_str()).collect();
    let database = match (&arguments.database, names.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => *only,
        (None, _) => {
            let message =
                "several databases or none have a tenant policy: say which with --database";
            return Err(Failure::Usage(message.to_owned()));
        }
    };
    let mut problems = 0;
    let mut told = |tenant: &str, line: Told<'_>| {
        let text = match line {
            Told::Role(name) => format!("-- tenant {tenant}: role and schema {name}"),
            Told::Statement(sql) => format!("{sql};"),
            Told::Same => "-- nothing to change".to_owned(),
            Told::Note(note) => format!("-- note: {note}"),
            Told::Problem(problem) => {
                problems += 1;
                format!("-- PROBLEM: {problem}")
            }
        };
        print(&text).map_err(|failure| failure.to_string())
    };
    sync_barriers(
        &config,
        database,
        &arguments.tenant,
        arguments.dry_run,
        &mut told,
    )
    .map_err(Failure::Start)?;
    match problems {
        0 => Ok(()),
        _ => Err(Failure::Wrong(format!(
            "{problems} problems: nothing is enforced where one is told"
        ))),
    }
}

fn check(arguments: &TenantsCheckArguments) -> Result<(), Failure> {
    let config = Config::load(&arguments.config)?;
    let view = explain::view(
        &config,
        &arguments.user,
        arguments.database.as_deref(),
        arguments.tenant.as_deref(),
    )?;
    let view = view.ok_or_else(|| {
        Failure::Wrong(format!(
            "user {} is bound to no tenant there",
            arguments.user
        ))
    })?;
    let text = std::fs::read_to_string(&arguments.log)
        .map_err(|error| Failure::Start(format!("{}: {error}", arguments.log.display())))?;
    let mut refused: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut accepted = 0;
    for statement in statements(&text) {
        let verdict = judge(&statement, &view);
        if arguments.json {
            print(&line(&statement, &verdict))?;
        }
        match verdict {
            Verdict::Accepted => accepted += 1,
            Verdict::Refused(rule, subject) => {
                refused.entry(rule).or_default().push((subject, statement));
            }
        }
    }
    let count: usize = refused.values().map(Vec::len).sum();
    print(&match arguments.json {
        true => {
            json!({"accepted": accepted, "refused": count, "reasons": view.reasons}).to_string()
        }
        false => table(accepted, &refused, &view.reasons),
    })?;
    match (count, view.reasons.len()) {
        (0, 0) => Ok(()),
        (_, 0) => Err(Failure::Wrong(format!(
            "{count} statements would be refused"
        ))),
        _ => Err(Failure::Wrong(
            "the database is not served to tenants".to_owned(),
        )),
    }
}

fn line(statement: &str, verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accepted => json!({"statement": statement, "accepted": true}),
        Verdict::Refused(rule, subject) => {
            json!({"statement": statement, "accepted": false, "rule": rule, "subject": subject})
        }
    }
    .to_string()
}

fn table(
    accepted: usize,
    refused: &BTreeMap<String, Vec<(String, String)>>,
    reasons: &[String],
) -> String {
    let count: usize = refused.values().map(Vec::len).sum();
    let total = accepted + count;
    let mut out = format!("accepted {accepted} of {total}");
    for (rule, statements) in refused {
        // Writing into a String cannot fail.
        let _ = write!(out, "\nrefused  {} by {rule}", statements.len());
        for (subject, statement) in statements.iter().take(EXAMPLES) {
            let about = match subject.as_str() {
                "" => String::new(),
                subject => format!(" ({subject})"),
            };
            let _ = write!(out, "\n    {}{about}", first_words(statement));
        }
    }
    for reason in reasons {
        let _ = write!(out, "\nnot served: {reason}");
    }
    out
}

fn first_words(statement: &str) -> String {
    let words: Vec<&str> = statement.split_whitespace().collect();
    let text = words.join(" ");
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn judge(text: &str, view: &TenantView) -> Verdict {
    let statements = match Statement::read(text) {
        Ok(statements) => statements,
        Err(error) => return Verdict::Refused("unreadable".to_owned(), error.to_string()),
    };
    match tenancy::isolate_all(&statements, &view.policy, &view.catalog, &view.tenant) {
        Ok(_) => Verdict::Accepted,
        Err(refusal) => Verdict::Refused(refusal.rule.name().to_owned(), refusal.subject),
    }
}

/// The statements of a file of SQL, or of a server's log.
fn statements(text: &str) -> Vec<String> {
    let logged = logged(text);
    if !logged.is_empty() {
        return logged;
    }
    parts(text)
        .filter_map(|part| match part {
            Part::Statement(range) => Some(text[range].trim().to_owned()),
            _ => None,
        })
        .filter(|statement| !statement.is_empty())
        .collect()
}

/// The statements of a log: lines with `LOG:  statement: …` or `LOG:  execute NAME: …`, and the lines
/// behind them that begin with a tab.
fn logged(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix('\t') {
            if let Some(last) = found.last_mut().filter(|_| inside) {
                last.push('\n');
                last.push_str(rest);
            }
            continue;
        }
        let statement = line.split_once("LOG:  ").and_then(|(_, entry)| {
            entry.strip_prefix("statement: ").or_else(|| {
                let (_, statement) = entry.strip_prefix("execute ")?.split_once(": ")?;
                Some(statement)
            })
        });
        inside = statement.is_some();
        found.extend(statement.map(str::to_owned));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_come_from_files_and_from_logs() {
        let log = "2026-11-21 10:00:00 UTC [7] LOG:  statement: SELECT 1\n\
                   2026-11-21 10:00:00 UTC [7] LOG:  duration: 1 ms\n\
                   2026-11-21 10:00:01 UTC [7] LOG:  execute <unnamed>: SELECT a\n\tFROM t\n\
                   2026-11-21 10:00:01 UTC [7] DETAIL:  parameters: $1 = 'x'\n\tnot this\n";
        assert_eq!(statements(log), ["SELECT 1", "SELECT a\nFROM t"]);
        let file = "SELECT ';' ;\n-- none\n;UPDATE t SET a = 1;";
        assert_eq!(statements(file), ["SELECT ';'", "UPDATE t SET a = 1"]);
    }

    #[test]
    fn a_table_says_which_rules_refuse_what() {
        let refused = BTreeMap::from([(
            "relation".to_owned(),
            vec![("app.x".to_owned(), "SELECT\n * FROM x".to_owned())],
        )]);
        assert_eq!(
            table(3, &refused, &[]),
            "accepted 3 of 4\nrefused  1 by relation\n    SELECT * FROM x (app.x)"
        );
    }
}
