//! CREATE TABLE and ALTER TABLE.

use std::collections::HashMap;

use pg_query::protobuf::{
    AlterTableCmd, AlterTableStmt, AlterTableType, ColumnDef, ConstrType, Constraint, CreateStmt,
    ObjectType, OnCommitAction, RangeVar,
};
use pg_query::{Node, NodeEnum};

use super::data::Feature;
use super::judge::{Check, Judge, generic};
use super::types::Named;
use super::words::{self, literal, over_limit, refuse_when, relation_oid, unsupported};
use super::{Job, edit, node};
use crate::sql::scan::{Token, Tokens};
use crate::wire::reply::ClientError;
use crate::wire::sqlstate::{FEATURE_NOT_SUPPORTED, PROGRAM_LIMIT_EXCEEDED};

/// What is known of a new table while its parts are read.
#[derive(Default)]
struct Draft {
    types: HashMap<String, String>,
    columns: usize,
    indexes: usize,
    primary_key: bool,
}

impl Judge<'_> {
    pub(super) fn create_table(&mut self, create: &CreateStmt) -> Check {
        let Some(relation) = &create.relation else {
            return Ok(());
        };
        persistence(relation, "TABLE", "table")?;
        self.relation_kept(Some(relation))?;
        let clause = |present: bool, words: &str| match present {
            true => Err(unsupported(format!(
                "{words} clause not supported for CREATE TABLE"
            ))),
            false => Ok(()),
        };
        clause(create.partspec.is_some(), "PARTITION BY")?;
        clause(create.partbound.is_some(), "PARTITION OF")?;
        clause(!create.inh_relations.is_empty(), "INHERITS")?;
        clause(create.of_typename.is_some(), "OF")?;
        clause(!create.options.is_empty(), "WITH")?;
        clause(
            create.oncommit() != OnCommitAction::OncommitNoop,
            "ON COMMIT",
        )?;
        clause(!create.tablespacename.is_empty(), "TABLESPACE")?;
        clause(!create.access_method.is_empty(), "USING")?;
        let mut draft = Draft::default();
        for element in node::each(&create.table_elts) {
            if let NodeEnum::ColumnDef(column) = element {
                self.column(column, relation, &mut draft)?;
            }
        }
        let constraints = node::each(&create.table_elts).chain(node::each(&create.constraints));
        for element in constraints {
            if let NodeEnum::Constraint(constraint) = element {
                self.table_constraint(constraint, &mut draft)?;
            }
        }
        self.draft_limits(&draft)?;
        self.count_limit(
            "'r', 'p'",
            self.rules.data.limits.tables,
            &format!(
                "creating more than {} tables not allowed",
                self.rules.data.limits.tables
            ),
        );
        let check = self.check_table(&relation_oid(relation));
        self.plan.after.push(check);
        Ok(())
    }

    fn draft_limits(&self, draft: &Draft) -> Check {
        let limits = &self.rules.data.limits;
        if draft.columns > limits.columns {
            let message = if draft.primary_key {
                format!(
                    "cannot use more than {} columns in an index",
                    limits.columns
                )
            } else {
                format!(
                    "tables can have at most {} columns",
                    limits.documented_columns
                )
            };
            return Err(ClientError::error(words::TOO_MANY_COLUMNS, message));
        }
        if draft.indexes > limits.indexes {
            return Err(over_limit(format!(
                "more than {} indexes per table are not allowed",
                limits.indexes
            )));
        }
        Ok(())
    }

    /// A query that refuses a table for what only the catalog tells: types behind names, keys.
    pub(super) fn check_table(&self, oid: &str) -> String {
        let limits = &self.rules.data.limits;
        format!(
            "SELECT * FROM pg_dsql.check_table({oid}, {}, {}, {}, {})",
            limits.columns, limits.documented_columns, limits.indexes, limits.declared_key_bytes
        )
    }

    /// A query that refuses when there are `limit` relations of some kinds.
    pub(super) fn count_limit(&mut self, kinds: &str, limit: usize, message: &str) {
        let condition = format!("pg_dsql.count_relations(ARRAY[{kinds}]) >= {limit}");
        let query = refuse_when(PROGRAM_LIMIT_EXCEEDED, message, &condition);
        self.plan.before.push(query);
    }

    fn column(&mut self, column: &ColumnDef, table: &RangeVar, draft: &mut Draft) -> Check {
        draft.columns += 1;
        let base = self.column_itself(column, table)?;
        if let Named::Storable(base) = &base {
            draft.types.insert(column.colname.clone(), base.clone());
        }
        for part in node::each(&column.constraints) {
            let NodeEnum::Constraint(constraint) = part else {
                continue;
            };
            match constraint.contype() {
                ConstrType::ConstrIdentity => self.identity(&base, &constraint.options)?,
                ConstrType::ConstrPrimary | ConstrType::ConstrUnique => {
                    draft.indexes += 1;
                    draft.primary_key |= constraint.contype() == ConstrType::ConstrPrimary;
                    self.index_constraint(constraint)?;
                    match (&base, &column.type_name) {
                        (Named::Storable(base), _) => self.key_type(base)?,
                        (Named::Other, Some(name)) => self.key_type_in_catalog(name),
                        (Named::Other, None) => {}
                    }
                }
                _ => self.other_constraint(constraint)?,
            }
        }
        deferrable_is_foreign(&column.constraints)
    }

    /// Name, type, storage: what ADD COLUMN takes too.
    fn column_itself(
        &mut self,
        column: &ColumnDef,
        table: &RangeVar,
    ) -> Result<Named, ClientError> {
        if column.coll_clause.is_some() {
            return Err(unsupported("COLLATE clause not supported"));
        }
        let base = match &column.type_name {
            Some(name) => self.column_type(name)?,
            None => Named::Other,
        };
        if !column.compression.is_empty() {
            return Err(unsupported("COMPRESSION clause not supported"));
        }
        if !column.storage_name.is_empty() {
            self.storage(column, table);
        }
        Ok(base)
    }

    /// STORAGE in a column is younger than the oldest PostgreSQL that may be behind.
    fn storage(&mut self, column: &ColumnDef, table: &RangeVar) {
        let text = &self.statement.text;
        let place = self.place(column.location).and_then(|at| {
            let name = edit::name_at(text, at)?;
            let word = edit::word_from(text, name.end, "storage")?;
            let mut tokens = Tokens::new(text.as_bytes().get(word.end..)?);
            matches!(tokens.next()?, Token::Word(_) | Token::Quoted(_))
                .then(|| word.start..word.end + tokens.span().end)
        });
        if let Some(place) = place {
            let blank = " ".repeat(place.len());
            self.edit(place, blank);
            self.plan.after.push(format!(
                "ALTER TABLE {} ALTER COLUMN {} SET STORAGE {}",
                words::relation(table),
                words::identifier(&column.colname),
                words::identifier(&column.storage_name.to_ascii_lowercase())
            ));
        }
    }

    fn identity(&mut self, base: &Named, options: &[Node]) -> Check {
        self.require(Feature::Identity)?;
        if let Named::Storable(base) = base
            && base != "int8"
        {
            return Err(unsupported(format!(
                "datatype {} not supported, identity column type must be bigint",
                self.display(base)
            )));
        }
        self.cache(options, Some("identity column"))
    }

    fn table_constraint(&mut self, constraint: &Constraint, draft: &mut Draft) -> Check {
        match constraint.contype() {
            ConstrType::ConstrPrimary | ConstrType::ConstrUnique => {
                draft.indexes += 1;
                draft.primary_key |= constraint.contype() == ConstrType::ConstrPrimary;
                self.index_constraint(constraint)?;
                if constraint.deferrable {
                    return Err(unsupported("DEFERRABLE constraint not supported"));
                }
                node::texts(&constraint.keys)
                    .iter()
                    .filter_map(|key| draft.types.get(*key))
                    .try_for_each(|base| self.key_type(base))
            }
            _ => self.other_constraint(constraint),
        }
    }

    fn index_constraint(&self, constraint: &Constraint) -> Check {
        if !constraint.options.is_empty() {
            return Err(unsupported("WITH clause not supported for CREATE TABLE"));
        }
        if !constraint.indexspace.is_empty() {
            return Err(unsupported(
                "TABLESPACE clause not supported for CREATE TABLE",
            ));
        }
        self.key_columns(constraint.keys.len())
    }

    pub(super) fn key_columns(&self, count: usize) -> Check {
        let max = self.rules.data.limits.key_columns;
        if count > max {
            let message = format!("more than {max} column keys in an index are not supported");
            return Err(ClientError::error(words::TOO_MANY_COLUMNS, message));
        }
        Ok(())
    }

    fn other_constraint(&self, constraint: &Constraint) -> Check {
        match constraint.contype() {
            ConstrType::ConstrForeign => self.require(Feature::ForeignKey),
            ConstrType::ConstrExclusion => Err(unsupported("EXCLUDE constraint not supported")),
            ConstrType::ConstrCheck if constraint.deferrable => {
                Err(unsupported("DEFERRABLE constraint not supported"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn alter_table(&mut self, alter: &AlterTableStmt) -> Check {
        let Some(relation) = &alter.relation else {
            return Ok(());
        };
        self.relation_kept(Some(relation))?;
        let object = match alter.objtype() {
            ObjectType::ObjectTable => "TABLE",
            ObjectType::ObjectView => "VIEW",
            ObjectType::ObjectSequence => "SEQUENCE",
            ObjectType::ObjectIndex => "INDEX",
            _ => return Err(generic("AlterTableStmt")),
        };
        for part in node::each(&alter.cmds) {
            if let NodeEnum::AlterTableCmd(action) = part {
                self.action(action, relation, object)?;
            }
        }
        self.trigger_toggles(alter);
        Ok(())
    }

    fn action(&mut self, action: &AlterTableCmd, table: &RangeVar, object: &str) -> Check {
        let kind = action.subtype();
        let known = self.rules.data.alter_table.get(kind.as_str_name());
        let words = known.map_or("", |known| known.words.as_str()).to_owned();
        let taken = known
            .and_then(|known| known.since.as_deref())
            .is_some_and(|since| self.rules.has(since));
        let of_object = match object {
            "TABLE" => true,
            "SEQUENCE" => kind == AlterTableType::AtChangeOwner,
            "VIEW" => matches!(
                kind,
                AlterTableType::AtChangeOwner
                    | AlterTableType::AtColumnDefault
                    | AlterTableType::AtSetRelOptions
                    | AlterTableType::AtResetRelOptions
            ),
            _ => false,
        };
        let view_options = object == "VIEW"
            && matches!(
                kind,
                AlterTableType::AtSetRelOptions | AlterTableType::AtResetRelOptions
            );
        if !of_object || !(taken || view_options) {
            return Err(refused_action(object, &words));
        }
        match kind {
            AlterTableType::AtAddColumn => self.add_column(action, table),
            AlterTableType::AtAddConstraint => self.add_constraint(action, &words),
            AlterTableType::AtValidateConstraint => self.validate(action, table, &words),
            AlterTableType::AtDropColumn => {
                self.keep_primary_key_column(action, table);
                Ok(())
            }
            AlterTableType::AtDropConstraint => {
                self.keep_primary_key(action, table, &words);
                Ok(())
            }
            AlterTableType::AtAddIdentity => self.add_identity(action, table),
            AlterTableType::AtSetIdentity => self.set_identity(action),
            _ => Ok(()),
        }
    }

    fn add_column(&mut self, action: &AlterTableCmd, table: &RangeVar) -> Check {
        let Some(NodeEnum::ColumnDef(column)) = definition(action) else {
            return Ok(());
        };
        if !column.constraints.is_empty() {
            return Err(unsupported(
                "ALTER TABLE ADD COLUMN with constraint not supported",
            ));
        }
        self.column_itself(column, table)?;
        let check = self.check_table(&relation_oid(table));
        if self.plan.after.last() != Some(&check) {
            self.plan.after.push(check);
        }
        Ok(())
    }

    fn add_constraint(&mut self, action: &AlterTableCmd, words: &str) -> Check {
        let Some(NodeEnum::Constraint(constraint)) = definition(action) else {
            return Err(refused_action("TABLE", words));
        };
        match constraint.contype() {
            ConstrType::ConstrCheck if constraint.skip_validation => {
                self.require(Feature::CheckNotValid)
            }
            ConstrType::ConstrForeign if constraint.skip_validation => {
                self.require(Feature::ForeignKeyNotValid)
            }
            ConstrType::ConstrUnique if !constraint.indexname.is_empty() => {
                self.require(Feature::UniqueUsingIndex)?;
                if constraint.deferrable {
                    return Err(unsupported("DEFERRABLE constraint not supported"));
                }
                Ok(())
            }
            _ => Err(refused_action("TABLE", words)),
        }
    }

    fn validate(&mut self, action: &AlterTableCmd, table: &RangeVar, words: &str) -> Check {
        if !self.statement.asynchronous {
            return Err(refused_action("TABLE", words));
        }
        self.require(Feature::ValidateConstraint)?;
        let oid = relation_oid(table);
        let name = literal(&action.name);
        self.plan.before.push(format!(
            "SELECT * FROM pg_dsql.check_constraint({oid}, {name})"
        ));
        // Nothing but the tag, the privileges and the table's existence count here.
        self.plan.sql = Some(format!(
            "ALTER TABLE {} RESET (fillfactor)",
            words::relation(table)
        ));
        self.plan.job = Some(Job {
            register: format!("SELECT pg_dsql.register_validation({oid}, {name})"),
        });
        Ok(())
    }

    fn keep_primary_key_column(&mut self, action: &AlterTableCmd, table: &RangeVar) {
        let message = format!("cannot drop primary key column {}", action.name);
        let condition = format!(
            "pg_dsql.in_primary_key({}, {})",
            relation_oid(table),
            literal(&action.name)
        );
        self.plan
            .before
            .push(refuse_when(FEATURE_NOT_SUPPORTED, &message, &condition));
    }

    fn keep_primary_key(&mut self, action: &AlterTableCmd, table: &RangeVar, words: &str) {
        let message = format!("unsupported ALTER TABLE {words} statement");
        let condition = format!(
            "EXISTS (SELECT 1 FROM pg_catalog.pg_constraint WHERE contype = 'p' AND conrelid = {} \
             AND conname = {})",
            relation_oid(table),
            literal(&action.name)
        );
        self.plan
            .before
            .push(refuse_when(FEATURE_NOT_SUPPORTED, &message, &condition));
    }

    fn add_identity(&mut self, action: &AlterTableCmd, table: &RangeVar) -> Check {
        if let Some(NodeEnum::Constraint(constraint)) = definition(action) {
            self.identity(&Named::Other, &constraint.options)?;
        }
        let (oid, name) = (relation_oid(table), literal(&action.name));
        self.plan.before.push(format!(
            "SELECT '0A000', 'datatype ' || pg_catalog.format_type(atttypid, NULL) || \
             ' not supported, identity column type must be bigint' FROM pg_catalog.pg_attribute \
             WHERE attrelid = {oid} AND attname = {name} AND atttypid <> 20"
        ));
        Ok(())
    }

    fn set_identity(&mut self, action: &AlterTableCmd) -> Check {
        match definition(action) {
            Some(NodeEnum::List(list)) => self.cache(&list.items, None),
            _ => Ok(()),
        }
    }

    /// There are no triggers, so turning them on or off does nothing; PostgreSQL would take ALL to
    /// mean its own foreign key triggers.
    fn trigger_toggles(&mut self, alter: &AlterTableStmt) {
        let toggles = |action: &NodeEnum| {
            matches!(action, NodeEnum::AlterTableCmd(action) if matches!(action.subtype(),
                AlterTableType::AtEnableTrigAll | AlterTableType::AtDisableTrigAll
                | AlterTableType::AtEnableTrigUser | AlterTableType::AtDisableTrigUser))
        };
        if !node::each(&alter.cmds).any(toggles) {
            return;
        }
        let mut changed = alter.clone();
        for action in &mut changed.cmds {
            if let Some(NodeEnum::AlterTableCmd(action)) = &mut action.node
                && matches!(
                    action.subtype(),
                    AlterTableType::AtEnableTrigAll
                        | AlterTableType::AtDisableTrigAll
                        | AlterTableType::AtDisableTrigUser
                )
            {
                action.set_subtype(AlterTableType::AtEnableTrigUser);
            }
        }
        self.plan.sql = NodeEnum::AlterTableStmt(changed)
            .deparse(pg_query::DeparseOptions::default())
            .ok();
    }
}

fn definition(action: &AlterTableCmd) -> Option<&NodeEnum> {
    action.def.as_ref()?.node.as_ref()
}

fn refused_action(object: &str, words: &str) -> ClientError {
    unsupported(format!("unsupported ALTER {object} {words} statement"))
}

/// Refuses TEMP and UNLOGGED.
pub(super) fn persistence(relation: &RangeVar, statement: &str, object: &str) -> Check {
    if relation.relpersistence == "t" || relation.schemaname == "pg_temp" {
        return Err(unsupported(format!(
            "TEMPORARY or TEMP {object} not supported for CREATE {statement}"
        )));
    }
    if relation.relpersistence == "u" {
        return Err(unsupported(format!(
            "UNLOGGED {object} not supported for CREATE {statement}"
        )));
    }
    Ok(())
}

/// DEFERRABLE stands as an element of its own behind the constraint it belongs to.
fn deferrable_is_foreign(constraints: &[Node]) -> Check {
    let mut foreign = false;
    for part in node::each(constraints) {
        let NodeEnum::Constraint(constraint) = part else {
            continue;
        };
        match constraint.contype() {
            ConstrType::ConstrForeign => foreign = true,
            ConstrType::ConstrAttrDeferrable | ConstrType::ConstrAttrDeferred if !foreign => {
                return Err(unsupported("DEFERRABLE constraint not supported"));
            }
            ConstrType::ConstrPrimary | ConstrType::ConstrUnique | ConstrType::ConstrCheck => {
                foreign = false;
            }
            _ => {}
        }
    }
    Ok(())
}
