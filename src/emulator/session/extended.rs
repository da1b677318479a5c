//! The extended protocol: named statements and portals, row limits, pipelines.
//!
//! Messages are passed on as they come and their answers are read later, at Sync, at Flush, or when
//! a decision hangs on them: behind each statement that may change something. What PostgreSQL could
//! not prepare because of somebody's lock is passed on again.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::backend::{HIDDEN, Message, fatal_ends};
use super::block::Phase;
use super::copy::Copied;
use super::frontend::Frame;
use super::portals::{
    Portal, Prepared, Shape, TEXT, bound, check_parameters, job_columns, put_columns, put_rows,
    waited,
};
use super::refusal::{Ended, Refusal, Stop};
use super::rivalry::ATTEMPTS;
use super::run::{Session, too_deep, too_long};
use super::simple::{action_leaves, is_plain_write, leaves, starts_copy};
use crate::emulator::occ::{may_lock, strip};
use crate::emulator::rules::{Action, Answer, Class, JobArgument, Plan};
use crate::sql::statement::{ParseError, parse, without_dsql_words};
use crate::wire::frontend::{self, LayoutError, bind_head, put};
use crate::wire::reply::ClientError;
use crate::wire::sqlstate::{
    DUPLICATE_PREPARED_STATEMENT, INVALID_PARAMETER_VALUE, PROTOCOL_VIOLATION, SqlState,
};

const DUPLICATE_CURSOR: SqlState = "42P03";

/// What PostgreSQL, or the emulator in its place, answers next.
#[derive(Debug)]
pub enum Expect {
    /// Already known.
    Own(Vec<u8>),
    /// Hidden commands; they have this many CloseComplete left.
    Hidden(u8),
    /// Answers, this many, that are nobody's business.
    Skip(u8),
    /// ParseComplete for this statement.
    Parse(Bytes),
    /// BindComplete or CloseComplete.
    One,
    /// The description of a statement or portal; with `job`, of one that starts a job.
    Describe {
        /// The result is the job's id, whatever PostgreSQL says.
        job: bool,
    },
    /// Rows and an end.
    Execute {
        /// The answer waits for what is decided behind it.
        held: bool,
        /// What becomes of the answer. Of one that starts a job the end is only given back.
        shape: Shape,
    },
}

impl Expect {
    /// Whether it is the answer to a message that runs nothing of the client's, so that the message
    /// can be sent again.
    fn prepares(&self) -> bool {
        match self {
            Self::Hidden(_) | Self::Parse(_) | Self::One | Self::Describe { .. } => true,
            Self::Own(_) | Self::Skip(_) | Self::Execute { .. } => false,
        }
    }
}

/// A message that was passed on, and what is owed for it.
#[derive(Debug)]
pub struct Owed {
    expect: Expect,
    /// None where nothing of the client's was sent.
    frame: Option<Frame>,
}

impl From<Expect> for Owed {
    fn from(expect: Expect) -> Self {
        Self {
            expect,
            frame: None,
        }
    }
}

/// How far an Execute that is sent together with what prepares it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Its turn has not come.
    #[default]
    Before,
    /// It never got its turn: what is in front of it has to be sent again.
    Lost,
    /// It was executed.
    There,
}

/// What makes PostgreSQL answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// Flush: nothing ends.
    Flush,
    /// Sync: what is not in a transaction block is committed.
    Sync,
}

/// How an Execute ended.
#[derive(Debug, Clone)]
pub enum End {
    /// CommandComplete or EmptyQueryResponse.
    Complete(Message),
    /// There are more rows.
    Suspended,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Takes one message of the extended protocol, Sync excepted.
    pub(super) async fn extended(&mut self, frame: &Frame) -> Result<(), Ended> {
        // Only the last answer before a Sync is worth nothing without its commit.
        self.client.release();
        self.backend.plain = false;
        let taken = match frame.tag {
            b'P' => self.parse(frame).await,
            b'B' => self.bind(frame).await,
            b'D' => self.describe(frame).await,
            b'E' => self.execute(frame).await,
            b'C' => self.close_one(frame).await,
            b'H' => self.flush_all().await,
            other => {
                return Err(Ended::violation(format!(
                    "invalid frontend message type {other}"
                )));
            }
        };
        match taken {
            Ok(()) => Ok(()),
            Err(Stop::Ended(ended)) => Err(ended),
            Err(Stop::Refused(refusal)) => self.refuse(refusal).await,
        }
    }

