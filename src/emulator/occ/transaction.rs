//! A transaction as the ledger knows it: what it did, and where it does it.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::effect::{Effect, EffectError, Footprint, Key, Operation, Place};
use super::ledger::{Holder, Ledger, Snapshot};
use super::locking::{self, LockQuery};
use super::names::{Name, Names, quote};
use crate::sql::statement::parse;

/// Sent after BEGIN: the point to which a detached transaction goes back.
pub const SAVEPOINT: &str = "SAVEPOINT pg_dsql";
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ";
/// Makes triggers follow a change of the schema.
pub const INSTRUMENT: &str = "SELECT pg_dsql.instrument()";
/// How long a COMMIT waits for others to let it change the schema: as old as transactions get.
const SCHEMA_PATIENCE: Duration = Duration::from_secs(300);
const OWN_ID: &str = "SELECT pg_current_xact_id()::text";
/// How often a COMMIT tries to write its rows when locks are in the way.
const ATTEMPTS: usize = 100;

/// A statement of the emulator's own that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// PostgreSQL's words.
    Refused {
        /// SQLSTATE.
        code: String,
        /// Primary message.
        message: String,
    },
    /// The connection is gone.
    Lost,
}

/// The connection to PostgreSQL on which a transaction runs.
pub trait Backend: Send {
    /// Runs statements, one after another up to the first that fails, and gives the rows of all
    /// results, as text. Notices that come meanwhile are dropped.
    fn run(
        &mut self,
        statements: &[&str],
    ) -> impl Future<Output = Result<Vec<Vec<Option<String>>>, Failure>> + Send;
}

/// What is to be done after a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its answer stands, be it a success or an error.
    Stands,
    /// PostgreSQL's answer is not DSQL's: [`Transaction::detach`], then run it again.
    Again,
    /// It needs the savepoint that was saved: [`Transaction::start_over`], then run it again.
    Afresh,
}

/// How COMMIT ended. The transaction is over in PostgreSQL in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// It is committed.
    Done,
    /// Another transaction came first: 40001, [`super::CONFLICT`].
    Conflict,
    /// Another session changed the schema: 40001, [`super::SCHEMA_CHANGED`].
    SchemaChanged,
    /// PostgreSQL has another reason, for example a deferred constraint.
    Refused {
        /// SQLSTATE.
        code: String,
        /// Primary message.
        message: String,
    },
}

/// Which schema changes a session knows of.
#[derive(Debug, Clone, Copy)]
pub struct SchemaView {
    seen: u64,
}

impl SchemaView {
    /// That of a new session: all of them.
    #[must_use]
    pub fn new(ledger: &Ledger) -> Self {
        Self {
            seen: ledger.epoch(),
        }
    }

    /// Whether another session has changed the schema since the last call. To be asked at the first
    /// statement of a transaction; [`Transaction::commit`] asks at its end.
    pub fn is_stale(&mut self, ledger: &Ledger) -> bool {
        let epoch = ledger.epoch();
        let stale = epoch != self.seen;
        self.seen = epoch;
        stale
    }

    fn advance(&mut self, epoch: u64) {
        // Only its own change is known to the session; anyone else's before it is not.
        if self.seen + 1 == epoch {
            self.seen = epoch;
        }
    }
}

/// A row, whatever version of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Origin {
    /// It was there before: the place that the snapshot sees.
    Given(Place),
    /// The transaction added it, as its n-th.
    Added(u64),
}

#[derive(Debug, Clone)]
struct Change {
    /// `None` when the row is gone.
    row: Option<String>,
    /// A key column is not what it was.
    key: bool,
    order: u64,
}

#[derive(Debug, Clone)]
struct Shadow {
    oid: u32,
    name: String,
}

