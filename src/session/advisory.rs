//! Advisory locks, which Aurora DSQL does not have: rows of a table in the database, so that all
//! proxies in front of it see the same ones.
//!
//! A lock is held by a session with a lease. A worker renews the leases of its sessions; a session
//! whose lease could not be renewed in time, or was taken away, ends with its next request, since it
//! must not go on as if it held the lock. A change of the table is a compare and swap of one row: of
//! two that take a lock at the same time one is told of a conflict and looks again. Nobody waits inside
//! a transaction of the database.

mod databases;
mod ledger;
mod tables;
mod undoing;

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rand::Rng;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};

use crate::policy::LockWish;
use crate::pool::{AskError, Asked, Pool};
use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

pub(super) use self::databases::Evict;
pub use self::databases::Occupancy;
use self::ledger::Ledger;
pub(super) use self::tables::VIEW;

/// A lease lasts so long.
const LEASE: Duration = Duration::from_secs(30);
/// It is renewed so often.
const RENEWAL: Duration = Duration::from_secs(8);
/// A worker looks for tables that others have left behind so often.
const REAPING: Duration = Duration::from_secs(600);
/// Whoever waits for a lock looks after so long for the first time, then ever less often.
const FIRST_LOOK: Duration = Duration::from_millis(20);
/// At least so often.
const LONGEST_LOOK: Duration = Duration::from_millis(500);
/// A row that others change meanwhile is changed again so often.
const SWAPS: u32 = 50;

const TABLE: &str = "dsqlproxy.advisory_lock";

/// What makes the table, each by itself.
const SET_UP: [&str; 2] = [
    "CREATE SCHEMA IF NOT EXISTS dsqlproxy",
    "CREATE TABLE IF NOT EXISTS dsqlproxy.advisory_lock \
     (key text PRIMARY KEY, fence bigint NOT NULL, holders text NOT NULL)",
];

/// Locks of a worker's sessions in one pool's database.
#[derive(Debug)]
pub struct Locks {
    pool: Rc<Pool>,
    held: RefCell<Vec<Rc<Held>>>,
    /// Who gives locks back that nobody waits for, and renews leases.
    keeper: RefCell<Option<UnboundedSender<Chore>>>,
    /// What the temporary tables of its sessions are known by.
    instance: String,
    /// Others know that it lives.
    alive: Cell<bool>,
}

/// A lock that a session holds.
#[derive(Debug)]
struct Held {
    key: String,
    session: String,
    shared: bool,
    /// Nobody else gets the lock before.
    until: Cell<Instant>,
    lost: Cell<bool>,
}

/// What the keeper is left to do.
#[derive(Debug)]
enum Chore {
    /// Gives a lock back.
    Free(Freed),
    /// Drops a temporary table.
    Drop(String),
    /// Drops the temporary tables of workers that are gone.
    Reap,
}

/// A lock to be given back.
#[derive(Debug)]
struct Freed {
    key: String,
    session: String,
    shared: bool,
}

/// What one session holds.
#[derive(Debug)]
pub(super) struct Own {
    locks: Rc<Locks>,
    session: String,
    held: Rc<RefCell<Vec<Claim>>>,
}

/// How often a session has taken a lock.
#[derive(Debug)]
struct Claim {
    held: Rc<Held>,
    session: u32,
    transaction: u32,
}

/// What a session asks for.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub wish: LockWish,
    pub shared: bool,
    pub transaction: bool,
    /// The key, unless a part of it is NULL.
    pub key: Option<Vec<Part>>,
    /// The database entry, whose locks are its own.
    pub database: String,
    /// Until when the session waits.
    pub timeout: Option<Duration>,
    /// A transaction block is open: the end of the statement is not the end of the transaction.
    pub open: bool,
}

/// A part of a key.
#[derive(Debug, Clone)]
pub(super) enum Part {
    Number(i64),
    /// A table's name, of LOCK TABLE.
    Name(String),
    /// Text of an expression.
    Expression(String),
}

/// What a call gives, and what the session is told besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    /// NULL.
    Null,
    /// Nothing.
    Void,
    /// It was done, or not.
    Truth(bool),
    /// The lock was not held.
    NotHeld,
    /// So many rows were put into a table.
    Rows(u64),
}