    /// An error; what came before it is answered before it.
    async fn refuse(&mut self, refusal: Refusal) -> Result<(), Ended> {
        let first = match self.drain(Drain::Flush).await {
            Ok(_) => refusal,
            Err(Stop::Refused(earlier)) => earlier,
            Err(Stop::Ended(ended)) => return Err(ended),
        };
        self.skipping = true;
        self.fail(first).await
    }

    async fn flush_all(&mut self) -> Result<(), Stop> {
        self.drain(Drain::Flush).await?;
        self.client.release();
        self.client.flush().await?;
        Ok(())
    }

    /// Takes a Sync.
    pub(super) async fn sync(&mut self) -> Result<(), Ended> {
        match self.finish_pipeline().await {
            Ok(()) => self.client.release(),
            Err(Stop::Refused(refusal)) => self.fail(refusal).await?,
            Err(Stop::Ended(ended)) => return Err(ended),
        }
        self.skipping = false;
        if matches!(self.block.phase, Phase::Implicit | Phase::Idle) {
            self.block.end(Phase::Idle);
            self.portals.clear();
        }
        self.ready().await
    }

    async fn finish_pipeline(&mut self) -> Result<(), Stop> {
        if self.block.phase != Phase::Explicit && self.backend.open {
            self.drain(Drain::Flush).await?;
            return self.commit("").await;
        }
        self.drain(Drain::Sync).await?;
        Ok(())
    }

    async fn parse(&mut self, frame: &Frame) -> Result<(), Stop> {
        let parsed = frontend::parse(&frame.body).map_err(bad_layout)?;
        let name = frame.body.slice(..parsed.name.len());
        let taken = self.prepared.contains_key(&name) || name.starts_with(HIDDEN);
        if !name.is_empty() && taken {
            let shown = String::from_utf8_lossy(parsed.name);
            let message = format!("prepared statement \"{shown}\" already exists");
            return Err(ClientError::error(DUPLICATE_PREPARED_STATEMENT, message).into());
        }
        let types = Bytes::copy_from_slice(parsed.types);
        let prepared = self.prepare(parsed.text, types)?;
        if name.is_empty() {
            self.prepared.remove(&name);
        }
        match &prepared.action {
            Action::Run(plan) => {
                let sql = plan.sql.as_deref().map_or(parsed.text, str::as_bytes);
                let sql = match &prepared.statement {
                    Some(statement) if plan.sql.is_none() => statement.text.as_bytes(),
                    _ => sql,
                };
                let text = std::str::from_utf8(sql).unwrap_or_default();
                let stripped = locks(plan.class, text).then(|| strip(text));
                let sql = stripped.as_deref().map_or(sql, str::as_bytes);
                let body = if sql == parsed.text {
                    frame.body.clone()
                } else {
                    [parsed.name, b"\0", sql, b"\0", parsed.types]
                        .concat()
                        .into()
                };
                let tag = frame.tag;
                self.pass_up(&Frame { tag, body }, Expect::Parse(name.clone()))?;
            }
            _ => self.own(|out| put(out, b'1', &[])),
        }
        self.prepared.insert(name, Arc::new(prepared));
        Ok(())
    }

    /// Judges the text of a Parse.
    fn prepare(&mut self, bytes: &[u8], types: Bytes) -> Result<Prepared, Stop> {
        let in_block = self.block.phase == Phase::Explicit;
        // What is not exactly one statement is PostgreSQL's to complain about.
        let plain = |text: &str| Prepared {
            statement: None,
            text: text.to_owned(),
            types: types.clone(),
            action: Action::Run(Plan::plain(Class::Read)),
            direct: true,
            in_block,
        };
        let Ok(text) = std::str::from_utf8(bytes) else {
            // In another client encoding PostgreSQL would run it without a judgement.
            let message = "invalid byte sequence for encoding \"UTF8\"";
            return Err(ClientError::error("22021", message).into());
        };
        let mut statements = match parse(text) {
            Ok(statements) => statements,
            Err(ParseError::TooDeep) => return Err(too_deep().into()),
            Err(ParseError::TooLong(length)) => return Err(too_long(length).into()),
            Err(error @ (ParseError::Syntax(_) | ParseError::Encoding)) => {
                let mut unread = plain(text);
                let mut plan = Plan::plain(Class::Read);
                plan.sql = Some(without_dsql_words(text));
                // Should PostgreSQL take it all the same, it must not run: nobody has judged it.
                let words = error.to_string().replace('\'', "''");
                plan.before.push(format!("SELECT '42601', '{words}'"));
                unread.action = Action::Run(plan);
                unread.direct = false;
                return Ok(unread);
            }
        };
        let (Some(statement), true) = (statements.pop(), statements.is_empty()) else {
            return Ok(plain(text));
        };
        if self.block.phase == Phase::Failed {
            self.gate(leaves(&statement))?;
        }
        let action = self.judge(&statement)?;
        let direct = match &action {
            Action::Run(plan) => self.is_direct(plan, &statement.text),
            _ => true,
        };
        Ok(Prepared {
            direct,
            text: statement.text.clone(),
            statement: Some(statement),
            types,
            action,
            in_block,
        })
    }

