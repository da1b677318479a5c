//! LISTEN and NOTIFY, which Aurora DSQL does not have, among the clients of one proxy: told when the
//! transaction of the sender is committed, and taken by listeners outside their transactions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::wire::backend::TransactionStatus;
use crate::wire::frontend;
use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

use super::run::{End, Session};
use super::signal::Directory;

/// Notifications that a listener may leave unread.
const UNREAD: usize = 8192;

/// Longest payload, in bytes (PostgreSQL's NOTIFY).
const PAYLOAD: usize = 7999;

/// Longest name of a channel, in bytes.
const CHANNEL: usize = 63;

/// Who listens to what, in all workers.
#[derive(Debug, Default)]
pub struct Hub {
    next: AtomicU64,
    /// Who can be reached by process id.
    pub(super) directory: Directory,
    /// By database entry and channel.
    listeners: Mutex<HashMap<(String, String), Vec<Listener>>>,
}

#[derive(Debug, Clone)]
struct Listener {
    number: u64,
    sender: Sender<Notification>,
    /// It has left too many unread.
    overrun: Arc<AtomicBool>,
}

#[derive(Debug, Clone)]
struct Notification {
    pid: u32,
    channel: String,
    payload: String,
}

impl Notification {
    fn put(&self, out: &mut Vec<u8>) {
        let pid = self.pid.to_be_bytes();
        let (channel, payload) = (self.channel.as_bytes(), self.payload.as_bytes());
        frontend::put(out, b'A', &[&pid, channel, b"\0", payload, b"\0"]);
    }
}

/// What a session asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Listen(String),
    /// One channel, or all.
    Unlisten(Option<String>),
    Notify {
        channel: String,
        payload: String,
    },
}

/// What a session listens to and has to tell.
#[derive(Debug)]
pub(super) struct Listening {
    hub: Arc<Hub>,
    database: String,
    pid: u32,
    own: Listener,
    receiver: Receiver<Notification>,
    channels: Vec<String>,
    /// Of the transaction under way.
    pending: Vec<Change>,
    /// Come, and not told yet.
    arrived: Vec<Notification>,
    /// It listens to something new, and nobody has looked for that yet.
    fresh: bool,
}

impl Hub {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<(String, String), Vec<Listener>>) -> T) -> T {
        act(&mut self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, database: &str, notification: &Notification) {
        let key = (database.to_owned(), notification.channel.clone());
        self.with(|all| {
            for listener in all.get(&key).into_iter().flatten() {
                if listener.sender.try_send(notification.clone()).is_err() {
                    listener.overrun.store(true, Ordering::Release);
                }
            }
        });
    }
}

impl Listening {
    pub fn new(hub: Arc<Hub>, database: &str, pid: u32) -> Self {
        let (sender, receiver) = channel(UNREAD);
        let number = hub.next.fetch_add(1, Ordering::Relaxed);
        Self {
            hub,
            database: database.to_owned(),
            pid,
            own: Listener {
                number,
                sender,
                overrun: Arc::default(),
            },
            receiver,
            channels: Vec::new(),
            pending: Vec::new(),
            arrived: Vec::new(),
            fresh: false,
        }
    }

    /// Takes a change that is made when the transaction is committed.
    pub fn note(&mut self, change: Change) {
        // The same notification is told once in a transaction.
        if !self.pending.contains(&change) {
            self.pending.push(change);
        }
    }

    /// The transaction is over.
    pub fn settle(&mut self, rolled_back: bool) {
        let pending = std::mem::take(&mut self.pending);
        if rolled_back {
            return;
        }
        for change in pending {
            self.apply(change);
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Listen(name) => {
                if self.channels.contains(&name) {
                    return;
                }
                let key = (self.database.clone(), name.clone());
                let own = self.own.clone();
                self.hub.with(|all| all.entry(key).or_default().push(own));
                self.fresh = true;
                self.channels.push(name);
            }
            Change::Unlisten(Some(name)) => self.leave(&[name]),
            Change::Unlisten(None) => self.leave_all(),
            Change::Notify { channel, payload } => {
                let notification = Notification {
                    pid: self.pid,
                    channel,
                    payload,
                };
                self.hub.tell(&self.database, &notification);
            }
        }
    }

    /// What it listens to from now on is to be looked for.
    pub fn take_fresh(&mut self) -> bool {
        std::mem::take(&mut self.fresh)
    }

    /// UNLISTEN *, at once.
    pub fn leave_all(&mut self) {
        let all = self.channels.clone();
        self.leave(&all);
    }