/// What becomes of a wish for a lock.
enum Taken {
    /// It is held until then.
    Until(Instant),
    /// These sessions hold it.
    By(Vec<String>),
}

/// A session, without the number of its request.
fn base(session: &str) -> String {
    session.split('.').next().unwrap_or_default().to_owned()
}

/// One that is noted as waiting.
struct Waiter<'a> {
    pool: &'a Pool,
    session: &'a str,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.pool.waits().end(self.session);
    }
}

/// A row of the table.
struct Row {
    /// Milliseconds of the database's clock.
    now: i64,
    /// Changes with the row; none if there is no row.
    fence: Option<i64>,
    ledger: Ledger,
    /// When the clock had not shown that yet.
    before: Instant,
}

pub(super) type Waiting<T> = Pin<Box<dyn Future<Output = T>>>;

impl Locks {
    /// For the sessions of a worker that use this pool.
    #[must_use]
    pub fn new(pool: Rc<Pool>) -> Self {
        Self {
            pool,
            held: RefCell::default(),
            keeper: RefCell::default(),
            instance: format!("{:012x}", rand::rng().random::<u64>() >> 16),
            alive: Cell::new(false),
        }
    }

    // ---- the table ---------------------------------------------------------------------------

    async fn ask(&self, sql: &str) -> Result<Asked, AskError> {
        let mut made = false;
        loop {
            match self.pool.ask(sql).await {
                Err(AskError::Refused(code, _)) if is_missing(&code) && !made => {
                    made = true;
                    self.set_up().await?;
                }
                outcome => return outcome,
            }
        }
    }

