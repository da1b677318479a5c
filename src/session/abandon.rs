//! The upstream connection is lost or given up while the client stays.
//!
//! What became of the requests under way decides what the client is told: nothing, when they can be
//! taken once more; 40001, when its transaction is gone as a whole; 08007, when something may have
//! been committed.

use crate::upstream::Owed;
use crate::wire::backend::TransactionStatus;
use crate::wire::reply::{self, ClientError, Severity};
use crate::wire::sqlstate::{self, SqlState};

use super::limbo::Limbo;
use super::run::{Doing, End, Note, Rest, Session};

/// How often a request is taken once more.
const RERUNS: u32 = 3;

/// Why a connection is of no use any more.
#[derive(Debug)]
pub(super) struct Loss {
    /// For the log.
    pub cause: String,
    /// What the client is told when nothing was committed.
    pub told: Option<ClientError>,
    /// SQLSTATE for requests that committed nothing.
    pub code: SqlState,
    /// It may be taken once more.
    pub repeatable: bool,
    /// Something may still run on the connection: the server is asked to stop it.
    pub running: bool,
    /// The session ends with it.
    pub ends: bool,
}

impl Loss {
    /// The connection broke.
    pub fn of_connection(cause: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            told: None,
            code: sqlstate::CONNECTION_FAILURE,
            repeatable: true,
            running: false,
            ends: false,
        }
    }
}

/// What became of the requests under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nothing was under way.
    Quiet,
    /// The client has seen nothing of them and they changed nothing: they are taken once more.
    Repeated,
    /// The transaction block is gone.
    Undone,
    /// They committed nothing.
    Refused,
    /// Something may have been committed.
    Unknown,
}

impl Session {
    /// Goes on without the connection.
    ///
    /// # Errors
    /// When the client cannot: what its session ends with.
    pub(super) fn survive(&mut self, loss: Loss) -> Result<(), End> {
        self.env.tally.upstream_lost.add(1);
        self.take_passing_of_lease();
        self.finish_reset();
        self.more = None;
        if self.procedure.is_some() {
            return self.lose_procedure(&loss);
        }
        let fate = self.fate(&loss);
        self.log_loss(&loss, fate);
        let loss = Loss {
            // The server's words.
            cause: match self.is_guarded() {
                true => "the connection broke".to_owned(),
                false => loss.cause,
            },
            ..loss
        };
        if fate == Fate::Unknown {
            self.env.tally.commit_unknown.add(1);
            self.creations.forget();
        }
        let mut error = error_of(fate, &loss);
        if self.is_welcoming() && self.reruns < RERUNS && loss.repeatable {
            self.reruns += 1;
            self.let_go();
            return Ok(());
        }
        let cut = matches!(self.from_upstream, Rest::Pass(left) if left > 0);
        if loss.ends || self.pin.is_some() || cut || self.terminating || self.is_welcoming() {
            error.severity = Severity::Fatal;
            return Err(End::Refuse(error));
        }
        match fate {
            Fate::Quiet => self.undo_notes(true),
            Fate::Repeated => self.repeat_requests(),
            Fate::Undone => self.fail_block(&error, loss.told.is_some()),
            Fate::Refused => self.refuse_first(&error, TransactionStatus::Idle),
            Fate::Unknown => self.refuse_all(&error),
        }
        if loss.running {
            self.abandon_lease();
        } else {
            self.let_go();
        }
        Ok(())
    }

    /// What the client asked for is done, and only its start-up parameters were being set again.
    fn finish_reset(&mut self) {
        let notes = self.owed.iter().filter_map(|entry| entry.note.as_ref());
        let resumes = notes.filter_map(|note| note.resumes).next();
        let Some(status) = resumes else { return };
        self.owed.reset();
        self.status = status;
        reply::put_ready(self.answers(), status);
    }

    /// The client got an answer in full: what it has seen of the next one is nothing.
    pub(super) fn request_answered(&mut self) {
        self.acks_shown = 0;
        self.acks_to_skip = 0;
        self.results_shown = false;
        self.reruns = 0;
        self.begin_sent = None;
        self.stopped = None;
        self.acknowledged.clear();
        self.retaken.clear();
        self.restart_statement();
    }

    /// Whether the client takes itself to be in a transaction block: it may have seen a BEGIN
    /// completed, or an end, whose ReadyForQuery has not come.
    fn client_block(&self) -> bool {
        let status = match self.savepoints.block {
            Some(status) if self.results_shown => status,
            _ => self.status,
        };
        status != TransactionStatus::Idle
    }

