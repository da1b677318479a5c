//! The simple protocol: a string of statements, each with its own answer, in one transaction unless
//! the string itself says otherwise.

use std::borrow::Cow;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::backend::{Message, fatal_ends};
use super::block::Phase;
use super::copy::Copied;
use super::extended::Drain;
use super::portals::{Shape, job_columns, put_columns, put_row, put_rows, waited};
use super::refusal::{Ended, Refusal, Stop};
use super::run::{BEGIN, Session, too_deep, too_long};
use crate::emulator::occ::{SAVEPOINT, may_lock, strip};
use crate::emulator::rules::{Action, Answer, Class, Control, Plan};
use crate::sql::scan::Tokens;
use crate::sql::statement::{ParseError, Statement, parse, without_dsql_words};
use crate::wire::frontend::{LayoutError, put, put_parse, query};
use crate::wire::reply::ClientError;
use crate::wire::sqlstate::PROTOCOL_VIOLATION;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Answers a Query message.
    pub(super) async fn simple(&mut self, body: &Bytes) -> Result<(), Ended> {
        self.backend.plain = true;
        let outcome = self.answer_string(body).await;
        self.several = false;
        match outcome {
            Ok(()) => self.client.release(),
            Err(Stop::Refused(refusal)) => self.fail(refusal).await?,
            Err(Stop::Ended(ended)) => return Err(ended),
        }
        if self.block.phase == Phase::Implicit {
            self.block.end(Phase::Idle);
        }
        if self.block.phase == Phase::Idle {
            self.portals.clear();
        }
        self.ready().await
    }

    async fn answer_string(&mut self, body: &[u8]) -> Result<(), Stop> {
        // A client may send this behind messages of the extended protocol without a Sync.
        self.drain(Drain::Flush).await?;
        // PostgreSQL forgets the unnamed statement too.
        self.prepared.remove(&b""[..]);
        self.portals.remove(&b""[..]);
        let bytes = query(body).map_err(bad_layout)?;
        let Ok(text) = std::str::from_utf8(bytes) else {
            return self
                .worded_by_postgres(bytes, "the text is not valid UTF-8")
                .await;
        };
        let statements = match parse(text) {
            Ok(statements) => statements,
            Err(ParseError::TooDeep) => return Err(too_deep().into()),
            Err(ParseError::TooLong(length)) => return Err(too_long(length).into()),
            Err(error @ (ParseError::Syntax(_) | ParseError::Encoding)) => {
                let text = without_dsql_words(text);
                return self
                    .worded_by_postgres(text.as_bytes(), &error.to_string())
                    .await;
            }
        };
        if statements.is_empty() {
            put(self.client.out(), b'I', &[]);
            return Ok(());
        }
        self.several = statements.len() > 1;
        if self.several && self.block.phase == Phase::Idle {
            self.block.phase = Phase::Implicit;
        }
        for (at, statement) in statements.iter().enumerate() {
            let last = at + 1 == statements.len();
            let before = characters(text, statement.span.start);
            self.answer_statement(statement, before, last).await?;
        }
        Ok(())
    }

    /// Lets PostgreSQL say what is wrong with a text. Nothing is run, whatever it says.
    async fn worded_by_postgres(&mut self, text: &[u8], ours: &str) -> Result<(), Stop> {
        put_parse(self.backend.out(), b"", text, &[0, 0]);
        self.backend.put_sync();
        self.backend.send().await?;
        let mut refusal = None;
        loop {
            let message = self.backend.next().await?;
            match message.tag {
                b'E' => {
                    let error = Refusal::of_postgres(&message.frame, 0);
                    refusal = Some(fatal_ends(error, &message)?);
                }
                b'Z' => break,
                _ => {}
            }
        }
        Err(refusal.map_or_else(|| ClientError::error("42601", ours).into(), Stop::Refused))
    }

    async fn answer_statement(
        &mut self,
        statement: &Statement,
        before: usize,
        last: bool,
    ) -> Result<(), Stop> {
        self.gate(leaves(statement))?;
        let text = statement.text.as_str();
        let action = self.judge(statement)?;
        if last {
            // Its answer is worth nothing before the commit behind it.
            self.client.hold();
        }
        match action {
            Action::Run(plan) => {
                self.admit(text, Some(plan.class)).await?;
                self.deallocate(statement);
                self.run_plan(&plan, text, before).await?;
            }
            Action::Answer(answer) => {
                self.admit(text, None).await?;
                self.put_answer(&answer);
            }
            Action::WaitForJob(argument) => {
                self.admit(text, None).await?;
                let id = Self::job_id(&argument, &[]).map(str::to_owned);
                let succeeded = self.wait_for_job(id.as_deref()).await?;
                self.put_answer(&waited(succeeded));
            }
            Action::Control(control) => {
                self.admit(text, None).await?;
                self.control(control, text).await?;
            }
        }
        if !last {
            self.client.release();
        } else if self.block.phase != Phase::Explicit && self.backend.open {
            self.commit("").await?;
        }
        Ok(())
    }

    fn put_answer(&mut self, answer: &Answer) {
        let out = self.client.out();
        if !answer.columns.is_empty() {
            put_columns(out, &answer.columns, &[]);
        }
        put_rows(out, answer, &[], 0, 0);
    }

    async fn run_plan(&mut self, plan: &Plan, text: &str, before: usize) -> Result<(), Stop> {
        let sql = plan.sql.as_deref().unwrap_or(text);
        // A position in another text means nothing in the client's.
        let before = if plan.sql.is_some() {
            None
        } else {
            Some(before)
        };
        let mut shape = Shape::of(plan);
        let calm = self.is_direct(plan, text);
        shape.flows = calm && plan.class == Class::Read;
        let direct = calm && self.block.phase == Phase::Idle;
        // Before the snapshot is taken, which is to see what the one before has done.
        self.take_schema_turn(plan.class).await?;
        if !calm {
            self.instrument().await?;
        }
        self.copied = Copied::default();
        let mut attempt = 0;
        let (tag, job) = loop {
            self.client.hold();
            let outcome = if direct {
                self.backend.put_query(sql);
                self.backend.send().await?;
                self.relay(before, shape).await.map(|tag| (tag, None))
            } else {
                self.run_whole(plan, sql, before, shape).await
            };
            let refusal = match &outcome {
                Ok(_) => None,
                Err(Stop::Refused(refusal)) => Some(refusal),
                Err(Stop::Ended(_)) => break outcome?,
            };
            let copied = !self.copied.can_come_again();
            if !self.settle(plan.class, refusal, copied, attempt).await? {
                break outcome?;
            }
            self.client.retract();
            attempt += 1;
        };
        if direct {
            self.client.release();
            return Ok(());
        }
        self.note(plan, sql);
        if let Some(tag) = tag {
            put_columns(self.client.out(), &job_columns(), &[]);
            self.answer_job(job, &[], &tag).await?;
        }
        Ok(())
    }

    /// Runs a statement with what goes before and behind it; gives the end of its answer if it
    /// starts a job, and the job.
    async fn run_whole(
        &mut self,
        plan: &Plan,
        sql: &str,
        before: Option<usize>,
        shape: Shape,
    ) -> Result<(Option<Message>, Option<String>), Stop> {
        if !plan.before.is_empty() {
            self.open().await?;
            self.check(&plan.before).await?;
        }
        let tag = self.run_once(plan, sql, before, shape).await?;
        Ok((tag, self.follow_up(plan).await?))
    }

    /// Runs a statement in the transaction that is open, or opens one with it.
    async fn run_once(
        &mut self,
        plan: &Plan,
        sql: &str,
        before: Option<usize>,
        shape: Shape,
    ) -> Result<Option<Message>, Stop> {
        let locks = matches!(plan.class, Class::Lock | Class::Write) && may_lock(sql);
        if locks {
            self.open().await?;
        }
        self.resume();
        let (mut before, mut text) = (before, Cow::Borrowed(sql));
        if locks {
            for query in self.lock_queries(sql).await? {
                self.report_locks(&query).await?;
            }
            text = strip(sql).into();
        }
        if self.is_detached() && plan.class != Class::Session {
            text = self.redirect(&text).await?.into();
            before = None;
        }
        let mut closes = 0;
        if !self.backend.open {
            let lone = self.block.phase == Phase::Idle && is_plain_write(plan, sql);
            closes = self.put_begin(lone);
        }
        self.backend.put_query(&text);
        self.backend.send().await?;
        self.skip_hidden(closes).await?;
        self.relay(before, shape).await
    }

    /// Runs a query for its notices only.
    async fn report_locks(&mut self, query: &str) -> Result<(), Stop> {
        self.backend.put_query(query);
        self.backend.send().await?;
        let mut refusal = None;
        loop {
            let message = self.backend.next().await?;
            match message.tag {
                b'N' => self.notice(&message).await,
                b'E' => {
                    let error = Refusal::of_rewritten(&message.frame);
                    refusal = Some(fatal_ends(error, &message)?);
                }
                b'Z' => return refusal.map_or(Ok(()), |refusal| Err(refusal.into())),
                _ => {}
            }
        }
    }

    /// The id of a job that was started, if one was, and the end of its statement's answer.
    pub(super) async fn answer_job(
        &mut self,
        id: Option<String>,
        formats: &[u16],
        tag: &Message,
    ) -> Result<(), Ended> {
        if id.is_some() {
            put_row(self.client.out(), &job_columns(), &[id], formats);
        }
        self.pass(tag).await
    }

    /// Opens the hidden transaction.
    pub(super) async fn open(&mut self) -> Result<(), Stop> {
        if !self.backend.open {
            self.opening();
            self.backend.commands(&[BEGIN, SAVEPOINT]).await??;
        }
        Ok(())
    }

    /// Drops the answer to hidden commands that cannot fail, up to this many CloseComplete.
    async fn skip_hidden(&mut self, mut closes: u8) -> Result<(), Ended> {
        while closes > 0 {
            let message = self.backend.next().await?;
            match message.tag {
                b'3' => closes -= 1,
                b'E' => return Err(Ended::server_lost(&"BEGIN failed")),
                _ => {}
            }
        }
        Ok(())
    }

    /// Passes the answer to one statement on, up to ReadyForQuery. Of one that starts a job only
    /// notices pass, and the end of the answer is given back.
    async fn relay(
        &mut self,
        before: Option<usize>,
        shape: Shape,
    ) -> Result<Option<Message>, Stop> {
        let mut refusal = None;
        let mut tag = None;
        let mut early = None;
        loop {
            let message = match early.take() {
                Some(message) => message,
                None => self.backend.next().await?,
            };
            match message.tag {
                b'Z' => break,
                b'E' => {
                    let error = match before {
                        Some(before) => Refusal::of_postgres(&message.frame, before),
                        None => Refusal::of_rewritten(&message.frame),
                    };
                    refusal = Some(fatal_ends(error, &message)?);
                }
                b'N' => self.notice(&message).await,
                b'S' => self.parameter(&message),
                b'A' => {}
                b'T' | b'D' if shape.job => {}
                b'D' if shape.flows => {
                    // Whatever could make it run again would have come before its first row.
                    self.client.release();
                    self.pass(&message).await?;
                }
                b'C' if shape.job => tag = Some(shape.end(message)),
                b'C' => self.pass(&shape.end(message)).await?,
                b'G' => {
                    if !self.copied.is_whole() {
                        self.client.out().extend_from_slice(&message.frame);
                    }
                    early = self.copy_in().await?;
                    self.backend.send().await?;
                }
                _ => self.pass(&message).await?,
            }
        }
        self.block.check_rows()?;
        refusal.map_or(Ok(tag), |refusal| Err(refusal.into()))
    }
}