    async fn set_up(&self) -> Result<(), AskError> {
        for sql in SET_UP {
            for attempt in 0.. {
                match self.pool.ask(sql).await {
                    Ok(_) => break,
                    Err(AskError::Refused(code, _)) if is_there(&code) => break,
                    Err(AskError::Refused(code, _)) if is_conflict(&code) && attempt < SWAPS => {
                        sleep(pause(attempt)).await;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        tracing::info!(table = TABLE, "made the table of advisory locks");
        Ok(())
    }

    async fn read(&self, key: &str) -> Result<Row, AskError> {
        let before = Instant::now();
        let sql = format!(
            "SELECT (extract(epoch FROM now()) * 1000)::bigint, l.fence, l.holders \
             FROM (SELECT 1) AS one LEFT JOIN {TABLE} l ON l.key = {}",
            literal(key)
        );
        let asked = self.ask(&sql).await?;
        let row = asked.rows.first();
        let text = |at: usize| row.and_then(|row| row.get(at)?.as_deref());
        let number = |at: usize| text(at).and_then(|text| text.parse().ok());
        Ok(Row {
            now: number(0).ok_or_else(|| AskError::Lost("its clock was not told".to_owned()))?,
            fence: number(1),
            ledger: Ledger::read(text(2).unwrap_or_default()),
            before,
        })
    }

    /// The value of a SELECT of one, which has changed nothing when it met a conflict: another session's
    /// DDL is one to whatever a connection runs next.
    async fn compute(&self, sql: &str) -> Result<Option<String>, ClientError> {
        for attempt in 0.. {
            match self.ask(sql).await {
                Ok(asked) => return Ok(asked.rows.first().and_then(|row| row.first()?.clone())),
                Err(error) if is_passing(&error) && attempt < SWAPS => {
                    sleep(pause(attempt)).await;
                }
                Err(error) => return Err(refusal(error)),
            }
        }
        Ok(None)
    }

    /// Puts another ledger in the place of the one that was read; `false` when somebody was faster.
    async fn swap(&self, key: &str, row: &Row, ledger: &Ledger) -> Result<bool, AskError> {
        let key = literal(key);
        let holders = literal(&ledger.write());
        let fence: i64 = rand::rng().random();
        let sql = match (row.fence, ledger.0.is_empty()) {
            (None, true) => return Ok(true),
            (None, false) => format!(
                "INSERT INTO {TABLE} (key, fence, holders) VALUES ({key}, {fence}, {holders}) \
                 ON CONFLICT DO NOTHING"
            ),
            (Some(old), true) => {
                format!("DELETE FROM {TABLE} WHERE key = {key} AND fence = {old}")
            }
            (Some(old), false) => format!(
                "UPDATE {TABLE} SET fence = {fence}, holders = {holders} \
                 WHERE key = {key} AND fence = {old}"
            ),
        };
        match self.ask(&sql).await {
            Ok(asked) => Ok(asked.tag.ends_with(" 1")),
            Err(AskError::Refused(code, _)) if is_conflict(&code) => Ok(false),
            Err(error) => Err(error),
        }
    }

    // ---- taking ------------------------------------------------------------------------------

    /// Takes a lock once, unless others hold it.
    async fn take(&self, key: &str, session: &str, shared: bool) -> Result<Taken, ClientError> {
        let length = i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX);
        for attempt in 0..SWAPS {
            let row = match self.read(key).await {
                Ok(row) => row,
                Err(error) if is_passing(&error) && attempt + 1 < SWAPS => {
                    sleep(pause(attempt)).await;
                    continue;
                }
                Err(error) => return Err(refusal(error)),
            };
            let taken = row.ledger.take(session, shared, row.now, row.now + length);
            let Some(taken) = taken else {
                let holders = row.ledger.0.iter();
                let others = holders.filter(|holder| holder.until > row.now);
                return Ok(Taken::By(
                    others.map(|holder| base(&holder.session)).collect(),
                ));
            };
            match self.swap(key, &row, &taken).await {
                Ok(true) => return Ok(Taken::Until(row.before + LEASE)),
                // Should it have been done, the next look shows it.
                Ok(false) => sleep(pause(attempt)).await,
                Err(error) if is_passing(&error) => sleep(pause(attempt)).await,
                Err(error) => return Err(refusal(error)),
            }
        }
        Err(ClientError::error(
            sqlstate::SERIALIZATION_FAILURE,
            "the advisory lock was changed by others again and again",
        ))
    }

    async fn give(&self, freed: &Freed) -> Result<(), AskError> {
        for attempt in 0..SWAPS {
            let swapped = match self.read(&freed.key).await {
                Ok(row) => {
                    let left = row.ledger.give(&freed.session, freed.shared);
                    match left == row.ledger {
                        true => return Ok(()),
                        false => self.swap(&freed.key, &row, &left).await,
                    }
                }
                Err(error) => Err(error),
            };
            match swapped {
                Ok(true) => return Ok(()),
                Err(error) if !is_passing(&error) => return Err(error),
                _ => sleep(pause(attempt)).await,
            }
        }
        Ok(())
    }

    async fn renew(&self, held: &Held) {
        let length = i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX);
        for attempt in 0..3 {
            let outcome = match self.read(&held.key).await {
                Ok(row) => {
                    let renewed = row
                        .ledger
                        .renew(&held.session, held.shared, row.now + length);
                    let Some(renewed) = renewed else {
                        held.lost.set(true);
                        tracing::warn!(key = held.key, "an advisory lock was lost");
                        return;
                    };
                    let swapped = self.swap(&held.key, &row, &renewed).await;
                    swapped.map(|swapped| swapped.then_some(row.before))
                }
                Err(error) => Err(error),
            };
            match outcome {
                Ok(Some(before)) => {
                    held.until.set(before + LEASE);
                    return;
                }
                Ok(None) => sleep(pause(attempt)).await,
                Err(error) => {
                    let cause = refusal(error).message;
                    tracing::warn!(
                        key = held.key,
                        cause,
                        "the lease of an advisory lock was not renewed"
                    );
                    sleep(pause(attempt)).await;
                }
            }
        }
    }

    // ---- keeping -----------------------------------------------------------------------------

    /// Leaves it to the keeper to give a lock back.
    fn free(&self, held: &Held) {
        self.forget(held);
        self.leave(Chore::Free(Freed {
            key: held.key.clone(),
            session: held.session.clone(),
            shared: held.shared,
        }));
    }

    fn leave(&self, chore: Chore) {
        if let Some(keeper) = self.keeper.borrow().as_ref() {
            // Without a keeper the worker has ended, and leases end by themselves.
            let _ = keeper.send(chore);
        }
    }

    fn forget(&self, gone: &Held) {
        self.held
            .borrow_mut()
            .retain(|held| !std::ptr::eq(Rc::as_ptr(held), gone));
    }

    fn keep(self: &Rc<Self>) {
        let mut keeper = self.keeper.borrow_mut();
        if keeper.is_none() {
            let (sender, chores) = unbounded_channel();
            tokio::task::spawn_local(keep(Rc::clone(self), chores));
            *keeper = Some(sender);
        }
    }
}

/// Renews leases and gives locks back, as long as the worker runs.
async fn keep(locks: Rc<Locks>, mut chores: UnboundedReceiver<Chore>) {
    let mut reaped = Instant::now();
    loop {
        if locks.alive.get() && reaped.elapsed() >= REAPING {
            reaped = Instant::now();
            locks.reap().await;
        }
        match timeout(RENEWAL, chores.recv()).await {
            Ok(Some(Chore::Drop(real))) => locks.drop_now(&real).await,
            Ok(Some(Chore::Reap)) => locks.reap().await,
            Ok(Some(Chore::Free(freed))) => {
                if let Err(error) = locks.give(&freed).await {
                    let cause = refusal(error).message;
                    tracing::warn!(
                        key = freed.key,
                        cause,
                        "an advisory lock stays until its lease ends"
                    );
                }
            }
            Ok(None) => return,
            Err(_) => {}
        }
        let due = |held: &&Rc<Held>| {
            let renewed = held.until.get().checked_sub(LEASE);
            renewed.is_none_or(|renewed| renewed.elapsed() >= RENEWAL)
        };
        let due: Vec<Rc<Held>> = locks.held.borrow().iter().filter(due).cloned().collect();
        for held in due {
            locks.renew(&held).await;
        }
    }
}

impl Held {
    fn new(key: String, session: String, shared: bool) -> Self {
        Self {
            key,
            session,
            shared,
            until: Cell::new(Instant::now()),
            lost: Cell::new(false),
        }
    }
}

impl Own {
    /// Of a session that has none yet.
    pub fn new(locks: Rc<Locks>) -> Self {
        let number: u64 = rand::rng().random();
        Self {
            locks,
            session: format!("{number:016x}"),
            held: Rc::default(),
        }
    }

    /// It holds a lock that others may have got meanwhile.
    pub fn has_lost(&self) -> bool {
        let held = self.held.borrow();
        let mut held = held.iter();
        held.any(|claim| claim.held.lost.get() || claim.held.until.get() <= Instant::now())
    }

    /// Gives all locks back.
    pub fn free_all(&self) {
        for claim in self.held.borrow_mut().drain(..) {
            self.locks.free(&claim.held);
        }
    }

    /// Gives the locks of the session back, but not those of its transaction.
    pub fn free_of_session(&self) {
        self.free_some(|claim| claim.session = 0);
    }

    /// Gives the locks of the transaction back.
    pub fn free_of_transaction(&self) {
        self.free_some(|claim| claim.transaction = 0);
    }

    fn free_some(&self, change: impl Fn(&mut Claim)) {
        self.held.borrow_mut().retain_mut(|claim| {
            change(claim);
            let stays = claim.session + claim.transaction > 0;
            if !stays {
                self.locks.free(&claim.held);
            }
            stays
        });
    }

    /// Does what is asked for, one after the other.
    pub fn carry_out(&self, wishes: Vec<Wish>) -> Waiting<Result<Vec<Given>, ClientError>> {
        self.locks.keep();
        let asking = Asking {
            locks: Rc::clone(&self.locks),
            session: self.session.clone(),
            held: Rc::clone(&self.held),
        };
        Box::pin(async move {
            let mut given = Vec::new();
            for wish in &wishes {
                given.push(asking.carry_out(wish).await?);
            }
            Ok(given)
        })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.free_all();
    }
}

/// A session's request, on its own.
struct Asking {
    locks: Rc<Locks>,
    session: String,
    held: Rc<RefCell<Vec<Claim>>>,
}

/// A lock that may have been taken, until the session is known to hold it.
struct Doubt<'a> {
    locks: &'a Locks,
    held: Option<Held>,
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.locks.free(&held);
        }
    }
}

