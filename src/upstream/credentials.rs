//! AWS credentials from the default chain: loaded on one thread, kept, renewed ahead of time.
//!
//! The chain of the SDK does not cache: each `provide_credentials` may ask the metadata service or
//! run a process. Its HTTP client keeps connections that belong to the runtime which opened them.
//! So one thread with its own runtime owns the chain, and the workers' runtimes wait on a channel.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};

/// One load may take this long; a `credential_process` can be slow.
const LOAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Credentials are not handed out when they expire within this: a login must end before.
const MARGIN: Duration = Duration::from_secs(30);
/// Credentials are renewed, behind the callers' backs, when they expire within this.
const EARLY: Duration = Duration::from_secs(5 * 60);
/// Credentials without expiry are read again after this, so that changed ones are noticed.
const REREAD: Duration = Duration::from_secs(15 * 60);
/// Pause behind a failed renewal, and between two forced ones.
const PAUSE: Duration = Duration::from_secs(10);

type Answer = Result<Credentials, String>;
type Chain = Box<dyn Fn() -> BoxFuture<'static, SharedCredentialsProvider> + Send>;
type Loaded = (Option<SharedCredentialsProvider>, Answer);

enum Request {
    Get(oneshot::Sender<Answer>),
    Invalidate,
}

/// Handle on the thread that owns a credential chain. Clones share it.
#[derive(Clone)]
pub(super) struct Keeper {
    requests: mpsc::UnboundedSender<Request>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keeper")
    }
}

impl Keeper {
    /// The process's keeper of the default chain. `region` is used for calls to AWS (SSO, STS) when
    /// neither environment nor profile name one; the first caller's counts.
    pub(super) fn of_default_chain(region: &str) -> Self {
        static KEEPER: OnceLock<Keeper> = OnceLock::new();
        let region = Region::new(region.to_owned());
        KEEPER
            .get_or_init(|| {
                Self::start(
                    Box::new(move || default_chain(region.clone()).boxed()),
                    SharedTimeSource::new(SystemTimeSource::new()),
                )
            })
            .clone()
    }

    /// Starts the thread. When that fails the handle's channel is closed and callers are told so.
    pub(super) fn start(chain: Chain, clock: SharedTimeSource) -> Self {
        let (requests, received) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("aws-credentials".to_owned());
        let spawned = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(Cache::new(chain, clock).serve(received)),
                Err(error) => tracing::error!(%error, "no runtime for AWS credentials"),
            }
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread for AWS credentials");
        }
        Self { requests }
    }

    /// Credentials that are good for at least the time of a login.
    async fn get(&self) -> Answer {
        let (answer, received) = oneshot::channel();
        let gone = "the thread that loads AWS credentials has ended";
        self.requests
            .send(Request::Get(answer))
            .map_err(|_| gone.to_owned())?;
        received.await.unwrap_or_else(|_| Err(gone.to_owned()))
    }

    /// Says that the server refused what was made of the kept credentials: the next caller waits
    /// for fresh ones. Ignored when they have only just been loaded.
    pub(super) fn invalidate(&self) {
        // A closed channel shows at the next `get`.
        let _ = self.requests.send(Request::Invalidate);
    }
}

impl ProvideCredentials for Keeper {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.get().await.map_err(CredentialsError::provider_error)
        })
    }
}

async fn default_chain(fallback: Region) -> SharedCredentialsProvider {
    // Without a region of its own the chain would ask the metadata service for one.
    let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new())
        .or_else(fallback);
    SharedCredentialsProvider::new(
        DefaultCredentialsChain::builder()
            .region(region)
            .build()
            .await,
    )
}

struct Kept {
    credentials: Credentials,
    loaded: Instant,
    /// Handed out before this moment; `None` is always.
    good_until: Option<SystemTime>,
    renew_at: SystemTime,
}

struct Cache {
    chain: Chain,
    clock: SharedTimeSource,
    provider: Option<SharedCredentialsProvider>,
    kept: Option<Kept>,
    load: Option<JoinHandle<Loaded>>,
    waiters: Vec<oneshot::Sender<Answer>>,
}

impl Cache {
    fn new(chain: Chain, clock: SharedTimeSource) -> Self {
        Self {
            chain,
            clock,
            provider: None,
            kept: None,
            load: None,
            waiters: Vec::new(),
        }
    }

    async fn serve(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        loop {
            tokio::select! {
                biased;
                done = finished(&mut self.load) => self.finish(done),
                request = requests.recv() => match request {
                    Some(Request::Get(caller)) => self.answer(caller),
                    Some(Request::Invalidate) => self.forget(),
                    None => return,
                },
            }
        }
    }