/// A transaction that writes, locks, or changes the schema.
#[derive(Debug)]
pub struct Transaction {
    ledger: Arc<Ledger>,
    holder: Arc<Holder>,
    detached: bool,
    shadows: HashMap<u32, Shadow>,
    /// Versions whose row is not simply that of their own place.
    origins: HashMap<(u32, Place), Origin>,
    changes: HashMap<(u32, Origin), Change>,
    added: u64,
    order: u64,
    pending: Vec<Effect>,
    rows: u64,
    bytes: u64,
    /// Tables of which it has changed rows without keys.
    keyless: HashSet<u32>,
    /// PostgreSQL's id, once it is known.
    id: Option<u64>,
    deferrable: bool,
    settings: Vec<String>,
    /// The one statement that changed the schema.
    schema: Option<String>,
    /// It was undone and is to be run again at COMMIT.
    postponed: bool,
    /// Triggers do not follow the change of the schema yet.
    uninstrumented: bool,
    /// [`SAVEPOINT`] was sent behind BEGIN.
    saved: bool,
    /// What the transaction saw when it made its changes, if it has begun anew since.
    seen: Option<Snapshot>,
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.ledger.leave(&self.holder);
    }
}

impl Transaction {
    /// Registers a transaction. To be made before its BEGIN is sent: its snapshot is to see all that
    /// the ledger has seen by now.
    #[must_use]
    pub fn new(ledger: &Arc<Ledger>) -> Self {
        Self {
            ledger: Arc::clone(ledger),
            holder: ledger.enter(),
            detached: false,
            shadows: HashMap::new(),
            origins: HashMap::new(),
            changes: HashMap::new(),
            added: 0,
            order: 0,
            pending: Vec::new(),
            rows: 0,
            bytes: 0,
            keyless: HashSet::new(),
            id: None,
            deferrable: false,
            settings: Vec::new(),
            schema: None,
            postponed: false,
            uninstrumented: false,
            saved: true,
            seen: None,
        }
    }

    /// As [`Transaction::new`], for a transaction of one statement that changes rows: it does
    /// without [`SAVEPOINT`].
    #[must_use]
    pub fn lone(ledger: &Arc<Ledger>) -> Self {
        let mut lone = Self::new(ledger);
        lone.saved = false;
        lone
    }

    /// To be called before each statement: it may take locks.
    pub fn resume(&self) {
        if !self.detached {
            self.holder.set_bound();
        }
    }

    /// Remembers a SET of the transaction, which going back to the savepoint would undo.
    pub fn remember(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    /// Says that `sql` has changed the schema.
    /// `instrumented`: [`INSTRUMENT`] has been run since.
    pub fn change_schema(&mut self, sql: &str, instrumented: bool) {
        self.schema = Some(sql.to_owned());
        self.uninstrumented = !instrumented;
        self.holder.set_schema_change(true);
    }

    /// Whether [`Transaction::instrument`] has something to do.
    #[must_use]
    pub fn wants_instruments(&self) -> bool {
        self.uninstrumented && !self.postponed
    }

    /// Whether it has changed the schema.
    #[must_use]
    pub fn has_changed_schema(&self) -> bool {
        self.schema.is_some()
    }

    /// Brings the triggers up to date, if the schema was changed. COMMIT does so at last: rows are
    /// not changed in the same transaction.
    ///
    /// # Errors
    /// What PostgreSQL says, or the connection is gone.
    pub async fn instrument(&mut self, backend: &mut impl Backend) -> Result<(), Failure> {
        if self.wants_instruments() {
            backend.run(&[INSTRUMENT]).await?;
            self.uninstrumented = false;
        }
        Ok(())
    }

    /// How others know it. A session that waits for its client waits for
    /// [`Holder::asked`] too, and then calls [`Self::detach`].
    #[must_use]
    pub fn holder(&self) -> &Arc<Holder> {
        &self.holder
    }

    /// Takes the body of a notice with SQLSTATE [`super::EFFECT`].
    ///
    /// # Errors
    /// It is no report: the emulator's own defect.
    pub fn record(&mut self, report: &str) -> Result<(), EffectError> {
        self.pending.push(Effect::read(report)?);
        Ok(())
    }

    /// Rows changed so far, with those of the statement under way.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let changed = |effect: &&Effect| effect.operation != Operation::Lock;
        self.rows + self.pending.iter().filter(changed).count() as u64
    }

    /// Bytes written so far, as [`Effect::bytes`] counts them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it works on shadows.
    #[must_use]
    pub fn is_detached(&self) -> bool {
        self.detached
    }