impl Asking {
    async fn carry_out(&self, wish: &Wish) -> Result<Given, ClientError> {
        if wish.wish == LockWish::UnlockAll {
            self.unlock_all().await;
            return Ok(Given::Void);
        }
        let Some(parts) = &wish.key else {
            return Ok(Given::Null);
        };
        let Some(key) = self.key(&wish.database, parts).await? else {
            return Ok(Given::Null);
        };
        match wish.wish {
            LockWish::Unlock => self.unlock(&key, wish.shared).await,
            LockWish::Try => self.lock(&key, wish, false).await.map(Given::Truth),
            _ => match wish.timeout {
                None => self.lock(&key, wish, true).await.map(|_| Given::Void),
                Some(limit) => match timeout(limit, self.lock(&key, wish, true)).await {
                    Ok(outcome) => outcome.map(|_| Given::Void),
                    Err(_) => Err(ClientError::error(
                        "55P03",
                        "canceling statement due to lock timeout",
                    )),
                },
            },
        }
    }

    /// As the table has it: the database entry, how many numbers, the numbers.
    async fn key(&self, database: &str, parts: &[Part]) -> Result<Option<String>, ClientError> {
        let kind = match parts.len() {
            1 => "bigint",
            _ => "int",
        };
        let mut key = format!("{database}/{}", parts.len());
        for part in parts {
            let number = match part {
                Part::Number(number) if kind == "int" && i32::try_from(*number).is_err() => {
                    return Err(ClientError::error("22003", "integer out of range"));
                }
                Part::Number(number) => number.to_string(),
                Part::Name(name) => format!("table {name}"),
                Part::Expression(text) => {
                    let sql = format!("SELECT ({text})::pg_catalog.int8::{kind}");
                    match self.locks.compute(&sql).await? {
                        Some(number) => number,
                        None => return Ok(None),
                    }
                }
            };
            key.push('/');
            key.push_str(&number);
        }
        Ok(Some(key))
    }

