//! What DSQL answers, in the small: snapshots, own writes, and the conflict matrix at COMMIT. Written
//! from the service's documentation and recordings, not from the emulator.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The tables of every schedule. `c`, `d` and `e` refer to `p`; `n` has no key at all.
pub const SCHEMA: [&str; 5] = [
    "CREATE TABLE p (id int PRIMARY KEY, u int UNIQUE, v int)",
    "CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p (id) ON DELETE CASCADE, v int)",
    "CREATE TABLE d (id int PRIMARY KEY, p int REFERENCES p (id) ON DELETE SET NULL, v int)",
    "CREATE TABLE e (id int PRIMARY KEY, p int REFERENCES p (id), v int)",
    "CREATE TABLE n (id int, p int, v int)",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    P,
    C,
    D,
    E,
    N,
}

impl Table {
    pub const ALL: [Self; 5] = [Self::P, Self::C, Self::D, Self::E, Self::N];
    const CHILDREN: [Self; 3] = [Self::C, Self::D, Self::E];

    pub fn name(self) -> &'static str {
        ["p", "c", "d", "e", "n"][self as usize]
    }

    /// The second column: unique in `p`, a reference in the others.
    pub fn second(self) -> &'static str {
        if self == Self::P { "u" } else { "p" }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Id,
    Second,
    Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Begin,
    Commit,
    Rollback,
    Insert {
        table: Table,
        row: Row,
        skip: bool,
    },
    /// `SET column = to WHERE id = id`
    Set {
        table: Table,
        id: i32,
        column: Column,
        to: Option<i32>,
    },
    /// `SET v = v + 10 WHERE v < below`
    Add {
        table: Table,
        below: i32,
    },
    Delete {
        table: Table,
        id: i32,
    },
    Read {
        table: Table,
    },
    Lock {
        table: Table,
        id: i32,
        share: bool,
    },
}

pub type Row = (i32, Option<i32>, i32);

impl Op {
    pub fn sql(self) -> String {
        let text = |value: Option<i32>| value.map_or("NULL".to_owned(), |v| v.to_string());
        match self {
            Self::Begin => "BEGIN".to_owned(),
            Self::Commit => "COMMIT".to_owned(),
            Self::Rollback => "ROLLBACK".to_owned(),
            Self::Insert {
                table,
                row: (id, second, value),
                skip,
            } => format!(
                "INSERT INTO {} VALUES ({id}, {}, {value}){}",
                table.name(),
                text(second),
                if skip { " ON CONFLICT DO NOTHING" } else { "" }
            ),
            Self::Set {
                table,
                id,
                column,
                to,
            } => {
                let column = match column {
                    Column::Id => "id",
                    Column::Second => table.second(),
                    Column::Value => "v",
                };
                format!(
                    "UPDATE {} SET {column} = {} WHERE id = {id}",
                    table.name(),
                    text(to)
                )
            }
            Self::Add { table, below } => {
                format!(
                    "UPDATE public.{} SET v = v + 10 WHERE v < {below}",
                    table.name()
                )
            }
            Self::Delete { table, id } => format!("DELETE FROM {} WHERE id = {id}", table.name()),
            Self::Read { table } => {
                format!("SELECT * FROM {} ORDER BY 1, 2, 3", table.name())
            }
            Self::Lock { table, id, share } => format!(
                "SELECT * FROM {} WHERE id = {id} ORDER BY 1, 2, 3 FOR {}",
                table.name(),
                if share { "KEY SHARE" } else { "UPDATE" }
            ),
        }
    }
}

/// What a client sees of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Command tag, and the rows as text.
    Done(String, Vec<Vec<Option<String>>>),
    /// SQLSTATE.
    Error(String),
}

