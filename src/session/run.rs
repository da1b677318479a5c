//! The session as a task: one turn reads what is there, does what can be done, writes once.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::auth::Identity;
use crate::config::{self, PoolMode};
use crate::net::{ReadBuffer, Stream, WriteBuffer};
use crate::policy::tenancy::TenantParameter;
use crate::policy::tenancy::copy::{CopyRows, Extension};
use crate::policy::{Switches, TransactionFacts};
use crate::pool::{Lease, Pool, Ticket};
use crate::retry::{Mark, Replay};
use crate::sql::{Effect, PinReason};
use crate::telemetry::tally::WorkerTally;
use crate::upstream::{Expect, OwedQueue, Owner, Settings, SharedSettings, same};
use crate::wire::backend::TransactionStatus;
use crate::wire::frame::{self, FrameError};
use crate::wire::frontend;
use crate::wire::reply::{self, ClientError};
use crate::wire::sqlstate;

use super::abandon::Loss;
use super::advisory;
use super::conflict::RetryEnv;
use super::control::Control;
use super::creations::Creations;
use super::cursor::Cursor;
use super::databases::DatabaseEnv;
use super::deadline::{Alarm, Deadlines};
use super::isolation::{Guard, Isolation};
use super::kept::KeptEnv;
use super::limbo::Limbo;
use super::names::{NameChange, Names, Prepared, Quota, Registry, Scope};
use super::notify::{Hub, Listening};
use super::procedure::Running;
use super::recent::Recent;
use super::reset::Inserted;
use super::savepoint::Savepoints;
use super::script::{Places, ToldOf};
use super::signal::Listed;
use super::state::SettingsState;
use super::temporary::Temporary;
use super::tentative::Tentative;
use super::unstorable::{Columns, OwnColumns};
use super::verdict::{PolicyEnv, Verdict};
use super::welcome::Profiles;

/// Reading from one side stops while more than this many bytes wait to be written to the other.
pub(super) const HIGH_WATER: usize = 256 * 1024;

/// Turns of the inner loop before other sessions of the worker get their turn.
const FAIR_TURNS: usize = 32;

/// One turn in this many is timed.
const SAMPLE: u64 = 16;

/// What a session needs from its worker.
#[derive(Debug)]
pub struct SessionEnv {
    /// The pool of its database entry.
    pub pool: Rc<Pool>,
    /// Whose connections it uses, where the pool keeps tenants apart.
    pub owner: Option<Owner>,
    /// Index of that pool.
    pub pool_index: usize,
    /// How long it keeps a connection.
    pub mode: PoolMode,
    /// Statements a client may keep.
    pub quota: Quota,
    /// Statements shared by the worker's sessions.
    pub registry: Rc<Registry>,
    /// Start-up parameters as servers reported them.
    pub profiles: Rc<Profiles>,
    /// Counters.
    pub tally: Arc<WorkerTally>,
    /// Repeating after conflicts.
    pub retry: RetryEnv,
    /// What becomes of savepoints.
    pub savepoints: config::Savepoints,
    /// What the proxy keeps in the server's stead.
    pub kept: KeptEnv,
    /// Sounds at deadlines.
    pub alarm: Rc<Alarm>,
    /// Deciding about statements; `None` lets all pass.
    pub policy: Option<PolicyEnv>,
    /// Advisory locks of the worker's sessions.
    pub locks: Rc<advisory::Locks>,
    /// Who listens to notifications.
    pub hub: Arc<Hub>,
    /// Names of databases; `None` where no dialect keeps them.
    pub databases: Option<DatabaseEnv>,
    /// Columns that are kept as text; `None` where no dialect keeps them so, and where there are tenants.
    pub columns: Option<Rc<Columns>>,
    /// What binds the session to its tenant; `None` in sessions that see all.
    pub guard: Option<Guard>,
    /// The tenant policy of its database entry, whoever the user is.
    pub isolation: Option<Arc<Isolation>>,
}

/// Why a session ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client is gone.
    Client,
    /// The client said Terminate and everything before it is done.
    Finished,
    /// The client gets this error first.
    Refuse(ClientError),
    /// The upstream said why; its error is already on the way to the client.
    Told,
    /// Not the session but its connection ends; what that means is still to be found out.
    Lost(Box<Loss>),
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> Self {
        violation(error.to_string())
    }
}

/// The client broke the protocol.
pub(super) fn violation(message: impl Into<String>) -> End {
    End::Refuse(ClientError::fatal(sqlstate::PROTOCOL_VIOLATION, message))
}