    async fn lock(&self, key: &str, wish: &Wish, waits: bool) -> Result<bool, ClientError> {
        if !self.claim(key, wish) {
            let mut look = FIRST_LOOK;
            // What a request that was given up may have left is given back as its own.
            let number: u32 = rand::rng().random();
            let id = format!("{}.{number:08x}", self.session);
            let waiter = Waiter {
                pool: &self.locks.pool,
                session: &self.session,
            };
            let held = loop {
                let mut doubt = Doubt {
                    locks: &self.locks,
                    held: Some(Held::new(key.to_owned(), id.clone(), wish.shared)),
                };
                let taken = self.locks.take(key, &id, wish.shared).await?;
                let others = match (taken, doubt.held.take()) {
                    (Taken::Until(until), Some(held)) => {
                        held.until.set(until);
                        break Rc::new(held);
                    }
                    (Taken::By(others), _) => others,
                    (Taken::Until(_), None) => Vec::new(),
                };
                drop(doubt);
                if !waits {
                    return Ok(false);
                }
                if !waiter.pool.waits().begin(waiter.session, others) {
                    return Err(deadlock());
                }
                sleep(look.mul_f64(rand::rng().random_range(0.5..1.0))).await;
                look = (look * 2).min(LONGEST_LOOK);
            };
            drop(waiter);
            self.locks.held.borrow_mut().push(Rc::clone(&held));
            self.held.borrow_mut().push(Claim {
                held,
                session: 0,
                transaction: 0,
            });
            self.claim(key, wish);
        }
        if wish.transaction && !wish.open {
            // Its transaction is the statement.
            self.release(key, wish.shared, |claim| claim.transaction -= 1)
                .await;
        }
        Ok(true)
    }

    /// Counts one more of a lock that the session holds.
    fn claim(&self, key: &str, wish: &Wish) -> bool {
        let mut held = self.held.borrow_mut();
        let claim = held
            .iter_mut()
            .find(|claim| claim.held.key == key && claim.held.shared == wish.shared);
        match claim {
            Some(claim) if wish.transaction => claim.transaction += 1,
            Some(claim) => claim.session += 1,
            None => return false,
        }
        true
    }

    async fn unlock(&self, key: &str, shared: bool) -> Result<Given, ClientError> {
        let holds =
            self.held.borrow().iter().any(|claim| {
                claim.held.key == key && claim.held.shared == shared && claim.session > 0
            });
        if !holds {
            return Ok(Given::NotHeld);
        }
        self.release(key, shared, |claim| claim.session -= 1).await;
        Ok(Given::Truth(true))
    }

