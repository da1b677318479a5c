//! The judgement of one statement.

use std::ops::Range;

use pg_query::NodeEnum;
use pg_query::protobuf::{self, RangeVar};

use super::data::Feature;
use super::edit::{self, Edit};
use super::words::{self, unsupported};
use super::{Action, Class, Facts, Plan, Rules, node};
use crate::sql::statement::{Kind, Statement, Tree};
use crate::wire::reply::ClientError;

/// Result of a check: nothing, or the refusal.
pub(super) type Check = Result<(), ClientError>;

/// The work on one statement.
pub(super) struct Judge<'a> {
    pub rules: &'a Rules,
    pub statement: &'a Statement,
    pub facts: &'a Facts<'a>,
    pub plan: Plan,
    edits: Vec<Edit>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(rules: &'a Rules, statement: &'a Statement, facts: &'a Facts<'a>) -> Self {
        Self {
            rules,
            statement,
            facts,
            plan: Plan::plain(class(statement)),
            edits: Vec::new(),
        }
    }

    pub(super) fn judge(mut self) -> Result<Action, ClientError> {
        match &self.statement.tree {
            Tree::Iam { grant, role, arn } => self.iam(*grant, role, arn)?,
            Tree::Node(node) => {
                if let Some(action) = self.statement(node)? {
                    return Ok(action);
                }
            }
        }
        self.finish()
    }

    fn finish(mut self) -> Result<Action, ClientError> {
        if !self.edits.is_empty() && self.plan.sql.is_none() {
            let text = edit::apply(&self.statement.text, &mut self.edits);
            let lost = || unsupported("the statement could not be read");
            self.plan.sql = Some(text.ok_or_else(lost)?);
        }
        Ok(Action::Run(self.plan))
    }

    /// Judges a statement that stands for itself. `None`: PostgreSQL runs it by the plan so far.
    fn statement(&mut self, node: &NodeEnum) -> Result<Option<Action>, ClientError> {
        self.kind_of_statement(node)?;
        self.tree(node)?;
        match node {
            NodeEnum::TransactionStmt(transaction) => {
                return super::transaction::control(transaction).map(Some);
            }
            NodeEnum::VariableShowStmt(show) => return self.show(&show.name),
            NodeEnum::CallStmt(call) => return self.call(call),
            _ => self.definition(node)?,
        }
        Ok(None)
    }

    /// The refusal of kinds of statements as such.
    pub(super) fn kind_of_statement(&self, node: &NodeEnum) -> Check {
        let name = node::name(node);
        if let NodeEnum::SelectStmt(select) = node
            && select.into_clause.is_some()
        {
            return Err(generic("CreateTableAsStmt"));
        }
        let data = &self.rules.data;
        let known = data.statements.get(name);
        if known.is_some_and(|dated| self.rules.has(&dated.since)) {
            return Ok(());
        }
        let refusal = data.refusals.get(name).and_then(|list| {
            list.iter()
                .find(|refusal| self.rules.lacks(refusal.until.as_deref()))
        });
        Err(refusal.map_or_else(|| generic(name), |refusal| unsupported(&refusal.message)))
    }

    /// Judges what a statement of a known kind says; also elements of CREATE SCHEMA.
    pub(super) fn definition(&mut self, node: &NodeEnum) -> Check {
        match node {
            NodeEnum::CreateStmt(create) => self.create_table(create),
            NodeEnum::AlterTableStmt(alter) => self.alter_table(alter),
            NodeEnum::IndexStmt(index) => self.create_index(index),
            NodeEnum::CreateSeqStmt(sequence) => self.create_sequence(sequence),
            NodeEnum::AlterSeqStmt(sequence) => self.sequence_options(sequence),
            NodeEnum::CreateDomainStmt(domain) => self.create_domain(domain),
            NodeEnum::AlterDomainStmt(domain) => self.alter_domain(domain),
            NodeEnum::ViewStmt(view) => self.create_view(view),
            NodeEnum::CreateSchemaStmt(schema) => self.create_schema(schema),
            NodeEnum::CreateFunctionStmt(function) => self.create_function(function),
            NodeEnum::CreateStatsStmt(statistics) => self.create_statistics(statistics),
            NodeEnum::AlterStatsStmt(statistics) => self.alter_statistics(statistics),
            NodeEnum::DropStmt(drop) => self.drop(drop),
            NodeEnum::RenameStmt(rename) => self.rename(rename),
            NodeEnum::CommentStmt(comment) => self.comment(comment),
            NodeEnum::AlterObjectSchemaStmt(alter) => self.set_schema(alter),
            NodeEnum::AlterOwnerStmt(alter) => self.alter_owner(alter),
            NodeEnum::GrantStmt(grant) => self.grant(grant),
            NodeEnum::GrantRoleStmt(grant) => self.grant_role(grant),
            NodeEnum::AlterDefaultPrivilegesStmt(alter) => match &alter.action {
                Some(grant) => self.grant(grant),
                None => Ok(()),
            },
            NodeEnum::CreateRoleStmt(role) => self.create_role(role),
            NodeEnum::DropRoleStmt(drop) => self.drop_role(drop),
            NodeEnum::AlterRoleSetStmt(alter) => self.alter_role_set(alter),
            NodeEnum::VariableSetStmt(set) => self.set(set),
            NodeEnum::CopyStmt(copy) => self.copy(copy),
            NodeEnum::ExplainStmt(explain) => {
                match explain.query.as_ref().and_then(|q| q.node.as_ref()) {
                    Some(query) => self.kind_of_statement(query),
                    None => Ok(()),
                }
            }
            NodeEnum::VacuumStmt(vacuum) => self.vacuum(vacuum),
            NodeEnum::DeallocateStmt(deallocate) if !deallocate.isall => {
                Err(generic("DeallocateStmt"))
            }
            _ => Ok(()),
        }
    }

    fn vacuum(&mut self, vacuum: &protobuf::VacuumStmt) -> Check {
        if vacuum.is_vacuumcmd {
            return Err(unsupported("unsupported VACUUM statement"));
        }
        if self.facts.in_block {
            let message = "ANALYZE cannot run inside a transaction block";
            return Err(ClientError::error(words::ACTIVE_TRANSACTION, message));
        }
        self.plan.class = Class::Session;
        Ok(())
    }

    fn copy(&self, copy: &protobuf::CopyStmt) -> Check {
        if copy.is_program || !copy.filename.is_empty() {
            let what = match (copy.is_from, copy.is_program) {
                (true, false) => "COPY FROM file",
                (false, false) => "COPY TO file",
                (true, true) => "COPY FROM PROGRAM",
                (false, true) => "COPY TO PROGRAM",
            };
            return Err(unsupported(format!("{what} not supported")));
        }
        let format = node::option(&copy.options, "format").flatten();
        match format.and_then(node::text) {
            Some(format) if format.eq_ignore_ascii_case("binary") => {
                Err(unsupported("COPY format \"binary\" not supported"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn require(&self, feature: Feature) -> Check {
        self.rules.require(feature)
    }

    /// A place of the tree as one in the statement's text.
    pub(super) fn place(&self, location: i32) -> Option<usize> {
        let at = usize::try_from(location).ok()?;
        at.checked_sub(self.statement.span.start)
            .filter(|at| *at < self.statement.text.len())
    }

    pub(super) fn edit(&mut self, at: Range<usize>, with: impl Into<String>) {
        let with = with.into();
        self.edits.push(Edit { at, with });
    }

    /// Refuses names of schemas where nothing may be made or changed. Schema `public` is not one
    /// of them: its own tables may.
    pub(super) fn relation_kept(&self, relation: Option<&RangeVar>) -> Check {
        match relation {
            Some(name) if matches!(name.schemaname.as_str(), "sys" | "information_schema") => {
                Err(words::system_entity())
            }
            _ => Ok(()),
        }
    }
}

/// `unsupported statement: <node without Stmt>`.
pub(super) fn generic(node: &str) -> ClientError {
    let name = node.strip_suffix("Stmt").unwrap_or(node);
    unsupported(format!("unsupported statement: {name}"))
}

fn class(statement: &Statement) -> Class {
    match statement.kind() {
        Kind::Read | Kind::Other => Class::Read,
        Kind::Lock => Class::Lock,
        Kind::Write => Class::Write,
        Kind::Ddl => Class::Ddl,
        Kind::Session | Kind::Transaction(_) => Class::Session,
    }
}
