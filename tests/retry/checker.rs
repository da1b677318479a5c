//! Whether what clients saw can be explained by single executions under snapshot isolation.
//!
//! Every write appends an id that is used once to its row, so that the rows themselves tell in which
//! order their versions came. What is left are statements of the form "this happened before that":
//! each transaction has one moment at which it looks at the data and one at which it commits; a version
//! that was read was committed before the look and replaced after it; what a transaction writes or
//! locks was changed by nobody between its look and its commit; and what was acknowledged before
//! another transaction began is seen by it. There is an explanation when these have no cycle.

use std::collections::{BTreeMap, HashMap, HashSet};

/// A row.
pub type Key = u32;
/// A write; used once.
pub type Id = u64;
/// Ids in the order in which they were written to each row. Version 0 of a row has the value 0, and
/// version n that of its n-th id.
pub type History = BTreeMap<Key, Vec<Id>>;

/// What a client did and was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It read a row.
    Read { key: Key, version: u64, value: Id },
    /// It read a row FOR UPDATE.
    Lock { key: Key, version: u64, value: Id },
    /// It changed a row, and may have been told the version it made.
    Write {
        key: Key,
        id: Id,
        version: Option<u64>,
    },
}

/// How a transaction ended, as far as the client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Committed,
    Refused,
    Unknown,
}

/// A transaction of one client.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// For people.
    pub name: String,
    /// Before its first request was sent, on a clock common to all.
    pub began: u64,
    /// After its last answer was read.
    pub ended: u64,
    pub events: Vec<Event>,
    pub outcome: Outcome,
}

/// Everything that cannot be explained, in sentences.
pub fn check(transactions: &[Transaction], history: &History) -> Result<(), Vec<String>> {
    let mut checker = Checker::new(transactions, history);
    checker.assign_versions();
    for number in 0..transactions.len() {
        checker.check_transaction(number);
    }
    if checker.violations.is_empty() {
        checker.check_order();
    }
    match checker.violations.is_empty() {
        true => Ok(()),
        false => Err(checker.violations),
    }
}

struct Checker<'a> {
    transactions: &'a [Transaction],
    history: &'a History,
    /// Who wrote an id.
    writers: HashMap<Id, usize>,
    /// Took effect.
    applied: Vec<bool>,
    graph: Graph,
    violations: Vec<String>,
}

impl<'a> Checker<'a> {
    fn new(transactions: &'a [Transaction], history: &'a History) -> Self {
        let mut writers = HashMap::new();
        let mut violations = Vec::new();
        for (number, transaction) in transactions.iter().enumerate() {
            for event in &transaction.events {
                if let Event::Write { id, .. } = event
                    && writers.insert(*id, number).is_some()
                {
                    violations.push(format!("the test used the id {id} twice"));
                }
            }
        }
        Self {
            transactions,
            history,
            writers,
            applied: vec![false; transactions.len()],
            graph: Graph::new(transactions),
            violations,
        }
    }

    fn name(&self, number: usize) -> &str {
        &self.transactions[number].name
    }

    /// Finds out which transactions took effect: each id is there once, and that of nobody who was
    /// refused; all writes of one transaction are there or none.
    fn assign_versions(&mut self) {
        let mut there = HashSet::new();
        for (key, ids) in self.history {
            for id in ids {
                if !there.insert(*id) {
                    self.violations
                        .push(format!("doubled write: {id} is twice in row {key}"));
                }
                match self.writers.get(id) {
                    Some(writer) => self.applied[*writer] = true,
                    None => self
                        .violations
                        .push(format!("nobody wrote {id} of row {key}")),
                }
            }
        }
        for (number, transaction) in self.transactions.iter().enumerate() {
            let ids = transaction.events.iter().filter_map(|event| match event {
                Event::Write { id, .. } => Some(*id),
                _ => None,
            });
            let missing: Vec<Id> = ids.filter(|id| !there.contains(id)).collect();
            match transaction.outcome {
                Outcome::Refused if self.applied[number] => self
                    .violations
                    .push(format!("{} was refused and took effect", transaction.name)),
                Outcome::Committed if !missing.is_empty() => self.violations.push(format!(
                    "lost acknowledged write: {missing:?} of {}",
                    transaction.name
                )),
                Outcome::Unknown if self.applied[number] && !missing.is_empty() => self
                    .violations
                    .push(format!("{} took effect in part", transaction.name)),
                _ => {}
            }
        }
    }