/// What conflicts are about: a key value of a unique index, or a row that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Thing {
    Id(Table, i32),
    U(i32),
    Bare(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Group {
    A,
    B,
    C,
}

fn clash(one: Group, other: Group) -> bool {
    !matches!(
        (one, other),
        (Group::B, Group::C) | (Group::C, Group::B) | (Group::C, Group::C)
    )
}

type Touched = HashMap<Thing, BTreeSet<Group>>;

/// Rows by an identity that no statement changes.
type Data = BTreeMap<(Table, u32), Row>;

#[derive(Debug, Default, Clone)]
struct Tx {
    /// Snapshot and own writes, once the first statement has run.
    data: Option<Data>,
    since: usize,
    touched: Touched,
    written: BTreeSet<(Table, u32)>,
    failed: bool,
}

/// A cluster and its sessions.
#[derive(Debug, Default)]
pub struct Model {
    data: Data,
    commits: Vec<Touched>,
    sessions: HashMap<usize, Tx>,
    identities: u32,
}

impl Model {
    pub fn in_transaction(&self, session: usize) -> bool {
        self.sessions.contains_key(&session)
    }

    /// What the session sees.
    pub fn play(&mut self, session: usize, op: Op) -> Seen {
        let tag = |tag: &str| Seen::Done(tag.to_owned(), vec![]);
        match (op, self.sessions.remove(&session)) {
            (Op::Begin, None) => {
                self.sessions.insert(session, Tx::default());
                tag("BEGIN")
            }
            (Op::Commit, Some(tx)) if tx.failed => tag("ROLLBACK"),
            (Op::Commit, Some(tx)) => match self.commit(tx) {
                true => tag("COMMIT"),
                false => Seen::Error("40001".to_owned()),
            },
            (Op::Rollback, _) => tag("ROLLBACK"),
            (_, Some(mut tx)) if tx.failed => {
                tx.failed = true;
                self.sessions.insert(session, tx);
                Seen::Error("25P02".to_owned())
            }
            (op, Some(mut tx)) => {
                let seen = self.run(&mut tx, op);
                tx.failed = matches!(seen, Seen::Error(_));
                self.sessions.insert(session, tx);
                seen
            }
            (op, None) => {
                let mut tx = Tx::default();
                let seen = self.run(&mut tx, op);
                if matches!(seen, Seen::Done(..)) && !self.commit(tx) {
                    return Seen::Error("40001".to_owned());
                }
                seen
            }
        }
    }

    fn commit(&mut self, tx: Tx) -> bool {
        let Some(data) = tx.data else {
            return true;
        };
        let conflict = self.commits[tx.since..].iter().any(|committed| {
            tx.touched.iter().any(|(thing, mine)| {
                committed
                    .get(thing)
                    .is_some_and(|theirs| mine.iter().any(|m| theirs.iter().any(|t| clash(*m, *t))))
            })
        });
        if conflict {
            return false;
        }
        for at in tx.written {
            match data.get(&at) {
                Some(row) => self.data.insert(at, *row),
                None => self.data.remove(&at),
            };
        }
        self.commits.push(tx.touched);
        self.check();
        true
    }

    /// No committed state breaks a constraint.
    fn check(&self) {
        let mut keys = BTreeSet::new();
        for ((table, _), row) in &self.data {
            if *table != Table::N {
                assert!(keys.insert((*table, 0, row.0)), "doubled id");
            }
            if let (Table::P, Some(u)) = (table, row.1) {
                assert!(keys.insert((Table::P, 1, u)), "doubled u");
            }
        }
        for ((table, _), row) in &self.data {
            if let (true, Some(parent)) = (Table::CHILDREN.contains(table), row.1) {
                assert!(keys.contains(&(Table::P, 0, parent)), "orphan");
            }
        }
    }

    fn run(&mut self, tx: &mut Tx, op: Op) -> Seen {
        if tx.data.is_none() {
            tx.data = Some(self.data.clone());
            tx.since = self.commits.len();
        }
        let before = tx.clone();
        let seen = self.change(tx, op);
        if matches!(seen, Seen::Error(_)) {
            *tx = before;
        }
        seen
    }

    fn change(&mut self, tx: &mut Tx, op: Op) -> Seen {
        let outcome = match op {
            Op::Insert { table, row, skip } => self.insert(tx, table, row, skip),
            Op::Set {
                table,
                id,
                column,
                to,
            } => {
                let found = tx.find(table, |row| row.0 == id);
                let change = |row: Row| match column {
                    Column::Id => (to.unwrap_or_default(), row.1, row.2),
                    Column::Second => (row.0, to, row.2),
                    Column::Value => (row.0, row.1, to.unwrap_or_default()),
                };
                tx.update(table, &found, &change)
            }
            Op::Add { table, below } => {
                let found = tx.find(table, |row| row.2 < below);
                tx.update(table, &found, &|row| (row.0, row.1, row.2 + 10))
            }
            Op::Delete { table, id } => {
                let found = tx.find(table, |row| row.0 == id);
                tx.delete(table, &found)
            }
            Op::Read { table } => return tx.answer(&tx.find(table, |_| true)),
            Op::Lock { table, id, share } => {
                let found = tx.find(table, |row| row.0 == id);
                let group = if share { Group::C } else { Group::A };
                for at in &found {
                    tx.touch(*at, tx.row(*at), group);
                }
                return tx.answer(&found);
            }
            Op::Begin | Op::Commit | Op::Rollback => unreachable!(),
        };
        match outcome {
            Ok(tag) => Seen::Done(tag, vec![]),
            Err(code) => Seen::Error(code.to_owned()),
        }
    }

    fn insert(
        &mut self,
        tx: &mut Tx,
        table: Table,
        row: Row,
        skip: bool,
    ) -> Result<String, &'static str> {
        if !tx.unique(table, row, None) {
            return if skip {
                Ok("INSERT 0 0".to_owned())
            } else {
                Err("23505")
            };
        }
        self.identities += 1;
        let at = (table, self.identities);
        tx.put(at, Some(row));
        tx.touch(at, row, Group::A);
        tx.refer(table, row)?;
        Ok("INSERT 0 1".to_owned())
    }
}

