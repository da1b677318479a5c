//! The client's names for prepared statements, and the statements behind them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::{Rc, Weak};

use crate::policy::tenancy::TenantParameter;
use crate::sql::{Class, classify};
use crate::upstream::{SharedSettings, next_statement_id, statement_name};

use super::script::Places;
use super::tentative::Tentative;
use super::verdict::Verdict;

/// A prepared statement; its id makes its server-side name.
#[derive(Debug)]
pub struct Prepared {
    /// Never reused.
    pub id: u64,
    /// Statement text for the server.
    pub text: Rc<[u8]>,
    /// Statement text of the client.
    pub source: Rc<[u8]>,
    /// Parameter types as in a Parse message.
    pub types: Box<[u8]>,
    /// What it does to the session.
    pub class: Class,
    /// What policy said of the client's text when it was prepared.
    pub(super) verdict: Option<Rc<Verdict>>,
    /// Its last parameter, when that is the tenant's and not the client's.
    pub(super) parameter: Option<TenantParameter>,
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
        let text: Rc<[u8]> = text.into();
        Rc::new(Self {
            id: next_statement_id(),
            class: classify(&text),
            source: Rc::clone(&text),
            text,
            types: types.into(),
            verdict: None,
            parameter: None,
            scope,
        })
    }

    /// The same, when policy lets it pass.
    #[must_use]
    fn passed(
        text: &[u8],
        types: &[u8],
        scope: Scope,
        verdict: Option<Rc<Verdict>>,
        parameter: Option<TenantParameter>,
    ) -> Rc<Self> {
        let text: Rc<[u8]> = text.into();
        let class = match &verdict {
            Some(verdict) => verdict.class.clone(),
            None => classify(&text),
        };
        Rc::new(Self {
            id: next_statement_id(),
            class,
            source: Rc::clone(&text),
            text,
            types: types.into(),
            verdict,
            parameter,
            scope,
        })
    }

    /// A statement of one session, whose text for the server may differ from the client's.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "all that a statement is made of")]
    pub(super) fn translated(
        id: u64,
        text: &[u8],
        source: &[u8],
        types: &[u8],
        class: Class,
        verdict: Option<Rc<Verdict>>,
        parameter: Option<TenantParameter>,
        scope: Scope,
    ) -> Rc<Self> {
        let source: Rc<[u8]> = source.into();
        let text = match *source == *text {
            true => Rc::clone(&source),
            false => text.into(),
        };
        Rc::new(Self {
            id,
            class,
            text,
            source,
            types: types.into(),
            verdict,
            parameter,
            scope,
        })
    }

    /// The same statement under a name that was never used.
    #[must_use]
    pub fn renewed(&self) -> Rc<Self> {
        let Self {
            id: _,
            text,
            source,
            types,
            class,
            verdict,
            parameter,
            scope,
        } = self;
        Rc::new(Self {
            id: next_statement_id(),
            text: Rc::clone(text),
            source: Rc::clone(source),
            types: types.clone(),
            class: class.clone(),
            verdict: verdict.clone(),
            parameter: *parameter,
            scope: scope.clone(),
        })
    }

    /// Its server-side name.
    #[must_use]
    pub fn server_name(&self) -> String {
        statement_name(self.id)
    }

    /// Bytes of memory it takes, as limits count them.
    #[must_use]
    pub fn size(&self) -> usize {
        let source = match Rc::ptr_eq(&self.text, &self.source) {
            true => 0,
            false => self.source.len(),
        };
        size_of_statement(&self.text, &self.types) + source
    }

    /// Where its text for the server is another than the client's, when policy made it so.
    pub(super) fn places(&self) -> Option<Places> {
        let rewritten = self
            .verdict
            .as_ref()
            .is_some_and(|verdict| !verdict.passes());
        (rewritten && self.text != self.source).then(Places::all)
    }

    /// Same text and types.
    #[must_use]
    pub fn is(&self, text: &[u8], types: &[u8]) -> bool {
        *self.text == *text && *self.types == *types
    }
}

/// What a statement takes besides its text, roughly.
const OVERHEAD: usize = 256;

/// Bytes of memory that a statement will take, as limits count them.
#[must_use]
pub fn size_of_statement(text: &[u8], types: &[u8]) -> usize {
    OVERHEAD + text.len() + types.len()
}

/// What one client may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Named statements.
    pub statements: usize,
    /// Bytes of all statements, and of former ones whose replacement is not yet certain.
    pub bytes: usize,
}

