//! The gate of columns that are kept as text ([`unstorable`]): texts pass it behind the names of databases
//! and ahead of all else that the session does with them.
//!
//! What the catalog says of such columns is asked once, and again when this process has changed the schema,
//! when a statement fails as if another one had, and every minute. Within a transaction the session follows
//! its own DDL instead, which other connections do not see yet.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::policy::unstorable::{self, Search, Tables};
use crate::policy::{Cache, UnstorableColumns};
use crate::pool::{AskError, Pool};
use crate::sql::Effect;
use crate::wire::backend::TransactionStatus;
use crate::wire::frame::HEADER;
use crate::wire::frontend;
use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

use super::advisory::Waiting;
use super::frontend::{READ_QUERY, Taken, skip};
use super::run::{End, Session};

/// Others may have changed the schema.
const VALID: Duration = Duration::from_secs(60);

/// After an error that may tell of a change, the catalog is asked again, but not more often than this.
const PAUSE: Duration = Duration::from_secs(2);

/// A connection's first statement behind a change of the schema meets a conflict, and each attempt may meet
/// another connection.
const ATTEMPTS: usize = 40;

/// Bytes of translated texts that a worker keeps for a pool, about.
const KEPT_BYTES: usize = 8 * 1024 * 1024;

/// SQLSTATEs of statements that took a table for another than it is.
const MISTAKEN: [&[u8]; 4] = [b"42P01", b"42703", b"42804", b"42883"];

/// In words of a conflict with a change of the schema.
const CHANGED: &[u8] = b"(OC001)";

type Text = Option<Rc<[u8]>>;

/// What the sessions of a worker know of such columns in a pool's database.
#[derive(Debug)]
pub struct Columns {
    pool: Rc<Pool>,
    known: RefCell<Option<Known>>,
    /// Changes with what is known.
    number: Cell<u64>,
    asking: Mutex<()>,
    texts: RefCell<Cache<Text, Search>>,
}

#[derive(Debug)]
struct Known {
    tables: Rc<Tables>,
    /// Changes of the schema before the catalog was asked.
    schema: u64,
    at: Instant,
    doubted: bool,
}

impl Columns {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(pool: Rc<Pool>) -> Self {
        Self {
            pool,
            known: RefCell::default(),
            number: Cell::new(0),
            asking: Mutex::new(()),
            texts: RefCell::new(Cache::new(KEPT_BYTES)),
        }
    }

    /// This process has not changed the schema since.
    fn is_unchanged(&self) -> bool {
        let known = self.known.borrow();
        known
            .as_ref()
            .is_some_and(|known| known.schema == self.pool.schema())
    }

    fn is_fresh(&self) -> bool {
        let recent = self
            .known
            .borrow()
            .as_ref()
            .is_some_and(|known| known.at.elapsed() < VALID && !known.doubted);
        recent && self.is_unchanged()
    }

    fn tables(&self) -> Option<Rc<Tables>> {
        let known = self.known.borrow();
        known.as_ref().map(|known| Rc::clone(&known.tables))
    }

    fn doubt(&self) {
        if let Some(known) = self.known.borrow_mut().as_mut() {
            known.doubted |= known.at.elapsed() > PAUSE;
        }
    }