    async fn bind(&mut self, frame: &Frame) -> Result<(), Stop> {
        let head = bind_head(&frame.body).map_err(bad_layout)?;
        let portal = frame.body.slice(..head.portal.len());
        if portal.starts_with(HIDDEN) {
            let shown = String::from_utf8_lossy(&portal);
            let message = format!("cursor \"{shown}\" already exists");
            return Err(ClientError::error(DUPLICATE_CURSOR, message).into());
        }
        let Some(prepared) = self.prepared.get(head.statement).cloned() else {
            return self.pass_up(frame, Expect::One);
        };
        self.gate(action_leaves(&prepared.action))?;
        match &prepared.action {
            Action::Run(_) => {
                if !prepared.direct && !self.backend.open {
                    let lone = self.is_lone(&prepared);
                    let closes = self.put_begin(lone);
                    self.pending.push_back(Expect::Hidden(closes).into());
                    self.block.phase = Phase::Implicit;
                }
                self.pass_up(frame, Expect::One)?;
            }
            action => {
                let bound = bound(&frame.body[head.length..]).map_err(bad_layout)?;
                let needed = parameters_of(action);
                check_parameters(head.statement, bound.values.len(), needed)?;
                self.own(|out| put(out, b'2', &[]));
            }
        }
        let entry = Portal {
            prepared,
            bind: frame.body.clone(),
            sent: 0,
        };
        self.portals.insert(portal, entry);
        Ok(())
    }

    /// Whether the statement that is being bound is a change of rows and all that there is up to the
    /// next Sync.
    fn is_lone(&self, prepared: &Prepared) -> bool {
        let Action::Run(plan) = &prepared.action else {
            return false;
        };
        let sql = plan.sql.as_deref().unwrap_or(&prepared.text);
        let mut ahead = self.client.waiting().skip_while(|tag| *tag == b'D');
        self.block.phase == Phase::Idle
            && self.pending.iter().all(|owed| owed.expect.prepares())
            && ahead.next() == Some(b'E')
            && ahead.next() == Some(b'S')
            && is_plain_write(plan, sql)
    }

    async fn describe(&mut self, frame: &Frame) -> Result<(), Stop> {
        let (kind, name) = frontend::target(&frame.body).map_err(bad_layout)?;
        let found = if kind == b'S' {
            self.prepared
                .get(name)
                .cloned()
                .map(|prepared| (prepared, Vec::new()))
        } else {
            let portal = self.portals.get(name);
            portal.map(|portal| (Arc::clone(&portal.prepared), formats_of(portal)))
        };
        let Some((prepared, formats)) = found else {
            return self.pass_up(frame, Expect::Describe { job: false });
        };
        match &prepared.action {
            Action::Run(plan) => {
                self.gate(false)?;
                let job = plan.job.is_some();
                self.pass_up(frame, Expect::Describe { job })
            }
            action => {
                let columns = match action {
                    Action::Answer(answer) => answer.columns.clone(),
                    Action::WaitForJob(_) => waited(true).columns,
                    _ => Vec::new(),
                };
                let parameters = parameters_of(action);
                self.own(|out| {
                    if kind == b'S' {
                        put_parameters(out, parameters);
                    }
                    if columns.is_empty() {
                        put(out, b'n', &[]);
                    } else {
                        put_columns(out, &columns, &formats);
                    }
                });
                Ok(())
            }
        }
    }

