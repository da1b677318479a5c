//! What the session does aside from its connection, and waits for without one, unless its transaction
//! has one: a SELECT of advisory lock functions, and CREATE TEMP TABLE.

use std::rc::Rc;
use std::task::{Context, Poll};

use pg_query::NodeEnum;

use crate::policy::settings;
use crate::policy::{
    Action, AdvisoryLock, DatabaseChange, KeyParameter, Level, LockArgument, LockExpression,
    LockWish, Notice, NotifyCall, Procedure, SignalCall, SignalTarget, TableName, TextArgument,
};
use crate::session::advisory::{Given, Part, Waiting, Wish};
use crate::session::frontend::Taken;
use crate::session::kept;
use crate::session::limbo::Limbo;
use crate::session::notify;
use crate::session::run::Session;
use crate::session::temporary::Table;
use crate::sql::Statement;
use crate::sql::scan::{Token, Tokens};
use crate::wire::backend::TransactionStatus;
use crate::wire::frontend;
use crate::wire::reply::{self, ClientError};
use crate::wire::sqlstate;

use super::{Reply, Running, Tag, Task, Work};

/// PostgreSQL's number of the lock mode SHARE.
const SHARE: i32 = 5;

/// OID of type void.
const VOID: u32 = 2278;

/// OID of type bool.
const BOOL: u32 = 16;

/// What is done aside from the session's connection: the locks that a statement asks for, or a
/// temporary table.
pub(super) struct Aside {
    /// Name and type of each column; none if there is no row.
    columns: Vec<(String, u32)>,
    /// Format codes of the columns, as a Bind has them.
    formats: Vec<u16>,
    /// Which of the locks are shared.
    shared: Vec<bool>,
    /// The temporary table that is there then.
    makes: Option<Table>,
    /// What is told when there was nothing to do.
    absent: Option<String>,
    waiting: Waiting<Result<Vec<Given>, ClientError>>,
}

impl std::fmt::Debug for Aside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aside")
            .field("columns", &self.columns)
            .field("makes", &self.makes)
            .finish_non_exhaustive()
    }
}

/// The values of a Bind and the formats it wants.
#[derive(Debug, Default)]
struct Bound<'a> {
    values: Vec<(bool, Option<&'a [u8]>)>,
    formats: Vec<u16>,
}

impl<'a> Bound<'a> {
    /// Reads a Bind from behind its names; the frame's layout was checked before.
    fn read(rest: &'a [u8]) -> Option<Self> {
        let mut at = 0;
        let number = |at: &mut usize| {
            let bytes = rest.get(*at..)?.first_chunk::<2>()?;
            *at += 2;
            Some(u16::from_be_bytes(*bytes))
        };
        let mut formats = Vec::new();
        for _ in 0..number(&mut at)? {
            formats.push(number(&mut at)?);
        }
        let mut bound = Self::default();
        for value in 0..usize::from(number(&mut at)?) {
            let length = rest.get(at..)?.first_chunk::<4>()?;
            at += 4;
            let format = match formats.as_slice() {
                [only] => *only,
                all => all.get(value).copied().unwrap_or(0),
            };
            let length = usize::try_from(i32::from_be_bytes(*length)).ok();
            let bytes = match length {
                Some(length) => Some(rest.get(at..at + length)?),
                None => None,
            };
            at += length.unwrap_or(0);
            bound.values.push((format == 1, bytes));
        }
        for _ in 0..number(&mut at)? {
            bound.formats.push(number(&mut at)?);
        }
        Some(bound)
    }

    /// An expression with the values of its parameters as constants.
    fn fill(&self, key: &LockExpression) -> Result<String, ClientError> {
        let mut filled = String::new();
        let mut done = 0;
        let mut tokens = Tokens::new(key.text.as_bytes());
        while let Some(token) = tokens.next() {
            let number = match token {
                Token::Number([b'$', number @ ..]) => std::str::from_utf8(number),
                _ => continue,
            };
            let number = number.ok().and_then(|number| number.parse().ok());
            let kind = number.and_then(|number| key.parameters.get(&number));
            let (Some(number), Some(kind)) = (number, kind) else {
                continue;
            };
            let span = tokens.span();
            filled.push_str(key.text.get(done..span.start).unwrap_or_default());
            filled.push_str(&self.constant(number, *kind)?);
            done = span.end;
        }
        filled.push_str(key.text.get(done..).unwrap_or_default());
        Ok(filled)
    }