    fn answer(&mut self, caller: oneshot::Sender<Answer>) {
        let now = self.clock.now();
        let renew = match self.good(now) {
            Some(kept) => {
                let renew = now >= kept.renew_at;
                // A caller that went away needs no answer.
                let _ = caller.send(Ok(kept.credentials.clone()));
                renew
            }
            None => {
                self.waiters.push(caller);
                true
            }
        };
        if renew && self.load.is_none() {
            self.load = Some(self.start_load());
        }
    }

    fn good(&self, now: SystemTime) -> Option<&Kept> {
        self.kept
            .as_ref()
            .filter(|kept| kept.good_until.is_none_or(|end| now < end))
    }

    fn forget(&mut self) {
        if self
            .kept
            .as_ref()
            .is_some_and(|kept| kept.loaded.elapsed() >= PAUSE)
        {
            self.kept = None;
            // Providers remember the files they read; a new chain reads them again.
            self.provider = None;
        }
    }

    /// A task of its own, so that a panic in a provider ends the load and not the thread.
    fn start_load(&self) -> JoinHandle<Loaded> {
        let known = self.provider.clone();
        let chain = known.is_none().then(|| (self.chain)());
        tokio::spawn(async move {
            let work = async {
                let provider = match (known, chain) {
                    (Some(provider), _) => provider,
                    (None, Some(chain)) => chain.await,
                    (None, None) => return (None, Err("no credential chain".to_owned())),
                };
                let answer = provider.provide_credentials().await;
                (Some(provider), answer.map_err(|error| in_full(&error)))
            };
            tokio::time::timeout(LOAD_TIMEOUT, work)
                .await
                .unwrap_or_else(|_| {
                    (
                        None,
                        Err(format!("no AWS credentials within {LOAD_TIMEOUT:?}")),
                    )
                })
        })
    }

    fn finish(&mut self, done: Result<Loaded, JoinError>) {
        self.load = None;
        let now = self.clock.now();
        let loaded = match done {
            Ok((provider, answer)) => {
                self.provider = provider;
                answer
            }
            Err(_) => Err("the AWS credentials provider panicked".to_owned()),
        };
        let answer = loaded.and_then(|credentials| self.keep(credentials, now));
        if let Err(reason) = &answer {
            tracing::warn!(reason, "AWS credentials could not be loaded");
            if let Some(kept) = &mut self.kept {
                kept.renew_at = now + PAUSE;
            }
        }
        for waiter in self.waiters.drain(..) {
            let _ = waiter.send(answer.clone());
        }
    }

    fn keep(&mut self, credentials: Credentials, now: SystemTime) -> Answer {
        let expiry = credentials.expiry();
        if expiry.is_some_and(|end| end <= now) {
            return Err("the AWS credentials provider gave expired credentials".to_owned());
        }
        self.kept = Some(Kept {
            credentials: credentials.clone(),
            loaded: Instant::now(),
            good_until: expiry.map(|end| end.checked_sub(MARGIN).unwrap_or(now)),
            renew_at: expiry.map_or(now + REREAD, |end| end.checked_sub(EARLY).unwrap_or(now)),
        });
        Ok(credentials)
    }
}

async fn finished(load: &mut Option<JoinHandle<Loaded>>) -> Result<Loaded, JoinError> {
    match load {
        Some(load) => load.await,
        None => std::future::pending().await,
    }
}