    fn check_transaction(&mut self, number: usize) {
        let transaction = &self.transactions[number];
        // What it wrote itself: last id, and its version if that is known.
        let mut own: HashMap<Key, (Id, Option<u64>)> = HashMap::new();
        for event in &transaction.events {
            match *event {
                Event::Read {
                    key,
                    version,
                    value,
                }
                | Event::Lock {
                    key,
                    version,
                    value,
                } => match own.get(&key) {
                    Some((id, expected)) => {
                        if value != *id || expected.is_some_and(|expected| version != expected) {
                            self.violations.push(format!(
                                "{} does not see its own write {id} of row {key} but {value} (version {version})",
                                transaction.name
                            ));
                        }
                    }
                    None => {
                        self.saw(number, key, version, Some(value));
                        if matches!(event, Event::Lock { .. }) {
                            self.locked(number, key, version);
                        }
                    }
                },
                Event::Write { key, id, version } => {
                    let before = own.get(&key).copied();
                    let place = self.place(number, key, id);
                    if let (Some(told), Some(place)) = (version, place)
                        && told != place
                    {
                        self.violations.push(format!(
                            "lost update: {} was told version {told} for {id} of row {key}, which is version {place}",
                            transaction.name
                        ));
                    }
                    match before {
                        None => {
                            if let Some(made) = place.or(version) {
                                self.saw(number, key, made.saturating_sub(1), None);
                            }
                        }
                        Some((last, Some(before))) => {
                            if place.or(version).is_some_and(|made| made != before + 1) {
                                self.violations.push(format!(
                                    "lost update: something came between {last} and {id} of {} in row {key}",
                                    transaction.name
                                ));
                            }
                        }
                        Some((_, None)) => {}
                    }
                    own.insert(key, (id, place.or(version)));
                }
            }
        }
    }

    /// The version that a write made, if it took effect.
    fn place(&self, number: usize, key: Key, id: Id) -> Option<u64> {
        if !self.applied[number] {
            return None;
        }
        let ids = self.history.get(&key)?;
        let at = ids.iter().position(|there| *there == id)?;
        Some(at as u64 + 1)
    }

    fn writer(&self, key: Key, version: u64) -> Option<usize> {
        let at = usize::try_from(version).ok()?.checked_sub(1)?;
        let id = self.history.get(&key)?.get(at)?;
        self.writers.get(id).copied()
    }

    /// At its look the row had this version.
    fn saw(&mut self, number: usize, key: Key, version: u64, value: Option<Id>) {
        let ids = self.history.get(&key).map_or(&[][..], Vec::as_slice);
        let there = match usize::try_from(version).unwrap_or(usize::MAX) {
            0 => Some(0),
            at => ids.get(at - 1).copied(),
        };
        if there.is_none() || value.is_some_and(|value| Some(value) != there) {
            self.violations.push(format!(
                "dirty read: {} saw version {version} of row {key} with {value:?}, which was never committed",
                self.name(number)
            ));
            return;
        }
        let made = self.writer(key, version);
        let replaced = self.writer(key, version + 1);
        if made.is_some() && made == replaced && made != Some(number) {
            self.violations.push(format!(
                "dirty read: {} saw version {version} of row {key} from inside {}",
                self.name(number),
                self.name(made.unwrap_or_default())
            ));
            return;
        }
        if let Some(made) = made {
            self.graph.before(commit(made), look(number));
        }
        if let Some(replaced) = replaced.filter(|replaced| *replaced != number) {
            self.graph.before(look(number), commit(replaced));
        }
    }