    /// Decides about the statement whose effects were recorded last; `failure` is its SQLSTATE.
    pub fn judge(&mut self, failure: Option<&str>) -> Verdict {
        let pending = std::mem::take(&mut self.pending);
        if let Some(code) = failure {
            return if self.may_be_false(code) {
                Verdict::Again
            } else {
                Verdict::Stands
            };
        }
        if !self.saved && pending.iter().any(|effect| effect.deferrable) {
            return Verdict::Afresh;
        }
        let stale = !self.detached && self.ledger.is_stale(&self.holder);
        if stale && self.saw_more_than_its_snapshot(&pending) {
            return Verdict::Again;
        }
        for effect in pending {
            self.accept(effect);
        }
        Verdict::Stands
    }

    /// Locks and concurrent commits are not what DSQL's statements see; constraint violations may
    /// be due to rows that the snapshot does not see. A detached transaction meets neither, but
    /// somebody may have a table for himself for a moment.
    fn may_be_false(&self, code: &str) -> bool {
        match code {
            code if is_of_locks(code) => true,
            _ if self.detached => false,
            "40001" => true,
            code => code.starts_with("23") && self.ledger.is_stale(&self.holder),
        }
    }

    /// PostgreSQL's constraints look past the snapshot, so a statement can succeed that ought not,
    /// or miss rows: a key taken away by others is free, children deleted by others are no
    /// obstacle.
    fn saw_more_than_its_snapshot(&self, pending: &[Effect]) -> bool {
        let mut footprint = Footprint::default();
        let mut looked_at = HashSet::new();
        for effect in pending {
            for (key, modes) in &effect.keys {
                footprint.touch(*key, *modes);
            }
            looked_at.extend(&effect.orphans);
            if effect.opaque {
                looked_at.insert(effect.table);
            }
        }
        self.ledger.conflicts(&self.holder, &footprint, None)
            || self.ledger.changed_since(&self.holder, &looked_at)
    }

    /// Takes what was recorded as it is: the statement cannot be run again.
    pub fn accept_all(&mut self) {
        for effect in std::mem::take(&mut self.pending) {
            self.accept(effect);
        }
    }

    fn accept(&mut self, effect: Effect) {
        let table = effect.table;
        let origin = match effect.old {
            Some(place) if effect.operation == Operation::Lock => {
                let known = self.origins.get(&(table, place));
                known.copied().unwrap_or(Origin::Given(place))
            }
            Some(place) => {
                let known = self.origins.remove(&(table, place));
                known.unwrap_or(Origin::Given(place))
            }
            None => {
                self.added += 1;
                Origin::Added(self.added)
            }
        };
        if let Some(place) = effect.new {
            self.origins.insert((table, place), origin);
        }
        self.touch(&effect, origin);
        if effect.operation != Operation::Lock {
            self.rows += 1;
            if !effect.has_own_key() {
                self.keyless.insert(table);
            }
            self.id = effect.transaction;
            self.bytes += effect.bytes;
            self.deferrable |= effect.deferrable;
            self.change(effect, origin);
        }
    }

    fn touch(&self, effect: &Effect, origin: Origin) {
        let mut footprint = self.holder.footprint();
        for (key, modes) in &effect.keys {
            footprint.touch(*key, *modes);
        }
        if !effect.has_own_key()
            && let Origin::Given(place) = origin
        {
            footprint.touch(Key::Row(effect.table, place), effect.mode);
        }
        if effect.operation != Operation::Lock {
            footprint.change(effect.table);
        }
    }

    fn change(&mut self, effect: Effect, origin: Origin) {
        let at = (effect.table, origin);
        if effect.row.is_none() && matches!(origin, Origin::Added(_)) {
            self.changes.remove(&at);
            return;
        }
        self.order += 1;
        let key = effect.mode == super::Modes::KEY;
        let known = self.changes.get(&at).is_some_and(|change| change.key);
        let change = Change {
            row: effect.row,
            key: key || known,
            order: self.order,
        };
        self.changes.insert(at, change);
    }

