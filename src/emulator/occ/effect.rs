//! What a row trigger reports, and the keys it touches.

use std::collections::{HashMap, HashSet};

use thiserror::Error;

/// How a transaction touched a key: a set of the groups of DSQL's conflict matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modes(u8);

impl Modes {
    /// Group A: INSERT, DELETE, UPDATE of a key column, FOR UPDATE.
    pub const KEY: Self = Self(1);
    /// Group B: UPDATE of other columns.
    pub const VALUE: Self = Self(2);
    /// Group C: FOR KEY SHARE, also what a reference does to the key it refers to.
    pub const SHARE: Self = Self(4);

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The matrix: A against everything and B against B conflict; B against C and C against C do
    /// not. (Source: Aurora DSQL user guide, concurrency control.)
    #[must_use]
    pub const fn conflicts(self, other: Self) -> bool {
        (self.has(Self::KEY) && other.0 != 0)
            || (other.has(Self::KEY) && self.0 != 0)
            || (self.has(Self::VALUE) && other.has(Self::VALUE))
    }

    fn read(letter: u8) -> Option<Self> {
        match letter {
            b'A' | b'-' => Some(Self::KEY),
            b'B' => Some(Self::VALUE),
            b'C' => Some(Self::SHARE),
            _ => None,
        }
    }
}

/// Where a row version stands in its table: PostgreSQL's `ctid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Page number.
    pub page: u32,
    /// Number on the page.
    pub item: u16,
}

impl Place {
    /// Reads `(page,item)`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (page, item) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
        Some(Self {
            page: page.parse().ok()?,
            item: item.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({},{})", self.page, self.item)
    }
}

/// What transactions can conflict over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// A key of a unique index: the index's oid and a hash that equal keys share.
    Index(u32, i64),
    /// A row without any such key: the table's oid and the place of the version that all
    /// snapshots before the first change see.
    Row(u32, Place),
}

/// Everything a transaction has touched.
#[derive(Debug, Clone, Default)]
pub struct Footprint {
    keys: HashMap<Key, Modes>,
    tables: HashSet<u32>,
}

impl Footprint {
    /// Adds a key.
    pub fn touch(&mut self, key: Key, modes: Modes) {
        let known = self.keys.entry(key).or_default();
        *known = known.with(modes);
    }

    /// Adds a table whose rows were changed.
    pub fn change(&mut self, table: u32) {
        self.tables.insert(table);
    }

    /// Whether rows of any of these tables were changed.
    #[must_use]
    pub fn changes_any(&self, tables: &HashSet<u32>) -> bool {
        tables.iter().any(|table| self.tables.contains(table))
    }

    /// Whether any rows were changed.
    #[must_use]
    pub fn changes(&self) -> bool {
        !self.tables.is_empty()
    }

    /// True when nothing was changed or locked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.tables.is_empty()
    }

    /// Whether both touched some key in ways the matrix forbids.
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        let (small, large) = if self.keys.len() <= other.keys.len() {
            (self, other)
        } else {
            (other, self)
        };
        small.keys.iter().any(|(key, modes)| {
            large
                .keys
                .get(key)
                .is_some_and(|others| modes.conflicts(*others))
        })
    }

    /// The same with places of rows replaced, where `root` gives another.
    #[must_use]
    pub fn rooted(&self, root: impl Fn(u32, Place) -> Option<Place>) -> Self {
        let mut rooted = Self {
            keys: HashMap::with_capacity(self.keys.len()),
            tables: self.tables.clone(),
        };
        for (key, modes) in &self.keys {
            let key = match key {
                Key::Row(table, place) => Key::Row(*table, root(*table, *place).unwrap_or(*place)),
                key => *key,
            };
            rooted.touch(key, *modes);
        }
        rooted
    }

    /// How many keys it has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.keys.len()
    }
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It was added.
    Insert,
    /// It was replaced.
    Update,
    /// It was taken away.
    Delete,
    /// FOR UPDATE or FOR KEY SHARE asked for it.
    Lock,
}

/// One report of a row trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// What happened.
    pub operation: Operation,
    /// The table's oid; that of the original when it happened in a shadow.
    pub table: u32,
    /// PostgreSQL's id of the transaction; none for a lock.
    pub transaction: Option<u64>,
    /// Place of the version before.
    pub old: Option<Place>,
    /// Place of the version after.
    pub new: Option<Place>,
    /// Size of the new version in bytes.
    pub bytes: u64,
    /// How the row itself was touched.
    pub mode: Modes,
    /// Its keys in unique indexes, and the keys it refers to.
    pub keys: Vec<(Key, Modes)>,
    /// Tables that refer to a key which went away.
    pub orphans: Vec<u32>,
    /// The table has unique indexes whose keys are not among `keys`.
    pub opaque: bool,
    /// The table has constraints that may be checked as late as COMMIT.
    pub deferrable: bool,
    /// The new version, as PostgreSQL writes a row in text.
    pub row: Option<String>,
}

/// A report that cannot be read: a defect of the emulator.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("unreadable effect report")]
pub struct EffectError;