    /// Nobody may change the row before it commits.
    fn locked(&mut self, number: usize, key: Key, version: u64) {
        let replaced = self.writer(key, version + 1);
        if self.transactions[number].outcome == Outcome::Committed
            && let Some(replaced) = replaced.filter(|replaced| *replaced != number)
        {
            self.graph.before(commit(number), commit(replaced));
        }
    }

    fn check_order(&mut self) {
        for ids in self.history.values() {
            let writers: Vec<usize> = ids.iter().map(|id| self.writers[id]).collect();
            for pair in writers.windows(2).filter(|pair| pair[0] != pair[1]) {
                self.graph.before(commit(pair[0]), commit(pair[1]));
            }
        }
        if let Some(cycle) = self.graph.cycle() {
            let count = self.transactions.len();
            let steps: Vec<String> = cycle
                .iter()
                .filter(|node| **node < 2 * count)
                .map(|node| {
                    let name = self.name(node / 2);
                    match node % 2 {
                        0 => format!("{name} looks"),
                        _ => format!("{name} commits"),
                    }
                })
                .collect();
            self.violations.push(format!(
                "no order explains what was seen: {} (each before the next, the last before the first)",
                steps.join(" < ")
            ));
        }
    }
}

fn look(number: usize) -> usize {
    2 * number
}

fn commit(number: usize) -> usize {
    2 * number + 1
}

/// Moments, and which come before which.
struct Graph(Vec<Vec<usize>>);

impl Graph {
    /// Looks, commits, and the moments the clients' clock showed.
    fn new(transactions: &[Transaction]) -> Self {
        let mut moments: Vec<(u64, bool, usize)> = Vec::new();
        for (number, transaction) in transactions.iter().enumerate() {
            moments.push((transaction.began, false, number));
            moments.push((transaction.ended, true, number));
        }
        // What begins at the moment when another ends is not behind it.
        moments.sort_unstable();
        let first = 2 * transactions.len();
        let mut graph = Self(vec![Vec::new(); first + moments.len()]);
        for (rank, (_, end, number)) in moments.into_iter().enumerate() {
            let node = first + rank;
            if rank > 0 {
                graph.before(node - 1, node);
            }
            if end {
                graph.before(look(number), node);
                if transactions[number].outcome == Outcome::Committed {
                    graph.before(commit(number), node);
                }
            } else {
                graph.before(node, look(number));
                graph.before(look(number), commit(number));
            }
        }
        graph
    }

    fn before(&mut self, first: usize, then: usize) {
        self.0[first].push(then);
    }

    /// Nodes of a cycle, if there is one.
    fn cycle(&self) -> Option<Vec<usize>> {
        const NEW: u8 = 0;
        const OPEN: u8 = 1;
        const DONE: u8 = 2;
        let mut colours = vec![NEW; self.0.len()];
        for root in 0..self.0.len() {
            if colours[root] != NEW {
                continue;
            }
            colours[root] = OPEN;
            let mut path = vec![(root, 0)];
            while let Some((node, at)) = path.last_mut() {
                let Some(next) = self.0[*node].get(*at).copied() else {
                    colours[*node] = DONE;
                    path.pop();
                    continue;
                };
                *at += 1;
                if colours[next] == NEW {
                    colours[next] = OPEN;
                    path.push((next, 0));
                } else if colours[next] == OPEN {
                    let nodes = path.iter().map(|(node, _)| *node);
                    return Some(nodes.skip_while(|node| *node != next).collect());
                }
            }
        }
        None
    }
}

mod tests {
    use super::*;

    /// Transactions that all overlap, numbered from 1.
    fn history(list: &[(Outcome, &[Event])]) -> Vec<Transaction> {
        let transactions = list.iter().enumerate();
        transactions
            .map(|(number, (outcome, events))| Transaction {
                name: format!("T{}", number + 1),
                began: 0,
                ended: 1000,
                events: events.to_vec(),
                outcome: *outcome,
            })
            .collect()
    }