    /// A parameter as a constant of no type: what PostgreSQL takes a parameter without one for.
    fn constant(&self, parameter: usize, kind: KeyParameter) -> Result<String, ClientError> {
        let is_binary = |at: usize| self.values.get(at).is_some_and(|(binary, _)| *binary);
        let value = match (parameter.checked_sub(1).is_some_and(is_binary), kind) {
            (true, KeyParameter::Number) => self.number(parameter)?.map(|value| value.to_string()),
            (true, KeyParameter::Unknown) => {
                return Err(ClientError::error(
                    sqlstate::FEATURE_NOT_SUPPORTED,
                    format!("the type of parameter ${parameter} of an advisory lock is not known"),
                )
                .hint("Write a cast at the parameter, as in $1::text or $1::bigint, or bind it as text."));
            }
            _ => self.text(parameter)?,
        };
        match value {
            Some(value) if value.contains('\0') || value.contains('\u{fffd}') => Err(
                ClientError::error("22021", "invalid byte sequence for encoding \"UTF8\""),
            ),
            Some(value) => Ok(format!("'{}'", value.replace('\'', "''"))),
            None => Ok("NULL".to_owned()),
        }
    }

    /// A parameter as text, counted from 1; NULL is none.
    fn text(&self, parameter: usize) -> Result<Option<String>, ClientError> {
        let value = parameter.checked_sub(1).and_then(|at| self.values.get(at));
        let Some((_, value)) = value else {
            return Err(ClientError::error(
                "42P02",
                format!("there is no parameter ${parameter}"),
            ));
        };
        Ok(value.map(|value| String::from_utf8_lossy(value).into_owned()))
    }

    /// A parameter, counted from 1; NULL is none.
    fn number(&self, parameter: usize) -> Result<Option<i64>, ClientError> {
        let value = parameter.checked_sub(1).and_then(|at| self.values.get(at));
        let Some((binary, value)) = value else {
            return Err(ClientError::error(
                "42P02",
                format!("there is no parameter ${parameter}"),
            ));
        };
        let Some(value) = value else {
            return Ok(None);
        };
        let read = match (binary, value.len()) {
            (true, 8) => value.first_chunk().map(|bytes| i64::from_be_bytes(*bytes)),
            (true, 4) => value
                .first_chunk()
                .map(|bytes| i32::from_be_bytes(*bytes).into()),
            (true, 2) => value
                .first_chunk()
                .map(|bytes| i16::from_be_bytes(*bytes).into()),
            (true, _) => None,
            (false, _) => std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.trim().parse().ok()),
        };
        read.map(Some).ok_or_else(|| {
            let text = String::from_utf8_lossy(value);
            ClientError::error(
                "22P02",
                format!("invalid input syntax for type bigint: \"{text}\""),
            )
        })
    }
}

impl Session {
    /// Does a statement aside, if it is one of those; `bind`: a Bind from behind its names.
    pub(super) fn take_aside(
        &mut self,
        part: &crate::session::verdict::Part,
        reply: Reply,
        bind: &[u8],
    ) -> Option<Taken> {
        let Action::Emulate(procedure) = &part.decision.action else {
            return None;
        };
        match procedure {
            Procedure::AdvisoryLock(lock) => Some(self.begin_locking(lock, reply, bind)),
            Procedure::Notify(call) => Some(self.begin_notify(call, reply, bind)),
            Procedure::Signal(call) => Some(self.begin_signal(call, reply, bind)),
            Procedure::TemporaryTable => Some(self.begin_temporary(part, reply)),
            Procedure::Database(change) => {
                let notices = self.notices(&part.decision.notices);
                self.answers().extend_from_slice(&notices);
                Some(self.begin_database(change, reply))
            }
            Procedure::LockTable {
                tables,
                mode,
                nowait,
            } => {
                let notices = self.notices(&part.decision.notices);
                self.answers().extend_from_slice(&notices);
                Some(self.begin_lock_table(tables, *mode, *nowait, reply))
            }
            _ => None,
        }
    }