    /// Asks the catalog; `anyway`: also when somebody else has just done so.
    async fn ask(&self, anyway: bool) -> Result<(), AskError> {
        let _turn = self.asking.lock().await;
        if self.is_fresh() && !anyway {
            return Ok(());
        }
        let sql = Tables::query();
        let mut attempt = 0;
        let (asked, schema) = loop {
            attempt += 1;
            let schema = self.pool.schema();
            match self.pool.ask(&sql).await {
                Ok(asked) => break (asked, schema),
                Err(AskError::Refused(code, _)) if code == "40001" && attempt < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        };
        let tables = Tables::read(&asked.rows);
        let mut known = self.known.borrow_mut();
        let same = known.as_ref().is_some_and(|known| *known.tables == tables);
        if !same {
            self.number.set(self.number.get() + 1);
        }
        *known = Some(Known {
            tables: Rc::new(tables),
            schema,
            at: Instant::now(),
            doubted: false,
        });
        Ok(())
    }

    /// A text as it goes on; `None`: the same.
    fn text(&self, tables: &Tables, text: &str, search: &Search) -> Result<Said, ClientError> {
        let number = self.number.get();
        if let Some(text) = self.texts.borrow_mut().get(text.as_bytes(), search, number) {
            return Ok(Said { text, tables: None });
        }
        let said = Said::of(tables, text, search)?;
        if let (Some(translated), None) = (&said.text, &said.tables) {
            let weight = translated.len() + 64;
            let kept = Some(Rc::clone(translated));
            let mut texts = self.texts.borrow_mut();
            texts.put(text.as_bytes(), search, number, kept, weight);
        }
        Ok(said)
    }
}

/// What became of a text.
struct Said {
    text: Text,
    /// What is known behind it, if it changes that.
    tables: Option<Rc<Tables>>,
}

impl Said {
    fn of(tables: &Tables, text: &str, search: &Search) -> Result<Self, ClientError> {
        let translated = unstorable::translate(text, tables, search)?;
        Ok(Self {
            text: translated.text.map(|text| text.into_bytes().into()),
            tables: translated.tables.map(Rc::new),
        })
    }
}

/// Of one session.
#[derive(Default)]
pub(super) struct OwnColumns {
    /// The catalog is being asked.
    asking: Option<Waiting<Result<(), AskError>>>,
    /// It could not be.
    failure: Option<ClientError>,
    /// What holds in the transaction under way, behind its own DDL.
    within: Option<Rc<Tables>>,
    /// For as long as the session is pinned, its search path is not known.
    lost_path: bool,
}

impl std::fmt::Debug for OwnColumns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnColumns")
            .field("asking", &self.asking.is_some())
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}

impl Session {
    fn columns_env(&self) -> Option<&Rc<Columns>> {
        let on = self.switches.unstorable_columns == UnstorableColumns::Text;
        self.env.columns.as_ref().filter(|_| on)
    }

    /// Whether the catalog has to be asked ahead of a text; it is then.
    pub(super) fn must_wait_for_columns(&mut self) -> bool {
        let Some(env) = self.columns_env().map(Rc::clone) else {
            return false;
        };
        if self.columns.asking.is_some() {
            return true;
        }
        if self.columns.failure.is_some() || self.limbo.is_some() {
            return false;
        }
        if self.may_move_path() && self.waits_for_answers(false) {
            return true;
        }
        let within = self.transaction.open || self.status != TransactionStatus::Idle;
        if !within {
            self.columns.within = None;
        }
        let known = match &self.columns.within {
            Some(tables) => !tables.is_incomplete(),
            None if within => env.is_unchanged(),
            None => env.is_fresh(),
        };
        if known {
            return false;
        }
        let anyway = self.columns.within.is_some();
        self.columns.asking = Some(Box::pin(async move { env.ask(anyway).await }));
        true
    }

    /// Goes on asking the catalog; true when that is done.
    pub(super) fn run_columns(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(asking) = &mut self.columns.asking else {
            return false;
        };
        let Poll::Ready(outcome) = asking.as_mut().poll(cx) else {
            return false;
        };
        self.columns.asking = None;
        self.columns.within = None;
        if let Err(error) = outcome {
            self.columns.failure = Some(unknown(error));
        }
        true
    }

    /// Takes a Query or Parse with such columns as what they stand for.
    pub(super) fn take_columns(
        &mut self,
        tag: u8,
        total: usize,
        bytes: &[u8],
    ) -> Result<Taken, End> {
        if self.limbo.is_some() || self.columns_env().is_none() {
            return self.take_admitted(tag, total, bytes);
        }
        if bytes.len() < total {
            if tag != b'Q' || !self.has_columns() {
                return self.take_admitted(tag, total, bytes);
            }
            let taken = self.refuse_text(tag, too_long())?;
            return Ok(match taken {
                Taken::Wait => Taken::Wait,
                _ => skip(total, bytes.len()),
            });
        }
        if let Some(failure) = self.columns.failure.take() {
            return self.refuse_text(tag, failure);
        }
        let body = &bytes[HEADER..];
        let text = match tag {
            b'Q' => frontend::query(body)?,
            _ => frontend::parse(body)?.text,
        };
        let said = match self.with_columns(text) {
            Ok(None) => return self.take_admitted(tag, total, bytes),
            Ok(Some(said)) => said,
            Err(error) => return self.refuse_text(tag, error),
        };
        let taken = match said.text {
            None => self.take_admitted(tag, total, bytes)?,
            Some(text) => {
                let mut frame = Vec::with_capacity(text.len() + HEADER + 64);
                match tag {
                    b'Q' => frontend::put_query(&mut frame, &text),
                    _ => {
                        let parse = frontend::parse(body)?;
                        frontend::put_parse(&mut frame, parse.name, &text, parse.types);
                    }
                }
                self.reworded = true;
                match self.take_admitted(tag, frame.len(), &frame)? {
                    Taken::Wait => Taken::Wait,
                    _ => Taken::All,
                }
            }
        };
        if said.tables.is_some() && !matches!(taken, Taken::Wait) {
            self.columns.within = said.tables;
        }
        Ok(taken)
    }

