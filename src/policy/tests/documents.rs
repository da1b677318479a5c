//! `docs/dialect.md` is what the rules say.

use std::fmt::Write as _;

use super::*;
use crate::policy::rules::{Rule, Strict};

const DOCUMENT: &str = include_str!("../../../docs/dialect.md");

const HEAD: &str = "# What becomes of each construct

<!-- Written from config/dialect.yaml by `WRITE_DOCS=1 cargo test --lib policy::tests::documents`. -->

Aurora DSQL speaks PostgreSQL's protocol and a part of its SQL. For database entries with `dialect: compat` or `strict` the proxy decides about every statement by the rules below, in this order; `dialect: off` lets all pass. `dsql-proxy explain` prints the decision about a statement, `dsql-proxy lint` about the statements of files.

- **forward**: the statement goes on as it is.
- **rewrite**: other text goes on; where the meaning changes, a NOTICE says so, and a WARNING where something is lost.
- **answer**: the proxy answers, and nothing goes on.
- **emulate**: the proxy runs several steps in its place.
- **reject**: an error with SQLSTATE and HINT.

Profile `strict` does what keeps the meaning and refuses the rest. Months say which Aurora DSQL a rule is for (`dialect.as_of`). In texts `{}` stands for what was found.

## Switches

| setting | values | does |
| --- | --- | --- |
| `dsqlproxy.ddl_in_transaction` | `reject`, `split` | more than one DDL statement in a transaction, or DDL and changed rows: refused, or the transaction is committed around the statement, with a WARNING |
| `dsqlproxy.large_dml` | `refuse`, `batch` | TRUNCATE, COPY FROM and changes of more than 3,000 rows: refused, or run as several transactions |
| `dsqlproxy.table_rebuild` | `reject`, `small`, `rebuild` | changes of a column's type and of a primary key, for which the table is made anew: refused, done for tables of up to 3,000 rows, or for any, in batches |
| `dsqlproxy.unstorable_columns` | `refuse`, `text` | columns of arrays, inet, ranges, tsvector and other types that Aurora DSQL has in expressions only: refused, or kept as text and seen as their type |
| `dsqlproxy.shown_isolation` | `actual`, `asked` | `transaction_isolation` tells the level that Aurora DSQL has, always REPEATABLE READ, or the one that the client asked for |
| `dsqlproxy.index_wait` | `on`, `off` | a job (index, constraint) is waited for, or goes on in the background |
| `dsqlproxy.savepoints` | `emulate`, `reject` | SAVEPOINT by repeating the transaction, or refused |

## Rules

| rule | construct | compat | strict | from | to | what the client is told |
| --- | --- | --- | --- | --- | --- | --- |
";

fn month(month: Month, open: Month) -> String {
    if month == open {
        String::new()
    } else {
        month.to_string()
    }
}

fn action(rule: &Rule, rules: &Rules) -> String {
    let known = rule.action != ActionKind::Emulate
        || rules.can_run(match &*rule.name {
            "large_dml" => "batch",
            "large_copy" | "binary_copy" => "copy",
            "temporary" => "temporary_table",
            name => name,
        });
    match rule.action {
        ActionKind::Forward => "forward",
        ActionKind::Rewrite => "rewrite",
        ActionKind::Answer => "answer",
        ActionKind::Emulate if known => "emulate",
        ActionKind::Emulate | ActionKind::Reject => "reject",
    }
    .to_owned()
}

fn told(rule: &Rule) -> String {
    let mut parts = Vec::new();
    if let Some(warning) = &rule.warning {
        parts.push(format!("WARNING: {warning}"));
    } else if let Some(notice) = &rule.notice {
        parts.push(format!("NOTICE: {notice}"));
    }
    if !rule.message.is_empty() {
        parts.push(format!("{}: {}", rule.sqlstate, rule.message));
    }
    if let Some(hint) = &rule.hint {
        parts.push(format!("HINT: {hint}"));
    }
    parts.join("<br>").replace('|', "\\|")
}

fn document() -> String {
    let rules = Rules::standard().unwrap();
    let mut out = HEAD.to_owned();
    for rule in rules.iter() {
        let compat = action(rule, &rules);
        let strict = match rule.strict {
            Strict::Reject if compat != "forward" => "reject".to_owned(),
            _ => compat.clone(),
        };
        writeln!(
            out,
            "| `{}` | {} | {compat} | {strict} | {} | {} | {} |",
            rule.name,
            rule.what.replace('|', "\\|"),
            month(rule.since, Month::FIRST),
            month(rule.until, Month::LAST),
            told(rule),
        )
        .unwrap();
    }
    out
}

#[test]
fn the_document_is_what_the_rules_say() {
    let document = document();
    if std::env::var_os("WRITE_DOCS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/dialect.md");
        std::fs::write(path, &document).unwrap();
        return;
    }
    assert!(
        document == DOCUMENT,
        "docs/dialect.md is stale: WRITE_DOCS=1 cargo test --lib policy::tests::documents"
    );
}