    /// Gives up its locks: back to the savepoint, with the effects in memory and the snapshot as it
    /// was. One that is detached already makes its copies anew.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn detach(&mut self, backend: &mut impl Backend) -> Result<(), Failure> {
        self.go_back(backend).await?;
        self.detached = true;
        self.shadows.clear();
        self.holder.set_free();
        Ok(())
    }

    /// Gives up its locks for another transaction. One that has changed nothing can go on as it
    /// was; a change of the schema is undone and made at COMMIT.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn release(&mut self, backend: &mut impl Backend) -> Result<(), Failure> {
        if !self.changes.is_empty() || self.detached {
            return self.detach(backend).await;
        }
        self.go_back(backend).await?;
        if self.schema.is_some() {
            self.postponed = true;
            self.holder.set_schema_change(false);
        }
        self.holder.set_free();
        Ok(())
    }

    /// Begins anew, with a savepoint and a snapshot of its own: nobody has been told anything yet
    /// that depends on the one before.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn start_over(&mut self, backend: &mut impl Backend) -> Result<(), Failure> {
        if !self.changes.is_empty() {
            self.seen = Some(snapshot(backend).await?);
        }
        self.saved = true;
        backend.run(&["ROLLBACK", BEGIN, SAVEPOINT]).await?;
        Ok(())
    }

    async fn go_back(&mut self, backend: &mut impl Backend) -> Result<(), Failure> {
        self.pending.clear();
        if !self.saved {
            return self.start_over(backend).await;
        }
        let settings = self.settings.iter().map(String::as_str);
        let statements: Vec<&str> = std::iter::once("ROLLBACK TO SAVEPOINT pg_dsql")
            .chain(settings)
            .collect();
        backend.run(&statements).await.map(|_| ())
    }

    /// The text to run instead of `sql`, in a detached transaction: shadows are made as needed.
    ///
    /// # Errors
    /// What PostgreSQL says, or the connection is gone.
    pub async fn redirect(
        &mut self,
        backend: &mut impl Backend,
        sql: &str,
    ) -> Result<String, Failure> {
        if !self.detached {
            return Ok(sql.to_owned());
        }
        let Some(statement) = parse(sql)
            .ok()
            .filter(|s| s.len() == 1)
            .and_then(|mut s| s.pop())
        else {
            return Ok(sql.to_owned());
        };
        let names = Names::read(&statement);
        let quoted: Vec<String> = names.tables.iter().map(Name::quoted).collect();
        let found = resolve(backend, &quoted).await?;
        let mut wanted: HashSet<u32> = self.changes.keys().map(|(table, _)| *table).collect();
        let mut views = Vec::new();
        for name in &names.tables {
            let Some(found) = found.get(&name.quoted()) else {
                continue;
            };
            if found.view {
                let parts = view_parts(backend, found.oid).await?;
                let tables = parts.iter().filter(|part| part.definition.is_none());
                wanted.extend(tables.filter(|_| name.target).map(|part| part.oid));
                views.extend(parts);
            } else if name.target {
                wanted.insert(found.oid);
            }
        }
        self.make_shadows(backend, wanted).await?;
        self.make_views(backend, &views).await?;
        let places = found
            .into_iter()
            .filter_map(|(name, found)| {
                let shadow = self.shadows.get(&found.oid)?;
                Some((name, shadow.name.clone()))
            })
            .collect();
        Ok(names.replace(&statement.text, &places))
    }

    /// Makes views on shadows for views on tables that have shadows.
    async fn make_views(
        &mut self,
        backend: &mut impl Backend,
        parts: &[ViewPart],
    ) -> Result<(), Failure> {
        for part in parts {
            let (Some(definition), false) =
                (&part.definition, self.shadows.contains_key(&part.oid))
            else {
                continue;
            };
            let shadowed = |other: &ViewPart| {
                let shadow = self.shadows.get(&other.oid)?;
                Some((other.qualified.clone(), shadow.name.clone()))
            };
            let places: HashMap<String, String> = parts.iter().filter_map(shadowed).collect();
            let Some(statement) = parse(definition).ok().and_then(|mut s| s.pop()) else {
                continue;
            };
            let names = Names::read(&statement);
            if names
                .tables
                .iter()
                .all(|name| !places.contains_key(&name.quoted()))
            {
                continue;
            }
            let text = names.replace(&statement.text, &places);
            let name = quote(&part.name);
            let create = format!("CREATE TEMP VIEW {name} AS {text}{}", part.options);
            let oid = format!("SELECT 'pg_temp.{name}'::regclass::oid::text");
            let rows = backend.run(&[&create, &oid]).await?;
            let oid = rows.first().and_then(|row| row.first()).cloned().flatten();
            let shadow = Shadow {
                oid: oid
                    .and_then(|oid| oid.parse().ok())
                    .ok_or_else(unexpected)?,
                name: part.name.clone(),
            };
            self.shadows.insert(part.oid, shadow);
        }
        Ok(())
    }

    async fn make_shadows(
        &mut self,
        backend: &mut impl Backend,
        wanted: HashSet<u32>,
    ) -> Result<(), Failure> {
        let missing: Vec<String> = wanted
            .into_iter()
            .filter(|oid| {
                !self.shadows.contains_key(oid) && self.shadows.values().all(|s| s.oid != *oid)
            })
            .map(|oid| oid.to_string())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "SELECT relid::text, shadow::oid::text, name, there::text, origin::text \
             FROM pg_dsql.shadow(ARRAY[{}]::oid[])",
            missing.join(",")
        );
        let rows = backend.run(&[&sql]).await?;
        let mut made = HashMap::new();
        let mut places: HashMap<(u32, Place), Place> = HashMap::new();
        for row in &rows {
            let Some((table, shadow, there, origin)) = read_shadow(row) else {
                return Err(unexpected());
            };
            if let std::collections::hash_map::Entry::Vacant(new) = made.entry(table) {
                new.insert(shadow);
                self.origins.retain(|(other, _), _| *other != table);
            }
            if let (Some(there), Some(origin)) = (there, origin) {
                self.origins.insert((table, there), Origin::Given(origin));
                places.insert((table, origin), there);
            }
        }
        for (table, shadow) in made {
            self.fill_shadow(backend, table, &shadow, &places).await?;
            self.shadows.insert(table, shadow);
        }
        Ok(())
    }

    /// Puts the transaction's own changes into a shadow.
    async fn fill_shadow(
        &mut self,
        backend: &mut impl Backend,
        table: u32,
        shadow: &Shadow,
        places: &HashMap<(u32, Place), Place>,
    ) -> Result<(), Failure> {
        let own = self.changes_of(table);
        if own.is_empty() {
            return Ok(());
        }
        let mut call = Application::new(shadow.oid, table);
        let mut fresh = Vec::new();
        for (origin, change) in own {
            if let Origin::Given(origin) = origin
                && let Some(place) = places.get(&(table, origin))
            {
                self.origins.remove(&(table, *place));
                call.gone.push(*place);
            }
            if let Some(row) = change.row {
                call.fresh.push(row);
                fresh.push(origin);
            }
        }
        let rows = backend.run(&[&call.sql()]).await?;
        for (row, origin) in rows.iter().zip(fresh) {
            let place = row.first().and_then(Option::as_deref);
            let place = place.and_then(Place::read).ok_or_else(unexpected)?;
            self.origins.insert((table, place), origin);
        }
        Ok(())
    }

    fn changes_of(&self, table: u32) -> Vec<(Origin, Change)> {
        let mut own: Vec<(Origin, Change)> = self
            .changes
            .iter()
            .filter(|((other, _), _)| *other == table)
            .map(|((_, origin), change)| (*origin, change.clone()))
            .collect();
        own.sort_by_key(|(_, change)| change.order);
        own
    }

    /// The queries that report the rows which the statement's FOR UPDATE or FOR KEY SHARE asks for,
    /// to be run before the statement itself, which runs without these words
    /// ([`super::strip`]).
    ///
    /// # Errors
    /// What PostgreSQL says, or the connection is gone.
    pub async fn lock_queries(
        &self,
        backend: &mut impl Backend,
        sql: &str,
    ) -> Result<Vec<LockQuery>, Failure> {
        let Some(statement) = parse(sql).ok().and_then(|mut s| s.pop()) else {
            return Ok(Vec::new());
        };
        let names = Names::read(&statement);
        let quoted: Vec<String> = names.tables.iter().map(Name::quoted).collect();
        let found = resolve(backend, &quoted).await?;
        let is_table = |name: &str| found.get(name).is_some_and(|found| found.table);
        Ok(locking::queries(&statement, &is_table))
    }

    /// Commits, or finds that it cannot.
    ///
    /// # Errors
    /// The connection is gone; whether it is committed is not known then.
    pub async fn commit(
        mut self,
        backend: &mut impl Backend,
        view: &mut SchemaView,
    ) -> Result<Commit, Failure> {
        if view.is_stale(&self.ledger) {
            backend.run(&["ROLLBACK"]).await?;
            return Ok(Commit::SchemaChanged);
        }
        if self.schema.is_none() && self.holder.footprint().is_empty() {
            return ended(backend.run(&["COMMIT"]).await);
        }
        if let Some(refused) = self.finish_schema(backend).await? {
            return Ok(refused);
        }
        if let Some(refused) = self.check_constraints(backend).await? {
            return Ok(refused);
        }
        let ledger = Arc::clone(&self.ledger);
        if !self.detached {
            let holder = Arc::clone(&self.holder);
            let turn = tokio::select! {
                turn = ledger.turn() => Some(turn),
                () = holder.asked() => None,
            };
            match turn {
                Some(turn) => {
                    let outcome = self.commit_attached(backend, view).await;
                    drop(turn);
                    return outcome;
                }
                None => self.detach(backend).await?,
            }
        }
        self.commit_detached(backend).await
    }

    /// Makes the change of the schema again if it was undone, and brings the triggers up to date.
    /// Whoever has locks in the way makes way first; the caller has the right to change the schema.
    async fn finish_schema(
        &mut self,
        backend: &mut impl Backend,
    ) -> Result<Option<Commit>, Failure> {
        let Some(sql) = self.schema.clone() else {
            return Ok(None);
        };
        let begun = Instant::now();
        loop {
            let done = if self.postponed {
                backend.run(&[&sql, INSTRUMENT]).await
            } else {
                self.instrument(backend).await.map(|()| Vec::new())
            };
            match done {
                Ok(_) => return Ok(None),
                Err(Failure::Refused { code, .. })
                    if is_of_locks(&code) && begun.elapsed() < SCHEMA_PATIENCE =>
                {
                    self.go_back(backend).await?;
                    self.postponed = true;
                    self.ledger.make_room(&self.holder).await;
                }
                Err(Failure::Refused { code, message }) => {
                    backend.run(&["ROLLBACK"]).await?;
                    return Ok(Some(Commit::Refused { code, message }));
                }
                Err(Failure::Lost) => return Err(Failure::Lost),
            }
        }
    }

    /// Checks what was left for COMMIT, in the transaction's own view.
    async fn check_constraints(
        &mut self,
        backend: &mut impl Backend,
    ) -> Result<Option<Commit>, Failure> {
        const CHECK: &str = "SET CONSTRAINTS ALL IMMEDIATE";
        // Rows put into a shadow as they were have not been looked at.
        const CHECK_SHADOWS: &str = "SELECT pg_dsql.check_shadows()";
        if !self.deferrable {
            return Ok(None);
        }
        let mut checked = if self.detached {
            backend.run(&[CHECK, CHECK_SHADOWS]).await
        } else {
            backend.run(&[CHECK]).await
        };
        if let Err(Failure::Refused { code, .. }) = &checked
            && self.may_be_false(code)
        {
            self.detach(backend).await?;
            let changed = self.changes.keys().map(|(table, _)| *table).collect();
            self.make_shadows(backend, changed).await?;
            checked = backend.run(&[CHECK, CHECK_SHADOWS]).await;
        }
        match checked {
            Ok(_) => Ok(None),
            Err(Failure::Refused { code, message }) => {
                backend.run(&["ROLLBACK"]).await?;
                Ok(Some(Commit::Refused { code, message }))
            }
            Err(Failure::Lost) => Err(Failure::Lost),
        }
    }

    async fn commit_attached(
        &self,
        backend: &mut impl Backend,
        view: &mut SchemaView,
    ) -> Result<Commit, Failure> {
        let footprint = self.holder.footprint().clone();
        if self.ledger.conflicts(&self.holder, &footprint, None) {
            let snapshot = snapshot(backend).await?;
            if self
                .ledger
                .conflicts(&self.holder, &footprint, Some(&snapshot))
            {
                backend.run(&["ROLLBACK"]).await?;
                return Ok(Commit::Conflict);
            }
        }
        let committed = match self.id {
            Some(_) => backend.run(&["COMMIT"]).await,
            None => backend.run(&[OWN_ID, "COMMIT"]).await,
        };
        match committed {
            Ok(rows) => {
                if !footprint.is_empty() {
                    let id = self.id.map_or_else(|| transaction_id(&rows), Ok)?;
                    self.ledger.publish(id, footprint, &self.moves());
                }
                if self.schema.is_some() {
                    view.advance(self.ledger.advance_epoch());
                }
                Ok(Commit::Done)
            }
            failure => ended(failure),
        }
    }

    /// Where rows that were there before stand now.
    fn moves(&self) -> Vec<(u32, Place, Place)> {
        let moved = |((table, after), origin): (&(u32, Place), &Origin)| match origin {
            Origin::Given(before) if self.keyless.contains(table) => {
                Some((*table, *before, *after))
            }
            _ => None,
        };
        self.origins.iter().filter_map(moved).collect()
    }

    async fn commit_detached(&self, backend: &mut impl Backend) -> Result<Commit, Failure> {
        let footprint = self.holder.footprint().clone();
        let snapshot = match self.seen.clone() {
            Some(snapshot) => snapshot,
            None => snapshot(backend).await?,
        };
        for attempt in 0..ATTEMPTS {
            let rivals = match attempt {
                0 => self.ledger.rivals(&self.holder, &footprint),
                // Locks of PostgreSQL that the matrix does not know of.
                _ => self.ledger.writers(&self.holder),
            };
            for rival in rivals {
                rival.evict_in_time().await;
            }
            let _turn = self.ledger.turn().await;
            if self
                .ledger
                .conflicts(&self.holder, &footprint, Some(&snapshot))
            {
                break;
            }
            match self.write(backend).await {
                Ok(id) => {
                    self.ledger.publish(id, footprint, &[]);
                    return Ok(Commit::Done);
                }
                Err(Failure::Refused { code, .. }) if is_of_locks(&code) => {}
                // The ledger saw no conflict, but the rows do not fit: keys it does not know.
                Err(Failure::Refused { code, .. }) if code == "40001" || code.starts_with("23") => {
                    break;
                }
                Err(Failure::Refused { code, message }) => {
                    backend.run(&["ROLLBACK"]).await?;
                    return Ok(Commit::Refused { code, message });
                }
                Err(Failure::Lost) => return Err(Failure::Lost),
            }
        }
        backend.run(&["ROLLBACK"]).await?;
        Ok(Commit::Conflict)
    }

    /// Writes all changes in a transaction of their own and commits it; gives its id.
    async fn write(&self, backend: &mut impl Backend) -> Result<u64, Failure> {
        let mut statements = vec!["ROLLBACK".to_owned(), BEGIN.to_owned()];
        statements.extend(self.settings.iter().cloned());
        let mut tables: Vec<u32> = self.changes.keys().map(|(table, _)| *table).collect();
        tables.sort_unstable();
        tables.dedup();
        for table in tables {
            let mut call = Application::new(table, table);
            for (origin, change) in self.changes_of(table) {
                match (origin, change.row) {
                    (Origin::Given(place), None) => call.gone.push(place),
                    // A plain update, so that references to the row are not in its way.
                    (Origin::Given(place), Some(row)) if !change.key => {
                        call.changed.push(place);
                        call.changed_rows.push(row);
                    }
                    (Origin::Given(place), Some(row)) => {
                        call.gone.push(place);
                        call.fresh.push(row);
                    }
                    (Origin::Added(_), Some(row)) => call.fresh.push(row),
                    (Origin::Added(_), None) => {}
                }
            }
            statements.push(call.sql());
        }
        statements.push(OWN_ID.to_owned());
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        let rows = backend.run(&statements).await?;
        let id = transaction_id(&rows)?;
        backend.run(&["COMMIT"]).await?;
        Ok(id)
    }
}

