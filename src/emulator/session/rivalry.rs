//! Where a session meets others: locks it must not wait for, rows that somebody else has committed,
//! changes of the schema.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::backend::{Backend, HIDDEN_CLOSES, Row};
use super::block::{MAX_AGE, Phase, too_old};
use super::refusal::{Ended, Refusal, Stop};
use super::run::{BEGIN, Session};
use crate::emulator::occ::{
    self, Commit, Failure, SAVEPOINT, SCHEMA_CHANGED, SchemaView, Verdict, evict,
};
use crate::emulator::rules::{Class, Plan};
use crate::wire::backend::error_fields;
use crate::wire::frame::HEADER;
use crate::wire::reply::ClientError;
use crate::wire::sqlstate::PROGRAM_LIMIT_EXCEEDED;

/// How often a statement is run again because locks were in its way.
pub(super) const ATTEMPTS: usize = 50;
/// Bytes that a transaction may write (facts, section 2).
const MAX_BYTES: u64 = 10 * 1024 * 1024;

impl occ::Backend for Backend {
    async fn run(&mut self, statements: &[&str]) -> Result<Vec<Row>, Failure> {
        match self.commands(statements).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(refusal)) => {
                let fields = error_fields(refusal.frame().get(HEADER..).unwrap_or_default());
                Err(Failure::Refused {
                    code: String::from_utf8_lossy(fields.code).into_owned(),
                    message: String::from_utf8_lossy(fields.message).into_owned(),
                })
            }
            // The cause is in the log by now.
            Err(_) => Err(Failure::Lost),
        }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused { code, message } => Refusal::new(&code, &message, None, None).into(),
            Failure::Lost => Ended::server_lost(&"no answer").into(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Notes that a transaction is about to be opened on the local PostgreSQL.
    pub(super) fn opening(&mut self) {
        self.enter(occ::Transaction::new);
    }

    fn enter(&mut self, transaction: impl FnOnce(&Arc<occ::Ledger>) -> occ::Transaction) {
        self.backend.open = true;
        self.block.begin(self.cluster.control.now());
        self.transaction = Some(transaction(&self.cluster.ledger));
    }

    /// As [`Session::put_begin`], when nothing came of it.
    pub(super) fn put_begin_again(&mut self, closes: u8) {
        self.backend.put_hidden(BEGIN);
        if closes > HIDDEN_CLOSES {
            self.backend.put_hidden(SAVEPOINT);
        }
    }

    /// Makes way for others and lets them make way, because a lock was met before a statement ran;
    /// `begun`: in a transaction that PostgreSQL knows of.
    pub(super) async fn make_way(&mut self, begun: bool, attempt: usize) -> Result<(), Stop> {
        if let (Some(transaction), true) = (&mut self.transaction, begun) {
            transaction.release(&mut self.backend).await?;
            let rows = transaction.rows();
            self.block.recount(rows);
        }
        self.clear_schema_changes(attempt).await;
        Ok(())
    }

    /// Puts the hidden beginning of a transaction in front of its first statement; `lone` if it
    /// changes rows and is the only one. Gives the number of CloseComplete that answer it.
    pub(super) fn put_begin(&mut self, lone: bool) -> u8 {
        self.backend.put_hidden(BEGIN);
        if lone {
            self.enter(occ::Transaction::lone);
            return HIDDEN_CLOSES;
        }
        self.enter(occ::Transaction::new);
        self.backend.put_hidden(SAVEPOINT);
        2 * HIDDEN_CLOSES
    }

    /// At the first statement of a transaction: has another session changed the schema?
    pub(super) fn check_schema(&mut self, class: Class) -> Result<(), ClientError> {
        if class == Class::Session || !self.block.is_first() {
            return Ok(());
        }
        if self.view.is_stale(&self.cluster.ledger) {
            return Err(ClientError::error("40001", SCHEMA_CHANGED));
        }
        Ok(())
    }

    /// Whether the transaction works on copies of the tables.
    pub(super) fn is_detached(&self) -> bool {
        self.transaction
            .as_ref()
            .is_some_and(occ::Transaction::is_detached)
    }

    /// To be called before a statement runs.
    pub(super) fn resume(&mut self) {
        if let Some(transaction) = &self.transaction {
            transaction.resume();
        }
    }

    /// Waits until somebody wants this session's locks.
    pub(super) async fn asked(transaction: Option<&occ::Transaction>) {
        match transaction {
            Some(transaction) => transaction.holder().asked().await,
            None => std::future::pending().await,
        }
    }

    /// Gives up its locks if somebody wants them.
    pub(super) async fn let_go(&mut self) -> Result<(), Ended> {
        let Some(transaction) = &mut self.transaction else {
            return Ok(());
        };
        // In the middle of a pipeline there is no room for other commands.
        if transaction.holder().is_asked() && !self.backend.unsynced {
            let released = transaction.release(&mut self.backend).await;
            released.map_err(|failure| Ended::server_lost(&format!("{failure:?}")))?;
        }
        Ok(())
    }

    /// The text to run, which names other tables in a detached transaction.
    pub(super) async fn redirect(&mut self, sql: &str) -> Result<String, Stop> {
        match &mut self.transaction {
            Some(transaction) => Ok(transaction.redirect(&mut self.backend, sql).await?),
            None => Ok(sql.to_owned()),
        }
    }

    /// The queries that report what FOR UPDATE asks for, as they are to be run.
    pub(super) async fn lock_queries(&mut self, sql: &str) -> Result<Vec<String>, Stop> {
        let Some(transaction) = &mut self.transaction else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for query in transaction.lock_queries(&mut self.backend, sql).await? {
            found.push(transaction.redirect(&mut self.backend, &query.sql).await?);
        }
        Ok(found)
    }

    /// Decides whether a statement has to run again, and makes way for that. `copied`: its data has
    /// come from the client and is gone.
    pub(super) async fn settle(
        &mut self,
        class: Class,
        refusal: Option<&Refusal>,
        copied: bool,
        attempt: usize,
    ) -> Result<bool, Stop> {
        let code = refusal.map(|refusal| String::from_utf8_lossy(refusal.code()).into_owned());
        let blocked = refusal.is_some_and(Refusal::is_of_locks);
        let ready = self.client.can_retract() && !copied;
        if class == Class::Ddl && ready {
            return self.settle_schema_change(refusal, attempt).await;
        }
        if !ready || attempt >= ATTEMPTS {
            if let (Some(transaction), None) = (&mut self.transaction, &code) {
                transaction.accept_all();
            }
            return Ok(false);
        }
        let Some(transaction) = &mut self.transaction else {
            return Ok(blocked && self.clear_schema_changes(attempt).await);
        };
        match transaction.judge(code.as_deref()) {
            Verdict::Stands => return Ok(false),
            Verdict::Afresh => {
                transaction.start_over(&mut self.backend).await?;
                self.block.recount(0);
                return Ok(true);
            }
            Verdict::Again => {}
        }
        if class == Class::Read {
            transaction.release(&mut self.backend).await?;
        } else {
            transaction.detach(&mut self.backend).await?;
        }
        let rows = transaction.rows();
        self.block.recount(rows);
        if blocked {
            self.clear_schema_changes(attempt).await;
        }
        Ok(true)
    }

    /// A change of the schema needs tables for itself: it goes on as long as a transaction may, and
    /// everybody else makes way. A lock alone is no conflict, whoever has it: it may be PostgreSQL's
    /// own.
    async fn settle_schema_change(
        &mut self,
        refusal: Option<&Refusal>,
        attempt: usize,
    ) -> Result<bool, Stop> {
        let (Some(transaction), Some(refusal)) = (&mut self.transaction, refusal) else {
            return Ok(false);
        };
        let waited = matches!(refusal.code(), b"55P03" | b"40P01");
        if !refusal.is_of_locks() || (!waited && attempt >= ATTEMPTS) {
            return Ok(false);
        }
        if !waited && self.view.is_stale(&self.cluster.ledger) {
            return Err(ClientError::error("40001", SCHEMA_CHANGED).into());
        }
        self.block.check_age(self.cluster.control.now())?;
        transaction.release(&mut self.backend).await?;
        let patience = if attempt == 0 {
            "SET LOCAL lock_timeout = '60ms'"
        } else {
            self.cluster.ledger.make_room(transaction.holder()).await;
            "SET LOCAL lock_timeout = '200ms'"
        };
        self.command(patience).await?;
        Ok(true)
    }

    /// Asks those with an open change of the schema to make way; true when it is worth another try.
    async fn clear_schema_changes(&mut self, attempt: usize) -> bool {
        let own = self.transaction.as_ref().map(|own| own.holder().clone());
        evict(&self.cluster.ledger.schema_changers(own.as_deref())).await;
        attempt < ATTEMPTS
    }

    /// Waits for the right to change the schema, one session at a time.
    pub(super) async fn take_schema_turn(&mut self, class: Class) -> Result<(), Ended> {
        if class != Class::Ddl {
            return Ok(());
        }
        let turn = self.cluster.ledger.schema_turn();
        tokio::pin!(turn);
        loop {
            tokio::select! {
                turn = &mut turn => {
                    self.schema_turn = Some(turn);
                    return Ok(());
                }
                () = Self::asked(self.transaction.as_ref()), if !self.backend.unsynced => {}
            }
            self.let_go().await?;
        }
    }

    /// Notes what a statement was that went through.
    pub(super) fn note(&mut self, plan: &Plan, sql: &str) {
        let Some(transaction) = &mut self.transaction else {
            return;
        };
        match plan.class {
            Class::Ddl => transaction.change_schema(sql, plan.job.is_some()),
            Class::Session => transaction.remember(sql),
            Class::Read | Class::Lock | Class::Write => {}
        }
        if self.block.phase == Phase::Explicit {
            // Who comes next makes this one go back.
            self.schema_turn = None;
        }
    }

    /// Commits what is open on the local PostgreSQL.
    pub(super) async fn end_transaction(&mut self) -> Result<(), Stop> {
        let transaction = self.transaction.as_ref();
        let changes_schema = transaction.is_some_and(occ::Transaction::has_changed_schema);
        if changes_schema && self.schema_turn.is_none() {
            self.take_schema_turn(Class::Ddl).await?;
        }
        self.backend.open = false;
        let Some(transaction) = self.transaction.take() else {
            return Ok(self.backend.command("COMMIT").await?.map(|_| ())?);
        };
        // An empty transaction has not looked at the schema.
        let mut newest = SchemaView::new(&self.cluster.ledger);
        let view = if self.block.phase == Phase::Explicit && !self.block.has_looked() {
            &mut newest
        } else {
            &mut self.view
        };
        let commit = transaction.commit(&mut self.backend, view).await;
        match commit? {
            Commit::Done => Ok(()),
            Commit::Conflict => Err(ClientError::error("40001", occ::CONFLICT).into()),
            Commit::SchemaChanged => Err(ClientError::error("40001", SCHEMA_CHANGED).into()),
            Commit::Refused { code, .. } if changes_schema && code == "55P03" => {
                Err(too_old(MAX_AGE + Duration::from_secs(1)).into())
            }
            Commit::Refused { code, message } => {
                Err(Refusal::new(&code, &message, None, None).into())
            }
        }
    }

    /// Lets triggers follow a change of the schema in the same transaction.
    pub(super) async fn instrument(&mut self) -> Result<(), Stop> {
        match &mut self.transaction {
            Some(transaction) => Ok(transaction.instrument(&mut self.backend).await?),
            None => Ok(()),
        }
    }

    /// Whether triggers do not follow a change of the schema in the same transaction yet.
    pub(super) fn wants_instruments(&self) -> bool {
        let transaction = self.transaction.as_ref();
        transaction.is_some_and(occ::Transaction::wants_instruments)
    }

    /// Checks the size of what the transaction has written.
    pub(super) fn check_bytes(&self) -> Result<(), ClientError> {
        let bytes = self.transaction.as_ref().map_or(0, occ::Transaction::bytes);
        if bytes <= MAX_BYTES {
            return Ok(());
        }
        let size = bytes.div_ceil(1024 * 1024);
        Err(ClientError::error(
            PROGRAM_LIMIT_EXCEEDED,
            "transaction size limit 10mb exceeded",
        )
        .detail(format!("Current transaction size {size}mb > 10mb")))
    }
}