/// What the session noted about an owed response.
#[derive(Debug, Default)]
pub(super) struct Note {
    /// What each statement does when it succeeds.
    pub effects: Option<Rc<[Effect]>>,
    /// Statements of the text that have succeeded.
    pub done: usize,
    /// Changes of names and the statement of the text that makes each, to be undone should it fail.
    pub changes: Vec<(usize, NameChange)>,
    /// The server-side statement that a Parse makes.
    pub makes: Option<u64>,
    /// Server-side statements that a Close or DEALLOCATE removes, and which statement of the text.
    pub removes: Vec<(usize, u64)>,
    /// The change of the connection's unnamed statement.
    pub unnamed: Option<u64>,
    /// What a simple query did to the unnamed statement; undone only when it was skipped.
    pub forgets: Option<NameChange>,
    /// Statements of the text that are not the client's.
    pub inserted: Option<Inserted>,
    /// The client's ReadyForQuery comes when this is done.
    pub resumes: Option<TransactionStatus>,
    /// The frame a local answer consists of.
    pub frame: Vec<u8>,
    /// What the proxy itself wanted.
    pub own: Option<Own>,
    /// The portal that this Bind makes.
    pub portal: Option<Bound>,
    /// The error the client sees when the server finds that a name is taken.
    pub duplicate: Option<ClientError>,
    /// The error the client sees instead of the server's.
    pub instead: Option<ClientError>,
    /// The server got an empty statement in place of the client's.
    pub stands_in: bool,
    /// Where the savepoint is that it sets.
    pub mark: Option<Mark>,
    /// May have written: when the connection is lost, the outcome is unknown.
    pub writes: bool,
    /// Its text asks that its transaction is not run again after a conflict.
    pub opts_out: bool,
    /// The same, by a function that it calls.
    pub calls: bool,
    /// Its text is too long to be read: it may end a transaction, or begin one.
    pub unread: bool,
    /// What the client is told of statements of the text besides what the server says.
    pub told: Option<ToldOf>,
    /// Where the text is another than the client's.
    pub places: Option<Places>,
    /// The client's statement has no rows, and the server's has.
    pub rowless: bool,
    /// The client's statement lacks this parameter, which is the last of the server's.
    pub parameter: Option<TenantParameter>,
    /// How the rows of a tenant's COPY are extended.
    pub rows: Option<Rc<CopyRows>>,
    /// The client gets this error when the server says that the COPY was given up.
    pub broken: Option<ClientError>,
}

impl Note {
    /// Bytes of statements that undoing its changes would bring back.
    pub fn undoable(&self) -> usize {
        let changes = self.changes.iter().map(|(_, change)| change);
        changes.chain(&self.forgets).map(NameChange::size).sum()
    }
}

/// What a statement may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doing {
    /// It may write.
    pub writes: bool,
    /// It calls functions that may.
    pub calls: bool,
}

impl Doing {
    /// Of what nothing is known.
    pub const UNKNOWN: Self = Self {
        writes: true,
        calls: true,
    };
}

/// A portal that has a name, or any, as long as one of the session's has a name or an effect.
#[derive(Debug)]
pub(super) struct Portal {
    /// Number of its Bind.
    pub number: u64,
    pub name: Vec<u8>,
    pub doing: Doing,
    /// What the dialect makes of its statement.
    pub verdict: Option<Rc<Verdict>>,
    /// Its statement, if that has an effect.
    pub prepared: Option<Rc<Prepared>>,
    /// Formats and values of its parameters, if it is run in several steps.
    pub values: Option<Rc<[u8]>>,
    /// Executed, and cannot be executed again.
    pub spent: bool,
}

/// What a Bind did to the portals.
#[derive(Debug)]
pub(super) struct Bound {
    /// Number of the portal it makes.
    pub number: u64,
    /// The one of that name before.
    pub before: Option<Portal>,
}

/// What the proxy asks for on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    /// Settings statements.
    Settings,
    /// A look at the schema, whatever comes of it.
    Refresh,
    /// A deferred BEGIN.
    Begin,
    /// A statement prepared again.
    Prepare,
    /// A statement evicted.
    Evict,
    /// A start-up parameter set again behind a RESET.
    Restore,
    /// A request of a procedure.
    Step,
    /// The portal of a SQL cursor.
    Cursor,
    /// The rows of a SQL cursor, to be kept.
    Spool,
}

/// Where the rest of a frame goes that is passed on in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// To the other side.
    Pass(usize),
    /// Nowhere.
    Drop(usize),
    /// To a COPY of several batches.
    Keep(usize),
}

impl Rest {
    pub fn left(self) -> usize {
        match self {
            Self::Pass(left) | Self::Drop(left) | Self::Keep(left) => left,
        }
    }