fn is_of_locks(code: &str) -> bool {
    matches!(code, "55P03" | "40P01")
}

/// A call of `pg_dsql.apply`.
struct Application {
    target: u32,
    kind: u32,
    gone: Vec<Place>,
    changed: Vec<Place>,
    changed_rows: Vec<String>,
    fresh: Vec<String>,
}

impl Application {
    fn new(target: u32, kind: u32) -> Self {
        Self {
            target,
            kind,
            gone: Vec::new(),
            changed: Vec::new(),
            changed_rows: Vec::new(),
            fresh: Vec::new(),
        }
    }

    fn sql(&self) -> String {
        format!(
            "SELECT pg_dsql.apply({}::oid::regclass, {}::oid::regclass, {}, {}, {}, {})::text",
            self.target,
            self.kind,
            places(&self.gone),
            places(&self.changed),
            texts(&self.changed_rows),
            texts(&self.fresh),
        )
    }
}

fn places(places: &[Place]) -> String {
    let items: Vec<String> = places.iter().map(|place| format!("'{place}'")).collect();
    format!("ARRAY[{}]::tid[]", items.join(","))
}

fn texts(texts: &[String]) -> String {
    let items: Vec<String> = texts.iter().map(|text| literal(text)).collect();
    format!("ARRAY[{}]::text[]", items.join(","))
}