/// The error with everything behind it, on one line: the SDK keeps causes out of its first.
pub(super) fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    // It lists the providers it tried, one a line; a log line is one.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::UNIX_EPOCH;

    use aws_smithy_async::time::TimeSource;
    use tokio::sync::Semaphore;

    use super::*;

    /// A clock that tests move, in seconds since the epoch.
    #[derive(Debug, Clone, Default)]
    struct Clock(Arc<AtomicUsize>);

    impl TimeSource for Clock {
        fn now(&self) -> SystemTime {
            UNIX_EPOCH + Duration::from_secs(self.0.load(SeqCst) as u64)
        }
    }

    /// Gives credentials named after the number of the load, when let.
    #[derive(Debug, Clone)]
    struct Counted {
        clock: Clock,
        loads: Arc<AtomicUsize>,
        let_through: Arc<Semaphore>,
        lifetime: Option<u64>,
        fail_from: usize,
        panic: bool,
    }

    impl Counted {
        fn new(lifetime: Option<u64>) -> Self {
            Self {
                clock: Clock::default(),
                loads: Arc::default(),
                let_through: Arc::new(Semaphore::new(0)),
                lifetime,
                fail_from: usize::MAX,
                panic: false,
            }
        }

        fn keeper(&self) -> Keeper {
            let provider = self.clone();
            let chain: Chain = Box::new(move || {
                let provider = SharedCredentialsProvider::new(provider.clone());
                async move { provider }.boxed()
            });
            Keeper::start(chain, SharedTimeSource::new(self.clock.clone()))
        }

        async fn load(&self) -> Result<Credentials, CredentialsError> {
            let number = self.loads.fetch_add(1, SeqCst) + 1;
            self.let_through.acquire().await.expect("open").forget();
            assert!(!self.panic, "asked to panic");
            if number >= self.fail_from {
                return Err(CredentialsError::not_loaded("switched off"));
            }
            let expiry = self
                .lifetime
                .map(|s| self.clock.now() + Duration::from_secs(s));
            Ok(Credentials::new(
                format!("key{number}"),
                "secret",
                None,
                expiry,
                "test",
            ))
        }
    }

    impl ProvideCredentials for Counted {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(self.load())
        }
    }

    async fn key(keeper: &Keeper) -> Result<String, String> {
        keeper
            .get()
            .await
            .map(|found| found.access_key_id().to_owned())
    }

    /// Asks until the answer is `expected`; a renewal runs beside its callers.
    async fn until(keeper: &Keeper, expected: &str) {
        while key(keeper).await.as_deref() != Ok(expected) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a16_a_thousand_cold_callers_share_one_load() {
        let source = Counted::new(Some(3600));
        let keeper = source.keeper();
        let callers: Vec<_> = (0..1000)
            .map(|_| {
                let keeper = keeper.clone();
                tokio::spawn(async move { key(&keeper).await })
            })
            .collect();
        source.let_through.add_permits(1000);
        for caller in callers {
            assert_eq!(caller.await.expect("caller"), Ok("key1".to_owned()));
        }
        assert_eq!(source.loads.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn a15_a_panic_or_failure_wakes_all_waiters_and_the_next_load_works() {
        for panic in [true, false] {
            let mut source = Counted::new(Some(3600));
            source.panic = panic;
            source.fail_from = if panic { usize::MAX } else { 1 };
            let keeper = source.keeper();
            source.let_through.add_permits(1000);
            let answers = futures_util::future::join_all((0..50).map(|_| key(&keeper))).await;
            let word = if panic { "panicked" } else { "switched off" };
            for answer in answers {
                assert!(
                    answer.as_ref().is_err_and(|text| text.contains(word)),
                    "{answer:?}"
                );
            }
            let loads = source.loads.load(SeqCst);
            assert!(key(&keeper).await.is_err());
            assert_eq!(source.loads.load(SeqCst), loads + 1, "the thread lives on");
        }
    }

    #[tokio::test]
    async fn credentials_are_renewed_early_and_never_used_when_expired() {
        let source = Counted::new(Some(3600));
        let keeper = source.keeper();
        source.let_through.add_permits(1);
        assert_eq!(key(&keeper).await, Ok("key1".to_owned()));
        source.clock.0.store(3299, SeqCst);
        assert_eq!(key(&keeper).await, Ok("key1".to_owned()));
        assert_eq!(source.loads.load(SeqCst), 1, "too early to renew");
        source.clock.0.store(3301, SeqCst);
        assert_eq!(
            key(&keeper).await,
            Ok("key1".to_owned()),
            "served while it is renewed"
        );
        source.let_through.add_permits(1);
        until(&keeper, "key2").await;
        source.clock.0.store(3301 + 3571, SeqCst);
        source.let_through.add_permits(1);
        assert_eq!(
            key(&keeper).await,
            Ok("key3".to_owned()),
            "too near its end to be used"
        );
    }

    #[tokio::test]
    async fn a_failed_renewal_leaves_good_credentials_in_use() {
        let mut source = Counted::new(Some(3600));
        source.fail_from = 2;
        source.let_through.add_permits(1000);
        let keeper = source.keeper();
        assert_eq!(key(&keeper).await, Ok("key1".to_owned()));
        source.clock.0.store(3400, SeqCst);
        while source.loads.load(SeqCst) < 2 {
            assert_eq!(key(&keeper).await, Ok("key1".to_owned()));
        }
        for _ in 0..1000 {
            assert_eq!(key(&keeper).await, Ok("key1".to_owned()));
        }
        assert_eq!(source.loads.load(SeqCst), 2, "one attempt, then a pause");
        source.clock.0.store(3580, SeqCst);
        assert!(key(&keeper).await.is_err());
    }

    #[tokio::test]
    async fn an_expired_answer_is_refused() {
        let source = Counted::new(Some(0));
        source.let_through.add_permits(1);
        assert!(
            key(&source.keeper())
                .await
                .is_err_and(|text| text.contains("expired"))
        );
    }

    #[test]
    fn a_runtime_that_ends_does_not_take_the_load_with_it() {
        let source = Counted::new(None);
        let keeper = source.keeper();
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("runtime")
        };
        let first = runtime();
        let waiting = keeper.clone();
        first.spawn(async move { key(&waiting).await });
        first.block_on(async {
            while source.loads.load(SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        });
        drop(first);
        source.let_through.add_permits(1);
        assert_eq!(runtime().block_on(key(&keeper)), Ok("key1".to_owned()));
        assert_eq!(source.loads.load(SeqCst), 1);
    }
}