    fn leave(&mut self, names: &[String]) {
        if names.is_empty() {
            return;
        }
        self.channels.retain(|name| !names.contains(name));
        let number = self.own.number;
        self.hub.with(|all| {
            for name in names {
                let key = (self.database.clone(), name.clone());
                if let Some(listeners) = all.get_mut(&key) {
                    listeners.retain(|listener| listener.number != number);
                    if listeners.is_empty() {
                        all.remove(&key);
                    }
                }
            }
        });
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.leave_all();
    }
}

/// A notification, as PostgreSQL takes it.
pub(super) fn notification(channel: &str, payload: &str) -> Result<Change, ClientError> {
    let refused = |message: &str| Err(ClientError::error("22023", message));
    match (channel.len(), payload.len()) {
        (0, _) => refused("channel name cannot be empty"),
        (length, _) if length > CHANNEL => refused("channel name too long"),
        (_, length) if length > PAYLOAD => refused("payload string too long"),
        _ => Ok(Change::Notify {
            channel: channel.to_owned(),
            payload: payload.to_owned(),
        }),
    }
}

impl Session {
    /// Takes a change: with the transaction, or at once.
    pub(super) fn tell(&mut self, change: Change) {
        self.listening.note(change);
        let open =
            self.transaction.open || self.begin.is_some() || self.status != TransactionStatus::Idle;
        if !open {
            self.listening.settle(false);
        }
    }

    /// Notifications that have come, ahead of the ReadyForQuery that says that no transaction is open.
    pub(super) fn take_heard(&mut self) -> Option<Vec<u8>> {
        let open = self.transaction.open
            || self.begin.is_some()
            || self.status != TransactionStatus::Idle
            || !self.owed.is_empty();
        if self.listening.channels.is_empty() || open {
            return None;
        }
        while let Ok(told) = self.listening.receiver.try_recv() {
            self.listening.arrived.push(told);
        }
        let mut out = Vec::new();
        for told in std::mem::take(&mut self.listening.arrived) {
            told.put(&mut out);
        }
        (!out.is_empty()).then_some(out)
    }

    /// Takes notifications, and tells them when no transaction is open.
    pub(super) fn take_notifications(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.listening.channels.is_empty() && self.listening.arrived.is_empty() {
            return Ok(false);
        }
        if self.listening.own.overrun.load(Ordering::Acquire) {
            return Err(self.end_with(
                ClientError::fatal(
                    sqlstate::CONFIGURATION_LIMIT_EXCEEDED,
                    "terminating connection because of too many notifications that were not read",
                )
                .hint("Listen outside of long transactions."),
            ));
        }
        while self.listening.arrived.len() < UNREAD {
            match self.listening.receiver.poll_recv(cx) {
                Poll::Ready(Some(notification)) => self.listening.arrived.push(notification),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        let quiet = self.status == TransactionStatus::Idle
            && self.owed.is_empty()
            && !self.owed.is_unsynced()
            && self.procedure.is_none()
            && self.begin.is_none()
            && !self.is_welcoming();
        if !quiet || self.listening.arrived.is_empty() {
            return Ok(false);
        }
        self.take_passing_of_lease();
        for told in std::mem::take(&mut self.listening.arrived) {
            told.put(self.cout.tail());
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(listening: &mut Listening) -> Vec<String> {
        let mut taken = Vec::new();
        while let Ok(told) = listening.receiver.try_recv() {
            taken.push(format!("{} {} {}", told.pid, told.channel, told.payload));
        }
        taken
    }

    #[test]
    fn listeners_of_a_database_hear_what_is_committed() {
        let hub = Arc::new(Hub::default());
        let mut a = Listening::new(Arc::clone(&hub), "app", 1);
        let mut b = Listening::new(Arc::clone(&hub), "app", 2);
        let mut other = Listening::new(Arc::clone(&hub), "other", 3);
        for listener in [&mut b, &mut other] {
            listener.note(Change::Listen("c".into()));
            listener.settle(false);
        }
        let told = notification("c", "x").unwrap();
        a.note(told.clone());
        a.note(told.clone());
        assert!(take(&mut b).is_empty());
        a.settle(false);
        assert_eq!(take(&mut b), ["1 c x"]);
        assert!(take(&mut other).is_empty());
        a.note(told.clone());
        a.settle(true);
        assert!(take(&mut b).is_empty());
        b.note(Change::Unlisten(None));
        b.settle(false);
        a.note(told);
        a.settle(false);
        assert!(take(&mut b).is_empty());
        drop((b, other));
        assert!(hub.with(|all| all.is_empty()));
    }

    #[test]
    fn notifications_have_limits() {
        for (channel, payload) in [("", ""), (&*"c".repeat(64), ""), ("c", &*"x".repeat(8000))] {
            assert_eq!(notification(channel, payload).unwrap_err().code, "22023");
        }
    }
}