/// A string constant; `standard_conforming_strings` is always on.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

struct Found {
    oid: u32,
    table: bool,
    view: bool,
}

/// A relation that a view is made of, or the view itself.
struct ViewPart {
    oid: u32,
    qualified: String,
    name: String,
    /// The query of a view, with all names qualified; none for a table.
    definition: Option<String>,
    options: String,
}

async fn view_parts(backend: &mut impl Backend, view: u32) -> Result<Vec<ViewPart>, Failure> {
    let sql = format!(
        "SELECT relid::text, qualified, name, definition, options \
         FROM pg_dsql.view_parts({view}::oid)"
    );
    let part = |row: Vec<Option<String>>| match <[Option<String>; 5]>::try_from(row) {
        Ok(
            [
                Some(oid),
                Some(qualified),
                Some(name),
                definition,
                Some(options),
            ],
        ) => Some(ViewPart {
            oid: oid.parse().ok()?,
            qualified,
            name,
            definition,
            options,
        }),
        _ => None,
    };
    let rows = backend.run(&[&sql]).await?;
    let parts: Option<Vec<ViewPart>> = rows.into_iter().map(part).collect();
    parts.ok_or_else(unexpected)
}

/// Which relations names (as SQL) lead to.
async fn resolve(
    backend: &mut impl Backend,
    names: &[String],
) -> Result<HashMap<String, Found>, Failure> {
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    // Not to_regclass of a shadow: the name's own table is wanted.
    let sql = format!(
        "SELECT n, coalesce(pg_dsql.origin(c.oid), c.oid)::text, c.relkind::text \
         FROM unnest({}) AS n JOIN pg_catalog.pg_class c ON c.oid = to_regclass(n)",
        texts(names)
    );
    let mut found = HashMap::new();
    for row in backend.run(&[&sql]).await? {
        if let [Some(name), Some(oid), Some(kind)] = row.as_slice()
            && let Ok(oid) = oid.parse()
        {
            let (table, view) = (kind == "r", kind == "v");
            found.insert(name.clone(), Found { oid, table, view });
        }
    }
    Ok(found)
}

