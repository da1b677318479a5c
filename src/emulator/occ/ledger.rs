//! Who has committed what, and who is at work.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;

use super::effect::{Footprint, Place};

/// Keys of committed transactions that are kept for transactions that began before. Above it the
/// oldest are forgotten, and whoever began before them has lost: such a transaction has been open
/// while a million rows were changed.
const MAX_KEYS: usize = 1_000_000;
/// How long others get to give up their locks at once.
const MOMENT: Duration = Duration::from_millis(100);
/// How long a transaction waits for another that is in the middle of a statement.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which transactions a snapshot of PostgreSQL sees; `pg_current_snapshot()` in text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    first_running: u64,
    next: u64,
    running: HashSet<u64>,
}

impl Snapshot {
    /// Reads `xmin:xmax:xip,…`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        Some(Self {
            first_running: parts.next()?.parse().ok()?,
            next: parts.next()?.parse().ok()?,
            running: parts
                .next()?
                .split_terminator(',')
                .map(|id| id.parse().ok())
                .collect::<Option<_>>()?,
        })
    }

    /// Whether it sees what the transaction with this id has committed.
    #[must_use]
    pub fn sees(&self, transaction: u64) -> bool {
        transaction < self.first_running
            || (transaction < self.next && !self.running.contains(&transaction))
    }
}

/// A live transaction, as others know it.
#[derive(Debug)]
pub struct Holder {
    id: u64,
    /// Number of the last commit that its snapshot sees for certain.
    since: u64,
    footprint: Mutex<Footprint>,
    schema: AtomicBool,
    asked: watch::Sender<bool>,
    free: watch::Sender<bool>,
}

impl Holder {
    fn new(id: u64, since: u64) -> Self {
        Self {
            id,
            since,
            footprint: Mutex::default(),
            schema: AtomicBool::new(false),
            asked: watch::Sender::new(false),
            free: watch::Sender::new(false),
        }
    }

    /// What it has touched so far.
    pub fn footprint(&self) -> MutexGuard<'_, Footprint> {
        locked(&self.footprint)
    }

    /// Whether somebody wants its locks.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Waits until somebody wants its locks.
    pub async fn asked(&self) {
        // The sender is part of self, so it cannot end before.
        let _ = self.asked.subscribe().wait_for(|asked| *asked).await;
    }

    /// Says that it holds no locks (any more).
    pub fn set_free(&self) {
        self.asked.send_replace(false);
        self.free.send_replace(true);
    }

    /// Says that it may hold locks again.
    pub fn set_bound(&self) {
        self.free.send_replace(false);
    }

    /// Says that it has changed the schema and not committed yet.
    pub fn set_schema_change(&self, changed: bool) {
        self.schema.store(changed, Ordering::Relaxed);
    }

    /// As [`Self::evict`], but not for longer than a statement may reasonably take: one that does
    /// not let go in time is met again as a lock.
    pub async fn evict_in_time(&self) {
        let _ = tokio::time::timeout(PATIENCE, self.evict()).await;
    }

    /// Asks it to give up its locks and waits until it has.
    pub async fn evict(&self) {
        let mut free = self.free.subscribe();
        if *free.borrow_and_update() {
            return;
        }
        self.asked.send_replace(true);
        let _ = free.wait_for(|free| *free).await;
    }
}

#[derive(Debug)]
struct Committed {
    number: u64,
    /// PostgreSQL's transaction id.
    id: u64,
    footprint: Footprint,
}

#[derive(Debug, Default)]
struct State {
    commits: u64,
    epoch: u64,
    history: VecDeque<Committed>,
    /// Where rows without keys first stood, as far as `history` goes back: by table and the place
    /// where a committed update has put them. A row that was only updated can still be the one that
    /// an older snapshot has locked.
    roots: HashMap<(u32, Place), Place>,
    /// Number of keys in `history`.
    keys: usize,
    /// Commits up to this number were dropped though somebody might conflict with them.
    dropped: u64,
    live: HashMap<u64, Arc<Holder>>,
    next: u64,
}

impl State {
    /// Gives the number of the commit that was dropped.
    fn drop_oldest(&mut self) -> Option<u64> {
        let oldest = self.history.pop_front()?;
        self.keys -= oldest.footprint.size();
        Some(oldest.number)
    }
}

