//! DDL inside transactions: Aurora DSQL takes one DDL statement in a transaction, and no rows
//! written in the same one.

use std::sync::Arc;

use pg_query::protobuf::TransactionStmtKind;

use super::{
    Action, DdlInTransaction, Decision, Level, Notice, Placement, Procedure, Rewrite, SessionFacts,
    StepKind, TransactionFacts,
};
use crate::sql::{Kind, Statement};
use crate::wire::reply::ClientError;

/// The rule that commits around statements, or refuses them in a transaction.
pub const RULE: &str = "ddl_in_transaction";

/// Says where in the open transaction the statement runs, or refuses it there.
pub(super) fn place(statement: &Statement, facts: &SessionFacts, decision: &mut Decision) {
    let transaction = facts.transaction;
    if !transaction.open {
        return;
    }
    let kind = statement.kind();
    let placement = match &decision.action {
        Action::Emulate(procedure) if procedure.has_own_transactions() => Placement::Alone,
        Action::Emulate(Procedure::Copy(_)) if transaction.ddl => Placement::AfterCommit,
        Action::Answer(_) | Action::Emulate(_) | Action::Reject(_) => Placement::Within,
        Action::Rewrite(Rewrite { steps, .. }) if has_own_transactions(steps) => Placement::Alone,
        Action::Rewrite(_) | Action::Forward => match kind {
            Kind::Ddl if transaction.ddl || transaction.wrote => Placement::AfterCommit,
            Kind::Write | Kind::Lock if transaction.ddl => Placement::AfterCommit,
            _ => Placement::Within,
        },
    };
    let idle = !transaction.ddl && !transaction.wrote;
    match placement {
        Placement::Within => {}
        // An open block is lost as a whole even when nothing is in it yet.
        _ if facts.switches.ddl_in_transaction == DdlInTransaction::Split => {
            decision.placement = placement;
            decision.rules.push(Arc::from(RULE));
            if !(idle && placement == Placement::AfterCommit) {
                decision.notices.push(warning());
            }
        }
        _ => {
            decision.action = Action::Reject(refusal(kind, placement, idle));
            decision.notices.clear();
            decision.rules = vec![Arc::from(RULE)];
        }
    }
}

impl TransactionFacts {
    /// What holds after `statement` was carried out as `decision` says, and did not fail.
    #[must_use]
    pub fn after(self, statement: &Statement, decision: &Decision) -> Self {
        if let Kind::Transaction(kind) = statement.kind() {
            return match kind {
                TransactionStmtKind::TransStmtBegin | TransactionStmtKind::TransStmtStart => {
                    Self { open: true, ..self }
                }
                TransactionStmtKind::TransStmtCommit | TransactionStmtKind::TransStmtRollback => {
                    Self::default()
                }
                _ => self,
            };
        }
        if !self.open {
            return self;
        }
        let fresh = match decision.placement {
            Placement::Within => self,
            Placement::AfterCommit | Placement::Alone => Self {
                open: true,
                ..Self::default()
            },
        };
        if decision.placement == Placement::Alone {
            return fresh;
        }
        match (&decision.action, statement.kind()) {
            (Action::Forward | Action::Rewrite(_), Kind::Ddl) => Self { ddl: true, ..fresh },
            (
                Action::Forward | Action::Rewrite(_) | Action::Emulate(Procedure::Copy(_)),
                Kind::Write | Kind::Lock,
            ) => Self {
                wrote: true,
                ..fresh
            },
            _ => fresh,
        }
    }
}

fn has_own_transactions(steps: &[super::Step]) -> bool {
    let within = [StepKind::Statement, StepKind::Composed];
    let own = |step: &super::Step| !within.contains(&step.kind) || step.rebuild.is_some();
    steps.len() > 1 || steps.iter().any(own)
}

/// What a client is told whose transaction was committed around a statement.
pub(crate) fn warning() -> Notice {
    Notice {
        level: Level::Warning,
        code: "01000",
        message: "the transaction was committed around this statement and is no longer atomic"
            .to_owned(),
        hint: Some(
            "Aurora DSQL takes one DDL statement in a transaction, and no changes of rows in the same one. ROLLBACK does not undo what was committed."
                .to_owned(),
        ),
        once: false,
        rule: Arc::from(RULE),
    }
}

fn refusal(kind: Kind, placement: Placement, idle: bool) -> ClientError {
    let message = match (placement, kind, idle) {
        (Placement::Alone, ..) => {
            "this statement takes several transactions on Aurora DSQL and cannot run inside one"
        }
        (_, Kind::Ddl, _) => {
            "Aurora DSQL takes one DDL statement in a transaction, and no changes of rows in the same one"
        }
        _ => "Aurora DSQL takes no changes of rows in a transaction with a DDL statement",
    };
    ClientError::error("0A000", message).hint(
        "Commit before this statement, or SET dsqlproxy.ddl_in_transaction = split to have the transaction committed around it.",
    )
}