fn read_shadow(row: &[Option<String>]) -> Option<(u32, Shadow, Option<Place>, Option<Place>)> {
    let [Some(table), Some(oid), Some(name), there, origin] = row else {
        return None;
    };
    let shadow = Shadow {
        oid: oid.parse().ok()?,
        name: name.clone(),
    };
    let place = |text: &Option<String>| text.as_deref().and_then(Place::read);
    Some((table.parse().ok()?, shadow, place(there), place(origin)))
}

async fn snapshot(backend: &mut impl Backend) -> Result<Snapshot, Failure> {
    let rows = backend.run(&["SELECT pg_current_snapshot()::text"]).await?;
    let text = rows.first().and_then(|row| row.first()).cloned().flatten();
    text.as_deref()
        .and_then(Snapshot::read)
        .ok_or_else(unexpected)
}

fn transaction_id(rows: &[Vec<Option<String>>]) -> Result<u64, Failure> {
    let text = rows.last().and_then(|row| row.first()).cloned().flatten();
    text.and_then(|text| text.parse().ok())
        .ok_or_else(unexpected)
}

/// The outcome of COMMIT itself.
fn ended(answer: Result<Vec<Vec<Option<String>>>, Failure>) -> Result<Commit, Failure> {
    match answer {
        Ok(_) => Ok(Commit::Done),
        Err(Failure::Refused { code, .. }) if code == "40001" => Ok(Commit::Conflict),
        Err(Failure::Refused { code, message }) => Ok(Commit::Refused { code, message }),
        Err(Failure::Lost) => Err(Failure::Lost),
    }
}

fn unexpected() -> Failure {
    Failure::Refused {
        code: "XX000".to_owned(),
        message: "unexpected answer of the local PostgreSQL".to_owned(),
    }
}
