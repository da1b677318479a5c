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
            NodeEnum::FetchStmt(_) | NodeEnum::ClosePortalStmt(_) | NodeEnum::DeallocateStmt(_) => {
                Ok(())
            }
            NodeEnum::PrepareStmt(prepare) => {
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
            NodeEnum::ExecuteStmt(execute) => self.values_at(&mut execute.params, Place::Result),
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
