//! The dialect rules at work: what a rule matches, and what it does.

mod advisory;
mod alter;
pub(super) mod build;
mod bulk;
mod call;
pub(super) mod catalog;
pub(super) mod column;
pub(super) mod composite;
mod compound;
mod conditional;
mod database;
mod drop;
mod enumeration;
mod function;
mod grant;
mod index;
pub(super) mod materialized;
mod name;
mod notify;
pub mod rebuild;
mod role;
mod search;
mod select;
mod sequence;
mod session;
mod signal;
mod survey;
mod table;
mod transaction;
mod unstorable;

use std::cell::OnceCell;
use std::sync::Arc;

use pg_query::NodeEnum;

use self::survey::Survey;
use super::rules::{Rule, Strict};
use super::{
    Action, ActionKind, Answer, Decision, LargeDml, Level, Notice, Procedure, Rewrite, Rules,
    SessionFacts, Step, TableName, TableRebuild, UnstorableColumns,
};
use crate::config::schema::Dialect;
use crate::sql::tree::{self, PrintError, Ref};
use crate::sql::{Statement, Tree};
use crate::wire::reply::ClientError;

/// Code behind a rule. Each returns what it found, in words for messages; an empty list is nothing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Code {
    /// Finds a construct.
    Find(fn(&NodeEnum, &Case<'_>) -> Vec<String>),
    /// Changes a construct into another.
    Change(fn(&mut Draft, &Case<'_>) -> Changed),
    /// Answers a statement.
    Answer(fn(&NodeEnum, &Case<'_>) -> Option<(Answer, String)>),
    /// Names a procedure for a statement.
    Emulate(fn(&NodeEnum, &Case<'_>) -> Option<(Procedure, String)>),
}

/// What a change found, or why it cannot be made.
pub(super) type Changed = Result<Vec<String>, ClientError>;

/// All that code may look at besides the tree.
pub(super) struct Case<'a> {
    pub facts: &'a SessionFacts,
    pub rules: &'a Rules,
    pub rule: &'a Rule,
    /// The client's text, as PostgreSQL's grammar takes it.
    pub text: &'a str,
    survey: &'a OnceCell<Survey>,
}

impl Case<'_> {
    fn survey(&self, node: &NodeEnum) -> &Survey {
        self.survey.get_or_init(|| Survey::of(node))
    }
}

/// A statement on its way through the rules.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    /// What it says so far.
    pub tree: NodeEnum,
    /// `ASYNC` stands in it.
    pub asynchronous: bool,
    /// It says something else than the client's text.
    pub changed: bool,
    /// The statement begins a job that is to be waited for.
    pub job: Option<Job>,
    /// Steps ahead of all others, whatever becomes of the statement itself.
    pub first: Vec<Step>,
    /// Steps before it.
    pub before: Vec<Step>,
    /// Steps after it.
    pub after: Vec<Step>,
    /// Steps in its place.
    pub instead: Option<Vec<Step>>,
    /// Command tag for the client.
    pub tag: Option<String>,
}

/// What to do about a job's failure.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub undo: Option<String>,
    pub failure: Option<&'static str>,
    /// The table that an index is of.
    pub index_of: Option<TableName>,
}

impl Draft {
    fn new(tree: NodeEnum, asynchronous: bool) -> Self {
        Self {
            tree,
            asynchronous,
            changed: false,
            job: None,
            first: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            instead: None,
            tag: None,
        }
    }

    fn finish(self) -> Result<Action, PrintError> {
        let steps = match self.instead {
            Some(steps) => steps,
            None if !self.changed && self.before.is_empty() && self.after.is_empty() => {
                return Ok(Action::Forward);
            }
            None => {
                let sql = text(&self.tree, self.asynchronous)?;
                let step = match self.job {
                    None => Step::statement(sql),
                    Some(job) => Step {
                        undo: job.undo,
                        failure: job.failure,
                        table: job.index_of,
                        ..Step::job(sql)
                    },
                };
                let mut steps = self.before;
                steps.push(step);
                steps.extend(self.after);
                steps
            }
        };
        let mut steps: Vec<Step> = self.first.into_iter().chain(steps).collect();
        if let NodeEnum::AlterTableStmt(alter) = &self.tree {
            alter::if_exists(alter, &mut steps);
        }
        if steps.is_empty() {
            let tag = self.tag.unwrap_or_default();
            return Ok(Action::Answer(Answer::Tag(tag)));
        }
        Ok(Action::Rewrite(Rewrite {
            steps,
            tag: self.tag,
        }))
    }
}

/// Text of a changed tree, read back and compared. `ASYNC` comes behind INDEX or TABLE, and an
/// index names no method: DSQL takes none.
pub(super) fn text(tree: &NodeEnum, asynchronous: bool) -> Result<String, PrintError> {
    let mut printed = tree.clone();
    if let NodeEnum::IndexStmt(index) = &mut printed
        && index.access_method == "btree"
    {
        index.access_method.clear();
    }
    let text = tree::print(&printed)?;
    let text = if asynchronous {
        let word = match tree {
            NodeEnum::IndexStmt(_) => " INDEX ",
            _ => " TABLE ",
        };
        let (head, tail) = text.split_once(word).ok_or(PrintError::Different)?;
        format!("{head}{word}ASYNC {tail}")
    } else {
        text
    };
    let mut read = Statement::read(&text).map_err(|error| PrintError::Read(error.to_string()))?;
    match (read.pop(), read.is_empty()) {
        (
            Some(Statement {
                tree: Tree::Node(read),
                asynchronous: found,
                ..
            }),
            true,
        ) if found == asynchronous && tree::same(&read, tree) => Ok(text),
        _ => Err(PrintError::Different),
    }
}

/// The error for a tree that has no text: a defect of ours, so the client can do nothing.
pub(super) fn unprintable(error: &PrintError) -> ClientError {
    tracing::error!(%error, "a rewritten statement cannot be sent");
    ClientError::error(
        "XX000",
        "the statement could not be rewritten for Aurora DSQL",
    )
    .detail(error.to_string())
}

/// What the rules make of a statement, leaving its transaction aside.
pub(super) fn judge(statement: &Statement, facts: &SessionFacts, rules: &Rules) -> Decision {
    match statement.node() {
        None => Decision::of(Action::Forward),
        Some(node) => judge_node(node, statement.asynchronous, &statement.text, facts, rules),
    }
}

fn judge_node(
    node: &NodeEnum,
    asynchronous: bool,
    text: &str,
    facts: &SessionFacts,
    rules: &Rules,
) -> Decision {
    if let Some(decision) = compound::judge(node, text, facts, rules) {
        return decision;
    }
    let name = Ref::of(node).name();
    let survey = OnceCell::new();
    let mut draft = Draft::new(node.clone(), asynchronous);
    let mut decision = Decision::of(Action::Forward);
    for rule in rules.of(name, facts.as_of) {
        let case = Case {
            facts,
            rules,
            rule,
            text,
            survey: &survey,
        };
        let outcome = apply(&mut draft, &case);
        match outcome {
            Outcome::Nothing => {}
            Outcome::Changed(found) => note(&mut decision, rule, &found),
            Outcome::Final(action, found) => {
                match action {
                    Action::Reject(_) => {
                        decision.notices.clear();
                        decision.rules = vec![Arc::clone(&rule.name)];
                    }
                    _ => note(&mut decision, rule, &found),
                }
                decision.action = action;
                return decision;
            }
        }
    }
    // A rule may have made a statement of another kind of it.
    let accepted = rules.accepts(Ref::of(&draft.tree).name(), facts.as_of);
    if draft.instead.is_none() && !accepted {
        decision.action = Action::Reject(unknown(name));
        decision.notices.clear();
        decision.rules = vec![Arc::from("unsupported_statement")];
        return decision;
    }
    decision.action = draft
        .finish()
        .unwrap_or_else(|error| Action::Reject(unprintable(&error)));
    decision
}

fn unknown(name: &str) -> ClientError {
    let word = name.strip_suffix("Stmt").unwrap_or(name);
    ClientError::error(
        "0A000",
        format!("Aurora DSQL has no such statement ({word})"),
    )
}

enum Outcome {
    Nothing,
    Changed(Vec<String>),
    Final(Action, Vec<String>),
}

fn note(decision: &mut Decision, rule: &Rule, found: &[String]) {
    decision.rules.push(Arc::clone(&rule.name));
    let (level, code, template) = match (&rule.warning, &rule.notice) {
        (Some(warning), _) => (Level::Warning, "01000", warning),
        (None, Some(notice)) => (Level::Notice, "00000", notice),
        (None, None) => return,
    };
    let mut seen: Vec<&String> = Vec::new();
    let nothing = String::new();
    for subject in found.iter().chain(found.is_empty().then_some(&nothing)) {
        if seen.contains(&subject) {
            continue;
        }
        seen.push(subject);
        decision.notices.push(Notice {
            level,
            code,
            message: template.replace("{}", subject),
            hint: rule.hint.as_ref().map(|hint| hint.replace("{}", subject)),
            once: rule.once,
            rule: Arc::clone(&rule.name),
        });
    }
}

fn refuse(rule: &Rule, subject: &str) -> ClientError {
    let error = ClientError::error(rule.sqlstate, rule.message.replace("{}", subject));
    match &rule.hint {
        Some(hint) => error.hint(hint.replace("{}", subject)),
        None => error,
    }
}

fn apply(draft: &mut Draft, case: &Case<'_>) -> Outcome {
    let rule = case.rule;
    let Some(matched) = matches(draft, case) else {
        return Outcome::Nothing;
    };
    let refused = case.facts.profile == Dialect::Strict
        && rule.strict == Strict::Reject
        && rule.action != ActionKind::Forward;
    match if refused {
        ActionKind::Reject
    } else {
        rule.action
    } {
        ActionKind::Forward => match find(draft, case, matched) {
            None => Outcome::Nothing,
            Some(found) => {
                let action = draft.clone().finish();
                let action = action.unwrap_or_else(|error| Action::Reject(unprintable(&error)));
                Outcome::Final(action, found)
            }
        },
        ActionKind::Reject => match find(draft, case, matched) {
            None => Outcome::Nothing,
            Some(found) => {
                let subject = found.first().map_or("", String::as_str);
                Outcome::Final(Action::Reject(refuse(rule, subject)), found)
            }
        },
        ActionKind::Rewrite => rewrite(draft, case),
        ActionKind::Answer => answer(draft, case, matched),
        ActionKind::Emulate => emulate(draft, case),
    }
}

/// What the rule's code finds, without changing anything.
fn find(draft: &Draft, case: &Case<'_>, matched: Vec<String>) -> Option<Vec<String>> {
    let found = match case.rule.code {
        None => return Some(matched),
        Some(Code::Find(find)) => find(&draft.tree, case),
        Some(Code::Change(change)) => match change(&mut draft.clone(), case) {
            Ok(found) => found,
            Err(error) => vec![error.message],
        },
        Some(Code::Answer(answer)) => {
            return answer(&draft.tree, case).map(|(_, subject)| vec![subject]);
        }
        Some(Code::Emulate(emulate)) => {
            return emulate(&draft.tree, case).map(|(_, subject)| vec![subject]);
        }
    };
    (!found.is_empty()).then_some(found)
}

fn rewrite(draft: &mut Draft, case: &Case<'_>) -> Outcome {
    let changed = match (case.rule.code, &case.rule.to) {
        (Some(Code::Change(change)), _) => change(draft, case),
        (_, Some(to)) => Ok(column::retype(draft, &case.rule.matches.column_type, to)),
        _ => Ok(Vec::new()),
    };
    match changed {
        Ok(found) if found.is_empty() => Outcome::Nothing,
        Ok(found) => {
            draft.changed = true;
            Outcome::Changed(found)
        }
        Err(error) => Outcome::Final(Action::Reject(error), Vec::new()),
    }
}

fn answer(draft: &Draft, case: &Case<'_>, matched: Vec<String>) -> Outcome {
    let given = match case.rule.code {
        Some(Code::Answer(answer)) => {
            answer(&draft.tree, case).map(|(answer, subject)| (answer, vec![subject]))
        }
        _ => find(draft, case, matched).map(|found| {
            let tag = name::tag(&draft.tree).or_else(|| case.rule.tag.clone());
            (Answer::Tag(tag.unwrap_or_default()), found)
        }),
    };
    match given {
        None => Outcome::Nothing,
        Some((answer, found)) => Outcome::Final(Action::Answer(answer), found),
    }
}

fn emulate(draft: &Draft, case: &Case<'_>) -> Outcome {
    let Some(Code::Emulate(emulate)) = case.rule.code else {
        return Outcome::Nothing;
    };
    match emulate(&draft.tree, case) {
        None => Outcome::Nothing,
        Some((procedure, subject)) if case.rules.can_run(procedure.name()) => {
            Outcome::Final(Action::Emulate(procedure), vec![subject])
        }
        Some((_, subject)) => {
            Outcome::Final(Action::Reject(refuse(case.rule, &subject)), vec![subject])
        }
    }
}

/// What the rule's data find; `None` when they do not match.
fn matches(draft: &Draft, case: &Case<'_>) -> Option<Vec<String>> {
    let wanted = &case.rule.matches;
    let mut found = Vec::new();
    if !wanted
        .switch
        .iter()
        .all(|(name, value)| switched(case.facts, name, value))
    {
        return None;
    }
    if !wanted.command.is_empty() {
        let command = alter::command_name(&draft.tree)?;
        if !wanted.command.iter().any(|name| name == command) {
            return None;
        }
        found.push(alter::words(command));
    }
    if !wanted.object.is_empty() {
        let object = name::object_kind(&draft.tree)?;
        if !wanted.object.iter().any(|name| name == object) {
            return None;
        }
        found.push(name::object_words(object));
    }
    if !wanted.column_type.is_empty() {
        let types = column::types(&draft.tree, &wanted.column_type);
        if types.is_empty() {
            return None;
        }
        found.extend(types);
    }
    if !wanted.cast.is_empty() {
        let survey = case.survey(&draft.tree);
        let cast = survey
            .casts
            .iter()
            .find(|cast| wanted.cast.contains(cast))?;
        found.push(cast.clone());
    }
    if !wanted.function.is_empty() {
        let survey = case.survey(&draft.tree);
        let called = survey.functions.iter().find(|called| {
            let matches = |pattern: &String| match pattern.strip_suffix('*') {
                Some(prefix) => called.starts_with(prefix),
                None => *called == pattern,
            };
            wanted.function.iter().any(matches)
        })?;
        found.push(called.clone());
    }
    Some(found)
}

fn switched(facts: &SessionFacts, name: &str, value: &str) -> bool {
    let switches = &facts.switches;
    match name {
        "large_dml" => (switches.large_dml == LargeDml::Batch) == (value == "batch"),
        "table_rebuild" => (switches.table_rebuild == TableRebuild::Reject) == (value == "reject"),
        "unstorable_columns" => {
            (switches.unstorable_columns == UnstorableColumns::Text) == (value == "text")
        }
        "index_wait" => switches.index_wait == (value == "on"),
        "savepoints" => switches.savepoints == (value == "emulate"),
        _ => false,
    }
}

macro_rules! constructs {
    ($($name:literal => $code:expr,)*) => {
        /// The code of a construct.
        pub(super) fn code(name: &str) -> Option<Code> {
            match name {
                $($name => Some($code),)*
                _ => None,
            }
        }

        /// Names of all constructs there is code for.
        #[cfg(test)]
        pub(super) fn constructs() -> Vec<&'static str> {
            vec![$($name,)*]
        }
    };
}

constructs! {
    "uuid_function" => Code::Change(select::uuid),
    "owner" => Code::Change(alter::owner),
    "catalog" => Code::Change(catalog::catalog),
    "serial" => Code::Change(column::serial),
    "identity_column" => Code::Find(column::identity_column),
    "identity_type" => Code::Change(column::identity_type),
    "identity_cache" => Code::Change(column::identity_cache),
    "bare_numeric" => Code::Change(column::bare_numeric),
    "plain_collation" => Code::Change(column::plain_collation),
    "collation" => Code::Change(column::collation),
    "compression" => Code::Change(column::compression),
    "long_character" => Code::Change(column::long_character),
    "unstorable_column" => Code::Change(unstorable::column),
    "search_configuration" => Code::Change(search::configuration),
    "virtual_column" => Code::Find(column::virtual_column),
    "unlogged" => Code::Change(table::unlogged),
    "temporary" => Code::Emulate(table::temporary),
    "temporary_other" => Code::Find(table::temporary_other),
    "storage_options" => Code::Change(table::storage_options),
    "tablespace" => Code::Change(table::tablespace),
    "access_method" => Code::Change(table::access_method),
    "constraint_storage" => Code::Change(table::constraint_storage),
    "deferrable_key" => Code::Change(table::deferrable_key),
    "partition" => Code::Find(table::partition),
    "inherits" => Code::Find(table::inherits),
    "typed_table" => Code::Find(table::typed),
    "exclusion" => Code::Find(table::exclusion),
    "foreign_key" => Code::Change(table::foreign_key),
    "unkeyable_type" => Code::Find(table::unkeyable),
    "too_many_key_columns" => Code::Find(table::too_many_key_columns),
    "newer_constraint" => Code::Find(table::newer),
    "add_column" => Code::Change(alter::add_column),
    "add_computed_column" => Code::Change(rebuild::add_computed_column),
    "add_generated_column" => Code::Find(alter::add_generated_column),
    "set_not_null" => Code::Change(alter::set_not_null),
    "drop_not_null" => Code::Change(alter::drop_not_null),
    "add_check" => Code::Change(alter::add_check),
    "add_foreign_key" => Code::Change(alter::add_foreign_key),
    "adds_check" => Code::Find(alter::adds_check),
    "adds_unique" => Code::Find(alter::adds_unique),
    "add_foreign_key_early" => Code::Find(alter::adds_foreign_key),
    "add_unique" => Code::Change(alter::add_unique),
    "add_primary_key" => Code::Change(rebuild::add_primary_key),
    "drop_primary_key" => Code::Change(rebuild::drop_primary_key),
    "add_identity_type" => Code::Change(rebuild::add_identity_type),
    "drop_key_column" => Code::Change(rebuild::drop_key_column),
    "alter_column_type" => Code::Change(rebuild::alter_type),
    "add_constraint_other" => Code::Find(alter::add_constraint_other),
    "validate_constraint" => Code::Change(alter::validate_constraint),
    "add_identity" => Code::Change(alter::add_identity),
    "index_method" => Code::Find(index::method),
    "index_newer" => Code::Find(index::newer),
    "index_name" => Code::Change(index::name),
    "index_hash" => Code::Change(index::hash),
    "index_order" => Code::Change(index::order),
    "index_opclass" => Code::Change(index::opclass),
    "index_storage" => Code::Change(index::storage),
    "index_async" => Code::Change(index::asynchronous),
    "index_collation" => Code::Change(index::collation),
    "index_expression" => Code::Find(index::expression),
    "index_partial" => Code::Find(index::partial),
    "sequence_cache" => Code::Change(sequence::cache),
    "sequence_type" => Code::Change(sequence::kind),
    "enum_type" => Code::Change(enumeration::create),
    "add_enum_value" => Code::Change(enumeration::add_value),
    "rename_enum_value" => Code::Find(enumeration::rename_value),
    "drop_type" => Code::Change(composite::drop),
    "composite_among_tenants" => Code::Find(composite::among_tenants),
    "composite_type" => Code::Change(composite::create),
    "alter_composite" => Code::Change(composite::alter),
    "rename_composite" => Code::Change(composite::rename),
    "move_composite" => Code::Change(composite::set_schema),
    "drop_missing" => Code::Answer(drop::missing),
    "drop_index_concurrently" => Code::Change(drop::concurrently),
    "extension" => Code::Find(grant::extension),
    "extension_if_missing" => Code::Find(grant::extension_if_missing),
    "system_schema" => Code::Find(grant::system_schema),
    "function_language" => Code::Find(function::language),
    "function_options" => Code::Find(function::options),
    "procedure" => Code::Find(function::procedure),
    "role_options" => Code::Find(role::options),
    "role_defaults" => Code::Change(role::defaults),
    "role_setting" => Code::Find(role::setting),
    "locking_clause" => Code::Change(select::locking),
    "key_share" => Code::Change(select::key_share),
    "no_wait" => Code::Find(select::no_wait),
    "tablesample" => Code::Find(select::tablesample),
    "merge_inside" => Code::Find(select::merge_inside),
    "explain_cursor" => Code::Find(session::explain_cursor),
    "alter_domain" => Code::Find(enumeration::alter_domain),
    "function_setting" => Code::Find(function::setting),
    "function_body" => Code::Find(function::body),
    "grant_system_role" => Code::Find(grant::system_role),
    "newer_expression" => Code::Find(select::newer),
    "unlock_all" => Code::Answer(advisory::unlock_all),
    "advisory_lock" => Code::Emulate(advisory::locks),
    "advisory_lock_elsewhere" => Code::Find(advisory::elsewhere),
    "setting_function" => Code::Answer(session::setting_function),
    "custom_setting" => Code::Find(session::custom_setting),
    "setting" => Code::Answer(session::setting),
    "set_serializable" => Code::Answer(session::set_serializable),
    "role_switch" => Code::Find(session::role_switch),
    "local_role" => Code::Find(session::local_role),
    "own_role" => Code::Find(session::own_role),
    "snapshot" => Code::Find(session::snapshot),
    "session_transaction" => Code::Answer(session::transaction_modes),
    "cursor" => Code::Answer(session::cursor),
    "prepared" => Code::Answer(session::prepared),
    "create_database" => Code::Emulate(database::create),
    "database_options" => Code::Change(database::options),
    "database_copy" => Code::Find(database::copy),
    "drop_database" => Code::Emulate(database::drop),
    "rename_database" => Code::Emulate(database::rename),
    "database_in_transaction" => Code::Find(database::in_transaction),
    "listen" => Code::Answer(notify::statements),
    "unlisten" => Code::Answer(notify::statements),
    "notify" => Code::Answer(notify::statements),
    "notify_call" => Code::Emulate(notify::call),
    "signal" => Code::Emulate(signal::call),
    "discard" => Code::Answer(session::discard),
    "weaker_isolation" => Code::Change(transaction::weaker),
    "serializable" => Code::Change(transaction::serializable),
    "transaction_deferrable" => Code::Change(transaction::deferrable),
    "chain" => Code::Emulate(transaction::chain),
    "two_phase" => Code::Find(transaction::two_phase),
    "savepoint" => Code::Emulate(transaction::savepoint),
    "lock_table_outside" => Code::Find(transaction::lock_outside),
    "lock_table_shared" => Code::Find(transaction::lock_shared),
    "lock_table" => Code::Emulate(transaction::lock_table),
    "truncate" => Code::Emulate(bulk::truncate),
    "select_into" => Code::Emulate(bulk::create_table_as),
    "materialized_view" => Code::Change(materialized::create),
    "as_view" => Code::Change(materialized::as_view),
    "copy_file" => Code::Find(bulk::copy_file),
    "copy_binary" => Code::Find(bulk::copy_binary),
    "binary_copy" => Code::Emulate(bulk::binary_copy),
    "copy_freeze" => Code::Change(bulk::copy_freeze),
    "large_dml" => Code::Emulate(bulk::large),
    "large_copy" => Code::Emulate(bulk::large_copy),
    "analyze_all" => Code::Find(bulk::analyze_all),
    "analyze_in_transaction" => Code::Find(bulk::analyze_in_transaction),
    "analyze_options" => Code::Change(bulk::analyze_options),
}