    /// Begins to take locks. `bind`: a Bind from behind its names.
    pub(super) fn begin_locking(
        &mut self,
        lock: &AdvisoryLock,
        reply: Reply,
        bind: &[u8],
    ) -> Taken {
        let bound = Bound::read(bind).unwrap_or_default();
        let outcome = self.wishes(lock, &bound);
        match outcome {
            Ok(wishes) => {
                let aside = Aside {
                    columns: lock.columns.clone(),
                    formats: bound.formats,
                    shared: wishes.iter().map(|wish| wish.shared).collect(),
                    makes: None,
                    absent: None,
                    waiting: self.advisory.carry_out(wishes),
                };
                self.begin_aside(aside, "SELECT 1", reply);
            }
            Err(error) => self.end_aside(None, "SELECT 1", reply, Err(error)),
        }
        Taken::All
    }

    /// Begins to make a temporary table.
    pub(super) fn begin_temporary(
        &mut self,
        part: &crate::session::verdict::Part,
        reply: Reply,
    ) -> Taken {
        let tag = match part.statement.as_deref().and_then(Statement::node) {
            Some(NodeEnum::ViewStmt(_)) => "CREATE VIEW",
            _ => "CREATE TABLE",
        };
        self.take_passing_of_lease();
        match self.making_of(part) {
            Ok(Some(making)) => {
                self.answers().extend_from_slice(&making.notices);
                let real = making.table.real.clone();
                let path = self.settings.wanted().get("search_path").cloned();
                let made = self
                    .env
                    .locks
                    .make_table(real, making.steps, making.filling, path);
                let aside = Aside {
                    columns: Vec::new(),
                    formats: Vec::new(),
                    shared: Vec::new(),
                    makes: Some(making.table),
                    absent: None,
                    waiting: Box::pin(async move {
                        let rows = made.await?;
                        Ok(rows.map(Given::Rows).into_iter().collect())
                    }),
                };
                self.begin_aside(aside, tag, reply);
            }
            Ok(None) => self.end_aside(None, tag, reply, Ok(Vec::new())),
            Err(error) => self.end_aside(None, tag, reply, Err(error)),
        }
        Taken::All
    }

    /// Begins to create, drop or rename a database.
    fn begin_database(&mut self, change: &DatabaseChange, reply: Reply) -> Taken {
        let tag = change.tag();
        self.take_passing_of_lease();
        let env = self.env.databases.as_ref();
        let Some(env) = env.filter(|env| env.naming.creates) else {
            let error = ClientError::error(
                sqlstate::FEATURE_NOT_SUPPORTED,
                "databases cannot be created from this entry of the proxy's configuration",
            )
            .hint("It has created_databases: false, or a tenant policy; use a schema, or another entry.");
            self.end_aside(None, tag, reply, Err(error));
            return Taken::All;
        };
        let naming = Rc::clone(&env.naming);
        let evict = env.evict();
        let changed = self
            .env
            .locks
            .change_database(change.clone(), naming, evict);
        let aside = Aside {
            columns: Vec::new(),
            formats: Vec::new(),
            shared: Vec::new(),
            makes: None,
            absent: Some(format!(
                "database \"{}\" does not exist, skipping",
                change.name()
            )),
            waiting: Box::pin(async move {
                let there = changed.await?;
                Ok(vec![Given::Truth(there)])
            }),
        };
        self.begin_aside(aside, tag, reply);
        Taken::All
    }