    async fn close_one(&mut self, frame: &Frame) -> Result<(), Stop> {
        let (kind, name) = frontend::target(&frame.body).map_err(bad_layout)?;
        let ours = |action: &Action| !matches!(action, Action::Run(_));
        let own = if kind == b'S' {
            let closed = self.prepared.remove(name);
            closed.is_some_and(|prepared| ours(&prepared.action))
        } else {
            let closed = self.portals.remove(name);
            closed.is_some_and(|portal| ours(&portal.prepared.action))
        };
        if own {
            self.own(|out| put(out, b'3', &[]));
            return Ok(());
        }
        self.pass_up(frame, Expect::One)
    }

    async fn execute(&mut self, frame: &Frame) -> Result<(), Stop> {
        let (name, limit) = frontend::execute(&frame.body).map_err(bad_layout)?;
        let Some(portal) = self.portals.get(name).cloned() else {
            let expect = Expect::Execute {
                held: false,
                shape: Shape::default(),
            };
            return self.pass_up(frame, expect);
        };
        let prepared = Arc::clone(&portal.prepared);
        self.gate(action_leaves(&prepared.action))?;
        self.judge_again(&prepared)?;
        match &prepared.action {
            Action::Run(plan) => {
                self.admit(&prepared.text, Some(plan.class)).await?;
                if let Some(statement) = &prepared.statement {
                    self.deallocate(statement);
                }
                self.execute_plan(frame, &portal, plan).await
            }
            Action::Answer(answer) => {
                self.admit(&prepared.text, None).await?;
                self.execute_answer(name, &portal, answer, limit);
                Ok(())
            }
            Action::WaitForJob(argument) => {
                self.admit(&prepared.text, None).await?;
                self.drain(Drain::Flush).await?;
                let values = values_of(&portal)?;
                let id = Self::job_id(argument, &values).map(str::to_owned);
                let succeeded = self.wait_for_job(id.as_deref()).await?;
                self.execute_answer(name, &portal, &waited(succeeded), limit);
                Ok(())
            }
            Action::Control(control) => {
                self.admit(&prepared.text, None).await?;
                self.drain(Drain::Flush).await?;
                self.control(*control, &prepared.text).await
            }
        }
    }

    /// What was judged at Parse may depend on the transaction.
    fn judge_again(&self, prepared: &Prepared) -> Result<(), ClientError> {
        let in_block = self.block.phase == Phase::Explicit;
        match &prepared.statement {
            Some(statement) if prepared.in_block != in_block => self.judge(statement).map(|_| ()),
            _ => Ok(()),
        }
    }

    fn execute_answer(&mut self, name: &[u8], portal: &Portal, answer: &Answer, limit: u32) {
        let formats = formats_of(portal);
        let mut sent = portal.sent;
        self.own(|out| sent = put_rows(out, answer, &formats, sent, limit));
        if let Some(portal) = self.portals.get_mut(name) {
            portal.sent = sent;
        }
    }

    async fn execute_plan(
        &mut self,
        frame: &Frame,
        portal: &Portal,
        plan: &Plan,
    ) -> Result<(), Stop> {
        if std::mem::take(&mut self.cutting) {
            // Rows of earlier statements are to come whole.
            self.drain(Drain::Flush).await?;
            self.cutting = true;
        }
        let shape = Shape::of(plan);
        let held = !portal.prepared.direct;
        let class = plan.class;
        let moved = self.is_detached() && class != Class::Session;
        if !held && !self.cutting && !moved {
            return self.pass_up(frame, Expect::Execute { held, shape });
        }
        self.take_schema_turn(class).await?;
        let sql = plan.sql.as_deref().unwrap_or(&portal.prepared.text);
        let copied = starts_copy(sql);
        self.copied = Copied::default();
        let together = held
            && !moved
            && !self.wants_instruments()
            && is_plain_write(plan, sql)
            && self.pending.iter().all(|owed| owed.expect.prepares());
        if !together {
            self.drain(Drain::Flush).await?;
            self.instrument().await?;
        }
        let mut attempt = 0;
        let (end, job) = loop {
            if attempt > 0 {
                // What was lost on the way.
                self.drain(Drain::Flush).await?;
            }
            if attempt > 0 || !together {
                self.client.hold();
            }
            (self.reach, self.preparing) = (Reach::Before, false);
            let expect = Expect::Execute { held: true, shape };
            // Going back to the savepoint has taken the portal away.
            let again = attempt > 0;
            let outcome = self
                .execute_whole(frame, portal, (plan, sql), again, expect)
                .await;
            let refusal = match &outcome {
                Ok(_) => None,
                Err(Stop::Refused(refusal)) => Some(refusal),
                Err(Stop::Ended(_)) => break outcome?,
            };
            match self.reach {
                Reach::Before if self.preparing => break outcome?,
                Reach::Before | Reach::There => {}
                Reach::Lost => {
                    attempt += 1;
                    continue;
                }
            }
            if !self.settle(class, refusal, copied, attempt).await? {
                break outcome?;
            }
            self.client.retract();
            attempt += 1;
        };
        if !held {
            self.client.release();
            return Ok(());
        }
        self.note(plan, sql);
        if let Some(End::Complete(tag)) = end.filter(|_| shape.job) {
            self.answer_job(job, &formats_of(portal), &tag).await?;
        }
        if self.block.phase == Phase::Explicit {
            self.client.release();
        }
        Ok(())
    }

