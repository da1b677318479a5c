//! `lint --fix`: the same files as Aurora DSQL takes them, for psql.

use std::collections::{HashMap, HashSet};

use pg_query::protobuf::{AlterTableType, ConstrType, Constraint, CreateStmt, RangeVar};
use pg_query::{Node, NodeEnum};

use super::missing::Missing;
use super::{mysql, read_one};
use crate::policy::{
    Action, DdlInTransaction, Decision, Placement, Rewrite, Rules, SessionFacts, Step, StepKind,
    decide,
};
use crate::sql::script::{Part, parts};
use crate::sql::{Statement, Tree, tree};

/// Keys that a file adds after its tables, by table.
type Keys = HashMap<(String, String), Vec<Node>>;

/// Writes files anew, one after the other.
///
/// Every statement is replaced by what would go upstream. Keys that are added later stand in CREATE
/// TABLE; transactions are committed around DDL; jobs are waited for, those of unique indexes at
/// once and others at the end of the file; what is refused or needs a session stays as a comment.
pub(super) struct Fixer<'a> {
    facts: SessionFacts,
    rules: &'a Rules,
    missing: Missing,
    keys: Keys,
    /// Number of the last job that was begun.
    jobs: usize,
    /// Jobs that are waited for at the end of the file.
    waiting: Vec<usize>,
    /// The statement before is a comment now, and so are its data.
    skipped: bool,
    out: String,
}

impl<'a> Fixer<'a> {
    pub(super) fn new(facts: &SessionFacts, rules: &'a Rules) -> Self {
        let mut facts = *facts;
        facts.switches.ddl_in_transaction = DdlInTransaction::Split;
        Self {
            facts,
            rules,
            missing: Missing::default(),
            keys: Keys::new(),
            jobs: 0,
            waiting: Vec::new(),
            skipped: false,
            out: String::new(),
        }
    }

    /// The text of a file anew.
    pub(super) fn fix(&mut self, text: &str) -> String {
        self.keys = added_keys(text);
        self.facts.transaction = crate::policy::TransactionFacts::default();
        for part in parts(text) {
            match part {
                // Behind this psql takes no \gset; pg_dump writes it against files it did not make.
                Part::Command(span) if is_restriction(&text[span.clone()]) => {}
                Part::Command(span) => self.write(&format!("{}\n", &text[span])),
                Part::Data(span) if self.skipped => self.comment(text[span].trim_end(), "its data"),
                Part::Data(span) => {
                    // It begins on the line behind its COPY.
                    self.out.truncate(self.out.trim_end().len());
                    self.write(&format!("\n{}\n", &text[span]));
                }
                Part::Statement(span) => self.statement(&text[span]),
            }
        }
        self.finish()
    }

    /// The text of a file of MySQL anew.
    pub(super) fn fix_mysql(&mut self, text: &str) -> String {
        self.keys.clear();
        let mut later = Vec::new();
        for converted in mysql::convert(text) {
            for notice in &converted.notices {
                self.write(&format!("-- {}\n", notice.replace('\n', " ")));
            }
            match &converted.refusal {
                Some(error) => {
                    self.comment(&converted.text, &format!("REFUSED: {}", error.message));
                }
                None => converted.sql.iter().for_each(|sql| self.statement(sql)),
            }
            later.extend(converted.later);
        }
        later.iter().for_each(|sql| self.statement(sql));
        self.finish()
    }

    fn finish(&mut self) -> String {
        for job in std::mem::take(&mut self.waiting) {
            self.write(&format!("CALL sys.wait_for_job(:'job{job}_job_id');\n"));
        }
        std::mem::take(&mut self.out)
    }

