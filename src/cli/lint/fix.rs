//! `lint --fix`: the same file as Aurora DSQL takes it.

use std::collections::HashMap;

use pg_query::protobuf::{AlterTableType, ConstrType, RangeVar};
use pg_query::{Node, NodeEnum};

use crate::policy::{Action, Rules, SessionFacts, decide};
use crate::sql::script::{Part, parts};
use crate::sql::{Statement, Tree, tree};

/// Primary keys that a dump adds after its tables, by table.
type Keys = HashMap<(String, String), Vec<Node>>;

/// The text with every statement replaced by what would go upstream. Primary keys that are added
/// later stand in CREATE TABLE; what is refused or needs a session stays as a comment.
pub(super) fn fixed(text: &str, facts: &SessionFacts, rules: &Rules) -> String {
    let keys = added_keys(text);
    let mut facts = *facts;
    let mut out = String::new();
    for part in parts(text) {
        match part {
            Part::Command(span) => out.push_str(&format!("{}\n", &text[span])),
            Part::Data(span) => out.push_str(&text[span]),
            Part::Statement(span) => {
                out.push_str(&statement(&text[span], &keys, &mut facts, rules));
            }
        }
    }
    out
}

fn name(table: &RangeVar) -> (String, String) {
    let schema = if table.schemaname.is_empty() {
        "public"
    } else {
        &table.schemaname
    };
    (schema.to_owned(), table.relname.clone())
}

fn added_key(tree: &NodeEnum) -> Option<((String, String), &Node)> {
    let NodeEnum::AlterTableStmt(alter) = tree else {
        return None;
    };
    let [command] = alter.cmds.as_slice() else {
        return None;
    };
    let Some(NodeEnum::AlterTableCmd(command)) = &command.node else {
        return None;
    };
    if command.subtype() != AlterTableType::AtAddConstraint {
        return None;
    }
    let definition = command.def.as_deref()?;
    match &definition.node {
        Some(NodeEnum::Constraint(constraint))
            if constraint.contype() == ConstrType::ConstrPrimary
                && constraint.indexname.is_empty() =>
        {
            Some((name(alter.relation.as_ref()?), definition))
        }
        _ => None,
    }
}

fn added_keys(text: &str) -> Keys {
    let mut keys = Keys::new();
    let mut made = std::collections::HashSet::new();
    for part in parts(text) {
        let Part::Statement(span) = part else {
            continue;
        };
        let read = Statement::read(&text[span]).unwrap_or_default();
        let Some(node) = read.first().and_then(Statement::node) else {
            continue;
        };
        if let NodeEnum::CreateStmt(create) = node {
            made.extend(create.relation.as_ref().map(name));
        }
        // Only a table that this file makes can have its key earlier.
        if let Some((table, key)) = added_key(node)
            && made.contains(&table)
        {
            keys.entry(table).or_default().push(key.clone());
        }
    }
    keys
}

fn commented(text: &str, why: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("-- {line}")).collect();
    format!("-- {why}\n{}\n\n", lines.join("\n"))
}

fn statement(text: &str, keys: &Keys, facts: &mut SessionFacts, rules: &Rules) -> String {
    let mut read = match Statement::read(text) {
        Ok(read) => read,
        Err(error) => return commented(text, &error.to_string()),
    };
    let Some(mut statement) = (match read.len() {
        1 => read.pop(),
        _ => None,
    }) else {
        return commented(text, "not one statement");
    };
    let mut own = text.to_owned();
    if let Tree::Node(node) = &mut statement.tree {
        if let Some((table, _)) = added_key(node)
            && keys.contains_key(&table)
        {
            return commented(text, "part of CREATE TABLE");
        }
        if let NodeEnum::CreateStmt(create) = &mut **node
            && let Some(later) = create
                .relation
                .as_ref()
                .and_then(|table| keys.get(&name(table)))
        {
            create.table_elts.extend(later.iter().cloned());
            if let Ok(printed) = tree::verify_print(node) {
                own = printed;
            }
        }
    }
    let decision = decide(&statement, facts, rules);
    facts.transaction = facts.transaction.after(&statement, &decision);
    let mut out = String::new();
    for notice in &decision.notices {
        out.push_str(&format!("-- {}\n", notice.message.replace('\n', " ")));
    }
    match &decision.action {
        Action::Forward => out.push_str(&format!("{own};\n\n")),
        Action::Rewrite(rewrite) => {
            for step in &rewrite.steps {
                match step.kind {
                    crate::policy::StepKind::Statement => out.push_str(&format!("{};\n", step.sql)),
                    crate::policy::StepKind::Job => out.push_str(&format!(
                        "{};\n-- wait for it: CALL sys.wait_for_job('<job_id>')\n",
                        step.sql
                    )),
                    crate::policy::StepKind::Batch => out.push_str(&format!(
                        "-- repeat until no row is changed, with the primary key for {{key}}:\n-- {};\n",
                        step.sql.replace("{rows}", &rules.parameters.batch_rows.to_string())
                    )),
                    crate::policy::StepKind::Condition => {
                        out.push_str(&format!("-- only if this is true: {}\n", step.sql));
                    }
                    crate::policy::StepKind::Rebuild => out.push_str(&commented(
                        &step.sql,
                        "the proxy makes the table anew",
                    )),
                }
            }
            out.push('\n');
        }
        Action::Answer(_) => out.push_str(&commented(text, "answered by the proxy")),
        Action::Emulate(_) => out.push_str(&commented(text, "done by the proxy")),
        Action::Reject(error) => {
            out.push_str(&commented(text, &format!("REFUSED: {}", error.message)))
        }
    }
    out
}