    /// There are tables with such columns, or nothing is known.
    fn has_columns(&self) -> bool {
        let env = self.columns_env().and_then(|env| env.tables());
        let known = self.columns.within.clone().or(env);
        known.is_none_or(|tables| !tables.is_empty())
    }

    /// `None`: it has nothing to do with such columns.
    fn with_columns(&self, text: &[u8]) -> Result<Option<Said>, ClientError> {
        let Some(env) = self.columns_env() else {
            return Ok(None);
        };
        let (Some(tables), Ok(text)) = (
            self.columns.within.clone().or_else(|| env.tables()),
            std::str::from_utf8(text),
        ) else {
            return Ok(None);
        };
        if !tables.touches(text) {
            return Ok(None);
        }
        let search = self.search();
        let said = match &self.columns.within {
            Some(tables) => Said::of(tables, text, &search)?,
            None => env.text(&tables, text, &search)?,
        };
        Ok(Some(said))
    }

    /// Where names are looked for.
    fn search(&self) -> Search {
        let names = |path: Option<&str>| unstorable::names(path.unwrap_or("public"));
        let home = self.settings.defaults().get("search_path");
        let lost = self.pin.is_some() && self.columns.lost_path;
        Search {
            path: (!lost).then(|| names(self.settings.search_path())),
            home: names(home.map(String::as_str)),
        }
    }

    /// What is under way may move the search path.
    fn may_move_path(&self) -> bool {
        if self.owed.is_empty() {
            return false;
        }
        let mut notes = self.owed.iter().filter_map(|entry| entry.note.as_ref());
        self.settings.has_moved_path()
            || notes.any(|note| {
                let mut effects = note.effects.iter().flat_map(|effects| effects.iter());
                effects.any(moves_path)
            })
    }

    /// The session is pinned, for a reason that loses the search path or does not.
    pub(super) fn note_lost_path(&mut self, lost: bool) {
        self.columns.lost_path = lost || self.pin.is_some() && self.columns.lost_path;
    }

    /// An error that may tell of a change of the schema that others have made.
    pub(super) fn doubt_columns(&self, code: &[u8], message: &[u8]) {
        let changed = code == b"40001" && memchr::memmem::find(message, CHANGED).is_some();
        if (changed || MISTAKEN.contains(&code))
            && let Some(env) = self.columns_env()
        {
            env.doubt();
        }
    }

    /// No transaction is open: what it did can be seen by all, or is undone.
    pub(super) fn forget_own_columns(&mut self) {
        // A procedure has transactions of its own.
        if self.procedure.is_none() {
            self.columns.within = None;
        }
    }
}

/// What may make names without a schema mean something else.
fn moves_path(effect: &Effect) -> bool {
    match effect {
        Effect::Set { name, .. } | Effect::Reset(name) => name == "search_path",
        Effect::ResetAll | Effect::DiscardAll => true,
        _ => false,
    }
}

/// Unread, it would see text.
fn too_long() -> ClientError {
    ClientError::error(
        sqlstate::PROGRAM_LIMIT_EXCEEDED,
        format!("where columns are kept as text a Query has at most {READ_QUERY} bytes"),
    )
    .hint("Send the data as parameters, or with COPY.")
}

fn unknown(error: AskError) -> ClientError {
    match error {
        AskError::Without(error) => error,
        AskError::Lost(cause) | AskError::Refused(_, cause) => ClientError::error(
            sqlstate::CONNECTION_FAILURE,
            "the types of columns could not be looked up",
        )
        .detail(cause)
        .hint("Try again; SET dsqlproxy.unstorable_columns = refuse does without."),
    }
}
