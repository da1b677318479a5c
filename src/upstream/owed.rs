//! Which responses an upstream connection still owes, and to which request.
//!
//! Most pooler bugs are one bug: the count of responses still due was wrong. So it is not counted
//! but listed, and only an empty list gives the [`Settled`] that the pool asks for.

use std::collections::VecDeque;

use crate::wire::backend::TransactionStatus;

/// What will be answered next for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Query: anything, then ReadyForQuery.
    Query,
    /// FunctionCall: FunctionCallResponse or ErrorResponse, then ReadyForQuery.
    FunctionCall,
    /// Parse: ParseComplete.
    Parse,
    /// Bind: BindComplete.
    Bind,
    /// Describe of a statement: ParameterDescription, then RowDescription or NoData.
    DescribeStatement,
    /// Describe of a portal: RowDescription or NoData.
    DescribePortal,
    /// Execute: rows, then CommandComplete, PortalSuspended or EmptyQueryResponse.
    Execute,
    /// Close: CloseComplete.
    Close,
    /// Sync: ReadyForQuery.
    Sync,
    /// CopyDone or CopyFail: no answer of its own; marks where copy data ended.
    CopyEnd,
    /// Answered by the proxy when its turn comes.
    Local,
}

impl Expect {
    /// Part of an extended-protocol batch, which an error ends up to the next Sync.
    #[must_use]
    pub fn is_extended(self) -> bool {
        !matches!(self, Self::Query | Self::FunctionCall | Self::Sync)
    }
}

/// One entry: what is due, whether the client sees it, and what the session must do about it.
#[derive(Debug)]
pub struct Owed<N> {
    /// What will be answered.
    pub expect: Expect,
    /// The proxy asked, not the client.
    pub hidden: bool,
    /// What the session noted.
    pub note: Option<Box<N>>,
}

/// Extended messages that may still fail.
#[derive(Debug, Default)]
struct Loose {
    client: isize,
    own: isize,
}

impl Loose {
    fn count(&mut self, expect: Expect, hidden: bool, change: isize) {
        if expect.is_extended() && !matches!(expect, Expect::Local | Expect::CopyEnd) {
            *(if hidden {
                &mut self.own
            } else {
                &mut self.client
            }) += change;
        }
    }
}

/// Proof that a connection owes nothing and is outside a transaction.
#[derive(Debug)]
pub struct Settled(());

/// The responses still due on one connection, oldest first.
#[derive(Debug)]
pub struct OwedQueue<N> {
    entries: VecDeque<Owed<N>>,
    /// How many entries, from the front, the server answers without being asked again.
    asked: usize,
    /// ReadyForQuery messages due.
    ready_due: usize,
    /// Syncs among the entries.
    syncs: usize,
    /// Entries behind the last Sync whose failure makes the server skip what follows.
    loose: Loose,
    status: TransactionStatus,
    /// Extended messages were sent since the last Sync.
    unsynced: bool,
    /// The server discards everything up to the next Sync.
    skipping: bool,
}

impl<N> Default for OwedQueue<N> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            asked: 0,
            ready_due: 0,
            syncs: 0,
            loose: Loose::default(),
            status: TransactionStatus::Idle,
            unsynced: false,
            skipping: false,
        }
    }
}

impl<N> OwedQueue<N> {
    /// Begins anew for another connection.
    pub fn reset(&mut self) {
        self.entries.clear();
        self.asked = 0;
        self.ready_due = 0;
        self.syncs = 0;
        self.loose = Loose::default();
        self.status = TransactionStatus::Idle;
        self.unsynced = false;
        self.skipping = false;
    }

    /// Notes a request that was sent.
    pub fn push(&mut self, expect: Expect, hidden: bool, note: Option<Box<N>>) {
        match expect {
            // A simple request ends what was begun without a Sync.
            Expect::Query | Expect::FunctionCall => {
                self.ready_due += 1;
                self.unsynced = false;
            }
            Expect::Sync => {
                self.ready_due += 1;
                self.unsynced = false;
                self.skipping = false;
                self.syncs += 1;
                self.loose = Loose::default();
            }
            Expect::CopyEnd => {}
            _ => self.unsynced = true,
        }
        self.loose.count(expect, hidden, 1);
        self.entries.push_back(Owed {
            expect,
            hidden,
            note,
        });
        if !expect.is_extended() {
            self.asked = self.entries.len();
        }
    }

    /// Notes a Flush that was sent: it asks for all answers that are due.
    pub fn flush(&mut self) {
        self.asked = self.entries.len();
    }

    /// A Sync, a Flush or a simple request asked for the answer of the front entry. Others the
    /// server keeps back.
    #[must_use]
    pub fn front_is_asked(&self) -> bool {
        self.asked > 0
    }

    /// The server keeps no answer back.
    #[must_use]
    pub fn all_asked(&self) -> bool {
        self.asked == self.entries.len()
    }

    /// The entry whose answer comes next.
    #[must_use]
    pub fn front(&self) -> Option<&Owed<N>> {
        self.entries.front()
    }