/// Statements shared by the sessions of a worker, keyed by a hash of text, types and scope; the
/// full key is compared on every hit.
#[derive(Debug, Default)]
pub struct Registry {
    statements: RefCell<HashMap<u64, Vec<Weak<Prepared>>>>,
    /// Entries at which those that no session uses any more are dropped; twice what the last sweep
    /// left, so that a sweep costs each insertion little.
    sweep_above: Cell<usize>,
}

/// Fewer entries are never swept.
const SWEEP_ABOVE: usize = 4096;

impl Registry {
    /// The shared statement for a text; new if nobody has it.
    pub(super) fn share(
        &self,
        text: &[u8],
        types: &[u8],
        scope: Scope,
        verdict: Option<Rc<Verdict>>,
        parameter: Option<TenantParameter>,
    ) -> Rc<Prepared> {
        let key = hash(text, types, &scope);
        let mut statements = self.statements.borrow_mut();
        if let Some(found) = statements.get(&key).and_then(|bucket| {
            bucket
                .iter()
                .filter_map(Weak::upgrade)
                .filter(|prepared| prepared.parameter == parameter)
                .find(|prepared| prepared.is(text, types) && prepared.scope == scope)
        }) {
            return found;
        }
        if statements.len() > self.sweep_above.get().max(SWEEP_ABOVE) {
            sweep(&mut statements);
            self.sweep_above.set(2 * statements.len());
        }
        let prepared = Prepared::passed(text, types, scope, verdict, parameter);
        statements
            .entry(key)
            .or_default()
            .push(Rc::downgrade(&prepared));
        prepared
    }

    /// Makes the next `Registry::share` of this statement give a new one.
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
    /// The unnamed statement.
    Unnamed {
        /// Number of the change.
        number: u64,
        /// Bytes of what it meant before.
        size: usize,
    },
    /// All names were taken; the unnamed statement is none of them.
    All(HashMap<Box<[u8]>, Rc<Prepared>>),
}

impl NameChange {
    /// Whether the change is about this name.
    #[must_use]
    pub fn touches(&self, name: &[u8]) -> bool {
        match self {
            Self::One { name: changed, .. } => **changed == *name,
            Self::Unnamed { .. } => name.is_empty(),
            Self::All(_) => !name.is_empty(),
        }
    }

    /// Bytes of the statements that undoing it would bring back.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::One { name, before, .. } => size_of(name, before.as_ref()),
            Self::Unnamed { size, .. } => *size,
            Self::All(named) => size_of_all(named),
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
            Self::Unnamed { .. } => None,
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

fn size_of(name: &[u8], prepared: Option<&Rc<Prepared>>) -> usize {
    prepared.map_or(0, |prepared| name.len() + prepared.size())
}

fn size_of_all(named: &HashMap<Box<[u8]>, Rc<Prepared>>) -> usize {
    let sizes = named
        .iter()
        .map(|(name, prepared)| size_of(name, Some(prepared)));
    sizes.sum()
}

/// One client's names.
#[derive(Debug, Default)]
pub struct Names {
    named: HashMap<Box<[u8]>, Rc<Prepared>>,
    unnamed: Tentative<Option<Rc<Prepared>>>,
    /// Bytes of the named ones.
    size: usize,
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

    /// Named statements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.named.len()
    }