    fn fate(&self, loss: &Loss) -> Fate {
        let nothing_due =
            self.owed.is_empty() && !self.owed.is_unsynced() && !self.owed.is_skipping();
        let block = self.client_block();
        if nothing_due && !block {
            return Fate::Quiet;
        }
        // What the kernel never got cannot have been carried out.
        let unknown = self.wrote_upstream && self.outcome_unknown();
        let begins = self.status == TransactionStatus::Open && self.begin_sent.is_some();
        let unseen = !self.results_shown && (!block || begins);
        let possible = loss.repeatable
            && loss.told.is_none()
            && self.recent.is_whole()
            && self.reruns < RERUNS
            && !nothing_due
            && !self.owed.is_skipping();
        match (unknown, unseen && possible, block) {
            (true, ..) => Fate::Unknown,
            (false, true, _) => Fate::Repeated,
            (false, false, true) => Fate::Undone,
            (false, false, false) => Fate::Refused,
        }
    }

    /// The client's frames that were sent are taken again, as if they came now.
    fn repeat_requests(&mut self) {
        self.undo_notes(true);
        self.retaken.append(&mut self.acknowledged);
        self.reruns += 1;
        self.acks_to_skip = self.acks_shown;
        if self.begin.is_none() {
            self.begin = self.begin_sent.take();
        }
        let bytes = self.recent.take();
        self.take_again(&bytes);
    }

    /// A Parse that was acknowledged before its request was taken once more finds its name free.
    pub(super) fn free_retaken(&mut self, name: &[u8]) {
        let made = self.retaken.iter().position(|made| made.touches(name));
        if let Some(at) = made {
            let change = self.retaken.swap_remove(at);
            self.names.undo(change);
        }
    }

    fn take_again(&mut self, bytes: &[u8]) {
        if let Rest::Pass(_) = self.from_client {
            // The rest of a frame whose beginning comes again.
            self.from_client = Rest::Drop(0);
        }
        self.cin.put_back(bytes);
    }

    /// The client's block has failed and no connection is behind it.
    fn fail_block(&mut self, error: &ClientError, now: bool) {
        let told = self.status == TransactionStatus::Failed || self.owed.is_skipping();
        let waits = !self.owed.is_empty() || self.owed.is_unsynced();
        let clean = !self.results_shown && self.recent.is_whole() && !self.owed.is_skipping();
        if waits && (now || !clean) {
            let ends = self.first_request_commits();
            let status = match ends {
                true => TransactionStatus::Idle,
                false => TransactionStatus::Failed,
            };
            // Going back to a savepoint does not help whoever gave the statement up.
            let reason = match now {
                true => given_up(),
                false => error.clone(),
            };
            self.limbo = (!ends).then(|| Limbo::told(reason));
            self.refuse_first(error, status);
            return;
        }
        self.undo_notes(false);
        self.retaken.append(&mut self.acknowledged);
        self.limbo = Some(match told {
            true => Limbo::told(error.clone()),
            false => Limbo::telling(error.clone()),
        });
        self.discarding |= self.owed.is_skipping();
        if self.owed.is_skipping() {
            self.status = TransactionStatus::Failed;
        }
        let bytes = self.recent.take();
        // Acknowledgements of the first request were seen already.
        self.acks_to_skip = self.acks_shown;
        if self.discarding {
            self.drop_rest();
        } else {
            self.take_again(&bytes);
        }
    }

    /// The oldest request ends with an error; those behind it are taken again.
    fn refuse_first(&mut self, error: &ClientError, status: TransactionStatus) {
        let due = self.replies_due();
        let skipping = self.owed.is_skipping();
        let unsynced = self.owed.is_unsynced();
        let whole = self.recent.is_whole();
        self.undo_notes(false);
        self.status = status;
        if due == 0 {
            if unsynced && !skipping {
                error.put(self.answers());
            }
            self.discarding = true;
            self.recent.clear();
            self.drop_rest();
            return;
        }
        error.put(self.answers());
        reply::put_ready(self.answers(), status);
        self.request_answered();
        if whole {
            let rest = self.recent.take_rest();
            self.take_again(&rest);
            return;
        }
        self.refuse_others(error, due - 1, unsynced && !skipping, status);
    }

    /// Every request under way ends with the same error.
    fn refuse_all(&mut self, error: &ClientError) {
        let due = self.replies_due();
        let unsynced = self.owed.is_unsynced();
        let skipping = self.owed.is_skipping();
        self.undo_notes(false);
        self.status = TransactionStatus::Idle;
        self.limbo = None;
        self.refuse_others(error, due, unsynced && !skipping, TransactionStatus::Idle);
        self.discarding |= skipping;
    }

    fn refuse_others(
        &mut self,
        error: &ClientError,
        due: usize,
        open: bool,
        status: TransactionStatus,
    ) {
        for _ in 0..due {
            error.put(self.answers());
            reply::put_ready(self.answers(), status);
        }
        if open {
            error.put(self.answers());
            self.discarding = true;
        }
        self.request_answered();
        self.recent.clear();
        self.drop_rest();
    }

    /// The rest of a frame that was sent in part goes nowhere.
    fn drop_rest(&mut self) {
        if let Rest::Pass(left) = self.from_client {
            self.from_client = Rest::Drop(left);
        }
    }