    /// All entries, oldest first.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Owed<N>> {
        self.entries.iter_mut()
    }

    /// The entry whose answer comes next.
    pub fn front_mut(&mut self) -> Option<&mut Owed<N>> {
        self.entries.front_mut()
    }

    /// Removes the entry that was answered in full.
    pub fn pop(&mut self) -> Option<Owed<N>> {
        let entry = self.entries.pop_front()?;
        self.asked = self.asked.saturating_sub(1);
        if !entry.expect.is_extended() {
            self.ready_due -= 1;
        }
        if entry.expect == Expect::Sync {
            self.syncs -= 1;
        } else if self.syncs == 0 {
            self.loose.count(entry.expect, entry.hidden, -1);
        }
        Some(entry)
    }

    /// Removes the entry that was pushed last, to undo it: only [`OwedQueue::reset`] may follow.
    pub fn pop_back(&mut self) -> Option<Owed<N>> {
        self.entries.pop_back()
    }

    /// Takes a ReadyForQuery: the front entry must be one that ends with it.
    pub fn ready(&mut self, status: TransactionStatus) -> Option<Owed<N>> {
        if self.front()?.expect.is_extended() {
            return None;
        }
        self.status = status;
        self.pop()
    }

    /// Takes an error in an extended batch: what follows up to the next Sync will not be answered.
    /// Gives the failed entry and the skipped ones, oldest first.
    pub fn fail(&mut self) -> Vec<Owed<N>> {
        let mut dropped = Vec::new();
        while let Some(front) = self.entries.front() {
            if front.expect == Expect::Sync {
                return dropped;
            }
            dropped.extend(self.pop());
        }
        self.skipping = true;
        self.unsynced = true;
        dropped
    }

    /// Takes CopyInResponse for the front entry: a Sync sent before the end of the copy data is
    /// swallowed by the server. Tells whether the entries left are ones that may follow.
    ///
    /// Source: PostgreSQL manual, "COPY Operations".
    pub fn begin_copy_in(&mut self) -> bool {
        let end = self
            .entries
            .iter()
            .position(|entry| entry.expect == Expect::CopyEnd)
            .unwrap_or(self.entries.len());
        let mut kept = VecDeque::with_capacity(self.entries.len());
        let mut clean = true;
        let mut asked = self.asked;
        for (position, entry) in self.entries.drain(..).enumerate() {
            let before_end = position > 0 && position < end;
            if before_end && entry.expect == Expect::Sync {
                self.ready_due -= 1;
                self.unsynced = true;
                asked -= usize::from(position < self.asked);
            } else {
                clean &= !before_end;
                kept.push_back(entry);
            }
        }
        self.entries = kept;
        self.asked = asked;
        self.count_loose();
        clean
    }

    /// No response is due (messages may still lack their Sync).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Requests not answered yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// ReadyForQuery messages due.
    #[must_use]
    pub fn ready_due(&self) -> usize {
        self.ready_due
    }

    /// The server discards everything up to the next Sync, which has not been sent.
    #[must_use]
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// Extended messages were sent since the last Sync.
    #[must_use]
    pub fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    /// Transaction status of the last ReadyForQuery.
    #[must_use]
    pub fn status(&self) -> TransactionStatus {
        self.status
    }

    /// Entries of batches that are complete: those before the last ReadyForQuery due.
    pub fn earlier_batches(&self) -> impl Iterator<Item = &Owed<N>> {
        let last = self
            .entries
            .iter()
            .rposition(|entry| !entry.expect.is_extended());
        self.entries.iter().take(last.map_or(0, |last| last + 1))
    }

    fn count_loose(&mut self) {
        self.loose = Loose::default();
        self.syncs = 0;
        for entry in &self.entries {
            if entry.expect == Expect::Sync {
                self.syncs += 1;
                self.loose = Loose::default();
            } else {
                self.loose.count(entry.expect, entry.hidden, 1);
            }
        }
    }

    /// Extended messages of the client were sent since the last Sync and may still fail: then
    /// everything behind them is skipped, simple requests too.
    #[must_use]
    pub fn may_skip(&self) -> bool {
        self.loose.client > 0
    }

    /// The last request is a simple one behind extended messages of the proxy that may still fail:
    /// it would be skipped, and what is sent behind it too.
    #[must_use]
    pub fn hangs_on_own(&self) -> bool {
        let last = self.entries.back().map(|entry| entry.expect);
        self.loose.own > 0 && matches!(last, Some(Expect::Query | Expect::FunctionCall))
    }

    /// The copy whose end was sent first is complete.
    pub fn forget_copy_end(&mut self) {
        if let Some(at) = self
            .entries
            .iter()
            .position(|entry| entry.expect == Expect::CopyEnd)
        {
            self.entries.remove(at);
            self.asked -= usize::from(at < self.asked);
        }
    }

    /// The end of copy data was sent already.
    #[must_use]
    pub fn has_copy_end(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.expect == Expect::CopyEnd)
    }

    /// All entries, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Owed<N>> {
        self.entries.iter()
    }

    /// Proof for the pool, when nothing is due and no transaction is open.
    #[must_use]
    pub fn settle(&self) -> Option<Settled> {
        let settled = self.entries.is_empty()
            && !self.unsynced
            && !self.skipping
            && self.status == TransactionStatus::Idle;
        settled.then_some(Settled(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(expects: &[Expect]) -> OwedQueue<()> {
        let mut queue = OwedQueue::default();
        for expect in expects {
            queue.push(*expect, false, None);
        }
        queue
    }

    fn left(queue: &OwedQueue<()>) -> Vec<Expect> {
        queue.iter().map(|entry| entry.expect).collect()
    }

    #[test]
    fn only_an_empty_idle_queue_settles() {
        use TransactionStatus::{Idle, Open};
        let mut q = queue(&[]);
        assert!(q.settle().is_some());
        q.push(Expect::Query, false, None);
        assert!(q.settle().is_none());
        assert!(q.ready(Open).is_some());
        assert!(q.settle().is_none());
        q.push(Expect::Query, false, None);
        assert!(q.ready(Idle).is_some());
        assert!(q.settle().is_some());
        q.push(Expect::Parse, false, None);
        q.pop();
        assert!(
            q.is_empty() && q.settle().is_none(),
            "a Sync is still to come"
        );
        q.push(Expect::Sync, false, None);
        assert!(q.ready(Idle).is_some());
        assert!(q.settle().is_some());
    }

    #[test]
    fn an_error_drops_up_to_the_sync() {
        use Expect::{Bind, Execute, Parse, Query, Sync};
        let mut q = queue(&[Parse, Bind, Execute, Sync, Query]);
        assert_eq!(q.fail().len(), 3);
        assert_eq!(left(&q), [Sync, Query]);
        assert!(!q.is_skipping());

        let mut q = queue(&[Bind, Execute, Query]);
        assert_eq!(q.fail().len(), 3);
        assert!(q.is_empty() && q.is_skipping() && q.ready_due() == 0);
        assert!(q.settle().is_none());
    }

    #[test]
    fn sync_flush_and_query_ask_for_what_is_due() {
        use Expect::{Bind, CopyEnd, Execute, Parse, Sync};
        let mut q = queue(&[Parse, Bind]);
        assert!(!q.front_is_asked() && !q.all_asked());
        q.flush();
        q.push(Execute, false, None);
        assert!(q.front_is_asked() && !q.all_asked());
        q.pop();
        assert!(q.front_is_asked());
        q.pop();
        assert!(!q.front_is_asked(), "the Execute came behind the Flush");
        q.push(Sync, false, None);
        assert!(q.front_is_asked() && q.all_asked());

        let mut q = queue(&[Execute, Sync]);
        assert!(q.begin_copy_in() && q.all_asked());
        let mut q = queue(&[Execute, CopyEnd, Sync, Parse]);
        q.forget_copy_end();
        q.pop();
        q.pop();
        assert!(!q.front_is_asked() && !q.all_asked());
        q.fail();
        assert!(q.all_asked());
    }

    #[test]
    fn what_follows_unanswered_extended_messages_may_be_skipped() {
        use Expect::{Bind, Execute, Local, Parse, Query, Sync};
        let cases: [(&[Expect], usize, bool); 8] = [
            (&[Query], 0, false),
            (&[Parse, Query], 0, true),
            (&[Parse, Query, Query], 0, true),
            (&[Parse, Query, Query], 1, false),
            (&[Parse, Bind, Execute, Sync], 0, false),
            (&[Parse, Sync, Bind, Query], 0, true),
            (&[Parse, Sync, Bind, Query], 2, true),
            (&[Local, Query], 0, false),
        ];
        for (expects, answered, expected) in cases {
            let mut q = queue(expects);
            (0..answered).for_each(|_| drop(q.pop()));
            assert_eq!(q.may_skip(), expected, "{expects:?} {answered}");
            assert!(!q.hangs_on_own());
        }
        let mut q = queue(&[Execute, Sync, Parse]);
        q.pop();
        q.pop();
        q.push(Bind, true, None);
        assert!(q.may_skip() && !q.hangs_on_own());
        q.push(Query, false, None);
        assert!(q.hangs_on_own());
        q.fail();
        assert!(!q.may_skip() && !q.hangs_on_own());
    }

    #[test]
    fn ready_for_query_out_of_turn_is_refused() {
        let mut q = queue(&[Expect::Parse, Expect::Sync]);
        assert!(q.ready(TransactionStatus::Idle).is_none());
        let mut q = queue(&[]);
        assert!(q.ready(TransactionStatus::Idle).is_none());
    }

    #[test]
    fn copy_in_swallows_syncs_before_its_end() {
        use Expect::{CopyEnd, Execute, Parse, Sync};
        let mut q = queue(&[Execute, Sync]);
        assert!(q.begin_copy_in());
        assert_eq!((left(&q), q.ready_due()), (vec![Execute], 0));

        let mut q = queue(&[Execute, CopyEnd, Sync]);
        assert!(q.begin_copy_in());
        assert_eq!((left(&q), q.ready_due()), (vec![Execute, CopyEnd, Sync], 1));

        let mut q = queue(&[Execute, Parse]);
        assert!(!q.begin_copy_in());
    }
}
