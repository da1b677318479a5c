//! One worker's slice of a pool.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use rand::Rng;

use crate::config::ClusterKind;
use crate::telemetry::tally::WorkerTally;
use crate::upstream::{
    self, Backend, Backoff, Conn, ConnectError, Owner, PreparedSet, Settings, Target,
};
use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

use super::lease::Lease;
use super::shared::{Counts, PoolShared, Transfer, detach};
use super::waiters::{Ticket, Waiters};
use super::waits::Waits;

/// A client at another worker is served first when it waits longer than ours by this much.
const UNFAIR_MS: u64 = 20;

/// A pause before the next attempt to connect, and what to tell clients meanwhile.
#[derive(Debug)]
pub(super) struct Pause {
    pub until: Instant,
    pub length: Duration,
    pub error: ClientError,
    /// No use in waiting: clients without hope of another connection are told at once.
    pub hopeless: bool,
}

/// One worker's slice of a pool.
#[derive(Debug)]
pub struct Pool {
    pub(super) shared: Arc<PoolShared>,
    pub(super) worker: usize,
    pub(super) counts: Cell<Counts>,
    #[expect(
        clippy::vec_box,
        reason = "connections move between lists and leases as boxes"
    )]
    pub(super) idle: RefCell<Vec<Box<Conn>>>,
    pub(super) waiters: RefCell<Waiters>,
    pub(super) pause: RefCell<Option<Pause>>,
    /// Parameters of a fresh connection, as last seen.
    baseline: RefCell<Rc<[(String, String)]>>,
    tally: Arc<WorkerTally>,
    /// The worker ends: nothing is spawned any more.
    stopped: Cell<bool>,
}

impl Pool {
    /// The slice of worker `worker`.
    #[must_use]
    pub fn new(shared: Arc<PoolShared>, worker: usize, tally: Arc<WorkerTally>) -> Rc<Self> {
        Rc::new(Self {
            counts: Cell::new(shared.initial(worker)),
            shared,
            worker,
            idle: RefCell::default(),
            waiters: RefCell::default(),
            pause: RefCell::new(None),
            baseline: RefCell::new(Rc::from([])),
            tally,
            stopped: Cell::new(false),
        })
    }