    /// pg_notify(), which is done at once.
    fn begin_notify(&mut self, call: &NotifyCall, reply: Reply, bind: &[u8]) -> Taken {
        let bound = Bound::read(bind).unwrap_or_default();
        let text = |argument: &TextArgument| match argument {
            TextArgument::Constant(text) => Ok(text.clone()),
            TextArgument::Parameter(number) => bound.text(*number),
        };
        let change = text(&call.channel).and_then(|channel| {
            let payload = text(&call.payload)?;
            let channel = channel.unwrap_or_default();
            notify::notification(&channel, &payload.unwrap_or_default())
        });
        let given = change.map(|change| {
            self.tell(change);
            vec![Given::Void]
        });
        let aside = Aside {
            columns: vec![(call.column.clone(), VOID)],
            formats: bound.formats,
            shared: vec![false],
            makes: None,
            absent: None,
            waiting: Box::pin(async move { given }),
        };
        self.begin_aside(aside, "SELECT 1", reply);
        Taken::All
    }

    /// pg_terminate_backend() and pg_cancel_backend(), of sessions of this proxy.
    fn begin_signal(&mut self, call: &SignalCall, reply: Reply, bind: &[u8]) -> Taken {
        let bound = Bound::read(bind).unwrap_or_default();
        let pid = match call.target {
            SignalTarget::Constant(pid) => Ok(pid),
            SignalTarget::Parameter(number) => bound.number(number),
            SignalTarget::Own => Ok(Some(self.key.0.into())),
        };
        let pid_of_own = pid
            .as_ref()
            .map(|pid| *pid == Some(i64::from(self.key.0)))
            .map_err(|_| ());
        let given = pid.and_then(|pid| match pid {
            None => Ok(Given::Null),
            Some(pid) => self.listed.send(pid, call.terminate).map(|there| {
                if !there {
                    let message = format!("PID {pid} is not a PostgreSQL server process");
                    self.warn(message);
                }
                Given::Truth(there)
            }),
        });
        // Whoever ends itself gets no answer but that.
        let ends = call.terminate && matches!(pid_of_own, Ok(true));
        let aside = Aside {
            columns: vec![(call.column.clone(), BOOL)],
            formats: bound.formats,
            shared: vec![false],
            makes: None,
            absent: None,
            waiting: Box::pin(async move {
                if ends {
                    std::future::pending::<()>().await;
                }
                given.map(|given| vec![given])
            }),
        };
        self.begin_aside(aside, "SELECT 1", reply);
        Taken::All
    }

    fn warn(&mut self, message: String) {
        let warning = Notice {
            level: Level::Warning,
            code: "01000",
            message,
            hint: None,
            once: false,
            rule: "signal".into(),
        };
        let notices = self.notices(&[warning]);
        self.answers().extend_from_slice(&notices);
    }

    /// Begins to lock tables, for others who lock them by the proxy.
    pub(super) fn begin_lock_table(
        &mut self,
        tables: &[TableName],
        mode: i32,
        nowait: bool,
        reply: Reply,
    ) -> Taken {
        let wish = |table: &TableName| Wish {
            wish: if nowait {
                LockWish::Try
            } else {
                LockWish::Lock
            },
            shared: mode == SHARE,
            transaction: true,
            key: Some(vec![Part::Name(table.0.clone())]),
            database: self.identity.database().to_owned(),
            timeout: self.timeout("lock_timeout"),
            open: true,
        };
        let wishes = tables.iter().map(wish).collect();
        let first = tables.first().map(|table| table.0.clone());
        let taken = self.advisory.carry_out(wishes);
        let aside = Aside {
            columns: Vec::new(),
            formats: Vec::new(),
            shared: Vec::new(),
            makes: None,
            absent: None,
            waiting: Box::pin(async move {
                match taken.await?.contains(&Given::Truth(false)) {
                    true => Err(ClientError::error(
                        "55P03",
                        format!(
                            "could not obtain lock on relation {}",
                            first.unwrap_or_default()
                        ),
                    )),
                    false => Ok(Vec::new()),
                }
            }),
        };
        self.begin_aside(aside, "LOCK TABLE", reply);
        Taken::All
    }