    fn write(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn comment(&mut self, text: &str, why: &str) {
        self.skipped = true;
        let lines: Vec<String> = text.lines().map(|line| format!("-- {line}")).collect();
        self.write(&format!("-- {why}\n{}\n\n", lines.join("\n")));
    }

    fn statement(&mut self, text: &str) {
        self.skipped = false;
        let mut statement = match read_one(text) {
            Ok(statement) => statement,
            Err(error) => return self.comment(text, &format!("REFUSED: {error}")),
        };
        let Some(own) = self.gather_keys(&mut statement, text) else {
            return self.comment(text, "part of CREATE TABLE");
        };
        let mut decision = decide(&statement, &self.facts, self.rules);
        if let Some(node) = statement.node() {
            decision = self.missing.weigh(node, decision);
            let done = matches!(decision.action, Action::Forward | Action::Rewrite(_));
            self.missing.note(node, done, "a statement before");
        }
        self.facts.transaction = self.facts.transaction.after(&statement, &decision);
        for notice in &decision.notices {
            self.out
                .push_str(&format!("-- {}\n", notice.message.replace('\n', " ")));
        }
        match &decision.action {
            Action::Forward => self.place(&decision, &[Step::statement(own)]),
            Action::Rewrite(Rewrite { steps, .. }) => self.place(&decision, steps),
            Action::Answer(_) => self.comment(text, "answered by the proxy"),
            Action::Emulate(_) => self.comment(text, "done by the proxy"),
            Action::Reject(error) => self.comment(text, &format!("REFUSED: {}", error.message)),
        }
    }

    /// The statement's text, with the keys of its table in it; `None` for one that adds such a key.
    fn gather_keys(&self, statement: &mut Statement, text: &str) -> Option<String> {
        let Tree::Node(node) = &mut statement.tree else {
            return Some(text.to_owned());
        };
        if let Some((table, key)) = added_key(node)
            && self.keys.get(&table).is_some_and(|keys| keys.contains(key))
        {
            return None;
        }
        if let NodeEnum::CreateStmt(create) = &mut **node
            && let Some(table) = create.relation.as_ref().map(name)
            && let Some(later) = self.keys.get(&table)
        {
            create.table_elts.extend(later.iter().cloned());
            if let Ok(printed) = tree::verify_print(node) {
                return Some(printed);
            }
        }
        Some(text.to_owned())
    }

    /// Writes the steps at their place in the transaction.
    fn place(&mut self, decision: &Decision, steps: &[Step]) {
        match decision.placement {
            Placement::Within => self.steps(steps),
            Placement::AfterCommit => {
                self.write("COMMIT;\nBEGIN;\n");
                self.steps(steps);
            }
            Placement::Alone => {
                self.write("COMMIT;\n");
                self.steps(steps);
                self.write("BEGIN;\n");
            }
        }
        self.write("\n");
    }

    fn steps(&mut self, steps: &[Step]) {
        let conditions = steps.iter().filter(|step| step.kind == StepKind::Condition);
        let conditions = conditions.count();
        for (at, step) in steps.iter().enumerate() {
            match step.kind {
                StepKind::Statement => self.write(&format!("{};\n", step.sql)),
                StepKind::Job => {
                    self.jobs += 1;
                    let job = self.jobs;
                    self.write(&format!("{} \\gset job{job}_\n", step.sql));
                    // What comes behind it needs it, or ON CONFLICT may.
                    if at + 1 < steps.len() || step.sql.starts_with("CREATE UNIQUE") {
                        self.write(&format!("CALL sys.wait_for_job(:'job{job}_job_id');\n"));
                    } else {
                        self.waiting.push(job);
                    }
                }
                StepKind::Condition => self.write(&format!(
                    "SELECT ({}) AS applies \\gset\n\\if :applies\n",
                    step.sql
                )),
                // psql runs each value, and a refusal has none.
                StepKind::Composed => self.write(&format!(
                    "SELECT statement FROM ({}) AS composed WHERE statement IS NOT NULL \\gexec\n",
                    step.sql
                )),
                StepKind::Rebuild => self.comment(&step.sql, "the proxy makes the table anew"),
                StepKind::Batch => {
                    let rows = self.rules.parameters.batch_rows.to_string();
                    let batch = step.sql.replace("{rows}", &rows);
                    match step.without_batches() {
                        Some(whole) => self.write(&format!(
                            "-- of more than 3,000 rows, in its place until no row is changed, with the primary key for {{key}}:\n-- {batch};\n{whole};\n"
                        )),
                        None => self.write(&format!(
                            "-- repeat until no row is changed, with the primary key for {{key}}:\n-- {batch};\n"
                        )),
                    }
                }
            }
        }
        self.write(&"\\endif\n".repeat(conditions));
    }
}

fn is_restriction(command: &str) -> bool {
    let word = command.split_whitespace().next();
    matches!(word, Some("\\restrict" | "\\unrestrict"))
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
            if matches!(
                constraint.contype(),
                ConstrType::ConstrPrimary | ConstrType::ConstrUnique
            ) && constraint.indexname.is_empty() =>
        {
            Some((name(alter.relation.as_ref()?), definition))
        }
        _ => None,
    }
}

/// Columns that a table has when it is made.
fn columns(create: &CreateStmt) -> HashSet<String> {
    let name = |element: &Node| match &element.node {
        Some(NodeEnum::ColumnDef(column)) => Some(column.colname.clone()),
        _ => None,
    };
    create.table_elts.iter().filter_map(name).collect()
}

fn are_there(key: &Constraint, columns: &HashSet<String>) -> bool {
    key.keys.iter().all(|name| match &name.node {
        Some(NodeEnum::String(name)) => columns.contains(&name.sval),
        _ => false,
    })
}

/// Keys over columns that are there from the beginning, of tables that the file itself makes.
fn added_keys(text: &str) -> Keys {
    let mut keys = Keys::new();
    let mut made = HashMap::new();
    for part in parts(text) {
        let Part::Statement(span) = part else {
            continue;
        };
        let Ok(statement) = read_one(&text[span]) else {
            continue;
        };
        match statement.node() {
            Some(NodeEnum::CreateStmt(create)) => {
                if let Some(table) = &create.relation {
                    made.insert(name(table), columns(create));
                }
            }
            Some(node) => {
                if let Some((table, key)) = added_key(node)
                    && let Some(NodeEnum::Constraint(constraint)) = &key.node
                    && made
                        .get(&table)
                        .is_some_and(|columns| are_there(constraint, columns))
                {
                    keys.entry(table).or_default().push(key.clone());
                }
            }
            None => {}
        }
    }
    keys
}
