//! What both protocols share: the loop over messages, transaction control, limits, faults, errors.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use pg_query::NodeEnum;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedMutexGuard, watch};

use super::Cluster;
use super::backend::{Backend, Message, Parameters, Row};
use super::block::{Block, Phase};
use super::calls::Builtins;
use super::copy::Copied;
use super::extended::{Owed, Reach};
use super::frontend::{Client, Frame};
use super::portals::{Portal, Prepared};
use super::refusal::{Ended, Refusal, Stop};
use crate::emulator::control::count;
use crate::emulator::faults::FaultKind;
use crate::emulator::occ::{INSTRUMENT, SAVEPOINT, SchemaView, Transaction};
use crate::emulator::rules::{Action, Class, Control, Facts, JobArgument, Plan};
use crate::sql::statement::Statement;
use crate::wire::backend::{error_fields, two_strings};
use crate::wire::frontend::put;
use crate::wire::reply::{
    ClientError, put_authentication_ok, put_command_complete, put_key, put_parameter, put_ready,
};
use crate::wire::sqlstate::{
    FEATURE_NOT_SUPPORTED, IN_FAILED_SQL_TRANSACTION, PROGRAM_LIMIT_EXCEEDED,
};

/// How old a connection may get (facts, section 1.8).
pub const MAX_CONNECTION_AGE: Duration = Duration::from_secs(3600);
/// SQLSTATE of the notices by which triggers report changed rows.
const EFFECT: &[u8] = b"DQ001";
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ";
const BEGIN_READ_ONLY: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// One client's session.
#[derive(Debug)]
pub struct Session<S> {
    pub(super) cluster: Arc<Cluster>,
    pub(super) client: Client<S>,
    pub(super) backend: Backend,
    pub(super) user: String,
    pub(super) block: Block,
    pub(super) prepared: HashMap<Bytes, Arc<Prepared>>,
    pub(super) portals: HashMap<Bytes, Portal>,
    /// The ledger's side of the transaction that is open on the local PostgreSQL.
    pub(super) transaction: Option<Transaction>,
    /// The right to change the schema.
    pub(super) schema_turn: Option<OwnedMutexGuard<()>>,
    /// Which changes of the schema the client has been told of.
    pub(super) view: SchemaView,
    /// What PostgreSQL owes for messages of the extended protocol.
    pub(super) pending: VecDeque<Owed>,
    /// The answer that is awaited is to a message that runs nothing.
    pub(super) preparing: bool,
    /// How far the Execute under way has come.
    pub(super) reach: Reach,
    /// Behind an error in the extended protocol: nothing counts before Sync.
    pub(super) skipping: bool,
    /// Several statements in one string: a transaction that ends is followed by another.
    pub(super) several: bool,
    /// What the client has sent for the COPY under way.
    pub(super) copied: Copied,
    /// Break off in the middle of the next row.
    pub(super) cutting: bool,
    born: SystemTime,
    clock: watch::Receiver<()>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A session of `user` on a client's stream and a connection of its own.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, stream: S, backend: Backend, user: &str) -> Self {
        let born = cluster.control.now();
        let clock = cluster.control.clock();
        let view = SchemaView::new(&cluster.ledger);
        Self {
            cluster,
            client: Client::new(stream),
            backend,
            user: user.to_owned(),
            block: Block::default(),
            prepared: HashMap::new(),
            portals: HashMap::new(),
            transaction: None,
            schema_turn: None,
            view,
            pending: VecDeque::new(),
            preparing: false,
            reach: Reach::default(),
            skipping: false,
            several: false,
            copied: Copied::default(),
            cutting: false,
            born,
            clock,
        }
    }

    /// Welcomes the client and serves it until one side ends it. `reported` is what PostgreSQL
    /// reported at login; `pid` and `key` are what the client may send in a cancel request, to no
    /// effect.
    pub async fn converse(mut self, reported: &Parameters, pid: u32, key: [u8; 4]) {
        self.welcome(reported, pid, key);
        let ended = match self.serve().await {
            Ok(()) => Ended::Left,
            Err(ended) => ended,
        };
        if let Ended::Fatal(error) = &ended {
            self.client.retract();
            error.put(self.client.out());
            // The client may be gone; there is nobody else to tell.
            let _ = self.client.flush().await;
        }
        if ended != Ended::Cut {
            self.client.close().await;
        }
    }

    fn welcome(&mut self, reported: &Parameters, pid: u32, key: [u8; 4]) {
        let out = self.client.out();
        put_authentication_ok(out);
        for (name, value) in reported {
            let version = &self.cluster.version.text;
            let value = if name == "server_version" {
                version
            } else {
                value
            };
            put_parameter(out, name, value);
        }
        put_key(out, pid, &key);
        put_ready(out, self.block.status());
    }

    async fn serve(&mut self) -> Result<(), Ended> {
        self.client.flush().await?;
        if self.cluster.builtins.get().is_none() {
            self.learn_builtins().await?;
        }
        loop {
            let frame = self.receive().await?;
            match frame.tag {
                b'X' => return Ok(()),
                b'S' => self.sync().await?,
                // What is left of a COPY that failed.
                b'd' | b'c' | b'f' => {}
                b'p' => return Err(Ended::violation("invalid frontend message type 112")),
                _ if self.skipping => {}
                b'Q' => self.simple(&frame.body).await?,
                b'F' => self.function_call().await?,
                _ => self.extended(&frame).await?,
            }
        }
    }

    async fn learn_builtins(&mut self) -> Result<(), Ended> {
        match self.backend.command(Builtins::QUERY).await? {
            Ok(rows) => {
                let words = rows.into_iter().filter_map(|row| row.into_iter().next()?);
                // Another session may have been first.
                let _ = self.cluster.builtins.set(Builtins::new(words));
                Ok(())
            }
            Err(_) => Err(Ended::server_lost(&"the catalog cannot be read")),
        }
    }

    /// Whether PostgreSQL may run it in a transaction of its own, without the session's hand on it.
    pub(super) fn is_direct(&self, plan: &Plan, text: &str) -> bool {
        let writes = || {
            let builtins = self.cluster.builtins.get();
            builtins.is_none_or(|builtins| builtins.are_left_by(text))
        };
        matches!(plan.class, Class::Read | Class::Session)
            && plan.before.is_empty()
            && plan.after.is_empty()
            && plan.job.is_none()
            && !(plan.class == Class::Read && writes())
    }

    /// Forgets prepared statements if that is what a statement says.
    pub(super) fn deallocate(&mut self, statement: &Statement) {
        if matches!(statement.node(), Some(NodeEnum::DeallocateStmt(_))) {
            self.prepared.retain(|name, _| name.is_empty());
        }
    }

    /// The next message of the client. While there is none, PostgreSQL and the clock are watched.
    async fn receive(&mut self) -> Result<Frame, Ended> {
        loop {
            let age = self.cluster.control.now().duration_since(self.born);
            let left = MAX_CONNECTION_AGE.saturating_sub(age.unwrap_or_default());
            if left.is_zero() {
                return Err(Ended::Cut);
            }
            self.let_go().await?;
            if self.client.has_frame()? {
                return self.client.read().await;
            }
            tokio::select! {
                biased;
                frame = self.client.read() => return frame,
                message = self.backend.next() => {
                    let message = message?;
                    self.unasked(&message).await?;
                }
                () = Self::asked(self.transaction.as_ref()), if !self.backend.unsynced => {}
                () = tokio::time::sleep(left) => {}
                moved = self.clock.changed() => if moved.is_err() {
                    return Err(Ended::Cut);
                },
            }
        }
    }

    /// What PostgreSQL says between statements.
    async fn unasked(&mut self, message: &Message) -> Result<(), Ended> {
        match message.tag {
            b'E' => {
                let fields = error_fields(message.body());
                Err(Ended::server_lost(&String::from_utf8_lossy(fields.message)))
            }
            b'N' => {
                self.notice(message).await;
                self.client.flush().await
            }
            b'S' => {
                self.parameter(message);
                self.client.flush().await
            }
            _ => Ok(()),
        }
    }

    async fn function_call(&mut self) -> Result<(), Ended> {
        let message = "unsupported message: FunctionCall";
        self.fail(ClientError::error(FEATURE_NOT_SUPPORTED, message).into())
            .await?;
        self.ready().await
    }

    /// Ends an answer.
    pub(super) async fn ready(&mut self) -> Result<(), Ended> {
        let status = self.block.status();
        put_ready(self.client.out(), status);
        self.client.flush().await
    }

    /// Tells the client of an error and fails its transaction. The local one is rolled back at
    /// once: nobody is to meet its locks.
    pub(super) async fn fail(&mut self, refusal: Refusal) -> Result<(), Ended> {
        self.client.retract();
        let refusal = refusal.without_locks();
        self.client.out().extend_from_slice(refusal.frame());
        let counters = &self.cluster.control.counters;
        if refusal.code() == b"40001" {
            count(&counters.conflicts);
        }
        if self.block.phase == Phase::Explicit || self.backend.open {
            count(&counters.aborts);
        }
        let failed = match self.block.phase {
            Phase::Explicit | Phase::Failed => Phase::Failed,
            Phase::Implicit | Phase::Idle => Phase::Idle,
        };
        self.roll_back().await?;
        self.end_block(failed);
        self.client.flush().await
    }

    async fn roll_back(&mut self) -> Result<(), Ended> {
        if self.backend.open {
            self.backend.open = false;
            if let Err(refusal) = self.backend.command("ROLLBACK").await? {
                let code = String::from_utf8_lossy(refusal.code()).into_owned();
                return Err(Ended::server_lost(&format!("ROLLBACK failed with {code}")));
            }
        }
        self.transaction = None;
        Ok(())
    }

    fn end_block(&mut self, phase: Phase) {
        self.block.end(phase);
        self.schema_turn = None;
        self.portals.clear();
    }

    /// The phase behind a transaction.
    fn behind(&self) -> Phase {
        if self.several {
            Phase::Implicit
        } else {
            Phase::Idle
        }
    }

    /// Whether a transaction is under way that can be too old.
    pub(super) fn active(&self) -> bool {
        self.block.phase == Phase::Explicit || self.backend.open
    }

    /// The checks that come before a statement is even judged.
    pub(super) fn gate(&self, leaves: bool) -> Result<(), ClientError> {
        if self.block.phase == Phase::Failed && !leaves {
            let message =
                "current transaction is aborted, commands ignored until end of transaction block";
            return Err(ClientError::error(IN_FAILED_SQL_TRANSACTION, message));
        }
        if self.active() && !leaves {
            return self.block.check_age(self.cluster.control.now());
        }
        Ok(())
    }

    /// What DSQL makes of a statement here.
    pub(super) fn judge(&self, statement: &Statement) -> Result<Action, ClientError> {
        let facts = Facts {
            user: &self.user,
            in_block: self.block.phase == Phase::Explicit,
            version: &self.cluster.version,
        };
        self.cluster.rules.judge(statement, &facts)
    }

    /// Counts a statement, lets ordered faults strike, and applies the rules on mixing. `class` is
    /// none for what PostgreSQL does not run.
    pub(super) async fn admit(&mut self, text: &str, class: Option<Class>) -> Result<(), Stop> {
        let control = Arc::clone(&self.cluster.control);
        count(&control.counters.statements);
        // Without a pattern a fault is about statements on data, not about the session's upkeep.
        let data = !matches!(class, None | Some(Class::Session));
        let strike = |kind| control.take_fault_if(kind, &[text], data);
        if let Some(fault) = strike(FaultKind::Delay) {
            tokio::time::sleep(fault.delay).await;
        }
        if let Some(fault) = strike(FaultKind::AbortStatement) {
            return Err(ClientError::error("40001", fault.conflict.message()).into());
        }
        self.cutting = strike(FaultKind::Cut).is_some();
        self.block.remember(text);
        if let Some(class) = class {
            self.check_schema(class)?;
            self.block.mix(class)?;
        }
        Ok(())
    }

    /// Transaction control; its tag goes to the client.
    pub(super) async fn control(&mut self, control: Control, text: &str) -> Result<(), Stop> {
        match control {
            Control::Begin { read_only, tag } => {
                self.begin(read_only).await?;
                put_command_complete(self.client.out(), tag);
            }
            Control::Commit => {
                let tag = match self.block.phase {
                    Phase::Failed => "ROLLBACK",
                    _ => "COMMIT",
                };
                self.warn_unless_open();
                if self.block.phase == Phase::Failed {
                    self.end_block(self.behind());
                } else {
                    self.commit(text).await?;
                }
                put_command_complete(self.client.out(), tag);
            }
            Control::Rollback => {
                self.warn_unless_open();
                if self.active() {
                    count(&self.cluster.control.counters.aborts);
                }
                self.roll_back().await?;
                self.end_block(self.behind());
                put_command_complete(self.client.out(), "ROLLBACK");
            }
        }
        Ok(())
    }

    fn warn_unless_open(&mut self) {
        if matches!(self.block.phase, Phase::Idle | Phase::Implicit) {
            let message = "there is no transaction in progress";
            put_warning(self.client.out(), "25P01", message);
        }
    }

    async fn begin(&mut self, read_only: bool) -> Result<(), Stop> {
        if self.block.phase == Phase::Explicit {
            let message = "there is already a transaction in progress";
            put_warning(self.client.out(), "25001", message);
            return Ok(());
        }
        match (self.backend.open, read_only) {
            (false, read_only) => {
                self.opening();
                let begin = if read_only { BEGIN_READ_ONLY } else { BEGIN };
                self.backend.commands(&[begin, SAVEPOINT]).await??;
            }
            (true, true) => {
                self.command("SET TRANSACTION READ ONLY").await?;
            }
            (true, false) => {}
        }
        self.block.phase = Phase::Explicit;
        Ok(())
    }

    /// Ends the transaction that is open on the local PostgreSQL, if one is, and the client's.
    /// Whatever comes of it, the session is out of the transaction behind it.
    pub(super) async fn commit(&mut self, text: &str) -> Result<(), Stop> {
        if !self.active() {
            self.end_block(self.behind());
            return Ok(());
        }
        let control = Arc::clone(&self.cluster.control);
        // The end of a transaction of one statement that only read is no commit to speak of.
        let counts = self.block.phase == Phase::Explicit || self.block.wrote();
        let texts: Vec<String> = self
            .block
            .texts()
            .iter()
            .map(|text| (*text).to_owned())
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).chain([text]).collect();
        let strike = |kind| control.take_fault_if(kind, &texts, counts);
        if let Err(error) = self.may_commit() {
            return self.lose(error.into()).await;
        }
        if let Some(fault) = strike(FaultKind::AbortCommit) {
            let error = ClientError::error("40001", fault.conflict.message());
            return self.lose(error.into()).await;
        }
        if strike(FaultKind::CutBeforeCommit).is_some() {
            return Err(Ended::Cut.into());
        }
        match self.end_transaction().await {
            Ok(()) => {}
            Err(Stop::Refused(refusal)) => return self.lose(refusal).await,
            Err(ended) => return Err(ended),
        }
        if counts {
            count(&control.counters.commits);
        }
        self.end_block(self.behind());
        if strike(FaultKind::CutAfterCommit).is_some() {
            return Err(Ended::Cut.into());
        }
        Ok(())
    }

    fn may_commit(&self) -> Result<(), ClientError> {
        self.block.check_rows()?;
        self.check_bytes()?;
        self.block.check_age(self.cluster.control.now())
    }

    /// A commit that did not come about.
    async fn lose(&mut self, refusal: Refusal) -> Result<(), Stop> {
        count(&self.cluster.control.counters.aborts);
        self.roll_back().await?;
        self.end_block(Phase::Idle);
        Err(refusal.into())
    }

    /// Runs a command of the emulator's own.
    pub(super) async fn command(&mut self, sql: &str) -> Result<Vec<Row>, Stop> {
        Ok(self.backend.command(sql).await??)
    }

    /// Runs queries whose rows are refusals.
    pub(super) async fn check(&mut self, queries: &[String]) -> Result<(), Stop> {
        for query in queries {
            let rows = self.command(query).await?;
            let Some(row) = rows.first() else {
                continue;
            };
            let field = |at: usize| row.get(at).and_then(|value| value.as_deref());
            let code = field(0).unwrap_or("XX000");
            let message = field(1).unwrap_or("refused");
            return Err(Refusal::new(code, message, field(2), field(3)).into());
        }
        Ok(())
    }

    /// What follows a statement in its transaction. Gives the id of the job it
    /// started.
    pub(super) async fn follow_up(&mut self, plan: &Plan) -> Result<Option<String>, Stop> {
        self.block.check_rows()?;
        self.check(&plan.after).await?;
        let Some(job) = &plan.job else {
            return Ok(None);
        };
        // Not at COMMIT: it could not be run again then without another job.
        self.command(INSTRUMENT).await?;
        let rows = self.command(&job.register).await?;
        Ok(rows
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next().flatten()))
    }

    /// Waits for a job; `None` is NULL.
    pub(super) async fn wait_for_job(&mut self, id: Option<&str>) -> Result<bool, Stop> {
        match id {
            Some(id) => Ok(self.cluster.jobs.wait(id).await?),
            None => Ok(false),
        }
    }

    /// The id that `CALL sys.wait_for_job` names.
    pub(super) fn job_id<'a>(
        argument: &'a JobArgument,
        values: &'a [Option<String>],
    ) -> Option<&'a str> {
        match argument {
            JobArgument::Id(id) => Some(id),
            JobArgument::Parameter(number) => {
                let at = usize::from(*number).checked_sub(1)?;
                values.get(at)?.as_deref()
            }
            JobArgument::Null => None,
        }
    }

    /// Passes a notice on, or takes it for what it is: the report of a changed row.
    pub(super) async fn notice(&mut self, message: &Message) {
        if error_fields(message.body()).code != EFFECT {
            self.client.out().extend_from_slice(&message.frame);
            return;
        }
        if let Some(transaction) = &mut self.transaction {
            let fields = error_fields(message.body());
            if transaction
                .record(&String::from_utf8_lossy(fields.message))
                .is_err()
            {
                tracing::error!("emulator: unreadable report of a changed row");
            }
        }
        if self.block.count_row() {
            // The answer, an error by now or soon, is replaced by the limit's.
            self.backend.cancel().await;
        }
    }

    /// Passes a changed setting on. The version is the emulator's own business.
    pub(super) fn parameter(&mut self, message: &Message) {
        let name = two_strings(message.body()).map(|(name, _)| name);
        if name != Some(b"server_version") {
            self.client.out().extend_from_slice(&message.frame);
        }
    }

    /// Passes a part of an answer on; breaks off in the middle of a row if that was ordered.
    pub(super) async fn pass(&mut self, message: &Message) -> Result<(), Ended> {
        if self.cutting && matches!(message.tag, b'D' | b'd' | b'C') {
            self.client.release();
            let half = message.frame.len() / 2;
            self.client.out().extend_from_slice(&message.frame[..half]);
            self.client.flush().await?;
            return Err(Ended::Cut);
        }
        self.client.out().extend_from_slice(&message.frame);
        self.client.ease().await
    }
}

/// Appends a NoticeResponse of severity WARNING.
fn put_warning(out: &mut Vec<u8>, code: &str, message: &str) {
    let mut body = b"SWARNING\0VWARNING\0C".to_vec();
    body.extend_from_slice(code.as_bytes());
    body.extend_from_slice(b"\0M");
    body.extend_from_slice(message.as_bytes());
    body.extend_from_slice(b"\0\0");
    put(out, b'N', &[&body]);
}

/// The error for a text nested too deep.
pub(super) fn too_deep() -> ClientError {
    ClientError::error("54001", "stack depth limit exceeded")
}

/// The error for a text that is too long to be read.
pub(super) fn too_long(length: usize) -> ClientError {
    let message = format!("statement text of {length} bytes is too long");
    ClientError::error(PROGRAM_LIMIT_EXCEEDED, message)
}