    pub fn reduce(&mut self, by: usize) {
        match self {
            Self::Pass(left) | Self::Drop(left) | Self::Keep(left) => *left -= by,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Login is done, the server's parameters are still to be told.
    Welcome,
    Serving,
    /// Only what is buffered is still written.
    Closing,
}

/// One client's conversation; a future that ends with it.
pub struct Session {
    pub(super) client: Stream,
    pub(super) cin: ReadBuffer,
    pub(super) cout: WriteBuffer,
    /// Rest of a client's frame.
    pub(super) from_client: Rest,
    /// Rest of an upstream frame.
    pub(super) from_upstream: Rest,
    pub(super) env: SessionEnv,
    pub(super) control: Rc<Control>,
    pub(super) identity: Identity,
    pub(super) key: (u32, Vec<u8>),
    phase: Phase,
    pub(super) lease: Option<Lease>,
    pub(super) ticket: Option<Ticket>,
    pub(super) refusal: Option<ClientError>,
    pub(super) owed: OwedQueue<Note>,
    pub(super) names: Names,
    /// The last thing sent was the proxy's own Flush.
    pub(super) asked_for_answers: bool,
    /// Bytes of statements that requests still unanswered may bring back, at most.
    pub(super) undoable: usize,
    /// Which statement is the unnamed one of the connection, if that is known.
    pub(super) unnamed: Tentative<Option<u64>>,
    pub(super) settings: SettingsState,
    /// Start-up parameters that the proxy keeps, until they have been read.
    pub(super) startup: Option<Settings>,
    /// Portals, unless none of them has an effect.
    pub(super) portals: Vec<Portal>,
    /// Binds that were noted.
    pub(super) binds: u64,
    /// SET LOCAL was sent in this transaction.
    pub(super) local_settings: bool,
    /// DISCARD ALL was done since the last ReadyForQuery.
    pub(super) discarded: bool,
    /// The unnamed portal's, unless it is among `portals`.
    pub(super) unnamed_portal: Doing,
    /// Status as the client was last told.
    pub(super) status: TransactionStatus,
    /// A BEGIN that was answered and not yet sent.
    pub(super) begin: Option<Vec<u8>>,
    /// A message that is too long is refused when all of it has come: whether it is a Query, and why.
    pub(super) refusing: Option<(bool, ClientError)>,
    /// The session answered an error itself and discards up to the next Sync.
    pub(super) discarding: bool,
    pub(super) pin: Option<PinReason>,
    /// The server reads copy data: what else is sent now, it takes for part of that.
    pub(super) copying_in: bool,
    /// The client said Terminate without asking for all answers; the proxy asked for them.
    pub(super) asked_for_errors: bool,
    /// A COPY FROM STDIN began and has not been completed.
    pub(super) copy_open: bool,
    /// The client said Terminate; what it sent before is still carried out.
    pub(super) terminating: bool,
    /// A statement that may write was answered in an extended batch whose ReadyForQuery is to come.
    pub(super) unsettled_writes: bool,
    /// A COMMIT was completed since the last ReadyForQuery.
    pub(super) unsettled_commit: bool,
    /// A ROLLBACK was completed; its ReadyForQuery has not come.
    pub(super) left_block: bool,
    /// DISCARD ALL was done since the last ReadyForQuery and the client has start-up parameters.
    pub(super) resetting: bool,
    /// The connection's parameters before that: its defaults are others than the client's.
    pub(super) before_reset: Option<Vec<(String, String)>>,
    /// The frame that takes the place of the one at hand.
    pub(super) replacement: Vec<u8>,
    /// Body of the ErrorResponse the session ends with.
    pub(super) final_words: Option<Vec<u8>>,
    /// Repeating after conflicts, when it is on.
    pub(super) replay: Option<Box<Replay>>,
    /// `dsqlproxy.retry` as it was last followed.
    pub(super) retry_on: bool,
    /// The session's switches as they were last followed.
    pub(super) switches: Switches,
    /// What its transaction has done upstream, as far as policy asks.
    pub(super) transaction: TransactionFacts,
    /// Its transaction only reads, or does not, as SET TRANSACTION said.
    pub(super) read_only: Option<bool>,
    /// The same, as its BEGIN said.
    pub(super) begun_read_only: Option<bool>,
    /// Its transaction is DEFERRABLE, or is not, as BEGIN said: the server is not told.
    pub(super) deferrable: Option<bool>,
    /// The isolation level that its transaction asked for.
    pub(super) isolation: Option<&'static str>,
    /// Formats and values of the portal that is executed, if its statement needs them.
    pub(super) executing: Option<Rc<[u8]>>,
    /// Its SQL cursors.
    pub(super) cursors: Vec<Cursor>,
    /// The server's parameters as the client was told them after its login.
    pub(super) greeted: Rc<[(String, String)]>,
    /// Those that it was told later.
    pub(super) changed_parameters: Vec<(String, String)>,
    /// What the dialect makes of the unnamed portal, unless it is among `portals`.
    pub(super) unnamed_verdict: Option<Rc<Verdict>>,
    /// Rules whose notice is told once, and was.
    pub(super) told_once: Vec<Arc<str>>,
    /// Savepoints that the server knows nothing of.
    pub(super) savepoints: Savepoints,
    /// Statements that a repetition closed, whatever becomes of the requests under way.
    pub(super) closed: Vec<u64>,
    /// Names that the request at hand made and the server, or the proxy, acknowledged.
    pub(super) acknowledged: Vec<NameChange>,
    /// Those of them whose Parse is taken once more.
    pub(super) retaken: Vec<NameChange>,
    /// The pause before a repetition.
    pub(super) pause: Option<Pin<Box<tokio::time::Sleep>>>,
    /// Requests under way as the client sent them.
    pub(super) recent: Recent,
    /// A frame that takes the place of the one just taken.
    pub(super) again: Vec<u8>,
    /// Acknowledgements of the request at hand that the client has seen.
    pub(super) acks_shown: usize,
    /// So many of them are kept back, because it has seen them already.
    pub(super) acks_to_skip: usize,
    /// The client has seen more of the answer at hand than acknowledgements.
    pub(super) results_shown: bool,
    /// How often the request at hand was taken once more.
    pub(super) reruns: u32,
    /// Something was written to the connection since it last owed nothing.
    pub(super) wrote_upstream: bool,
    /// The deferred BEGIN that was sent and whose transaction the client has seen nothing of.
    pub(super) begin_sent: Option<Vec<u8>>,
    /// The client's transaction has failed, and there is none at any upstream.
    pub(super) limbo: Option<Limbo>,
    pub(super) deadlines: Deadlines,
    /// A statement of several transactions is under way.
    pub(super) procedure: Option<Box<Running>>,
    /// Its advisory locks.
    pub(super) advisory: advisory::Own,
    /// Notifications.
    pub(super) listening: Listening,
    /// Where other sessions find it.
    pub(super) listed: Listed,
    /// Its temporary tables.
    pub(super) temporary: Temporary,
    /// What it knows of columns that are kept as text.
    pub(super) columns: OwnColumns,
    /// What its transaction has made and committed in the middle.
    pub(super) creations: Creations,
    /// What is left of the text of the Query at hand.
    pub(super) more: Option<Vec<u8>>,
    /// The client gets this error for the conflict that is not repeated any more.
    pub(super) stopped: Option<ClientError>,
    /// The data of a tenant's COPY on their way.
    pub(super) extension: Option<Box<Extension>>,
    /// Something was to be sent in the middle of a client's frame.
    pub(super) interrupted: bool,
    /// DDL was sent since nothing was last under way.
    pub(super) changes_schema: bool,
    /// A text was sent that is not the client's.
    pub(super) reworded: bool,
    turns: u64,
}

impl Session {
    /// A session for a client that has logged in; `key` is what it will cancel with.
    #[must_use]
    pub fn new(
        client: Stream,
        identity: Identity,
        key: (u32, Vec<u8>),
        control: Rc<Control>,
        env: SessionEnv,
    ) -> Self {
        env.tally.clients.add(1);
        let asked = super::welcome::startup_settings(&identity, &env);
        let (defaults, kept) = super::kept::divide(&asked, &env.kept);
        let temporary = Temporary::new(Rc::clone(&env.locks));
        let creations = Creations::new(Rc::clone(&env.locks));
        let listening = Listening::new(Arc::clone(&env.hub), identity.database(), key.0);
        let listed = Listed::new(Arc::clone(&env.hub), identity.user(), key.0);
        let advisory = advisory::Own::new(Rc::clone(&env.locks));
        let replay = env
            .retry
            .replay(env.savepoints == config::Savepoints::Emulate);
        Self {
            replay,
            retry_on: true,
            switches: Switches::default(),
            transaction: TransactionFacts::default(),
            read_only: None,
            begun_read_only: None,
            deferrable: None,
            isolation: None,
            executing: None,
            cursors: Vec::new(),
            greeted: Rc::default(),
            changed_parameters: Vec::new(),
            unnamed_verdict: None,
            told_once: Vec::new(),
            savepoints: Savepoints::default(),
            closed: Vec::new(),
            acknowledged: Vec::new(),
            retaken: Vec::new(),
            pause: None,
            client,
            cin: ReadBuffer::default(),
            cout: WriteBuffer::default(),
            from_client: Rest::Drop(0),
            from_upstream: Rest::Drop(0),
            env,
            control,
            identity,
            key,
            phase: Phase::Welcome,
            lease: None,
            ticket: None,
            refusal: None,
            owed: OwedQueue::default(),
            names: Names::default(),
            asked_for_answers: false,
            undoable: 0,
            unnamed: Tentative::default(),
            settings: SettingsState::new(defaults),
            startup: Some(kept),
            portals: Vec::new(),
            binds: 0,
            local_settings: false,
            discarded: false,
            unnamed_portal: Doing::UNKNOWN,
            status: TransactionStatus::Idle,
            begin: None,
            refusing: None,
            discarding: false,
            pin: None,
            copying_in: false,
            copy_open: false,
            extension: None,
            asked_for_errors: false,
            terminating: false,
            unsettled_writes: false,
            unsettled_commit: false,
            left_block: false,
            resetting: false,
            before_reset: None,
            replacement: Vec::new(),
            final_words: None,
            recent: Recent::default(),
            again: Vec::new(),
            acks_shown: 0,
            acks_to_skip: 0,
            results_shown: false,
            reruns: 0,
            wrote_upstream: false,
            begin_sent: None,
            limbo: None,
            deadlines: Deadlines::default(),
            procedure: None,
            advisory,
            temporary,
            columns: OwnColumns::default(),
            creations,
            listening,
            listed,
            more: None,
            stopped: None,
            changes_schema: false,
            reworded: false,
            interrupted: false,
            turns: 0,
        }
    }

    /// The client does not know the server's parameters yet.
    pub(super) fn is_welcoming(&self) -> bool {
        self.phase == Phase::Welcome
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..FAIR_TURNS {
            let outcome = match self.phase {
                Phase::Closing => return self.poll_close(cx),
                Phase::Welcome => self.step_welcome(cx),
                Phase::Serving => self.step(cx),
            };
            match outcome {
                Ok(true) => {}
                Ok(false) => {
                    self.settle_locks();
                    // Nothing would wake the session for what has just begun.
                    if self.creations.take_begun() | self.listening.take_fresh() {
                        continue;
                    }
                    self.control.set_idle(self.is_at_rest());
                    self.arm();
                    return Poll::Pending;
                }
                Err(End::Lost(loss)) => {
                    if let Err(end) = self.survive(*loss) {
                        self.close(end);
                    }
                }
                Err(end) => self.close(end),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn step_welcome(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if let Some(error) = self.control.take_end() {
            return Err(End::Refuse(error));
        }
        self.read_startup().map_err(End::Refuse)?;
        if self.waits_for_undoing(cx) {
            return self.read_client(cx);
        }
        if self.welcome()? {
            self.phase = Phase::Serving;
            return Ok(true);
        }
        let mut progress = self.poll_ticket(cx);
        progress |= self.write_upstream(cx)?;
        progress |= self.read_upstream(cx)?;
        progress |= self.watch_upstream(cx)?;
        progress |= self.relay()?;
        // Also sees a client that leaves while it waits.
        progress |= self.read_client(cx)?;
        Ok(progress)
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        self.obey_signals(cx)?;
        self.obey()?;
        let mut progress = self.read_client(cx)?;
        if !self.waits_for_others(cx) {
            progress |= self.take_frames()?;
        }
        progress |= self.run_columns(cx);
        // Behind the frames: one of them may just have joined the queue.
        progress |= self.poll_ticket(cx);
        // Before anything is written: what the kernel knows to be closed has got nothing.
        progress |= self.read_upstream(cx)?;
        self.refuse_interruption()?;
        progress |= self.write_upstream(cx)?;
        progress |= self.watch_upstream(cx)?;
        progress |= self.relay()?;
        self.refuse_interruption()?;
        progress |= self.run_procedure(cx)?;
        progress |= self.run_undoing(cx);
        progress |= self.take_notifications(cx)?;
        progress |= self.write_client(cx)?;
        if self.terminating {
            if self.is_finished() {
                return Err(End::Finished);
            }
            progress |= self.ask_for_errors();
        }
        Ok(progress)
    }

    /// The connection is of no use when its order of messages is lost.
    fn refuse_interruption(&self) -> Result<(), End> {
        if !self.interrupted {
            return Ok(());
        }
        tracing::error!(
            user = self.identity.user(),
            "a message of the proxy's own was due in the middle of a client's"
        );
        Err(End::Refuse(ClientError::fatal(
            sqlstate::INTERNAL_ERROR,
            "the session cannot go on in the middle of a message",
        )))
    }

    /// Nothing more will be answered. Answers that no Sync and no Flush asks for are never sent.
    fn is_finished(&self) -> bool {
        // A COPY that gets no more data would wait for ever.
        self.owed.is_empty() || self.copying_in
    }

    /// Does what others asked for.
    fn obey(&mut self) -> Result<(), End> {
        if let Some(error) = self.control.take_end() {
            return Err(self.end_with(error));
        }
        if let Some(error) = self.control.farewell()
            && self.is_at_rest()
        {
            return Err(End::Refuse(error));
        }
        if self.control.has_cancels() {
            self.obey_cancels();
        }
        self.obey_deadlines()
    }

    fn obey_cancels(&mut self) {
        if self.procedure.is_some() {
            self.cancel_procedure();
            return;
        }
        let Some(lease) = &self.lease else {
            drop(self.control.take_cancels());
            if self.leave_queue() {
                self.refusal = Some(ClientError::error(
                    sqlstate::QUERY_CANCELED,
                    "canceling statement due to user request",
                ));
            }
            return;
        };
        match self.owed.front() {
            // Not the client's statement that runs: wait until it does. Extended messages of the
            // proxy are different: their answers come only with those of the client's.
            Some(entry) if entry.hidden && !entry.expect.is_extended() => {}
            Some(_) => {
                for done in self.control.take_cancels() {
                    self.env.tally.cancels.add(1);
                    lease.cancel(move || drop(done));
                }
                let error = ClientError::error(
                    sqlstate::QUERY_CANCELED,
                    "canceling statement due to user request",
                );
                if !self.stop_pausing(&error) {
                    if self.is_repeating() {
                        // Should the server obey, it is not a difference that the client is told of.
                        self.stopped = Some(error);
                    }
                    self.stop_repeating();
                    self.expect_cancel();
                }
            }
            None => drop(self.control.take_cancels()),
        }
    }

    /// Gives up waiting for a connection; tells whether it did wait.
    pub(super) fn leave_queue(&mut self) -> bool {
        let waited = self.ticket.take().is_some();
        self.env.tally.waiting.sub(u64::from(waited));
        waited
    }

    /// Outside a transaction with nothing under way.
    pub(super) fn is_at_rest(&self) -> bool {
        self.ticket.is_none()
            && self.owed.is_empty()
            && !self.owed.is_unsynced()
            && self.begin.is_none()
            && self.procedure.is_none()
            && !self.creations.is_undoing()
            && self.status == TransactionStatus::Idle
            && self.cin.is_empty()
            && self.phase == Phase::Serving
    }

    fn poll_ticket(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(ticket) = &mut self.ticket else {
            return false;
        };
        let outcome = ticket.poll(cx);
        if ticket.should_tell() {
            reply::put_notice(
                self.cout.tail(),
                "00000",
                "waiting for an upstream connection: all connections of the pool are in use",
            );
        }
        match outcome {
            Poll::Pending => false,
            Poll::Ready(outcome) => {
                self.ticket = None;
                self.env.tally.waiting.sub(1);
                match outcome {
                    Ok(lease) => self.begin_lease(lease),
                    Err(error) => self.refusal = Some(error),
                }
                true
            }
        }
    }

    /// Makes sure there is a lease. `Ok(false)`: it has to wait for one.
    ///
    /// # Errors
    /// The reason why there will be none.
    pub(super) fn ensure_lease(&mut self) -> Result<bool, ClientError> {
        if self.lease.is_some() {
            return Ok(true);
        }
        if let Some(error) = self.refusal.take() {
            return Err(error);
        }
        if self.ticket.is_some() {
            return Ok(false);
        }
        if let Some(lease) = self.env.pool.take(self.owner()) {
            self.begin_lease(lease);
            return Ok(true);
        }
        self.ticket = Some(self.env.pool.wait(self.owner())?);
        self.env.tally.waiting.add(1);
        Ok(false)
    }

    /// Whose connections the session uses, where the pool keeps tenants apart.
    fn owner(&self) -> Option<&Owner> {
        self.env.owner.as_ref()
    }

    fn begin_lease(&mut self, lease: Lease) {
        self.env.tally.leases.add(1);
        self.owed.reset();
        self.wrote_upstream = false;
        self.settings.attach(Arc::clone(&lease.label));
        self.unnamed.settle(lease.unnamed);
        self.lease = Some(lease);
        self.begin_watch();
        self.refresh_schema();
        self.sync_settings();
        self.send_deferred_begin();
    }

    /// The first statement of a connection behind a change of the schema by another one meets a
    /// conflict (OC001). Where this process has made the change, a statement of nobody's is the first.
    pub(super) fn refresh_schema(&mut self) {
        let dsql = self.env.pool.kind() == config::ClusterKind::Dsql;
        let now = self.env.pool.schema();
        let Some(lease) = self
            .lease
            .as_mut()
            .filter(|lease| dsql && lease.schema != now)
        else {
            return;
        };
        lease.schema = now;
        let note = Note {
            own: Some(Own::Refresh),
            ..Note::default()
        };
        self.send(Expect::Query, true, Some(note), |out| {
            frontend::put_query(out, b"SELECT 1");
        });
        self.unnamed.settle(None);
    }

    /// The settings of session and connection differ.
    pub(super) fn needs_sync(&self) -> bool {
        !same(self.settings.label(), self.settings.wanted())
    }

    /// Gives the lease back when nothing is owed on it.
    pub(super) fn release_if_settled(&mut self) {
        let keeps = self.pin.is_some() || self.env.mode == PoolMode::Session;
        if keeps {
            self.watch_again();
        }
        if keeps || self.phase == Phase::Welcome || self.is_passing() {
            return;
        }
        self.release();
    }

    /// A frame of the client was sent in part: the connection cannot serve anyone else.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self.from_client, Rest::Pass(left) if left > 0)
    }

    pub(super) fn release(&mut self) {
        let Some(settled) = self.owed.settle() else {
            return;
        };
        if let Some(mut lease) = self.lease.take() {
            lease.label = SharedSettings::clone(self.settings.label());
            lease.unnamed = *self.unnamed.get();
            let waiting = lease.input.passing().to_vec();
            if !waiting.is_empty() {
                self.cout.tail().extend_from_slice(&waiting);
                lease.input.advance(waiting.len());
            }
            lease.input.set_gate(false);
            lease.input.release();
            lease.give_back(settled);
        }
    }

    /// What the meaning of a statement text depends on in this session.
    pub(super) fn scope(&self) -> Scope {
        let wanted = self.settings.wanted();
        let settings = if wanted.contains_key("application_name") {
            let mut settings = (**wanted).clone();
            settings.remove("application_name");
            Arc::new(settings)
        } else {
            Arc::clone(wanted)
        };
        Scope {
            pool: self.env.pool_index,
            settings,
        }
    }

    fn read_client(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let upstream_is_slow = self
            .lease
            .as_ref()
            .is_some_and(|lease| lease.output.len() > HIGH_WATER);
        if upstream_is_slow || self.cout.len() > HIGH_WATER || self.terminating {
            return Ok(false);
        }
        match self.cin.poll_fill(&mut self.client, cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(0)) => Err(End::Client),
            Poll::Ready(Ok(count)) => {
                self.env.tally.bytes_in.add(count as u64);
                Ok(true)
            }
            Poll::Ready(Err(_)) => Err(End::Client),
        }
    }

    fn write_client(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        match self.poll_write_client(cx) {
            Poll::Ready(Ok(wrote)) => Ok(wrote),
            Poll::Ready(Err(_)) => Err(End::Client),
            Poll::Pending => Ok(false),
        }
    }

    fn poll_write_client(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let passing = self.lease.as_mut().map(|lease| &mut lease.input);
        let Some(input) = passing.filter(|input| !input.passing().is_empty()) else {
            let blocked = self.cout.len() > HIGH_WATER;
            return self
                .cout
                .poll_drain(&mut self.client, cx)
                .map_ok(|()| blocked);
        };
        if !self.cout.is_empty() {
            // One write for both; what is passing is at most one buffer.
            if self.cout.len() < HIGH_WATER {
                self.cout.tail().extend_from_slice(input.passing());
                input.advance(input.passing().len());
                input.release();
            }
            return self.cout.poll_drain(&mut self.client, cx).map_ok(|()| true);
        }
        let blocked = input.is_full();
        match self.cout.poll_pass(&mut self.client, cx, input.passing()) {
            Poll::Ready(Ok(count)) => {
                let all = count == input.passing().len();
                input.advance(count);
                if all {
                    // Pending: the waker is registered, and the next turn flushes again.
                    let _ = self.cout.poll_flush(&mut self.client, cx)?;
                }
                Poll::Ready(Ok(blocked || !all))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn write_upstream(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let Some(lease) = self.lease.as_deref_mut() else {
            return Ok(false);
        };
        let waiting = lease.output.len();
        let outcome = lease.output.poll_drain(&mut lease.stream, cx);
        self.wrote_upstream |= lease.output.len() < waiting;
        match outcome {
            Poll::Ready(Ok(())) => Ok(waiting > HIGH_WATER),
            // The read tells more than the write: the server may have said why it closed.
            Poll::Ready(Err(_)) | Poll::Pending => Ok(false),
        }
    }

    fn read_upstream(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let Some(lease) = self.lease.as_deref_mut() else {
            return Ok(false);
        };
        if self.cout.len() > HIGH_WATER {
            return Ok(false);
        }
        match lease.input.poll_fill(&mut lease.stream, cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(count)) if count > 0 => {
                self.env.tally.bytes_out.add(count as u64);
                Ok(true)
            }
            // What came before the end is still to be passed on.
            Poll::Ready(_) if has_whole_frame(lease.input.unread()) => Ok(false),
            Poll::Ready(Ok(_)) => Err(upstream_lost("it was closed")),
            Poll::Ready(Err(error)) => Err(upstream_lost(error.to_string())),
        }
    }

    /// Starts to close: what was decided is told, the connection is dealt with.
    fn close(&mut self, end: End) {
        // Rows that are already here belong before the error.
        if let Some(lease) = &mut self.lease {
            let passing = lease.input.passing().to_vec();
            lease.input.advance(passing.len());
            self.cout.tail().extend_from_slice(&passing);
        }
        // What a client has committed that left before it was told stays.
        if self.wrote_upstream && self.outcome_unknown() {
            self.creations.forget();
        }
        self.end_lease();
        self.leave_queue();
        match end {
            End::Lost(_) => {}
            End::Client => self.cout = WriteBuffer::default(),
            End::Finished => {}
            End::Told => {
                if let Some(body) = self
                    .final_words
                    .take()
                    .filter(|_| self.from_upstream.left() == 0)
                {
                    frontend::put(self.cout.tail(), b'E', &[&body]);
                }
            }
            End::Refuse(error) => {
                tracing::info!(
                    user = self.identity.user(),
                    database = self.identity.database(),
                    sqlstate = error.code,
                    reason = %error.message,
                    "session ended by the proxy"
                );
                if error.code == sqlstate::PROTOCOL_VIOLATION {
                    self.env.tally.client_violations.add(1);
                }
                // A frame that was cut in the middle leaves no place for an error.
                if self.from_upstream.left() == 0 {
                    error.put(self.cout.tail());
                }
            }
        }
        self.phase = Phase::Closing;
        self.control.set_deadline(None);
        self.control.set_closing();
    }

    fn end_lease(&mut self) {
        let Some(mut lease) = self.lease.take() else {
            return;
        };
        lease.tainted |= self.pin.is_some();
        lease.input.set_gate(false);
        if self.is_passing() || !lease.input.is_empty() {
            // In the middle of a message, or with messages that nobody asked for.
            lease.abandon();
        } else if let Some(settled) = self.owed.settle() {
            lease.label = SharedSettings::clone(self.settings.label());
            lease.unnamed = *self.unnamed.get();
            lease.give_back(settled);
        } else if self.owed.is_empty() && !self.owed.is_unsynced() && lease.output.is_empty() {
            lease.label = SharedSettings::clone(self.settings.label_at_start());
            lease.unnamed = None;
            lease.roll_back();
        } else {
            lease.abandon();
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.control.take_end().is_some() {
            return Poll::Ready(());
        }
        match self.cout.poll_drain(&mut self.client, cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => {
                let _ = tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.client), cx);
                Poll::Ready(())
            }
        }
    }
}

/// The connection broke.
pub(super) fn upstream_lost(cause: impl Into<String>) -> End {
    End::Lost(Box::new(Loss::of_connection(cause)))
}

fn has_whole_frame(bytes: &[u8]) -> bool {
    match frame::backend_header(bytes) {
        Ok(Some(header)) => bytes.len() >= header.total,
        Ok(None) => false,
        // The relay says what is wrong.
        Err(_) => true,
    }
}

impl Future for Session {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let session = self.get_mut();
        session.control.register(cx.waker());
        session.turns += 1;
        if !session.turns.is_multiple_of(SAMPLE) {
            return session.turn(cx);
        }
        let start = Instant::now();
        let outcome = session.turn(cx);
        session.env.tally.turn.observe(start.elapsed());
        outcome
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end_lease();
        self.leave_queue();
        self.env.tally.clients.sub(1);
        self.env.tally.sessions_ended.add(1);
    }
}
