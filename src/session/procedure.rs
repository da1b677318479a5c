//! Statements that take several statements upstream, or transactions of their own.

use std::rc::Rc;

use crate::policy::Decision;
use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

use super::frontend::Taken;
use super::names::Prepared;
use super::run::Session;
use super::verdict::Part;

/// Why a statement of several steps is refused; `None` when [`Session::take_procedure_query`] and
/// [`Session::take_procedure_execute`] run it.
pub(super) fn refusal(decision: &Decision) -> Option<ClientError> {
    let rules: Vec<&str> = decision.rules.iter().map(|rule| &**rule).collect();
    Some(
        ClientError::error(
            sqlstate::FEATURE_NOT_SUPPORTED,
            "this statement takes several steps on Aurora DSQL, which this version does not run",
        )
        .hint(format!(
            "dsql-proxy explain prints the steps; rules: {}.",
            rules.join(", ")
        )),
    )
}

/// The refusal of such a statement among others of one Query.
pub(super) fn alone() -> ClientError {
    ClientError::error(
        sqlstate::FEATURE_NOT_SUPPORTED,
        "this statement takes several steps on Aurora DSQL and cannot be one of several in a Query",
    )
    .hint("Send it as a Query of its own.")
}

impl Session {
    /// Runs the one statement of a Query, and answers it with ReadyForQuery.
    pub(super) fn take_procedure_query(&mut self, part: &Part) -> Taken {
        self.refuse_query(refusal(&part.decision).unwrap_or_else(alone));
        Taken::All
    }

    /// Runs the statement of a portal when it is executed. The server got an empty statement in its
    /// place, so that Parse, Bind and Describe are answered.
    pub(super) fn take_procedure_execute(
        &mut self,
        _prepared: &Rc<Prepared>,
        part: &Part,
    ) -> Taken {
        self.refuse_parse(refusal(&part.decision).unwrap_or_else(alone));
        Taken::All
    }
}
