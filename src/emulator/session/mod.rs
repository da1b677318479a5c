//! The conversation behind a login.
//!
//! A session reads its client's messages, has every statement judged, and runs what is left of it
//! on a connection of its own to the local PostgreSQL. Transactions there are the session's own:
//! whatever writes runs between a BEGIN and a COMMIT that the client does not see, so that limits,
//! ordered faults and conflicts are decided before anything is applied. Plain reads outside a
//! transaction go straight through.
//!
//! `frontend` and `backend` are the two ends (`pipe` the socket of the second), `block` is the transaction as the client sees it,
//! `run` is what both protocols share, `simple` and `extended` are the two protocols, `copy` is
//! COPY FROM STDIN.

mod backend;
mod block;
mod calls;
mod copy;
mod extended;
mod frontend;
mod pipe;
mod portals;
mod refusal;
mod rivalry;
mod run;
mod simple;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;

use super::control::Control;
use super::jobs::Jobs;
use super::occ::Ledger;
use super::rules::{Rules, ServerVersion};

pub use backend::{Backend, LoginError, Parameters};
pub use frontend::MAX_MESSAGE;
pub use refusal::Refusal;
pub use run::Session;

/// What all sessions of an emulator share.
#[derive(Debug)]
pub struct Cluster {
    /// Clock, faults and counters.
    pub control: Arc<Control>,
    /// What statements mean.
    pub rules: Rules,
    /// The version to report.
    pub version: ServerVersion,
    /// Who has committed what.
    pub ledger: Arc<Ledger>,
    /// Socket of the local PostgreSQL.
    pub socket: PathBuf,
    /// Asynchronous jobs.
    pub jobs: Arc<Jobs>,
    /// Functions that do not write, once a session has asked for them.
    builtins: OnceLock<calls::Builtins>,
}

impl Cluster {
    /// A cluster whose data is behind the unix socket `socket`.
    #[must_use]
    pub fn new(
        control: Arc<Control>,
        rules: Rules,
        version: ServerVersion,
        socket: PathBuf,
        jobs: Arc<Jobs>,
    ) -> Self {
        Self {
            control,
            rules,
            version,
            ledger: Arc::default(),
            socket,
            jobs,
            builtins: OnceLock::new(),
        }
    }
}
