//! The client's names for prepared statements, and the statements behind them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::{Rc, Weak};

use crate::sql::{Class, classify};
use crate::upstream::{SharedSettings, next_statement_id, statement_name};

use super::tentative::Tentative;

/// A prepared statement; its id makes its server-side name.
#[derive(Debug)]
pub struct Prepared {
    /// Never reused.
    pub id: u64,
    /// Statement text for the server.
    pub text: Box<[u8]>,
    /// Statement text of the client.
    pub source: Box<[u8]>,
    /// Parameter types as in a Parse message.
    pub types: Box<[u8]>,
    /// What it does to the session.
    pub class: Class,
    /// What its meaning depends on besides the text.
    scope: Scope,
}

/// What the meaning of a text depends on: the same text under two settings is two statements.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Index of the pool.
    pub pool: usize,
    /// The session's settings: search_path, DateStyle, TimeZone and others decide at parse time what
    /// names and constants mean.
    pub settings: SharedSettings,
}

impl Prepared {
    /// A statement that nobody else uses.
    #[must_use]
    pub fn new(text: &[u8], types: &[u8], scope: Scope) -> Rc<Self> {
        Rc::new(Self {
            id: next_statement_id(),
            class: classify(text),
            text: text.into(),
            source: text.into(),
            types: types.into(),
            scope,
        })
    }

    /// A statement whose text for the server differs from the client's.
    #[must_use]
    pub fn translated(
        id: u64,
        text: &[u8],
        source: &[u8],
        types: &[u8],
        class: Class,
        scope: Scope,
    ) -> Rc<Self> {
        Rc::new(Self {
            id,
            class,
            text: text.into(),
            source: source.into(),
            types: types.into(),
            scope,
        })
    }

    /// The same statement under a name that was never used.
    #[must_use]
    pub fn renewed(&self) -> Rc<Self> {
        Self::new(&self.text, &self.types, self.scope.clone())
    }

    /// Its server-side name.
    #[must_use]
    pub fn server_name(&self) -> String {
        statement_name(self.id)
    }

    /// Same text and types.
    #[must_use]
    pub fn is(&self, text: &[u8], types: &[u8]) -> bool {
        *self.text == *text && *self.types == *types
    }
}

/// Statements shared by the sessions of a worker, keyed by a hash of text, types and scope; the
/// full key is compared on every hit.
#[derive(Debug, Default)]
pub struct Registry {
    statements: RefCell<HashMap<u64, Vec<Weak<Prepared>>>>,
}

/// Above this many entries, those that no session uses any more are dropped.
const SWEEP_ABOVE: usize = 4096;

impl Registry {
    /// The shared statement for a text; new if nobody has it.
    pub fn share(&self, text: &[u8], types: &[u8], scope: Scope) -> Rc<Prepared> {
        let key = hash(text, types, &scope);
        let mut statements = self.statements.borrow_mut();
        if let Some(found) = statements.get(&key).and_then(|bucket| {
            bucket
                .iter()
                .filter_map(Weak::upgrade)
                .find(|prepared| prepared.is(text, types) && prepared.scope == scope)
        }) {
            return found;
        }
        if statements.len() > SWEEP_ABOVE {
            sweep(&mut statements);
        }
        let prepared = Prepared::new(text, types, scope);
        statements
            .entry(key)
            .or_default()
            .push(Rc::downgrade(&prepared));
        prepared
    }

    /// Makes the next [`Registry::share`] of this statement give a new one.
    pub fn retire(&self, prepared: &Prepared) {
        let key = hash(&prepared.text, &prepared.types, &prepared.scope);
        if let Some(bucket) = self.statements.borrow_mut().get_mut(&key) {
            bucket.retain(|kept| kept.upgrade().is_some_and(|kept| kept.id != prepared.id));
        }
    }
}

fn sweep(statements: &mut HashMap<u64, Vec<Weak<Prepared>>>) {
    statements.retain(|_, bucket| {
        bucket.retain(|prepared| prepared.strong_count() > 0);
        !bucket.is_empty()
    });
}

fn hash(text: &[u8], types: &[u8], scope: &Scope) -> u64 {
    let mut hasher = DefaultHasher::new();
    (text, types, scope).hash(&mut hasher);
    hasher.finish()
}

/// A change of names that is undone when the server did not carry it out.
#[derive(Debug)]
pub enum NameChange {
    /// One name.
    One {
        /// Client's name.
        name: Box<[u8]>,
        /// What it meant before.
        before: Option<Rc<Prepared>>,
        /// Id of what it means now.
        after: Option<u64>,
    },
    /// The unnamed statement; the number of the change.
    Unnamed(u64),
    /// All names were taken; the unnamed statement is none of them.
    All(HashMap<Box<[u8]>, Rc<Prepared>>),
}

impl NameChange {
    /// Whether the change is about this name.
    #[must_use]
    pub fn touches(&self, name: &[u8]) -> bool {
        match self {
            Self::One { name: changed, .. } => **changed == *name,
            Self::Unnamed(_) => name.is_empty(),
            Self::All(_) => !name.is_empty(),
        }
    }

    /// The name that a statement had before the change.
    #[must_use]
    pub fn name_before(&self, id: u64) -> Option<&[u8]> {
        match self {
            Self::One { name, before, .. } => before
                .as_ref()
                .is_some_and(|before| before.id == id)
                .then_some(&**name),
            Self::Unnamed(_) => None,
            Self::All(named) => name_of(named, id),
        }
    }
}