    /// ReadyForQuery messages that the client waits for.
    fn replies_due(&self) -> usize {
        let due = |entry: &&Owed<Note>| !entry.expect.is_extended() && !entry.hidden;
        self.owed.iter().filter(due).count()
    }

    fn first_request_commits(&self) -> bool {
        let mut ended = false;
        let first = self.owed.iter().take_while(|entry| {
            let before = ended;
            ended |= !entry.expect.is_extended() && !entry.hidden;
            !before
        });
        first
            .filter_map(|entry| entry.note.as_ref()?.effects.as_deref())
            .any(|effects| effects.iter().any(super::limbo::ends_block))
    }

    /// What the requests under way were to do to names did not happen.
    fn undo_notes(&mut self, again: bool) {
        while let Some(entry) = self.owed.pop_back() {
            self.undo(entry, false);
        }
        self.settings.abandon(again);
        self.obey_switches();
    }

    /// Forgets what was asked for on the connection, and the connection. `running`: something may
    /// still run there.
    pub(super) fn forget_connection(&mut self, running: bool) {
        self.undo_notes(true);
        if running {
            self.abandon_lease();
        } else {
            self.let_go();
        }
    }

    fn abandon_lease(&mut self) {
        if let Some(mut lease) = self.lease.take() {
            lease.input.set_gate(false);
            lease.abandon();
        }
        self.let_go();
    }

    /// Forgets the connection and everything that was known about it.
    fn let_go(&mut self) {
        drop(self.lease.take());
        self.owed.reset();
        self.unnamed.settle(None);
        if let Some(replay) = &mut self.replay {
            replay.reset();
        }
        self.pause = None;
        self.savepoints.reset();
        self.from_upstream = Rest::Drop(0);
        self.portals.clear();
        self.end_cursors(false);
        self.local_settings = false;
        self.discarded = false;
        self.resetting = false;
        self.before_reset = None;
        self.copying_in = false;
        self.copy_open = false;
        self.extension = None;
        self.asked_for_answers = false;
        self.unsettled_writes = false;
        self.unsettled_commit = false;
        self.left_block = false;
        self.unnamed_portal = Doing::UNKNOWN;
        self.undoable = 0;
        self.wrote_upstream = false;
        self.begin_sent = None;
        drop(self.control.take_cancels());
        self.deadlines.answered();
    }

    /// What the last statement under way begins with, for the log.
    pub(super) fn describe_recent(&self) -> String {
        self.recent
            .describe(|name| self.names.get(name).map(|known| known.source.to_vec()))
    }

    fn log_loss(&self, loss: &Loss, fate: Fate) {
        let lease = self.lease.as_deref();
        let pid = lease.map_or(0, |lease| lease.pid);
        let age_s = lease.map_or(0, |lease| lease.opened.elapsed().as_secs());
        let statement = match fate {
            Fate::Unknown => self.describe_recent(),
            _ => String::new(),
        };
        tracing::warn!(
            pool = self.env.pool.name(),
            user = self.identity.user(),
            database = self.identity.database(),
            upstream_pid = pid,
            age_s,
            cause = loss.cause,
            fate = ?fate,
            outcome_unknown = fate == Fate::Unknown,
            statement,
            "upstream connection lost"
        );
    }
}

fn given_up() -> ClientError {
    ClientError::error(
        sqlstate::SERIALIZATION_FAILURE,
        "the transaction was given up with its upstream connection; nothing was committed",
    )
    .hint("Run the whole transaction again.")
}

/// What to do about an unknown outcome.
const CHECK: &str = "Check whether it took effect before repeating it.";

/// Something may have been committed when `what` happened.
pub(super) fn unknown_outcome(what: &str) -> ClientError {
    ClientError::error(
        sqlstate::TRANSACTION_RESOLUTION_UNKNOWN,
        format!("{what} while a change was being committed"),
    )
    .detail("The change may or may not have taken effect.")
    .hint(CHECK)
}

fn error_of(fate: Fate, loss: &Loss) -> ClientError {
    match (fate, &loss.told) {
        (Fate::Unknown, None) => unknown_outcome("the upstream connection was lost"),
        (Fate::Unknown, Some(told)) => unknown_outcome("the upstream connection was given up")
            .hint(format!("Cause: {}. {CHECK}", told.message)),
        (_, Some(told)) => told.clone(),
        (Fate::Undone, None) => ClientError::error(
            sqlstate::SERIALIZATION_FAILURE,
            "the upstream connection was lost inside a transaction; nothing was committed",
        )
        .detail(loss.cause.clone())
        .hint("Run the whole transaction again."),
        _ => ClientError::error(loss.code, "the upstream connection was lost")
            .detail("No transaction was committed by the statements under way.")
            .hint("Repeat the statements."),
    }
}