impl Effect {
    /// Reads a report; `capture.sql` says how it is written.
    ///
    /// # Errors
    /// It is not of that form.
    pub fn read(report: &str) -> Result<Self, EffectError> {
        Self::parse(report).ok_or(EffectError)
    }

    fn parse(report: &str) -> Option<Self> {
        let mut words = report.splitn(8, ' ');
        let operation = match words.next()? {
            "I" => Operation::Insert,
            "U" => Operation::Update,
            "D" => Operation::Delete,
            "L" => Operation::Lock,
            _ => return None,
        };
        let table = words.next()?.parse().ok()?;
        let transaction = match words.next()? {
            "-" => None,
            id => Some(id.parse().ok()?),
        };
        let old = place(words.next()?)?;
        let new = place(words.next()?)?;
        let bytes = words.next()?.parse().ok()?;
        let entries = words.next()?;
        let row = words.next().map(str::to_owned);
        let mut effect = Self {
            operation,
            table,
            transaction,
            old,
            new,
            bytes,
            mode: Modes::read(*entries.as_bytes().first()?)?,
            keys: Vec::new(),
            orphans: Vec::new(),
            opaque: false,
            deferrable: false,
            row,
        };
        for entry in entries[1..].split_terminator(',') {
            effect.take_entry(entry)?;
        }
        Some(effect)
    }

    fn take_entry(&mut self, entry: &str) -> Option<()> {
        let (oid, value) = entry.get(1..)?.split_once(':')?;
        let oid = oid.parse().ok()?;
        match entry.as_bytes()[0] {
            b'R' => self.orphans.push(oid),
            b'O' => self.opaque = true,
            b'D' => self.deferrable = true,
            letter => {
                let key = Key::Index(oid, value.parse().ok()?);
                self.keys.push((key, Modes::read(letter)?));
            }
        }
        Some(())
    }

    /// Whether the row has a key of its own among `keys`.
    #[must_use]
    pub fn has_own_key(&self) -> bool {
        self.keys
            .iter()
            .any(|(_, modes)| self.operation == Operation::Lock || *modes != Modes::SHARE)
    }
}

#[allow(clippy::option_option)] // Unreadable, absent, present.
fn place(word: &str) -> Option<Option<Place>> {
    match word {
        "-" => Some(None),
        word => Place::read(word).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_is_that_of_the_manual() {
        let modes = [Modes::KEY, Modes::VALUE, Modes::SHARE];
        let expected = [
            [true, true, true],
            [true, true, false],
            [true, false, false],
        ];
        for (i, one) in modes.iter().enumerate() {
            for (j, other) in modes.iter().enumerate() {
                assert_eq!(one.conflicts(*other), expected[i][j], "{one:?} {other:?}");
            }
        }
        assert!(!Modes::default().conflicts(Modes::KEY));
        assert!(Modes::SHARE.with(Modes::VALUE).conflicts(Modes::VALUE));
    }

    #[test]
    fn reports_are_read() {
        let effect = Effect::read(
            "U 16422 733 (0,3) (12,5) 26 BB16427:-36,B16429:35,C7:1,O16422:0,D0:0, (1,\"a b\",)",
        )
        .unwrap();
        assert_eq!(effect.operation, Operation::Update);
        assert_eq!((effect.table, effect.transaction), (16422, Some(733)));
        assert_eq!(effect.old, Some(Place { page: 0, item: 3 }));
        assert_eq!(effect.new, Some(Place { page: 12, item: 5 }));
        assert_eq!(effect.bytes, 26);
        assert_eq!(effect.mode, Modes::VALUE);
        assert_eq!(
            effect.keys,
            [
                (Key::Index(16427, -36), Modes::VALUE),
                (Key::Index(16429, 35), Modes::VALUE),
                (Key::Index(7, 1), Modes::SHARE),
            ]
        );
        assert!(effect.opaque && effect.deferrable && effect.has_own_key());
        assert_eq!(effect.row.as_deref(), Some("(1,\"a b\",)"));
        let gone = Effect::read("D 5 7 (0,1) - 0 -R9:0,").unwrap();
        assert_eq!(gone.orphans, [9]);
        assert!(!gone.has_own_key());
        assert_eq!(gone.row, None);
        let lock = Effect::read("L 5 - (0,1) - 0 CC9:1,").unwrap();
        assert!(lock.has_own_key());
        let child = Effect::read("I 5 7 - (0,1) 4 -C9:1, (1)").unwrap();
        assert!(!child.has_own_key());
    }

    #[test]
    fn what_is_no_report_is_refused() {
        for report in [
            "",
            "I",
            "X 1 1 - - 0 -",
            "I x 1 - - 0 -",
            "I 1 1 ( - 0 -",
            "I 1 1 - - 0 ",
            "I 1 1 - - 0 -A",
            "I 1 x - - 0 -",
            "I 1 1 - - 0 -A1:x,",
        ] {
            assert_eq!(Effect::read(report), Err(EffectError), "{report}");
        }
    }
}