    /// Executes a portal with what goes before and behind it; gives the job that it starts, too.
    async fn execute_whole(
        &mut self,
        frame: &Frame,
        portal: &Portal,
        (plan, sql): (&Plan, &str),
        again: bool,
        expect: Expect,
    ) -> Result<(Option<End>, Option<String>), Stop> {
        self.check(&plan.before).await?;
        let statement = (plan.class, sql);
        let end = self
            .execute_once(frame, portal, statement, again, expect)
            .await?;
        if matches!(end, Some(End::Suspended)) {
            self.block.check_rows()?;
            return Ok((end, None));
        }
        Ok((end, self.follow_up(plan).await?))
    }

    /// Executes a portal; in a detached transaction, or again, the same with other tables.
    async fn execute_once(
        &mut self,
        frame: &Frame,
        portal: &Portal,
        (class, sql): (Class, &str),
        again: bool,
        expect: Expect,
    ) -> Result<Option<End>, Stop> {
        self.resume();
        let mut text = Cow::Borrowed(sql);
        if locks(class, sql) {
            for query in self.lock_queries(sql).await? {
                let rows = Expect::Execute {
                    held: false,
                    shape: Shape::quiet(),
                };
                self.put_bound(&query, portal, rows)?;
                self.drain(Drain::Flush).await?;
            }
            text = strip(sql).into();
        }
        if again || (self.is_detached() && class != Class::Session) {
            let text = self.redirect(&text).await?;
            // All rows at once: there is no portal that could go on later.
            self.put_bound(&text, portal, expect)?;
        } else {
            self.pass_up(frame, expect)?;
        }
        self.drain(Drain::Flush).await
    }

    /// Appends a text with the parameters of a portal, under the hidden names; `rows` is what
    /// becomes of its answer.
    fn put_bound(&mut self, sql: &str, portal: &Portal, rows: Expect) -> Result<(), Stop> {
        let head = bind_head(&portal.bind).map_err(bad_layout)?;
        let bound = &portal.bind[head.length..];
        self.backend
            .put_hidden_bound(sql, &portal.prepared.types, bound);
        let parts = [Expect::Skip(2), rows, Expect::Skip(2)];
        self.pending.extend(parts.map(Owed::from));
        Ok(())
    }

    /// Passes a message on to PostgreSQL.
    fn pass_up(&mut self, frame: &Frame, expect: Expect) -> Result<(), Stop> {
        self.resume();
        self.put_owed(Owed {
            expect,
            frame: Some(frame.clone()),
        });
        Ok(())
    }

    fn put_owed(&mut self, owed: Owed) {
        if let Some(frame) = &owed.frame {
            put(self.backend.out(), frame.tag, &[&frame.body]);
            self.backend.unsynced = true;
        }
        self.pending.push_back(owed);
    }

    /// Appends an answer of the emulator's own at its place.
    fn own(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        match self.pending.back_mut() {
            None => write(self.client.out()),
            Some(Owed {
                expect: Expect::Own(bytes),
                ..
            }) => write(bytes),
            Some(_) => {
                let mut bytes = Vec::new();
                write(&mut bytes);
                self.pending.push_back(Expect::Own(bytes).into());
            }
        }
    }