    /// The worker ends: leases that come back are closed.
    pub fn stop(&self) {
        self.stopped.set(true);
        self.idle.borrow_mut().clear();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Name for logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Kind of the server behind it.
    #[must_use]
    pub fn kind(&self) -> ClusterKind {
        self.shared.kind
    }

    /// How many changes of the schema this process has made there.
    #[must_use]
    pub fn schema(&self) -> u64 {
        self.shared.schema.load(Ordering::Relaxed)
    }

    /// A session has changed the schema: to other connections that is news.
    pub fn note_schema_change(&self) {
        self.shared.schema.fetch_add(1, Ordering::Relaxed);
    }

    /// Who waits for whose advisory locks there.
    #[must_use]
    pub fn waits(&self) -> &Waits {
        &self.shared.waits
    }

    /// Whether what rolled back transactions have committed is being undone there.
    #[must_use]
    pub fn is_undoing(&self) -> bool {
        self.shared.undoing.load(Ordering::Acquire) > 0
    }

    /// It is being undone from now on, or is no more.
    pub fn note_undoing(&self, begins: bool) {
        match begins {
            true => self.shared.undoing.fetch_add(1, Ordering::AcqRel),
            false => self.shared.undoing.fetch_sub(1, Ordering::AcqRel),
        };
    }

    /// Prepared statements kept on each connection.
    #[must_use]
    pub fn prepared_limit(&self) -> usize {
        self.shared.limits.prepared_statements
    }

    /// Parameters a fresh connection reports; empty before the first one was opened.
    #[must_use]
    pub fn baseline(&self) -> Rc<[(String, String)]> {
        Rc::clone(&self.baseline.borrow())
    }

    pub(super) fn target(&self) -> &Target {
        &self.shared.target
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
        self.shared.publish(self.worker, counts);
    }

    pub(super) fn publish_waiters(&self) {
        let mut waiters = self.waiters.borrow_mut();
        let oldest = waiters.oldest().map(|place| place.since);
        self.shared
            .publish_waiters(self.worker, waiters.len(), oldest);
    }

    /// Whether tenants never share a connection.
    #[must_use]
    pub fn is_per_tenant(&self) -> bool {
        self.shared.limits.per_tenant
    }

    /// An idle connection, unless others wait for one already. With an owner: one that has served
    /// nobody else; when there is none, another's makes room for a new one.
    pub fn take(self: &Rc<Self>, owner: Option<&Owner>) -> Option<Lease> {
        if self.waiters.borrow().len() > 0 {
            return None;
        }
        loop {
            let Some(mut conn) = self.pop_idle(owner) else {
                self.make_room();
                return None;
            };
            if is_usable(&mut conn) {
                if owner.is_some() {
                    conn.owner = owner.cloned();
                }
                self.count(|counts| {
                    counts.idle -= 1;
                    counts.leased += 1;
                });
                self.tally.wait.observe(Duration::ZERO);
                return Some(Lease::new(conn, Rc::clone(self)));
            }
            self.count(|counts| {
                counts.idle -= 1;
                counts.free += 1;
            });
        }
    }

    fn pop_idle(&self, owner: Option<&Owner>) -> Option<Box<Conn>> {
        let mut idle = self.idle.borrow_mut();
        let position = idle.iter().rposition(|conn| is_for(conn, owner))?;
        Some(idle.remove(position))
    }

    /// Closes the connection that has been idle longest, when every slot has one.
    fn make_room(&self) {
        if self.counts.get().free > 0 || self.idle.borrow().is_empty() {
            return;
        }
        drop(self.idle.borrow_mut().remove(0));
        self.count(|counts| {
            counts.idle -= 1;
            counts.free += 1;
        });
    }

    /// Joins the queue, for a connection of this owner.
    ///
    /// # Errors
    /// 53300 when the queue is full; what the upstream said when there is no hope.
    pub fn wait(self: &Rc<Self>, owner: Option<&Owner>) -> Result<Ticket, ClientError> {
        if self.waiters.borrow().len() >= self.shared.limits.max_waiters {
            return Err(ClientError::error(
                sqlstate::TOO_MANY_CONNECTIONS,
                "too many clients are waiting for an upstream connection",
            )
            .hint("Try again later, or raise pool.size or pool.max_waiters."));
        }
        if let Some(error) = self.hopeless() {
            return Err(error);
        }
        let place = self
            .waiters
            .borrow_mut()
            .push(Instant::now(), owner.cloned());
        self.publish_waiters();
        self.pump();
        self.ask_others();
        Ok(Ticket::new(Rc::clone(self), place))
    }

    fn hopeless(&self) -> Option<ClientError> {
        let pause = self.pause.borrow();
        let pause = pause
            .as_ref()
            .filter(|pause| pause.hopeless && Instant::now() < pause.until)?;
        let census = self.shared.census();
        (census.idle + census.leased == 0).then(|| pause.error.clone())
    }

    /// Opens connections for those who wait, as far as slots, rate and pauses allow.
    pub(super) fn pump(self: &Rc<Self>) {
        let waiting = self.waiters.borrow().len();
        let now = Instant::now();
        let paused = |pause: &Pause| now < pause.until;
        if self.is_stopped() || self.pause.borrow().as_ref().is_some_and(paused) {
            return;
        }
        while usize::from(self.counts.get().connecting) < waiting {
            // Idle beside those who wait are connections of others.
            self.make_room();
            if self.counts.get().free == 0 || !self.shared.take_token(now) {
                return;
            }
            self.open();
            if self.pause.borrow().is_some() {
                // After a failure one attempt at a time finds out whether it goes again.
                return;
            }
        }
    }

    pub(super) fn open(self: &Rc<Self>) {
        self.count(|counts| {
            counts.free -= 1;
            counts.connecting += 1;
        });
        let pool = Rc::clone(self);
        tokio::task::spawn_local(async move {
            match upstream::connect(pool.target()).await {
                Ok(backend) => pool.opened(backend),
                Err(error) => pool.refused(&error),
            }
        });
    }

    fn opened(self: &Rc<Self>, backend: Backend) {
        self.shared.note_connected();
        self.pause.borrow_mut().take();
        let now = Instant::now();
        let conn = Box::new(Conn {
            stream: backend.stream,
            input: Default::default(),
            output: Default::default(),
            pid: backend.pid,
            key: backend.key.into(),
            parameters: backend.parameters,
            label: Arc::new(Settings::new()),
            prepared: PreparedSet::default(),
            unnamed: None,
            tainted: false,
            schema: self.schema(),
            owner: None,
            opened: now,
            expires: now + jittered(self.shared.limits.max_age),
            idle_since: now,
        });
        if self.baseline.borrow().as_ref() != conn.parameters.as_slice() {
            *self.baseline.borrow_mut() = conn.parameters.clone().into();
        }
        self.count(|counts| {
            counts.connecting -= 1;
            counts.leased += 1;
        });
        self.take_back(conn);
        self.pump();
    }

    fn refused(self: &Rc<Self>, error: &ConnectError) {
        self.count(|counts| {
            counts.connecting -= 1;
            counts.free += 1;
        });
        self.shared.note_refused(error.to_string());
        let before = self.pause.borrow_mut().take().map(|pause| pause.length);
        let (first, most, hopeless) = match error.backoff() {
            Backoff::Denied => (Duration::from_secs(2), Duration::from_secs(30), true),
            Backoff::Broken => (Duration::from_secs(1), Duration::from_secs(10), true),
            _ => (Duration::from_millis(100), Duration::from_secs(3), false),
        };
        let length = before.map_or(first, |before| (before * 2).clamp(first, most));
        tracing::warn!(pool = self.name(), cause = %error, pause_ms = length.as_millis(), "upstream connection failed");
        let client_error = error.client_error();
        *self.pause.borrow_mut() = Some(Pause {
            until: Instant::now() + length,
            length,
            error: client_error,
            hopeless,
        });
        if let Some(error) = self.hopeless() {
            self.refuse_all(&error);
        }
    }

    fn refuse_all(&self, error: &ClientError) {
        while let Some(place) = self.pop_waiter() {
            place.give(Err(error.clone()));
        }
    }

    pub(super) fn pop_waiter(&self) -> Option<Rc<super::waiters::Place>> {
        let place = self.waiters.borrow_mut().pop();
        if place.is_some() {
            self.publish_waiters();
        }
        place
    }

    /// A leased connection comes back: to the client that waits longest, here or at another
    /// worker, else to rest.
    pub(super) fn take_back(self: &Rc<Self>, mut conn: Box<Conn>) {
        let now = Instant::now();
        if conn.expires <= now {
            drop(conn);
            self.lose();
            return;
        }
        if let Some(other) = self.more_urgent() {
            self.send_conn(other, conn);
            return;
        }
        let next = self.waiters.borrow_mut().oldest().cloned();
        if next.is_some_and(|place| !is_for(&conn, place.owner.as_ref())) {
            // The slot goes to whoever waits, with a connection of its own.
            drop(conn);
            self.lose();
            return;
        }
        if let Some(place) = self.pop_waiter() {
            self.tally.wait.observe(now - place.since);
            if place.owner.is_some() {
                conn.owner.clone_from(&place.owner);
            }
            place.give(Ok(conn));
            return;
        }
        conn.idle_since = now;
        conn.input.release();
        self.idle.borrow_mut().push(conn);
        self.count(|counts| {
            counts.leased -= 1;
            counts.idle += 1;
        });
    }

    fn more_urgent(&self) -> Option<usize> {
        let (other, oldest) = self.shared.neediest(self.worker)?;
        let ours = self
            .waiters
            .borrow_mut()
            .oldest()
            .map(|place| self.shared.millis(place.since));
        match ours {
            Some(ours) if ours <= oldest + UNFAIR_MS => None,
            _ => Some(other),
        }
    }

    /// Sends a leased connection to another worker.
    fn send_conn(self: &Rc<Self>, to: usize, mut conn: Box<Conn>) {
        if !detach(&mut conn.stream) {
            self.lose();
            return;
        }
        let mut counts = self.counts.get();
        counts.leased -= 1;
        self.counts.set(counts);
        self.shared
            .send(self.worker, to, counts, Transfer::Conn(conn));
    }

    /// A leased connection is gone; its slot is free.
    pub(super) fn lose(self: &Rc<Self>) {
        self.count(|counts| {
            counts.leased -= 1;
            counts.free += 1;
        });
        self.pump();
    }

    fn ask_others(&self) {
        let counts = self.counts.get();
        if counts.free > 0 || usize::from(counts.connecting) >= self.waiters.borrow().len() {
            return;
        }
        if let Some(other) = self.shared.spare(self.worker).next() {
            self.shared.ask(self.worker, other);
        }
    }

    /// Takes what another worker sent.
    pub fn receive(self: &Rc<Self>, transfer: Transfer) {
        match transfer {
            Transfer::Conn(mut conn) => {
                let attached = conn.stream.attach().is_ok();
                let mut counts = self.counts.get();
                counts.leased += 1;
                self.counts.set(counts);
                self.shared.receive(self.worker, counts);
                if attached {
                    self.take_back(conn);
                } else {
                    drop(conn);
                    self.lose();
                }
            }
            Transfer::Slot => {
                let mut counts = self.counts.get();
                counts.free += 1;
                self.counts.set(counts);
                self.shared.receive(self.worker, counts);
                self.pump();
            }
            Transfer::Need { worker } => self.spare_for(worker),
        }
    }

    fn spare_for(self: &Rc<Self>, worker: usize) {
        if self.waiters.borrow().len() > 0 {
            return;
        }
        let conn = self.idle.borrow_mut().pop();
        if let Some(conn) = conn {
            self.count(|counts| {
                counts.idle -= 1;
                counts.leased += 1;
            });
            self.send_conn(worker, conn);
        } else if self.counts.get().free > 0 {
            let mut counts = self.counts.get();
            counts.free -= 1;
            self.counts.set(counts);
            self.shared
                .send(self.worker, worker, counts, Transfer::Slot);
        }
    }
}

/// `max_age` less up to a tenth, so that connections opened together do not end together.
fn jittered(max_age: Duration) -> Duration {
    max_age.mul_f64(1.0 - rand::rng().random_range(0.0..0.1))
}

/// Whether a connection may serve this owner; without one it does not matter whom it has served.
fn is_for(conn: &Conn, owner: Option<&Owner>) -> bool {
    conn.owner.is_none() || owner.is_none() || conn.owner.as_ref() == owner
}

/// Whether an idle connection can be lent: not expired, and nothing but harmless messages arrived.
pub(super) fn is_usable(conn: &mut Conn) -> bool {
    if conn.expires <= Instant::now() {
        return false;
    }
    let mut cx = Context::from_waker(Waker::noop());
    if conn.stream.socket().poll_readable(&mut cx).is_pending() {
        return true;
    }
    conn.absorb(&mut cx)
}
