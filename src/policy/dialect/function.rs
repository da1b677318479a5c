//! Functions, procedures and DO blocks.

use pg_query::NodeEnum;
use pg_query::protobuf::{CreateFunctionStmt, DoStmt};

use super::{Case, build};
use crate::policy::{Action, Decision, Rules, SessionFacts, StepKind};
use crate::sql::Statement;
use crate::wire::sqlstate::SqlState;

fn function(tree: &NodeEnum) -> Option<&CreateFunctionStmt> {
    match tree {
        NodeEnum::CreateFunctionStmt(create) => Some(create),
        _ => None,
    }
}

/// CREATE FUNCTION in another language than SQL.
pub(super) fn language(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    let Some(create) = function(tree) else {
        return Vec::new();
    };
    let language = build::options(&create.options)
        .find(|option| option.defname == "language")
        .and_then(build::word);
    match language {
        Some(language) if language.eq_ignore_ascii_case("sql") => Vec::new(),
        Some(language) => vec![language],
        None if create.sql_body.is_some() => Vec::new(),
        None => vec!["?".to_owned()],
    }
}

/// Options of a function that DSQL refuses.
pub(super) fn options(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    let Some(create) = function(tree) else {
        return Vec::new();
    };
    build::options(&create.options)
        .filter(|option| match option.defname.as_str() {
            "leakproof" => build::word(option).as_deref() != Some("false"),
            "window" | "transform" | "support" => true,
            _ => false,
        })
        .map(|option| option.defname.to_ascii_uppercase())
        .collect()
}

/// SET of settings that DSQL does not take.
pub(super) fn setting(tree: &NodeEnum, case: &Case<'_>) -> Vec<String> {
    let Some(create) = function(tree) else {
        return Vec::new();
    };
    let own = &case.rules.parameters.settings;
    build::options(&create.options)
        .filter(|option| option.defname == "set")
        .filter_map(|option| match option.arg.as_ref()?.node.as_ref()? {
            NodeEnum::VariableSetStmt(set) => Some(set.name.to_ascii_lowercase()),
            _ => None,
        })
        .filter(|name| !own.contains(name))
        .collect()
}

/// Statements of a body that do not go on as they are: nothing changes them once they are there.
pub(super) fn body(tree: &NodeEnum, case: &Case<'_>) -> Vec<String> {
    let Some(create) = function(tree) else {
        return Vec::new();
    };
    let text = build::options(&create.options)
        .find(|option| option.defname == "as")
        .and_then(build::word);
    let Some(statements) = text.and_then(|text| Statement::read(&text).ok()) else {
        return Vec::new();
    };
    statements
        .iter()
        .filter_map(|statement| {
            let decision = super::judge(statement, case.facts, case.rules);
            match decision.action {
                Action::Forward => None,
                Action::Reject(error) => Some(error.message),
                _ => Some(statement.text.trim().to_owned()),
            }
        })
        .collect()
}

/// CREATE PROCEDURE.
pub(super) fn procedure(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    function(tree)
        .filter(|create| create.is_procedure)
        .map(|create| build::last(&create.funcname).to_owned())
        .into_iter()
        .collect()
}

/// Conditions of plpgsql that say "it is there already", and their SQLSTATEs.
const DUPLICATES: [(&str, SqlState); 6] = [
    ("duplicate_object", "42710"),
    ("duplicate_table", "42P07"),
    ("duplicate_column", "42701"),
    ("duplicate_schema", "42P06"),
    ("duplicate_function", "42723"),
    ("unique_violation", "23505"),
];

/// The DO block of migration tools: one DDL statement, and nothing happens when its object is there
/// already. Any other block is left to the rules.
pub(super) fn idiom(block: &DoStmt, facts: &SessionFacts, rules: &Rules) -> Option<Decision> {
    let body = build::options(&block.args)
        .find(|option| option.defname == "as")
        .and_then(build::word)?;
    let (sql, tolerated) = read_idiom(&body)?;
    let read = Statement::read(&sql).ok()?;
    let [statement] = read.as_slice() else {
        return None;
    };
    if statement.kind() != crate::sql::Kind::Ddl {
        return None;
    }
    let mut decision = super::judge(statement, facts, rules);
    match &mut decision.action {
        Action::Rewrite(rewrite) => {
            rewrite.tag = Some("DO".to_owned());
            let multiple = rewrite.steps.len() > 1;
            for step in &mut rewrite.steps {
                let duplicate = tolerated.iter().copied();
                if step.kind == StepKind::Batch {
                    continue;
                }
                step.tolerate.extend(duplicate);
                if multiple {
                    step.tolerate.extend(["42710", "42P07", "42701"]);
                }
            }
        }
        Action::Forward => {
            let step = crate::policy::Step {
                tolerate: tolerated,
                ..crate::policy::Step::statement(sql)
            };
            decision.action = Action::Rewrite(crate::policy::Rewrite {
                steps: vec![step],
                tag: Some("DO".to_owned()),
            });
        }
        _ => {}
    }
    decision.rules.push(std::sync::Arc::from("do_idiom"));
    Some(decision)
}

/// `BEGIN <statement>; EXCEPTION WHEN duplicate_object [OR …] THEN null; END`.
fn read_idiom(body: &str) -> Option<(String, Vec<SqlState>)> {
    let body = body.trim();
    let lower = body.to_ascii_lowercase();
    let inner = lower.strip_prefix("begin")?.len();
    let start = lower.len() - inner;
    let end = lower.trim_end_matches([';', ' ', '\n', '\r', '\t']);
    let end = end.strip_suffix("end")?.len();
    let at = lower[start..end].rfind("exception")? + start;
    let handler = lower[at + "exception".len()..end].trim();
    let statement = body[start..at].trim().trim_end_matches(';').trim();
    if statement.contains("--") {
        return None;
    }
    let mut tolerated = Vec::new();
    for clause in handler.split("when").skip(1) {
        let (conditions, action) = clause.split_once("then")?;
        if action.trim().trim_end_matches(';').trim() != "null" {
            return None;
        }
        for condition in conditions.split(" or ") {
            let condition = condition.trim();
            let (_, code) = DUPLICATES.iter().find(|(name, _)| *name == condition)?;
            tolerated.push(*code);
        }
    }
    let whole = !tolerated.is_empty() && handler.starts_with("when") && !statement.is_empty();
    whole.then(|| (statement.to_owned(), tolerated))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idiom_is_told_from_other_blocks() {
        let (sql, tolerated) = read_idiom(
            "BEGIN\n CREATE TYPE mood AS ENUM ('a', 'b');\nEXCEPTION\n WHEN duplicate_object THEN null;\nEND ",
        )
        .unwrap();
        assert_eq!(sql, "CREATE TYPE mood AS ENUM ('a', 'b')");
        assert_eq!(tolerated, ["42710"]);
        let other = [
            "",
            "BEGIN END",
            "BEGIN CREATE TABLE t(); END",
            "BEGIN CREATE TABLE t(); EXCEPTION WHEN others THEN null; END",
            "BEGIN CREATE TABLE t(); EXCEPTION WHEN duplicate_table THEN RAISE; END",
            "DECLARE x int; BEGIN CREATE TABLE t(); EXCEPTION WHEN duplicate_table THEN null; END",
        ];
        for body in other {
            assert_eq!(read_idiom(body), None, "{body}");
        }
    }
}