    /// Sends what was passed on and reads all that is owed. Gives how the last Execute ended.
    pub(super) async fn drain(&mut self, drain: Drain) -> Result<Option<End>, Stop> {
        let mut attempt = 0;
        loop {
            let sync = drain == Drain::Sync && self.backend.unsynced;
            if sync {
                self.backend.put_sync();
            } else if self
                .pending
                .iter()
                .any(|owed| !matches!(owed.expect, Expect::Own(_)))
            {
                self.backend.put_flush();
            }
            self.backend.send().await?;
            match self.collect().await {
                Ok(end) => {
                    if sync {
                        self.await_ready().await?;
                    }
                    return Ok(end);
                }
                Err(Stop::Refused(refusal)) => {
                    if !self.may_prepare_again(&refusal, attempt) {
                        return self.recover(refusal, sync).await;
                    }
                    self.await_sync(sync).await?;
                    if !self.prepare_again(attempt).await? {
                        return Err(refusal.into());
                    }
                }
                Err(ended) => return Err(ended),
            }
            attempt += 1;
        }
    }

    /// Whether somebody's lock was in the way of a message that runs nothing.
    fn may_prepare_again(&self, refusal: &Refusal, attempt: usize) -> bool {
        let unprepared = self.pending.front();
        self.preparing
            && attempt < ATTEMPTS
            && refusal.is_of_locks()
            && unprepared.is_some_and(|owed| owed.expect.prepares())
    }

    /// Makes way and passes on once more what was not prepared, and what follows it. False when an
    /// Execute behind it is to be made anew.
    async fn prepare_again(&mut self, attempt: usize) -> Result<bool, Stop> {
        let left = std::mem::take(&mut self.pending);
        let mut lost = false;
        let begun = !left
            .iter()
            .any(|owed| matches!(owed.expect, Expect::Hidden(_)));
        self.make_way(begun, attempt).await?;
        for owed in left {
            match owed.expect {
                Expect::Hidden(closes) => {
                    self.put_begin_again(closes);
                    self.put_owed(owed);
                }
                Expect::Execute { held: true, .. } => lost = true,
                _ => self.put_owed(owed),
            }
        }
        if lost {
            self.reach = Reach::Lost;
        }
        Ok(!lost)
    }

    async fn collect(&mut self) -> Result<Option<End>, Stop> {
        let mut last = None;
        while let Some(owed) = self.pending.pop_front() {
            self.preparing = owed.expect.prepares();
            match self.collect_one(&owed.expect).await {
                Ok(None) => {}
                Ok(end) => last = end,
                Err(stop) => {
                    // Back in the list: it is not known to be there.
                    if self.preparing {
                        self.pending.push_front(owed);
                    }
                    return Err(stop);
                }
            }
        }
        Ok(last)
    }

    async fn collect_one(&mut self, expect: &Expect) -> Result<Option<End>, Stop> {
        match expect {
            Expect::Own(bytes) => {
                self.client.out().extend_from_slice(bytes);
                self.client.ease().await?;
            }
            Expect::Hidden(closes) => {
                for _ in 0..*closes {
                    while self.answer().await?.tag != b'3' {}
                }
            }
            Expect::Skip(count) => {
                for _ in 0..*count {
                    self.answer().await?;
                }
            }
            Expect::Parse(_) => {
                let message = self.answer().await?;
                self.pass(&message).await?;
            }
            Expect::One => {
                let message = self.answer().await?;
                self.client.out().extend_from_slice(&message.frame);
            }
            Expect::Describe { job } => self.collect_description(*job).await?,
            Expect::Execute { held, shape } => {
                if *held {
                    self.reach = Reach::There;
                    if !self.client.can_retract() {
                        self.client.hold();
                    }
                }
                return self.collect_rows(*shape).await.map(Some);
            }
        }
        Ok(None)
    }

    async fn collect_description(&mut self, job: bool) -> Result<(), Stop> {
        loop {
            let message = self.answer().await?;
            match message.tag {
                b't' => self.client.out().extend_from_slice(&message.frame),
                _ if job => {
                    put_columns(self.client.out(), &job_columns(), &[]);
                    return Ok(());
                }
                _ => {
                    self.client.out().extend_from_slice(&message.frame);
                    return Ok(());
                }
            }
        }
    }