/// The conflict ledger of a cluster.
///
/// Commits take [`Ledger::turn`] one after another: check, COMMIT in PostgreSQL, publish. Snapshots
/// need no turn: PostgreSQL itself tells which committed transactions a snapshot sees.
#[derive(Debug, Default)]
pub struct Ledger {
    turn: tokio::sync::Mutex<()>,
    schema_turn: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
}

impl Ledger {
    /// Registers a transaction. To be called before its snapshot is taken.
    pub fn enter(&self) -> Arc<Holder> {
        let mut state = locked(&self.state);
        state.next += 1;
        let holder = Arc::new(Holder::new(state.next, state.commits));
        state.live.insert(holder.id, Arc::clone(&holder));
        holder
    }

    /// Forgets a transaction that has ended, and footprints nobody can conflict with any more.
    pub fn leave(&self, holder: &Holder) {
        holder.set_free();
        let mut state = locked(&self.state);
        state.live.remove(&holder.id);
        let oldest = state.live.values().map(|other| other.since).min();
        let oldest = oldest.unwrap_or(state.commits);
        while state.history.front().is_some_and(|c| c.number <= oldest) {
            state.drop_oldest();
        }
        if state.history.is_empty() {
            state.roots.clear();
        }
    }

    /// The right to commit: one transaction at a time.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The right to change the schema: one session at a time.
    pub fn schema_turn(&self) -> impl Future<Output = tokio::sync::OwnedMutexGuard<()>> + use<> {
        Arc::clone(&self.schema_turn).lock_owned()
    }

    /// Whether anything was committed that this transaction's snapshot may not see.
    #[must_use]
    pub fn is_stale(&self, holder: &Holder) -> bool {
        locked(&self.state).commits > holder.since
    }

    /// Whether `footprint` conflicts with what was committed and `snapshot` does not see. Without
    /// a snapshot, every commit since the transaction was registered counts.
    #[must_use]
    pub fn conflicts(
        &self,
        holder: &Holder,
        footprint: &Footprint,
        snapshot: Option<&Snapshot>,
    ) -> bool {
        let rooted = self.rooted(footprint);
        let footprint = rooted.as_ref().unwrap_or(footprint);
        self.unseen(holder, snapshot, |other| footprint.conflicts(other))
    }

    fn rooted(&self, footprint: &Footprint) -> Option<Footprint> {
        let state = locked(&self.state);
        let root = |table, place| state.roots.get(&(table, place)).copied();
        (!state.roots.is_empty()).then(|| footprint.rooted(root))
    }

    /// Whether rows of any of `tables` were changed since, by commits its snapshot may not see.
    #[must_use]
    pub fn changed_since(&self, holder: &Holder, tables: &HashSet<u32>) -> bool {
        !tables.is_empty() && self.unseen(holder, None, |other| other.changes_any(tables))
    }

    fn unseen(
        &self,
        holder: &Holder,
        snapshot: Option<&Snapshot>,
        mut test: impl FnMut(&Footprint) -> bool,
    ) -> bool {
        let state = locked(&self.state);
        if holder.since < state.dropped {
            return true;
        }
        let newest_first = state.history.iter().rev();
        newest_first
            .take_while(|commit| commit.number > holder.since)
            .filter(|commit| snapshot.is_none_or(|snapshot| !snapshot.sees(commit.id)))
            .any(|commit| test(&commit.footprint))
    }

    /// Live transactions whose footprint conflicts with `footprint`.
    #[must_use]
    pub fn rivals(&self, holder: &Holder, footprint: &Footprint) -> Vec<Arc<Holder>> {
        self.others(holder, |other| other.footprint().conflicts(footprint))
    }

    /// All other live transactions that hold changes of rows or of the schema.
    #[must_use]
    pub fn writers(&self, holder: &Holder) -> Vec<Arc<Holder>> {
        self.others(holder, |other| {
            other.schema.load(Ordering::Relaxed) || other.footprint().changes()
        })
    }

