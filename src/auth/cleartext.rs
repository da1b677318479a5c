//! Cleartext passwords: hashed off the relay's threads, a few at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

use crate::config::verifier::Verifier;

/// Limits the hashing that runs at once.
#[derive(Debug)]
pub(super) struct Hashing {
    permits: Arc<Semaphore>,
}

/// Tells the hash that nobody waits for it any more.
struct AbandonOnDrop(Arc<AtomicBool>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Hashing {
    /// Uses at most half of the processors, so that a flood of logins leaves the rest to sessions.
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            permits: Arc::new(Semaphore::new((processors / 2).max(1))),
        }
    }

    /// Whether this is the password. Dropping the future ends the work.
    pub(super) async fn check(&self, verifier: Arc<Verifier>, password: String) -> bool {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
            return false;
        };
        let abandon = AbandonOnDrop(Arc::default());
        let abandoned = Arc::clone(&abandon.0);
        let work = tokio::task::spawn_blocking(move || {
            let matches = verifier.check(&password, &abandoned);
            // The permit goes back when the processor is free again, not when the client left.
            drop(permit);
            matches
        });
        matches!(work.await, Ok(Some(true)))
    }

    #[cfg(test)]
    fn free(&self) -> usize {
        self.permits.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a11_abandoned_work_gives_its_permit_back() {
        let hashing = Hashing::new();
        let total = hashing.free();
        let slow = Arc::new(
            "SCRAM-SHA-256$8000000:c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
                .parse::<Verifier>()
                .unwrap(),
        );
        for _ in 0..total + 3 {
            let check = hashing.check(Arc::clone(&slow), "x".into());
            let limit = Duration::from_millis(20);
            assert!(
                tokio::time::timeout(limit, check).await.is_err(),
                "it takes many seconds"
            );
        }
        let all = u32::try_from(total).unwrap();
        let back = hashing.permits.acquire_many(all);
        let _all = tokio::time::timeout(Duration::from_secs(3), back)
            .await
            .unwrap()
            .unwrap();
    }

    #[tokio::test]
    async fn passwords_are_told_apart() {
        let hashing = Hashing::new();
        let verifier = Arc::new(Verifier::generate("x", 4096));
        assert!(hashing.check(Arc::clone(&verifier), "x".into()).await);
        assert!(!hashing.check(verifier, "y".into()).await);
    }
}