    /// Bytes of all statements, the unnamed one included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size + size_of(b"", self.unnamed.get().as_ref())
    }

    /// Gives a name a meaning, or takes it; tells how to undo that.
    pub fn set(&mut self, name: &[u8], prepared: Option<Rc<Prepared>>) -> NameChange {
        if name.is_empty() {
            let size = size_of(b"", self.unnamed.get().as_ref());
            let number = self.unnamed.change(prepared);
            return NameChange::Unnamed { number, size };
        }
        let after = prepared.as_ref().map(|prepared| prepared.id);
        self.size += size_of(name, prepared.as_ref());
        let before = match prepared {
            Some(prepared) => self.named.insert(name.into(), prepared),
            None => self.named.remove(name),
        };
        self.size -= size_of(name, before.as_ref());
        NameChange::One {
            name: name.into(),
            before,
            after,
        }
    }

    /// Takes all names; tells how to undo that.
    pub fn clear(&mut self) -> NameChange {
        self.size = 0;
        NameChange::All(std::mem::take(&mut self.named))
    }

    /// Forgets statements with a name, for good; nothing may be under way.
    pub fn retain(&mut self, keep: impl Fn(&[u8]) -> bool) {
        self.named.retain(|name, _| keep(name));
        self.size = size_of_all(&self.named);
    }

    /// The server carried a change out.
    pub fn keep(&mut self, change: &NameChange) {
        if let NameChange::Unnamed { number, .. } = change {
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
            NameChange::Unnamed { number, .. } => self.unnamed.undo(number),
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
                self.size = size_of_all(&self.named);
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
        self.size = size_of_all(&self.named);
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
        let first = registry.share(b"SELECT * FROM t", b"\0\0", scope(Some("a")), None, None);
        let again = registry.share(b"SELECT * FROM t", b"\0\0", scope(Some("a")), None, None);
        let other = registry.share(b"SELECT * FROM t", b"\0\0", scope(Some("b")), None, None);
        assert_eq!(first.id, again.id);
        assert_ne!(first.id, other.id);
        // Whose last parameter is the tenant's is no client's own.
        let parameter = TenantParameter {
            number: 1,
            kind: crate::policy::tenancy::TenantType::Integer,
        };
        let text = b"SELECT * FROM t";
        let of_tenant = registry.share(text, b"\0\0", scope(Some("a")), None, Some(parameter));
        let again = registry.share(text, b"\0\0", scope(Some("a")), None, Some(parameter));
        assert_eq!(of_tenant.id, again.id);
        assert_ne!(of_tenant.id, first.id);
        registry.retire(&first);
        assert_ne!(
            registry
                .share(b"SELECT * FROM t", b"\0\0", scope(Some("a")), None, None)
                .id,
            first.id
        );
    }

    #[test]
    fn p11_the_registry_forgets_what_nobody_uses() {
        let registry = Registry::default();
        for number in 0..3 * SWEEP_ABOVE {
            registry.share(
                format!("SELECT {number}").as_bytes(),
                b"\0\0",
                scope(None),
                None,
                None,
            );
            assert!(registry.statements.borrow().len() <= SWEEP_ABOVE + 1);
        }
    }

    #[test]
    fn p11_sweeps_are_rare_however_many_statements_are_in_use() {
        let registry = Registry::default();
        let mut kept = Vec::new();
        let mut sweeps = 0;
        for number in 0..8 * SWEEP_ABOVE {
            let before = registry.sweep_above.get();
            kept.push(registry.share(
                format!("SELECT {number}").as_bytes(),
                b"\0\0",
                scope(None),
                None,
                None,
            ));
            sweeps += usize::from(registry.sweep_above.get() != before);
        }
        assert_eq!(sweeps, 3, "at 1, 2 and 4 times the first threshold");
        kept.clear();
        for number in 0..8 * SWEEP_ABOVE {
            registry.share(
                format!("VALUES ({number})").as_bytes(),
                b"\0\0",
                scope(None),
                None,
                None,
            );
        }
        assert!(registry.statements.borrow().len() <= SWEEP_ABOVE + 1);
    }

    #[test]
    fn texts_that_are_the_same_are_kept_once() {
        let made = |text: &[u8]| {
            let class = classify(text);
            let size = Prepared::translated(
                1,
                text,
                b"SELECT 1",
                b"\0\0",
                class,
                None,
                None,
                scope(None),
            )
            .size();
            size - size_of_statement(text, b"\0\0")
        };
        assert_eq!(made(b"SELECT 1"), 0);
        assert_eq!(made(b"SELECT 22"), b"SELECT 1".len());
    }

    #[test]
    fn sizes_follow_every_change() {
        let prepared = |text: &[u8]| Some(Prepared::new(text, b"\0\0", scope(None)));
        let size = |name: &[u8], text: &[u8]| name.len() + size_of_statement(text, b"\0\0");
        let mut names = Names::default();
        names.set(b"one", prepared(b"SELECT 1"));
        names.set(b"", prepared(b"SELECT 22"));
        let both = size(b"one", b"SELECT 1") + size(b"", b"SELECT 22");
        assert_eq!((names.len(), names.size()), (1, both));
        let change = names.set(b"one", prepared(b"SELECT 333"));
        assert_eq!(change.size(), size(b"one", b"SELECT 1"));
        names.undo(change);
        assert_eq!(names.size(), both);
        let cleared = names.clear();
        let unnamed = size(b"", b"SELECT 22");
        assert_eq!((names.size(), cleared.size()), (unnamed, both - unnamed));
        names.set(b"", prepared(b"SELECT 4444"));
        names.undo(cleared);
        let mixed = size(b"one", b"SELECT 1") + size(b"", b"SELECT 4444");
        assert_eq!(names.size(), mixed);
        names.forget_unnamed();
        names.renew(&Registry::default());
        assert_eq!(names.size(), size(b"one", b"SELECT 1"));
        names.set(b"one", None);
        assert_eq!((names.len(), names.size()), (0, 0));
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