impl Tx {
    fn data(&self) -> &Data {
        self.data.as_ref().unwrap()
    }

    fn row(&self, at: (Table, u32)) -> Row {
        self.data()[&at]
    }

    fn put(&mut self, at: (Table, u32), row: Option<Row>) {
        let data = self.data.as_mut().unwrap();
        match row {
            Some(row) => data.insert(at, row),
            None => data.remove(&at),
        };
        self.written.insert(at);
    }

    fn find(&self, table: Table, test: impl Fn(&Row) -> bool) -> Vec<(Table, u32)> {
        let rows = self.data().iter();
        rows.filter(|((other, _), row)| *other == table && test(row))
            .map(|(at, _)| *at)
            .collect()
    }

    fn answer(&self, found: &[(Table, u32)]) -> Seen {
        let mut rows: Vec<Row> = found.iter().map(|at| self.row(*at)).collect();
        // NULL sorts last.
        rows.sort_by_key(|row| (row.0, row.1.is_none(), row.1, row.2));
        let rows: Vec<_> = rows
            .into_iter()
            .map(|row| {
                vec![
                    Some(row.0.to_string()),
                    row.1.map(|v| v.to_string()),
                    Some(row.2.to_string()),
                ]
            })
            .collect();
        Seen::Done(format!("SELECT {}", rows.len()), rows)
    }

    fn add(&mut self, thing: Thing, group: Group) {
        self.touched.entry(thing).or_default().insert(group);
    }

    /// Everything that others can meet this row by.
    fn touch(&mut self, at: (Table, u32), row: Row, group: Group) {
        match at.0 {
            Table::N => self.add(Thing::Bare(at.1), group),
            table => {
                self.add(Thing::Id(table, row.0), group);
                if let (Table::P, Some(u)) = (table, row.1) {
                    self.add(Thing::U(u), group);
                }
            }
        }
    }

    fn unique(&self, table: Table, row: Row, but: Option<u32>) -> bool {
        table == Table::N
            || self
                .data()
                .iter()
                .filter(|((other, id), _)| *other == table && Some(*id) != but)
                .all(|(_, other)| {
                    other.0 != row.0 && (table != Table::P || row.1.is_none() || other.1 != row.1)
                })
    }

    /// A reference takes FOR KEY SHARE on its parent.
    fn refer(&mut self, table: Table, row: Row) -> Result<(), &'static str> {
        if let (true, Some(parent)) = (Table::CHILDREN.contains(&table), row.1) {
            if self.find(Table::P, |row| row.0 == parent).is_empty() {
                return Err("23503");
            }
            self.add(Thing::Id(Table::P, parent), Group::C);
        }
        Ok(())
    }

    fn update(
        &mut self,
        table: Table,
        found: &[(Table, u32)],
        change: &dyn Fn(Row) -> Row,
    ) -> Result<String, &'static str> {
        for at in found {
            let old = self.row(*at);
            let new = change(old);
            if !self.unique(table, new, Some(at.1)) {
                return Err("23505");
            }
            self.put(*at, Some(new));
            let key =
                table != Table::N && (old.0 != new.0 || (table == Table::P && old.1 != new.1));
            self.touch(*at, old, if key { Group::A } else { Group::B });
            if key {
                self.touch(*at, new, Group::A);
            }
            if old.1 != new.1 {
                self.refer(table, new)?;
            }
            if table == Table::P
                && old.0 != new.0
                && Table::CHILDREN
                    .iter()
                    .any(|child| !self.find(*child, |row| row.1 == Some(old.0)).is_empty())
            {
                return Err("23503");
            }
        }
        Ok(format!("UPDATE {}", found.len()))
    }

    fn delete(&mut self, table: Table, found: &[(Table, u32)]) -> Result<String, &'static str> {
        for at in found {
            let row = self.row(*at);
            self.put(*at, None);
            self.touch(*at, row, Group::A);
            if table != Table::P {
                continue;
            }
            let children = |tx: &Self, child| tx.find(child, |other: &Row| other.1 == Some(row.0));
            if !children(self, Table::E).is_empty() {
                return Err("23503");
            }
            let cascade = children(self, Table::C);
            self.delete(Table::C, &cascade)?;
            let orphans = children(self, Table::D);
            self.update(Table::D, &orphans, &|row| (row.0, None, row.2))?;
        }
        Ok(format!("DELETE {}", found.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_the_matrix() {
        use Group::{A, B, C};
        let conflicts: Vec<_> = [A, B, C]
            .iter()
            .flat_map(|one| [A, B, C].map(|other| clash(*one, other)))
            .collect();
        assert_eq!(
            conflicts,
            [true, true, true, true, true, false, true, false, false]
        );
    }
}