/// Whether a statement changes rows and does nothing else, and can be run again.
pub(super) fn is_plain_write(plan: &Plan, sql: &str) -> bool {
    plan.class == Class::Write
        && plan.before.is_empty()
        && plan.after.is_empty()
        && plan.job.is_none()
        && !starts_copy(sql)
        && !may_lock(sql)
}

/// Whether the text is that of a COPY.
pub(super) fn starts_copy(text: &str) -> bool {
    Tokens::new(text.as_bytes())
        .next()
        .is_some_and(|token| token.is("copy"))
}

/// Whether a statement is let through in a failed transaction.
pub(super) fn leaves(statement: &Statement) -> bool {
    use crate::sql::statement::Kind;
    use pg_query::protobuf::TransactionStmtKind::{TransStmtCommit, TransStmtRollback};
    matches!(
        statement.kind(),
        Kind::Transaction(TransStmtCommit | TransStmtRollback)
    )
}

/// As [`leaves`], behind the judgement.
pub(super) fn action_leaves(action: &Action) -> bool {
    matches!(action, Action::Control(Control::Commit | Control::Rollback))
}

fn bad_layout(_: LayoutError) -> ClientError {
    ClientError::error(PROTOCOL_VIOLATION, "invalid message format")
}

/// Characters of `text` in front of byte `at`.
fn characters(text: &str, at: usize) -> usize {
    text.get(..at).map_or(0, |before| before.chars().count())
}