    fn begin_aside(&mut self, aside: Aside, tag: &str, reply: Reply) {
        let work = Work {
            tasks: Vec::new(),
            tag: Tag::Fixed(tag.to_owned()),
        };
        let mut running = Running::new(work, reply, None);
        if self.owed.is_unsynced() && self.block() != TransactionStatus::Open {
            running.tasks.push_front(Task::Sync);
        }
        running.aside = Some(aside);
        self.start_statement();
        self.procedure = Some(Box::new(running));
    }

    fn wishes(&mut self, lock: &AdvisoryLock, bound: &Bound<'_>) -> Result<Vec<Wish>, ClientError> {
        let mut timeout = self.timeout("lock_timeout");
        for (name, value, local) in &lock.settings {
            let found = settings::find(&name.to_lowercase(), self.settings.scope());
            let Some(setting) = found else { continue };
            let value = setting.read(value).map_err(kept::refusal)?;
            if setting.name == "lock_timeout" {
                timeout = settings::read_duration(&value);
            }
            // Until the end of the transaction, which without a block is the statement's.
            if !local || self.status != TransactionStatus::Idle {
                self.settings.set_kept(&setting.name, Some(&value), *local);
            }
        }
        let open =
            self.transaction.open || self.begin.is_some() || self.status != TransactionStatus::Idle;
        let wish = |call: &crate::policy::LockCall| {
            let mut key = Some(Vec::new());
            for argument in &call.arguments {
                let part = match argument {
                    LockArgument::Constant(number) => number.map(Part::Number),
                    LockArgument::Parameter(number) => bound.number(*number)?.map(Part::Number),
                    LockArgument::Expression(key) => Some(Part::Expression(bound.fill(key)?)),
                };
                match (&mut key, part) {
                    (Some(key), Some(part)) => key.push(part),
                    _ => key = None,
                }
            }
            Ok(Wish {
                wish: call.wish,
                shared: call.shared,
                transaction: call.transaction,
                key,
                database: self.identity.database().to_owned(),
                timeout,
                open,
            })
        };
        lock.calls.iter().map(wish).collect()
    }

    /// Goes on with what is done aside.
    pub(super) fn run_aside(&mut self, cx: &mut Context<'_>) -> bool {
        // Nobody else waits for a connection because of it.
        self.release_if_settled();
        let Some(running) = &mut self.procedure else {
            return false;
        };
        let Some(aside) = &mut running.aside else {
            return false;
        };
        let outcome = match running.stop.take() {
            Some(error) => Err(error),
            None => match aside.waiting.as_mut().poll(cx) {
                Poll::Pending => return false,
                Poll::Ready(outcome) => outcome,
            },
        };
        let Some(mut running) = self.procedure.take() else {
            return false;
        };
        // What was asked for and is not waited for any more is given back by the keeper.
        let aside = running.aside.take();
        if let Some(table) = aside.as_ref().and_then(|aside| aside.makes.clone()) {
            match &outcome {
                Ok(_) => self.temporary.add(table),
                Err(_) => self.env.locks.drop_table(&table.real),
            }
        }
        let filled = match outcome.as_deref() {
            Ok([Given::Rows(rows)]) => Some(format!("SELECT {rows}")),
            _ => None,
        };
        let tag = filled.unwrap_or_else(|| running.tag());
        self.end_aside(aside, &tag, running.reply, outcome);
        true
    }