    async fn collect_rows(&mut self, shape: Shape) -> Result<End, Stop> {
        loop {
            let message = self.answer().await?;
            match message.tag {
                b'C' | b'I' => {
                    let message = shape.end(message);
                    if !shape.job {
                        self.pass(&message).await?;
                    }
                    return Ok(End::Complete(message));
                }
                b's' => {
                    self.pass(&message).await?;
                    return Ok(End::Suspended);
                }
                b'G' => {
                    self.client.out().extend_from_slice(&message.frame);
                    match self.copy_in().await? {
                        Some(error) => {
                            self.check_answer(&error)?;
                        }
                        // PostgreSQL dropped the Flush that it met inside the COPY.
                        None => {
                            self.backend.put_flush();
                            self.backend.send().await?;
                        }
                    }
                }
                _ if shape.job => {}
                _ => self.pass(&message).await?,
            }
        }
    }

    /// The next message that is part of an answer; an error is an error.
    async fn answer(&mut self) -> Result<Message, Stop> {
        loop {
            let message = self.backend.next().await?;
            match message.tag {
                b'N' => self.notice(&message).await,
                b'S' => self.parameter(&message),
                b'A' => {}
                _ => {
                    self.check_answer(&message)?;
                    return Ok(message);
                }
            }
        }
    }

    fn check_answer(&self, message: &Message) -> Result<(), Stop> {
        if message.tag == b'E' {
            let refusal = Refusal::of_postgres(&message.frame, 0);
            return Err(fatal_ends(refusal, message)?.into());
        }
        Ok(())
    }

    /// Behind an error PostgreSQL drops everything up to Sync.
    async fn recover(&mut self, refusal: Refusal, synced: bool) -> Result<Option<End>, Stop> {
        for owed in std::mem::take(&mut self.pending) {
            if let Expect::Parse(name) = owed.expect {
                self.prepared.remove(&name);
            }
        }
        self.await_sync(synced).await?;
        self.block.check_rows()?;
        Err(refusal.into())
    }

    /// Goes on behind an error, with a Sync if none was sent.
    async fn await_sync(&mut self, synced: bool) -> Result<(), Ended> {
        if !synced {
            self.backend.put_sync();
            self.backend.send().await?;
        }
        // An error behind an error says nothing more.
        while self.backend.next().await?.tag != b'Z' {}
        if std::mem::take(&mut self.backend.bound) {
            self.backend.forget_hidden().await?;
        }
        Ok(())
    }

    /// Reads up to ReadyForQuery: the commit of what was not in a block may still fail.
    async fn await_ready(&mut self) -> Result<(), Stop> {
        let mut refusal = None;
        loop {
            match self.answer().await {
                Ok(message) if message.tag == b'Z' => break,
                Ok(_) => {}
                Err(Stop::Refused(error)) => refusal = Some(error),
                Err(ended) => return Err(ended),
            }
        }
        refusal.map_or(Ok(()), |refusal| Err(refusal.into()))
    }
}

/// Whether a statement of this class asks for rows to be locked.
fn locks(class: Class, sql: &str) -> bool {
    matches!(class, Class::Lock | Class::Write) && may_lock(sql)
}

fn bad_layout(_: LayoutError) -> ClientError {
    ClientError::error(PROTOCOL_VIOLATION, "invalid message format")
}

fn parameters_of(action: &Action) -> usize {
    match action {
        Action::WaitForJob(JobArgument::Parameter(number)) => usize::from(*number),
        _ => 0,
    }
}

/// Appends a ParameterDescription of `count` texts.
fn put_parameters(out: &mut Vec<u8>, count: usize) {
    let mut body = u16::try_from(count).unwrap_or(0).to_be_bytes().to_vec();
    for _ in 0..count {
        body.extend_from_slice(&TEXT.to_be_bytes());
    }
    put(out, b't', &[&body]);
}

/// The result formats of a portal that was bound.
fn formats_of(portal: &Portal) -> Vec<u16> {
    let head = bind_head(&portal.bind);
    let rest = head.map(|head| &portal.bind[head.length..]);
    let bound = rest.and_then(bound);
    bound.map(|bound| bound.formats).unwrap_or_default()
}

/// The parameter values of a portal, as texts.
fn values_of(portal: &Portal) -> Result<Vec<Option<String>>, ClientError> {
    let head = bind_head(&portal.bind).map_err(bad_layout)?;
    let bound = bound(&portal.bind[head.length..]).map_err(bad_layout)?;
    let text = |value: Option<&[u8]>| {
        value
            .map(|value| String::from_utf8(value.to_vec()))
            .transpose()
            .map_err(|_| {
                let message = "invalid byte sequence for encoding \"UTF8\"";
                ClientError::error(INVALID_PARAMETER_VALUE, message)
            })
    };
    bound.values.into_iter().map(text).collect()
}
