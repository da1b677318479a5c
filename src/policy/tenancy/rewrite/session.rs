//! Statements about the session: transactions, settings, cursors, prepared statements, EXPLAIN.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    DeclareCursorStmt, ExplainStmt, PrepareStmt, TransactionStmt, TransactionStmtKind,
    VariableSetKind, VariableSetStmt,
};

use super::{Done, Place, Rewriter, is_constant, may_set, refuse};
use crate::policy::tenancy::Rule;
use crate::policy::tenancy::rules::Explain;
use crate::sql::tree::Ref;
use crate::upstream::STATEMENT_PREFIX;

/// `CURSOR_OPT_HOLD` of PostgreSQL's parsenodes.h.
const HOLD: i32 = 0x0020;

impl Rewriter<'_> {
    pub(super) fn session_statement(&mut self, statement: &mut NodeEnum) -> Done {
        match statement {
            NodeEnum::TransactionStmt(transaction) => transaction_statement(transaction),
            NodeEnum::VariableSetStmt(set) => self.set(set),
            NodeEnum::VariableShowStmt(show) => {
                if may_set(self.policy, &show.name) {
                    return Ok(());
                }
                refuse(Rule::Setting, &show.name)
            }
            NodeEnum::DeclareCursorStmt(declare) => {
                own_name(&declare.portalname)?;
                let DeclareCursorStmt {
                    portalname: _,
                    options,
                    query,
                } = &mut **declare;
                if *options & HOLD != 0 {
                    return refuse(Rule::HoldableCursor, "");
                }
                match query.as_mut().and_then(|query| query.node.as_mut()) {
                    Some(query @ NodeEnum::SelectStmt(_)) => self.query(query, Place::Result),
                    _ => refuse(Rule::Construct, "DECLARE"),
                }
            }
            // They name what only this client has made.
            NodeEnum::FetchStmt(fetch) => own_name(&fetch.portalname),
            NodeEnum::ClosePortalStmt(close) => own_name(&close.portalname),
            NodeEnum::DeallocateStmt(deallocate) => own_name(&deallocate.name),
            NodeEnum::PrepareStmt(prepare) => {
                own_name(&prepare.name)?;
                let PrepareStmt {
                    name: _,
                    argtypes,
                    query,
                } = &mut **prepare;
                for kind in argtypes {
                    match &mut kind.node {
                        Some(NodeEnum::TypeName(name)) => self.type_name(name)?,
                        _ => return refuse(Rule::Type, ""),
                    }
                }
                match query.as_mut().and_then(|query| query.node.as_mut()) {
                    Some(query) => self.query(query, Place::Result),
                    None => refuse(Rule::Construct, "PREPARE"),
                }
            }
            NodeEnum::ExecuteStmt(execute) => {
                own_name(&execute.name)?;
                // The session may put them into the statement, where an expression could become a
                // condition that nobody has looked at.
                match execute.params.iter().all(is_constant) {
                    true => self.values_at(&mut execute.params, Place::Result),
                    false => refuse(Rule::Construct, "EXECUTE"),
                }
            }
            NodeEnum::ExplainStmt(explain) => self.explain(explain),
            other => refuse(Rule::StatementKind, Ref::of(other).name()),
        }
    }

    fn set(&self, set: &VariableSetStmt) -> Done {
        let VariableSetStmt {
            kind: _,
            name,
            args,
            jumble_args: _,
            is_local: _,
            location: _,
        } = set;
        let allowed = match set.kind() {
            VariableSetKind::VarSetValue
            | VariableSetKind::VarSetDefault
            | VariableSetKind::VarReset => may_set(self.policy, name),
            // SET TRANSACTION, not SET SESSION CHARACTERISTICS and not SET TRANSACTION SNAPSHOT.
            VariableSetKind::VarSetMulti => name == "TRANSACTION",
            VariableSetKind::VarSetCurrent
            | VariableSetKind::VarResetAll
            | VariableSetKind::Undefined => false,
        };
        if !allowed {
            return refuse(Rule::Setting, name);
        }
        let plain = args.iter().all(|arg| match &arg.node {
            Some(NodeEnum::DefElem(option)) => {
                option.arg.as_ref().is_none_or(|value| is_constant(value))
            }
            _ => is_constant(arg),
        });
        if plain {
            Ok(())
        } else {
            refuse(Rule::Construct, "SET")
        }
    }

    fn explain(&mut self, explain: &mut ExplainStmt) -> Done {
        let ExplainStmt { query, options } = explain;
        if self.policy.limits.explain == Explain::Refuse {
            return refuse(Rule::Explain, "");
        }
        for option in options {
            let Some(NodeEnum::DefElem(option)) = &option.node else {
                return refuse(Rule::Explain, "");
            };
            if !["verbose", "costs", "format"].contains(&option.defname.as_str()) {
                return refuse(Rule::Explain, &option.defname);
            }
        }
        match query.as_mut().and_then(|query| query.node.as_mut()) {
            Some(query) => self.query(query, Place::Result),
            None => refuse(Rule::Construct, "EXPLAIN"),
        }
    }
}

/// A name that can only be the client's: the proxy's own statements are on the same connections, those
/// of other clients among them.
fn own_name(name: &str) -> Done {
    match name.starts_with(STATEMENT_PREFIX) {
        true => refuse(Rule::ReservedName, name),
        false => Ok(()),
    }
}

fn transaction_statement(transaction: &TransactionStmt) -> Done {
    match transaction.kind() {
        TransactionStmtKind::TransStmtBegin
        | TransactionStmtKind::TransStmtStart
        | TransactionStmtKind::TransStmtCommit
        | TransactionStmtKind::TransStmtRollback
        | TransactionStmtKind::TransStmtSavepoint
        | TransactionStmtKind::TransStmtRelease
        | TransactionStmtKind::TransStmtRollbackTo => Ok(()),
        // What is prepared outlives the session.
        TransactionStmtKind::TransStmtPrepare
        | TransactionStmtKind::TransStmtCommitPrepared
        | TransactionStmtKind::TransStmtRollbackPrepared
        | TransactionStmtKind::Undefined => refuse(Rule::StatementKind, "two-phase commit"),
    }
}