    fn end_aside(
        &mut self,
        aside: Option<Aside>,
        tag: &str,
        reply: Reply,
        outcome: Result<Vec<Given>, ClientError>,
    ) {
        self.take_passing_of_lease();
        self.recent.clear();
        match outcome {
            Ok(given) => {
                let mut frames = Vec::new();
                let absent = aside.as_ref().and_then(|aside| aside.absent.as_deref());
                if let (Some(absent), [Given::Truth(false)]) = (absent, given.as_slice()) {
                    reply::put_notice(&mut frames, "00000", absent);
                }
                if let Some(aside) = aside.filter(|aside| !aside.columns.is_empty()) {
                    for (given, shared) in given.iter().zip(&aside.shared) {
                        if *given == Given::NotHeld {
                            put_not_held(&mut frames, *shared);
                        }
                    }
                    if reply == Reply::Query {
                        put_description(&mut frames, &aside.columns);
                    }
                    put_row(&mut frames, &given, &aside.formats);
                }
                if reply == Reply::Query {
                    self.names.forget_unnamed();
                }
                reply::put_command_complete(&mut frames, tag);
                self.cout.tail().append(&mut frames);
                self.end_request(reply);
            }
            Err(error) if reply == Reply::Execute => self.refuse_extended(error),
            Err(error) => {
                self.more = None;
                if self.lease.is_some() && self.block() == TransactionStatus::Open {
                    self.refuse_query(error);
                    return;
                }
                error.put(self.cout.tail());
                if self.begin.take().is_some() {
                    self.limbo = Some(Limbo::told(error));
                    self.status = TransactionStatus::Failed;
                }
                self.end_request(Reply::Query);
            }
        }
    }

    /// What a transaction had for as long as it went on ends with it.
    pub(super) fn settle_transaction_end(&mut self) {
        self.advisory.free_of_transaction();
        let rolled_back = self.temporary.take_end();
        self.temporary.forget_gone();
        let emptied = self.temporary.settle(rolled_back);
        if !emptied.is_empty() {
            let done = self.env.locks.empty_tables(emptied);
            self.creations.wait_for(done);
        }
        self.listening.settle(rolled_back);
        self.creations.settle();
    }

    /// Gives the locks of a transaction back that is over.
    pub(in crate::session) fn settle_locks(&mut self) {
        let over = self.status == TransactionStatus::Idle
            && self.owed.is_empty()
            && !self.owed.is_unsynced()
            && self.begin.is_none()
            && self.procedure.is_none();
        if over {
            self.settle_transaction_end();
        } else {
            if self.owed.is_empty() && self.procedure.is_none() {
                self.temporary.forget_gone();
            }
            if self.status == TransactionStatus::Failed {
                self.temporary.note_end(true);
            }
        }
    }
}

fn put_not_held(out: &mut Vec<u8>, shared: bool) {
    let kind = if shared { "ShareLock" } else { "ExclusiveLock" };
    let message = format!("you don't own a lock of type {kind}");
    reply::put_notice_of(out, "WARNING", "01000", &message, None);
}

fn put_description(out: &mut Vec<u8>, columns: &[(String, u32)]) {
    let mut body = u16::try_from(columns.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes()
        .to_vec();
    for (name, oid) in columns {
        body.extend_from_slice(name.as_bytes());
        // No table, no column of it.
        body.extend_from_slice(b"\0\0\0\0\0\0\0");
        body.extend_from_slice(&oid.to_be_bytes());
        let length: i16 = if *oid == BOOL { 1 } else { 4 };
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(b"\xff\xff\xff\xff\0\0");
    }
    frontend::put(out, b'T', &[&body]);
}

fn put_row(out: &mut Vec<u8>, given: &[Given], formats: &[u16]) {
    let mut body = u16::try_from(given.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes()
        .to_vec();
    for (at, given) in given.iter().enumerate() {
        let format = match formats {
            [only] => *only,
            all => all.get(at).copied().unwrap_or(0),
        };
        let value: Option<&[u8]> = match (given, format) {
            (Given::Null, _) => None,
            (Given::Void | Given::Rows(_), _) => Some(b""),
            (Given::Truth(true), 0) => Some(b"t"),
            (Given::Truth(true), _) => Some(b"\x01"),
            (Given::Truth(false) | Given::NotHeld, 0) => Some(b"f"),
            (Given::Truth(false) | Given::NotHeld, _) => Some(b"\0"),
        };
        let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap_or(0));
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(value.unwrap_or_default());
    }
    frontend::put(out, b'D', &[&body]);
}
