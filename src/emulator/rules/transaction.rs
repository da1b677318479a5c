//! BEGIN, COMMIT, ROLLBACK and what goes with them.

use pg_query::NodeEnum;
use pg_query::protobuf::{TransactionStmt, TransactionStmtKind};

use super::judge::Check;
use super::words::{setting_refused, unsupported};
use super::{Action, Control, node};
use crate::wire::reply::ClientError;

/// The accepted form of a transaction statement.
pub(super) fn control(transaction: &TransactionStmt) -> Result<Action, ClientError> {
    use TransactionStmtKind as Form;
    let refused = |what: &str| {
        Err(unsupported(format!(
            "unsupported transaction statement: {what}"
        )))
    };
    let control = match transaction.kind() {
        Form::TransStmtBegin => begin(transaction, "BEGIN")?,
        Form::TransStmtStart => begin(transaction, "START TRANSACTION")?,
        Form::TransStmtCommit if transaction.chain => return refused("COMMIT AND CHAIN"),
        Form::TransStmtRollback if transaction.chain => return refused("ROLLBACK AND CHAIN"),
        Form::TransStmtCommit => Control::Commit,
        Form::TransStmtRollback => Control::Rollback,
        Form::TransStmtSavepoint => return refused("SAVEPOINT"),
        Form::TransStmtRelease => return refused("RELEASE"),
        Form::TransStmtRollbackTo => return refused("ROLLBACK TO"),
        Form::TransStmtPrepare => return refused("PREPARE TRANSACTION"),
        Form::TransStmtCommitPrepared => return refused("COMMIT PREPARED"),
        Form::TransStmtRollbackPrepared => return refused("ROLLBACK PREPARED"),
        Form::Undefined => return refused("UNKNOWN"),
    };
    Ok(Action::Control(control))
}

fn begin(transaction: &TransactionStmt, tag: &'static str) -> Result<Control, ClientError> {
    isolation(&transaction.options)?;
    if node::option(&transaction.options, "transaction_deferrable").is_some() {
        return Err(setting_refused("transaction_deferrable"));
    }
    // The last of several modes counts, as in PostgreSQL.
    let read_only = node::each(&transaction.options)
        .filter_map(|option| match option {
            NodeEnum::DefElem(option) if option.defname == "transaction_read_only" => {
                let value = option.arg.as_ref()?.node.as_ref()?;
                Some(node::integer(value) == Some(1))
            }
            _ => None,
        })
        .last();
    Ok(Control::Begin {
        read_only: read_only.unwrap_or(false),
        tag,
    })
}

/// Refuses isolation levels other than REPEATABLE READ.
pub(super) fn isolation(options: &[pg_query::Node]) -> Check {
    let level = node::option(options, "transaction_isolation").flatten();
    match level.and_then(node::text) {
        Some(level) if !level.eq_ignore_ascii_case("repeatable read") => Err(unsupported(format!(
            "Unsupported isolation level: {}",
            level.to_ascii_uppercase()
        ))),
        _ => Ok(()),
    }
}
