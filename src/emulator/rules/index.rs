//! CREATE INDEX.

use pg_query::NodeEnum;
use pg_query::protobuf::{IndexElem, IndexStmt, RangeVar, SortByDir};

use super::data::Feature;
use super::judge::{Check, Judge};
use super::words::{literal, refuse_when, relation, relation_oid, unsupported};
use super::{Job, edit, node};
use crate::wire::sqlstate::{FEATURE_NOT_SUPPORTED, PROGRAM_LIMIT_EXCEEDED};

/// The refusal of CREATE INDEX without ASYNC.
const MODE: &str = "unsupported mode. please use CREATE INDEX ASYNC.";

impl Judge<'_> {
    pub(super) fn create_index(&mut self, index: &IndexStmt) -> Check {
        let Some(table) = &index.relation else {
            return Ok(());
        };
        self.relation_kept(Some(table))?;
        let refuse = |present: bool, words: &str| match present {
            true => Err(unsupported(format!(
                "{words} not supported for CREATE INDEX"
            ))),
            false => Ok(()),
        };
        refuse(index.concurrent, "CONCURRENTLY")?;
        refuse(self.names_method(index), "USING")?;
        refuse(!index.options.is_empty(), "WITH")?;
        refuse(!index.table_space.is_empty(), "TABLESPACE")?;
        for key in node::each(&index.index_params) {
            if let NodeEnum::IndexElem(key) = key {
                self.index_key(key)?;
            }
        }
        if index.where_clause.is_some() {
            self.require(Feature::PartialIndex)?;
        }
        self.key_columns(index.index_params.len())?;
        if !self.statement.asynchronous {
            self.only_if_allowed(table);
        }
        self.index_probes(index, table);
        if self.statement.asynchronous {
            self.build_later(index, table);
        }
        Ok(())
    }

    /// The tree has `btree` also where nothing was said.
    fn names_method(&self, index: &IndexStmt) -> bool {
        let text = &self.statement.text;
        let Some(at) = index
            .relation
            .as_ref()
            .and_then(|table| self.place(table.location))
        else {
            return false;
        };
        let Some(name) = edit::name_at(text, at) else {
            return false;
        };
        let rest = text.get(name.end..).unwrap_or_default();
        let mut tokens = crate::sql::scan::Tokens::new(rest.as_bytes());
        tokens.next().is_some_and(|token| token.is("using"))
    }

    fn index_key(&self, key: &IndexElem) -> Check {
        let ordering = key.ordering();
        if matches!(ordering, SortByDir::SortbyAsc | SortByDir::SortbyDesc) {
            return Err(unsupported(
                "specifying sort order not supported for index keys",
            ));
        }
        if !key.opclass.is_empty() {
            return Err(unsupported("opclass not supported for index keys"));
        }
        if !key.collation.is_empty() {
            return Err(unsupported("COLLATE clause not supported"));
        }
        if key.expr.is_some() {
            self.require(Feature::ExpressionIndex)?;
        }
        Ok(())
    }

    /// Without ASYNC: only with `disable_sync_create_index` off, and on an empty table.
    fn only_if_allowed(&mut self, table: &RangeVar) {
        let setting = "coalesce(pg_catalog.current_setting('pg_dsql.disable_sync_create_index', \
                       true), 'on')::pg_catalog.bool";
        self.plan
            .before
            .push(refuse_when(FEATURE_NOT_SUPPORTED, MODE, setting));
        let condition = format!("EXISTS (SELECT 1 FROM {})", relation(table));
        self.plan
            .before
            .push(refuse_when(FEATURE_NOT_SUPPORTED, MODE, &condition));
    }

    fn index_probes(&mut self, index: &IndexStmt, table: &RangeVar) {
        let oid = relation_oid(table);
        let max = self.rules.data.limits.indexes;
        let message = format!("more than {max} indexes per table are not allowed");
        let condition =
            format!("(SELECT count(*) FROM pg_catalog.pg_index WHERE indrelid = {oid}) >= {max}");
        self.plan
            .before
            .push(refuse_when(PROGRAM_LIMIT_EXCEEDED, &message, &condition));
        let keys: Vec<String> = node::each(&index.index_params)
            .filter_map(|key| match key {
                NodeEnum::IndexElem(key) if !key.name.is_empty() => Some(literal(&key.name)),
                _ => None,
            })
            .collect();
        if !keys.is_empty() {
            self.plan.before.push(format!(
                "SELECT * FROM pg_dsql.check_key_columns({oid}, ARRAY[{}])",
                keys.join(", ")
            ));
        }
        self.plan.after.push(self.check_table(&oid));
    }

    /// The index is there at once, but not valid until its job is done. A unique one is made
    /// without uniqueness, which the registration adds: duplicates fail the job, not the statement.
    fn build_later(&mut self, index: &IndexStmt, table: &RangeVar) {
        if index.unique
            && let Some(word) = edit::word_from(&self.statement.text, 0, "unique")
        {
            let blank = " ".repeat(word.len());
            self.edit(word, blank);
        }
        let name = match index.idxname.as_str() {
            "" => "NULL".to_owned(),
            name => literal(name),
        };
        self.plan.job = Some(Job {
            register: format!(
                "SELECT pg_dsql.register_index({}, {name}, {})",
                relation_oid(table),
                index.unique
            ),
        });
    }
}