    /// Live transactions with a schema change that is not committed.
    #[must_use]
    pub fn schema_changers(&self, but: Option<&Holder>) -> Vec<Arc<Holder>> {
        let id = but.map(|holder| holder.id);
        let state = locked(&self.state);
        let others = state.live.values().filter(|other| Some(other.id) != id);
        let changers = others.filter(|other| other.schema.load(Ordering::Relaxed));
        changers.cloned().collect()
    }

    /// All other live transactions.
    fn everybody(&self, holder: &Holder) -> Vec<Arc<Holder>> {
        self.others(holder, |_| true)
    }

    /// Asks all others to give up their locks, and gives them a moment for it. Some may be busy for
    /// long with what is in nobody's way.
    pub async fn make_room(&self, holder: &Holder) {
        evict(&self.everybody(holder)).await;
    }

    fn others(&self, holder: &Holder, test: impl Fn(&Holder) -> bool) -> Vec<Arc<Holder>> {
        let state = locked(&self.state);
        let others = state.live.values().filter(|other| other.id != holder.id);
        others.filter(|other| test(other)).cloned().collect()
    }

    /// Records a commit; the caller has the turn and PostgreSQL has committed `id`.
    /// `moves`: rows without keys that it has updated: their table, and their places before and after.
    pub fn publish(&self, id: u64, footprint: Footprint, moves: &[(u32, Place, Place)]) {
        let footprint = self.rooted(&footprint).unwrap_or(footprint);
        let mut state = locked(&self.state);
        state.commits += 1;
        let number = state.commits;
        for (table, before, after) in moves {
            let root = state.roots.get(&(*table, *before)).copied();
            state
                .roots
                .insert((*table, *after), root.unwrap_or(*before));
        }
        state.keys += footprint.size();
        state.history.push_back(Committed {
            number,
            id,
            footprint,
        });
        while state.keys > MAX_KEYS && state.history.len() > 1 {
            state.dropped = state.drop_oldest().unwrap_or_default();
        }
    }

    /// The number of schema changes so far (DDL, GRANT, REVOKE).
    #[must_use]
    pub fn epoch(&self) -> u64 {
        locked(&self.state).epoch
    }

    /// Records a committed schema change; gives the new epoch.
    pub fn advance_epoch(&self) -> u64 {
        let mut state = locked(&self.state);
        state.epoch += 1;
        state.epoch
    }

    #[cfg(test)]
    fn kept(&self) -> usize {
        locked(&self.state).history.len()
    }
}

/// Asks others to give up their locks, and gives them a moment for it.
pub async fn evict(others: &[Arc<Holder>]) {
    let all = join_all(others.iter().map(|other| other.evict()));
    let _ = tokio::time::timeout(MOMENT, all).await;
}

