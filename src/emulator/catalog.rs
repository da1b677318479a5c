//! Gives the catalog of the local PostgreSQL the form that an Aurora DSQL cluster shows: schema
//! `sys`, DSQL's versions of functions, and the emulator's own schema `pg_dsql`, which clients do
//! not get to see.

use std::fmt::Write as _;

use tokio_postgres::{Client, Error};

use super::rules::{Rules, ServerVersion};

const OBJECTS: &str = include_str!("catalog.sql");

/// Brings database `postgres` into that form, as the superuser. May be run again, with other rules
/// too; all of it happens or nothing.
///
/// # Errors
/// What PostgreSQL says.
pub async fn prepare(client: &Client, rules: &Rules, version: &ServerVersion) -> Result<(), Error> {
    let script = format!("BEGIN;\n{OBJECTS}\n{}COMMIT;", data(rules, version));
    client.batch_execute(&script).await
}

/// The part that the rules decide.
fn data(rules: &Rules, version: &ServerVersion) -> String {
    let types = rules
        .storable_types()
        .map(|(name, key)| format!("('pg_catalog.{name}'::regtype, {key})"));
    let settings = rules.settings().map(|name| {
        let real = rules.own_setting(name).unwrap_or(name);
        format!("({}, {})", literal(name), literal(real))
    });
    let reported = rules
        .reported(version)
        .map(|(name, value)| format!("({}, {})", literal(name), literal(&value)));
    let missing = rules
        .missing_settings()
        .iter()
        .map(|name| format!("({})", literal(name)));
    let mut script = String::new();
    fill(&mut script, "storable_type", types);
    fill(&mut script, "setting", settings);
    fill(&mut script, "reported_setting", reported);
    fill(&mut script, "missing_setting", missing);
    let patterns: Vec<String> = rules.missing_functions().map(literal).collect();
    // Writing into a String cannot fail.
    let _ = writeln!(
        script,
        "SELECT pg_dsql.hide_functions(ARRAY[{}]::text[]);",
        patterns.join(", ")
    );
    script
}

/// Makes a table hold these rows and no others.
fn fill(script: &mut String, table: &str, rows: impl Iterator<Item = String>) {
    let rows: Vec<String> = rows.collect();
    let _ = writeln!(
        script,
        "DELETE FROM pg_dsql.{table};\nINSERT INTO pg_dsql.{table} VALUES {};",
        rows.join(", ")
    );
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
