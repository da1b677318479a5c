//! A borrowed upstream connection.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use crate::upstream::{self, Conn, Settled};

use super::scrub;
use super::slots::Pool;

/// Cancel requests under way for a lease, and the connection that waits for them to end.
#[derive(Debug, Default)]
struct Cancels {
    pending: usize,
    /// One failed, so that it is not known when or whether the server sees it.
    doubtful: bool,
    parked: Option<Box<Conn>>,
}

/// A borrowed connection. It goes back only with the proof that nothing is owed on it; dropped
/// without, it is closed.
#[derive(Debug)]
pub struct Lease {
    conn: Option<Box<Conn>>,
    pool: Rc<Pool>,
    cancels: Rc<RefCell<Cancels>>,
}

impl Lease {
    pub(super) fn new(conn: Box<Conn>, pool: Rc<Pool>) -> Self {
        Self {
            conn: Some(conn),
            pool,
            cancels: Rc::default(),
        }
    }

    /// Gives the connection back. A tainted one is scrubbed first, and one with a cancel request
    /// under way waits until the server has closed that request's connection, so that the cancel
    /// cannot reach the next client.
    pub fn give_back(mut self, _proof: Settled) {
        let Some(conn) = self.conn.take() else { return };
        let mut cancels = self.cancels.borrow_mut();
        if cancels.pending > 0 {
            cancels.parked = Some(conn);
            return;
        }
        let doubtful = cancels.doubtful;
        drop(cancels);
        if doubtful {
            self.pool.lose();
            return;
        }
        restore(Rc::clone(&self.pool), conn);
    }

    /// Ends the open transaction of a client that left, then gives the connection back. Only for a
    /// connection that owes no response; its label must already be that of the transaction's start.
    pub fn roll_back(mut self) {
        let Some(conn) = self.conn.take() else { return };
        let pool = Rc::clone(&self.pool);
        if pool.is_stopped() {
            return;
        }
        let cancels = Rc::clone(&self.cancels);
        tokio::task::spawn_local(async move {
            match scrub::roll_back(conn).await {
                Ok(conn) => {
                    let mut state = cancels.borrow_mut();
                    if state.pending > 0 {
                        state.parked = Some(conn);
                        return;
                    }
                    let doubtful = state.doubtful;
                    drop(state);
                    if doubtful {
                        pool.lose();
                    } else {
                        restore(pool, conn);
                    }
                }
                Err(cause) => {
                    tracing::warn!(pool = pool.name(), %cause, "rollback failed, connection closed");
                    pool.lose();
                }
            }
        });
    }

    /// Sends a cancel request for what runs on this connection; `done` is called when the server
    /// has taken it.
    pub fn cancel(&self, done: impl FnOnce() + 'static) {
        let Some(conn) = self.conn.as_ref().filter(|_| !self.pool.is_stopped()) else {
            return;
        };
        let (peer, pid, key) = (conn.stream.peer_address(), conn.pid, conn.key.clone());
        let pool = Rc::clone(&self.pool);
        let cancels = Rc::clone(&self.cancels);
        cancels.borrow_mut().pending += 1;
        tokio::task::spawn_local(async move {
            let outcome = upstream::cancel(pool.target(), peer, pid, &key).await;
            done();
            let mut state = cancels.borrow_mut();
            state.pending -= 1;
            if let Err(cause) = outcome {
                tracing::warn!(pool = pool.name(), %cause, "cancel request failed");
                // It may still arrive, and would hit whoever has the connection then.
                state.doubtful = true;
            }
            if state.pending == 0 {
                let (parked, doubtful) = (state.parked.take(), state.doubtful);
                drop(state);
                match parked {
                    Some(_) if doubtful => pool.lose(),
                    Some(conn) => restore(pool, conn),
                    None => {}
                }
            }
        });
    }

    /// Closes the connection and stops what runs on it.
    pub fn abandon(self) {
        self.cancel(|| {});
    }
}

/// Puts a connection that owes nothing back, scrubbed if need be.
fn restore(pool: Rc<Pool>, conn: Box<Conn>) {
    if !conn.tainted {
        pool.take_back(conn);
        return;
    }
    if pool.is_stopped() {
        return;
    }
    tokio::task::spawn_local(async move {
        match scrub::reset(conn, pool.kind()).await {
            Ok(conn) => pool.take_back(conn),
            Err(cause) => {
                tracing::warn!(pool = pool.name(), %cause, "session reset failed, connection closed");
                pool.lose();
            }
        }
    });
}

impl Deref for Lease {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        // `conn` is only taken by methods that consume the lease.
        self.conn
            .as_ref()
            .unwrap_or_else(|| unreachable!("lease without connection"))
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn
            .as_mut()
            .unwrap_or_else(|| unreachable!("lease without connection"))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.conn.take().is_some() {
            self.pool.lose();
        }
    }
}