/// A panic elsewhere leaves these maps whole: no change of theirs is left half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::effect::{Key, Modes};
    use super::*;

    fn print(keys: &[(i64, Modes)]) -> Footprint {
        let mut footprint = Footprint::default();
        for (key, modes) in keys {
            footprint.touch(Key::Index(1, *key), *modes);
            footprint.change(10);
        }
        footprint
    }

    #[test]
    fn a_snapshot_knows_what_it_sees() {
        let snapshot = Snapshot::read("10:15:11,13").unwrap();
        let seen: Vec<u64> = (8..18).filter(|id| snapshot.sees(*id)).collect();
        assert_eq!(seen, [8, 9, 10, 12, 14]);
        assert!(Snapshot::read("10:15:").unwrap().sees(14));
        assert_eq!(Snapshot::read("10"), None);
    }

    #[test]
    fn only_commits_after_the_snapshot_conflict() {
        let ledger = Ledger::default();
        let early = ledger.enter();
        ledger.publish(100, print(&[(1, Modes::KEY)]), &[]);
        let late = ledger.enter();
        let mine = print(&[(1, Modes::VALUE)]);
        assert!(ledger.conflicts(&early, &mine, None));
        assert!(!ledger.conflicts(&late, &mine, None));
        assert!(ledger.is_stale(&early) && !ledger.is_stale(&late));
        // Entered before that commit, but its snapshot was taken after it.
        let snapshot = Snapshot::read("101:101:").unwrap();
        assert!(!ledger.conflicts(&early, &mine, Some(&snapshot)));
        let snapshot = Snapshot::read("100:101:100").unwrap();
        assert!(ledger.conflicts(&early, &mine, Some(&snapshot)));
    }

    #[test]
    fn disjoint_keys_never_conflict() {
        let ledger = Ledger::default();
        let one = ledger.enter();
        ledger.publish(100, print(&[(1, Modes::KEY), (2, Modes::VALUE)]), &[]);
        assert!(!ledger.conflicts(&one, &print(&[(3, Modes::KEY)]), None));
        assert!(!ledger.conflicts(&one, &print(&[(2, Modes::SHARE)]), None));
        assert!(ledger.conflicts(&one, &print(&[(2, Modes::KEY)]), None));
        assert!(ledger.changed_since(&one, &HashSet::from([10])));
        assert!(!ledger.changed_since(&one, &HashSet::from([11])));
    }

    #[test]
    fn a_row_without_keys_is_the_same_row_after_updates() {
        let ledger = Ledger::default();
        let row = |item, modes| {
            let mut footprint = Footprint::default();
            footprint.touch(Key::Row(9, Place { page: 0, item }), modes);
            footprint
        };
        let moved = |from, to| {
            [(
                9,
                Place {
                    page: 0,
                    item: from,
                },
                Place { page: 0, item: to },
            )]
        };
        let old = ledger.enter();
        ledger.publish(1, row(1, Modes::VALUE), &moved(1, 2));
        assert!(!ledger.conflicts(&old, &row(1, Modes::SHARE), None));
        ledger.publish(2, row(2, Modes::VALUE), &moved(2, 3));
        ledger.publish(3, row(3, Modes::KEY), &[]);
        assert!(ledger.conflicts(&old, &row(1, Modes::SHARE), None));
        assert!(!ledger.conflicts(&old, &row(4, Modes::SHARE), None));
    }

    #[test]
    fn footprints_nobody_can_conflict_with_are_dropped() {
        let ledger = Ledger::default();
        let old = ledger.enter();
        for id in 0..10 {
            ledger.publish(id, print(&[(1, Modes::KEY)]), &[]);
        }
        let young = ledger.enter();
        ledger.leave(&young);
        assert_eq!(ledger.kept(), 10);
        ledger.leave(&old);
        assert_eq!(ledger.kept(), 0);
    }

    #[test]
    fn a_transaction_older_than_the_ledger_has_lost() {
        let ledger = Ledger::default();
        let old = ledger.enter();
        let keys: Vec<(i64, Modes)> = (0..600_000).map(|key| (key, Modes::KEY)).collect();
        let other = print(&[(-1, Modes::KEY)]);
        ledger.publish(1, print(&keys), &[]);
        assert!(!ledger.conflicts(&old, &other, None));
        ledger.publish(2, print(&keys), &[]);
        assert_eq!(ledger.kept(), 1);
        assert!(ledger.conflicts(&old, &other, None));
        let young = ledger.enter();
        assert!(!ledger.conflicts(&young, &other, None));
    }

    #[test]
    fn rivals_are_those_whose_footprints_conflict() {
        let ledger = Ledger::default();
        let (one, two, three) = (ledger.enter(), ledger.enter(), ledger.enter());
        *two.footprint() = print(&[(1, Modes::VALUE)]);
        three.set_schema_change(true);
        let found = ledger.rivals(&one, &print(&[(1, Modes::VALUE)]));
        assert_eq!(found.iter().map(|h| h.id).collect::<Vec<_>>(), [two.id]);
        assert!(ledger.rivals(&one, &print(&[(1, Modes::SHARE)])).is_empty());
        assert_eq!(ledger.writers(&one).len(), 2);
        assert_eq!(ledger.schema_changers(Some(&one)).len(), 1);
        assert_eq!(ledger.schema_changers(Some(&three)).len(), 0);
    }

    #[tokio::test]
    async fn eviction_waits_for_the_holder() {
        let ledger = Ledger::default();
        let holder = ledger.enter();
        let other = Arc::clone(&holder);
        let evictor = tokio::spawn(async move { other.evict().await });
        holder.asked().await;
        assert!(!evictor.is_finished());
        holder.set_free();
        evictor.await.unwrap();
        // Free already: nobody waits.
        holder.evict().await;
        assert!(!holder.is_asked());
    }
}