    async fn release(&self, key: &str, shared: bool, change: impl FnOnce(&mut Claim)) {
        let freed = {
            let mut held = self.held.borrow_mut();
            let at = held
                .iter()
                .position(|claim| claim.held.key == key && claim.held.shared == shared);
            let Some(at) = at else { return };
            change(&mut held[at]);
            match held[at].session + held[at].transaction {
                0 => Some(held.remove(at)),
                _ => None,
            }
        };
        if let Some(claim) = freed {
            self.give(&claim.held).await;
        }
    }

    async fn unlock_all(&self) {
        let mut freed = Vec::new();
        self.held.borrow_mut().retain_mut(|claim| {
            claim.session = 0;
            let stays = claim.transaction > 0;
            if !stays {
                freed.push(Rc::clone(&claim.held));
            }
            stays
        });
        for held in freed {
            self.give(&held).await;
        }
    }

    async fn give(&self, held: &Held) {
        // Should this be given up in the middle, the keeper does it.
        let doubt = Doubt {
            locks: &self.locks,
            held: Some(Held::new(
                held.key.clone(),
                held.session.clone(),
                held.shared,
            )),
        };
        self.locks.forget(held);
        let freed = Freed {
            key: held.key.clone(),
            session: held.session.clone(),
            shared: held.shared,
        };
        if self.locks.give(&freed).await.is_ok() {
            let mut doubt = doubt;
            doubt.held = None;
        }
    }
}

/// Of sessions that wait for each other one is told.
fn deadlock() -> ClientError {
    ClientError::error("40P01", "deadlock detected")
        .detail("This session waits for a lock of one that waits for a lock of this session.")
        .hint("Take locks in the same order everywhere, and run the transaction again.")
}

/// What a session is told that must not go on as if it held a lock.
pub(super) fn lost_lock() -> ClientError {
    ClientError::fatal(
        sqlstate::ADMIN_SHUTDOWN,
        "terminating connection because an advisory lock of this session was lost",
    )
    .detail("Its lease could not be renewed in time, or was taken away.")
    .hint("Connect again and take the lock again; somebody else may have held it meanwhile.")
}

fn literal(text: &str) -> String {
    match text.contains('\\') {
        true => format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}

/// Full jitter.
fn pause(attempt: u32) -> Duration {
    let bound = FIRST_LOOK * (1 << attempt.min(4));
    rand::rng().random_range(Duration::ZERO..=bound)
}

fn is_missing(code: &str) -> bool {
    matches!(code, "42P01" | "3F000")
}

fn is_there(code: &str) -> bool {
    matches!(code, "42P06" | "42P07" | "23505" | "42710")
}

fn is_conflict(code: &str) -> bool {
    matches!(code, "40001" | "23505")
}

fn is_passing(error: &AskError) -> bool {
    match error {
        AskError::Refused(code, _) => is_conflict(code),
        AskError::Lost(_) => true,
        AskError::Without(_) => false,
    }
}

fn refusal(error: AskError) -> ClientError {
    match error {
        AskError::Without(error) => error,
        AskError::Lost(cause) => ClientError::error(
            sqlstate::CONNECTION_FAILURE,
            "the connection to the table of advisory locks was lost",
        )
        .detail(cause),
        AskError::Refused(code, message) if code == "42501" => {
            ClientError::error("42501", format!("advisory locks need a table: {message}")).hint(
                format!(
                    "Have an administrator take an advisory lock once, or run: {}. GRANT USAGE ON SCHEMA dsqlproxy, and ALL ON {TABLE}, to the role of this cluster's user.",
                    SET_UP.join("; ")
                ),
            )
        }
        AskError::Refused(code, message) => {
            let known = [sqlstate::SERIALIZATION_FAILURE, "42P01", "2BP01", "42P07", "42P16", "42703", "42701", "42804", "42P17", "54000", "54011", "0A000", "42601", "22003", "22P02", "42883", "42846", "22012", "42704"];
            let code = known.into_iter().find(|known| *known == code);
            ClientError::error(code.unwrap_or(sqlstate::INTERNAL_ERROR), message)
        }
    }
}