fn name_of(named: &HashMap<Box<[u8]>, Rc<Prepared>>, id: u64) -> Option<&[u8]> {
    named
        .iter()
        .find(|(_, prepared)| prepared.id == id)
        .map(|(name, _)| &**name)
}

/// One client's names.
#[derive(Debug, Default)]
pub struct Names {
    named: HashMap<Box<[u8]>, Rc<Prepared>>,
    unnamed: Tentative<Option<Rc<Prepared>>>,
}

impl Names {
    /// What a name means; the empty name is the unnamed statement.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Rc<Prepared>> {
        if name.is_empty() {
            self.unnamed.get().as_ref()
        } else {
            self.named.get(name)
        }
    }

    /// Gives a name a meaning, or takes it; tells how to undo that.
    pub fn set(&mut self, name: &[u8], prepared: Option<Rc<Prepared>>) -> NameChange {
        if name.is_empty() {
            return NameChange::Unnamed(self.unnamed.change(prepared));
        }
        let after = prepared.as_ref().map(|prepared| prepared.id);
        let before = match prepared {
            Some(prepared) => self.named.insert(name.into(), prepared),
            None => self.named.remove(name),
        };
        NameChange::One {
            name: name.into(),
            before,
            after,
        }
    }

    /// Takes all names; tells how to undo that.
    pub fn clear(&mut self) -> NameChange {
        NameChange::All(std::mem::take(&mut self.named))
    }

    /// The server carried a change out.
    pub fn keep(&mut self, change: &NameChange) {
        if let NameChange::Unnamed(number) = change {
            self.unnamed.keep(*number);
        }
    }

    /// The server refused a Parse of the unnamed statement: the old one is gone nevertheless.
    pub fn destroy_unnamed(&mut self, number: u64) {
        self.unnamed.decide(number, None);
    }

    /// Undoes a change, unless a later one has overwritten it.
    pub fn undo(&mut self, change: NameChange) {
        match change {
            NameChange::Unnamed(number) => self.unnamed.undo(number),
            NameChange::One {
                name,
                before,
                after,
            } => {
                if self.get(&name).map(|prepared| prepared.id) == after {
                    self.set(&name, before);
                }
            }
            NameChange::All(named) => {
                for (name, prepared) in named {
                    self.named.entry(name).or_insert(prepared);
                }
            }
        }
    }

    /// The unnamed statement is gone for good: a simple query destroys it.
    pub fn forget_unnamed(&mut self) {
        self.unnamed.settle(None);
    }

    /// Whether a name means the statement with this id.
    #[must_use]
    pub fn uses(&self, id: u64) -> bool {
        self.client_name(id).is_some()
    }

    /// The client's name of a server-side statement.
    #[must_use]
    pub fn client_name(&self, id: u64) -> Option<&[u8]> {
        name_of(&self.named, id)
    }

    /// Gives every statement a new server-side name, so that each is prepared again.
    pub fn renew(&mut self, registry: &Registry) {
        for prepared in self.named.values_mut() {
            registry.retire(prepared);
            *prepared = prepared.renewed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(path: Option<&str>) -> Scope {
        let settings = path.map(|path| ("search_path".to_owned(), path.to_owned()));
        Scope {
            pool: 0,
            settings: std::sync::Arc::new(settings.into_iter().collect()),
        }
    }

    #[test]
    fn p2_same_text_under_two_search_paths_is_two_statements() {
        let registry = Registry::default();
        let first = registry.share(b"SELECT * FROM t", b"\0\0", scope(Some("a")));
        let again = registry.share(b"SELECT * FROM t", b"\0\0", scope(Some("a")));
        let other = registry.share(b"SELECT * FROM t", b"\0\0", scope(Some("b")));
        assert_eq!(first.id, again.id);
        assert_ne!(first.id, other.id);
        registry.retire(&first);
        assert_ne!(
            registry
                .share(b"SELECT * FROM t", b"\0\0", scope(Some("a")))
                .id,
            first.id
        );
    }

    #[test]
    fn p11_the_registry_forgets_what_nobody_uses() {
        let registry = Registry::default();
        for number in 0..3 * SWEEP_ABOVE {
            registry.share(format!("SELECT {number}").as_bytes(), b"\0\0", scope(None));
            assert!(registry.statements.borrow().len() <= SWEEP_ABOVE + 1);
        }
    }

    #[test]
    fn p4_named_and_unnamed_do_not_touch_each_other() {
        let mut names = Names::default();
        let a = Prepared::new(b"a", b"\0\0", scope(None));
        let b = Prepared::new(b"b", b"\0\0", scope(None));
        names.set(b"s", Some(Rc::clone(&a)));
        let change = names.set(b"", Some(Rc::clone(&b)));
        let closed = names.set(b"", None);
        names.forget_unnamed();
        assert_eq!(names.get(b"s").map(|p| p.id), Some(a.id));
        names.undo(closed);
        names.undo(change);
        assert!(names.get(b"").is_none());
        names.set(b"", Some(Rc::clone(&b)));
        names.clear();
        assert!(names.get(b"s").is_none() && names.get(b"").is_some());
        names.set(b"s", Some(Rc::clone(&a)));
        assert_eq!(names.client_name(a.id), Some(&b"s"[..]));
    }
}