    fn read(key: Key, version: u64, value: Id) -> Event {
        Event::Read {
            key,
            version,
            value,
        }
    }

    fn lock(key: Key, version: u64, value: Id) -> Event {
        Event::Lock {
            key,
            version,
            value,
        }
    }

    fn write(key: Key, id: Id) -> Event {
        Event::Write {
            key,
            id,
            version: None,
        }
    }

    fn told(key: Key, id: Id, version: u64) -> Event {
        Event::Write {
            key,
            id,
            version: Some(version),
        }
    }

    fn rows(rows: &[(Key, &[Id])]) -> History {
        rows.iter().map(|(key, ids)| (*key, ids.to_vec())).collect()
    }

    #[track_caller]
    fn violated(list: &[(Outcome, &[Event])], rows_of: &[(Key, &[Id])], word: &str) {
        let found = check(&history(list), &rows(rows_of)).expect_err("it must be found");
        assert!(found.iter().any(|line| line.contains(word)), "{found:?}");
    }

    use Outcome::{Committed, Refused, Unknown};

    /// Transactions, and the rows' histories they left.
    type Case<'a> = (&'a [(Outcome, &'a [Event])], &'a [(Key, &'a [Id])]);

    #[test]
    fn what_snapshot_isolation_allows_passes() {
        let good: &[Case] = &[
            (&[], &[]),
            (
                &[(Committed, &[told(1, 11, 1), read(1, 1, 11), told(1, 12, 2)])],
                &[(1, &[11, 12])],
            ),
            // Write skew.
            (
                &[
                    (Committed, &[read(1, 0, 0), read(2, 0, 0), write(1, 11)]),
                    (Committed, &[read(1, 0, 0), read(2, 0, 0), write(2, 21)]),
                ],
                &[(1, &[11]), (2, &[21])],
            ),
            // A reader of an old snapshot, and one who was refused.
            (
                &[
                    (Committed, &[write(1, 11), write(2, 12)]),
                    (Committed, &[read(1, 0, 0), read(2, 0, 0)]),
                    (Refused, &[read(1, 1, 11), told(1, 31, 2), read(1, 2, 31)]),
                    (Committed, &[read(2, 1, 12), read(1, 1, 11)]),
                ],
                &[(1, &[11]), (2, &[12])],
            ),
            // Nobody knows, and either is fine.
            (&[(Unknown, &[write(1, 11)])], &[(1, &[])]),
            (&[(Unknown, &[write(1, 11)])], &[(1, &[11])]),
            (
                &[
                    (Committed, &[lock(1, 0, 0), write(2, 21)]),
                    (Committed, &[read(2, 1, 21), write(1, 12)]),
                ],
                &[(1, &[12]), (2, &[21])],
            ),
        ];
        for (list, rows_of) in good {
            assert_eq!(check(&history(list), &rows(rows_of)), Ok(()), "{list:?}");
        }
    }

    #[test]
    fn lost_updates_are_found() {
        // Both read version 0 and both wrote.
        violated(
            &[
                (Committed, &[read(1, 0, 0), write(1, 11)]),
                (Committed, &[read(1, 0, 0), write(1, 21)]),
            ],
            &[(1, &[11, 21])],
            "no order",
        );
        violated(
            &[
                (Committed, &[told(1, 11, 1)]),
                (Committed, &[told(1, 21, 1)]),
            ],
            &[(1, &[11, 21])],
            "lost update",
        );
        // Somebody else's version between two of its own.
        violated(
            &[
                (Committed, &[write(1, 11), write(1, 12)]),
                (Committed, &[write(1, 21)]),
            ],
            &[(1, &[11, 21, 12])],
            "lost update",
        );
        // A lock that did not hold: version 1 came while T1 had locked version 0.
        violated(
            &[
                (Committed, &[lock(1, 0, 0), read(3, 0, 0), write(2, 12)]),
                (Committed, &[write(1, 21)]),
                (Committed, &[read(1, 1, 21), read(2, 0, 0)]),
            ],
            &[(1, &[21]), (2, &[12]), (3, &[])],
            "no order",
        );
    }

    #[test]
    fn read_skew_is_found() {
        violated(
            &[
                (Committed, &[write(1, 11), write(2, 12)]),
                (Committed, &[read(1, 0, 0), read(2, 1, 12)]),
            ],
            &[(1, &[11]), (2, &[12])],
            "no order",
        );
        // Also of one that was refused in the end.
        violated(
            &[
                (Committed, &[write(1, 11), write(2, 12)]),
                (Refused, &[read(1, 1, 11), read(2, 0, 0)]),
            ],
            &[(1, &[11]), (2, &[12])],
            "no order",
        );
        // Two readers who disagree about what came first.
        violated(
            &[
                (Committed, &[write(1, 11)]),
                (Committed, &[write(2, 21)]),
                (Committed, &[read(1, 1, 11), read(2, 0, 0)]),
                (Committed, &[read(1, 0, 0), read(2, 1, 21)]),
            ],
            &[(1, &[11]), (2, &[21])],
            "no order",
        );
        // The same row twice, differently.
        violated(
            &[
                (Committed, &[write(1, 11)]),
                (Committed, &[read(1, 0, 0), read(1, 1, 11)]),
            ],
            &[(1, &[11])],
            "no order",
        );
    }

    #[test]
    fn writes_that_are_lost_or_doubled_are_found() {
        violated(
            &[(Committed, &[write(1, 11)])],
            &[(1, &[11, 11])],
            "doubled write",
        );
        violated(
            &[(Committed, &[write(1, 11), write(2, 12)])],
            &[(1, &[11]), (2, &[])],
            "lost acknowledged write",
        );
        violated(&[(Refused, &[write(1, 11)])], &[(1, &[11])], "was refused");
        violated(
            &[(Unknown, &[write(1, 11), write(2, 12)])],
            &[(1, &[11]), (2, &[])],
            "in part",
        );
        violated(&[], &[(1, &[99])], "nobody wrote");
    }

    #[test]
    fn dirty_reads_are_found() {
        // Of what was rolled back.
        violated(
            &[(Refused, &[write(1, 11)]), (Committed, &[read(1, 1, 11)])],
            &[(1, &[])],
            "dirty read",
        );
        // Of what its writer replaced before it committed.
        violated(
            &[
                (Committed, &[write(1, 11), write(1, 12)]),
                (Committed, &[read(1, 1, 11)]),
            ],
            &[(1, &[11, 12])],
            "dirty read",
        );
        // Of a value that belongs to another version.
        violated(
            &[
                (Committed, &[write(1, 11)]),
                (Committed, &[write(1, 21)]),
                (Committed, &[read(1, 1, 21)]),
            ],
            &[(1, &[11, 21])],
            "dirty read",
        );
        // Its own write is not what it sees.
        violated(
            &[(Committed, &[write(1, 11), read(1, 0, 0)])],
            &[(1, &[11])],
            "its own write",
        );
    }

    #[test]
    fn what_was_acknowledged_is_seen_by_who_comes_later() {
        let mut list = history(&[(Committed, &[write(1, 11)]), (Committed, &[read(1, 0, 0)])]);
        list[0].ended = 10;
        list[1].began = 10;
        assert_eq!(check(&list, &rows(&[(1, &[11])])), Ok(()), "at once");
        list[1].began = 11;
        let found = check(&list, &rows(&[(1, &[11])])).expect_err("a stale read");
        assert!(found[0].contains("no order"), "{found:?}");
        // Nobody promised when a commit of unknown outcome happens.
        list[0].outcome = Unknown;
        assert_eq!(check(&list, &rows(&[(1, &[11])])), Ok(()));
    }
}
