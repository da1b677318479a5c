//! `pg_terminate_backend()` and `pg_cancel_backend()` among the sessions of one proxy: clients know each
//! other by the process ids that the proxy has given them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

use super::notify::Hub;
use super::run::{End, Session};

/// Sessions of all workers by process id.
#[derive(Debug, Default)]
pub(super) struct Directory(Mutex<HashMap<u32, Entry>>);

#[derive(Debug)]
struct Entry {
    user: String,
    /// One for each kind, so that none hides another. One that waits for its turn means the same as many.
    cancel: Sender<()>,
    terminate: Sender<()>,
}

/// A session in the directory.
#[derive(Debug)]
pub(super) struct Listed {
    hub: Arc<Hub>,
    pid: u32,
    user: String,
    cancel: Receiver<()>,
    terminate: Receiver<()>,
}

impl Directory {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<u32, Entry>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Listed {
    pub fn new(hub: Arc<Hub>, user: &str, pid: u32) -> Self {
        let (cancel, cancelled) = channel(1);
        let (terminate, terminated) = channel(1);
        let entry = Entry {
            user: user.to_owned(),
            cancel,
            terminate,
        };
        hub.directory.with(|all| all.insert(pid, entry));
        Self {
            hub,
            pid,
            user: user.to_owned(),
            cancel: cancelled,
            terminate: terminated,
        }
    }

    /// Sends one to a session of the same user; tells whether there is such a session.
    ///
    /// # Errors
    /// It is another user's.
    pub fn send(&self, pid: i64, terminate: bool) -> Result<bool, ClientError> {
        self.hub.directory.with(|all| {
            let entry = u32::try_from(pid).ok().and_then(|pid| all.get(&pid));
            let Some(entry) = entry else {
                return Ok(false);
            };
            if entry.user != self.user {
                let message = match terminate {
                    true => "must be a member of the role whose process is being terminated",
                    false => "must be a member of the role whose query is being canceled",
                };
                return Err(ClientError::error("42501", message)
                    .hint("A session ends those of its own user; the proxy's console ends all."));
            }
            // Full: one is on its way.
            let sender = match terminate {
                true => &entry.terminate,
                false => &entry.cancel,
            };
            let _ = sender.try_send(());
            Ok(true)
        })
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.hub.directory.with(|all| all.remove(&self.pid));
    }
}

impl Session {
    /// Obeys what other sessions have sent.
    ///
    /// # Errors
    /// The session is to end.
    pub(super) fn obey_signals(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if let Poll::Ready(Some(())) = self.listed.terminate.poll_recv(cx) {
            return Err(self.end_with(ClientError::fatal(
                sqlstate::ADMIN_SHUTDOWN,
                "terminating connection due to administrator command",
            )));
        }
        while let Poll::Ready(Some(())) = self.listed.cancel.poll_recv(cx) {
            let (done, _) = tokio::sync::oneshot::channel();
            self.control.cancel(done);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_one_user_reach_each_other() {
        let hub = Arc::new(Hub::default());
        let mut a = Listed::new(Arc::clone(&hub), "app", 1);
        let b = Listed::new(Arc::clone(&hub), "app", 2);
        let other = Listed::new(Arc::clone(&hub), "other", 3);
        // Many of one kind are one, and hide none of the other.
        for _ in 0..20 {
            assert!(b.send(1, false).unwrap());
        }
        assert!(b.send(1, true).unwrap());
        assert_eq!(a.terminate.try_recv(), Ok(()));
        assert_eq!(a.cancel.try_recv(), Ok(()));
        assert!(a.cancel.try_recv().is_err() && a.terminate.try_recv().is_err());
        assert!(!b.send(-1, true).unwrap());
        assert_eq!(other.send(1, true).unwrap_err().code, "42501");
        assert!(a.cancel.try_recv().is_err() && a.terminate.try_recv().is_err());
        drop(a);
        assert!(!b.send(1, true).unwrap());
        drop((b, other));
        assert!(hub.directory.with(|all| all.is_empty()));
    }
}
