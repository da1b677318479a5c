//! What policy says of a client's text, kept for the next time it comes.

use std::cell::{RefCell, RefMut};
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pg_query::NodeEnum;
use pg_query::protobuf::a_const;

use crate::config::Dialect;
use crate::policy::{
    self, Action, AdvisoryLock, Answer, Cache, Creation, DdlInTransaction, Decision, Level, Month,
    Notice, Placement, Procedure, Rules, SessionCommand, SessionFacts, StepKind, TransactionFacts,
};
use crate::sql::statement::ParseError;
use crate::sql::{Class, Effect, Kind, Statement, classify};
use crate::wire::backend::TransactionStatus;
use crate::wire::reply::ClientError;

use super::answer::asked_isolation;
use super::run::Session;

/// The rules of the dialect as they are now: a reload puts others in their place.
#[derive(Debug)]
pub struct Ruling {
    epoch: AtomicU64,
    now: Mutex<(Arc<Rules>, Month)>,
}

impl Ruling {
    /// These rules, for the Aurora DSQL of this month.
    #[must_use]
    pub fn new(rules: Arc<Rules>, as_of: Month) -> Self {
        Self {
            epoch: AtomicU64::new(0),
            now: Mutex::new((rules, as_of)),
        }
    }

    /// Other rules from now on, in open sessions too.
    pub fn put(&self, rules: Arc<Rules>, as_of: Month) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = (rules, as_of);
        self.epoch.fetch_add(1, Ordering::Release);
    }

    fn get(&self) -> (Arc<Rules>, Month) {
        self.now
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What a worker knows of rules and texts, shared by its sessions.
#[derive(Debug)]
pub struct Verdicts {
    ruling: Arc<Ruling>,
    known: RefCell<Known>,
}

#[derive(Debug)]
struct Known {
    epoch: u64,
    rules: Arc<Rules>,
    as_of: Month,
    cache: Cache<Rc<Verdict>>,
}

impl Verdicts {
    /// No verdicts yet.
    #[must_use]
    pub fn new(ruling: Arc<Ruling>) -> Self {
        let epoch = ruling.epoch.load(Ordering::Acquire);
        let (rules, as_of) = ruling.get();
        let known = Known {
            epoch,
            rules,
            as_of,
            cache: Cache::new(VERDICT_BYTES),
        };
        Self {
            ruling,
            known: RefCell::new(known),
        }
    }

    /// Rows of one batch.
    pub(super) fn batch_rows(&self) -> u32 {
        self.known().rules.parameters.batch_rows
    }

    /// What is known under the rules of now.
    fn known(&self) -> RefMut<'_, Known> {
        let mut known = self.known.borrow_mut();
        let epoch = self.ruling.epoch.load(Ordering::Acquire);
        if known.epoch != epoch {
            known.epoch = epoch;
            (known.rules, known.as_of) = self.ruling.get();
        }
        known
    }
}

/// Bytes of verdicts that a worker keeps, about.
const VERDICT_BYTES: usize = 16 * 1024 * 1024;

/// What the sessions of a database entry need to decide about statements.
#[derive(Debug, Clone)]
pub struct PolicyEnv {
    /// Profile of the entry; not `off`.
    pub profile: Dialect,
    /// Those of the worker.
    pub verdicts: Rc<Verdicts>,
}

/// What becomes of the statements of one text, in a session of which certain facts hold.
#[derive(Debug)]
pub struct Verdict {
    facts: SessionFacts,
    epoch: u64,
    /// What the client's text does to the session.
    pub(super) class: Class,
    /// What its first statement is to transactions.
    pub(super) kind: Option<Kind>,
    /// A BEGIN says that its transaction may write, whatever holds for others.
    writes: bool,
    /// What a BEGIN says of that.
    begins: Option<Option<bool>>,
    /// A BEGIN says that its transaction is, or is not, DEFERRABLE.
    deferrable: Option<bool>,
    /// The isolation level that its BEGIN asks for.
    isolation: Option<&'static str>,
    pub(super) outcome: Outcome,
    /// What holds of the transaction behind the text.
    after: TransactionFacts,
    /// One of its statements is DDL.
    changes_schema: bool,
    /// What its statements make in the transaction that they are part of.
    creations: Vec<Creation>,
}

#[derive(Debug)]
pub(super) enum Outcome {
    /// The text goes on as it is, and there is nothing to tell.
    Pass,
    /// Something is done with one of its statements at least.
    Parts(Vec<Part>),
    /// It cannot be read.
    Refuse(ClientError),
}

/// Where a text is cut.
#[derive(Debug)]
pub(super) struct Cut<'a> {
    /// The piece behind begins here, in bytes.
    pub at: usize,
    /// What the client loses by it.
    pub warnings: Vec<&'a Notice>,
}

impl Cut<'_> {
    /// A cut by which nothing is lost.
    pub fn at(at: usize) -> Self {
        Self {
            at,
            warnings: Vec::new(),
        }
    }
}

/// One statement of a text.
#[derive(Debug)]
pub(super) struct Part {
    /// Where it stands, in bytes.
    pub span: Range<usize>,
    /// What it is, when the session itself has to look at it.
    pub statement: Option<Box<Statement>>,
    pub decision: Decision,
    /// What it makes.
    pub creation: Option<Creation>,
}

impl Part {
    /// The one text that goes upstream in place of the statement.
    pub fn rewritten(&self) -> Option<&str> {
        match &self.decision.action {
            Action::Rewrite(rewrite) if !self.is_procedure() => {
                rewrite.steps.first().map(|step| step.sql.as_str())
            }
            _ => None,
        }
    }

    /// It takes more than one statement upstream, or a transaction of its own.
    pub fn is_procedure(&self) -> bool {
        if self.decision.placement != Placement::Within {
            return true;
        }
        match &self.decision.action {
            Action::Rewrite(rewrite) => {
                !matches!(rewrite.steps.as_slice(), [step] if step.kind == StepKind::Statement
                    && step.tolerate.is_empty() && step.rebuild.is_none())
            }
            Action::Emulate(procedure) => !is_savepoint(procedure),
            _ => false,
        }
    }

    /// The session does it by itself, with the parameters of a Bind.
    pub fn is_aside(&self) -> bool {
        matches!(
            self.decision.action,
            Action::Emulate(
                Procedure::AdvisoryLock(_) | Procedure::Notify(_) | Procedure::Signal(_)
            )
        )
    }

    /// The advisory locks that it asks for.
    pub fn locks(&self) -> Option<&AdvisoryLock> {
        match &self.decision.action {
            Action::Emulate(Procedure::AdvisoryLock(lock)) => Some(lock),
            _ => None,
        }
    }

    /// What the server gets in place of such a statement when it is prepared; `None` is the client's
    /// own text.
    pub fn prepared(&self) -> Option<&str> {
        match (&self.decision.action, self.decision.placement) {
            // In another transaction it goes on as it is.
            (Action::Rewrite(rewrite), Placement::AfterCommit) => {
                rewrite.steps.first().map(|step| step.sql.as_str())
            }
            (Action::Forward, Placement::AfterCommit) => None,
            (Action::Emulate(Procedure::AdvisoryLock(lock)), _) => Some(&lock.prepared),
            (Action::Emulate(Procedure::Notify(call)), _) => Some(&call.prepared),
            (Action::Emulate(Procedure::Signal(call)), _) => Some(&call.prepared),
            // It may have parameters.
            (Action::Emulate(Procedure::Batch(_)), _) => None,
            _ => Some(""),
        }
    }

    /// It is in batches, and may be one statement as well: so it has been prepared.
    pub fn goes_whole(&self) -> bool {
        let batch = matches!(self.decision.action, Action::Emulate(Procedure::Batch(_)));
        batch && self.decision.placement == Placement::Within
    }

    /// The session itself has to know the parameters.
    pub fn needs_values(&self) -> bool {
        let setting = matches!(&self.decision.action, Action::Answer(Answer::Setting));
        setting || self.declared().is_some()
    }

    /// It cannot be one of several statements of a Query.
    fn stands_alone(&self) -> bool {
        let cursor = match &self.decision.action {
            Action::Answer(Answer::Session(command)) => matches!(
                command,
                SessionCommand::Declare | SessionCommand::Fetch | SessionCommand::Close(Some(_))
            ),
            _ => false,
        };
        cursor || self.is_procedure()
    }

    /// It is done as part of the transaction that the client sees.
    fn goes_within(&self) -> bool {
        let goes_on = matches!(self.decision.action, Action::Forward | Action::Rewrite(_));
        goes_on && !self.is_procedure()
    }

    fn passes(&self) -> bool {
        let goes_on = match &self.decision.action {
            Action::Forward => true,
            Action::Emulate(procedure) => is_savepoint(procedure),
            _ => false,
        };
        goes_on && self.decision.notices.is_empty() && !self.is_procedure()
    }
}

/// What BEGIN says of a mode that is on or off.
fn says(statement: &Statement, mode: &str) -> Option<bool> {
    let Some(NodeEnum::TransactionStmt(begin)) = statement.node() else {
        return None;
    };
    begin.options.iter().find_map(|option| match &option.node {
        Some(NodeEnum::DefElem(option)) if option.defname == mode => {
            let value = option.arg.as_ref().and_then(|value| value.node.as_ref());
            Some(!matches!(value, Some(NodeEnum::AConst(value))
                if matches!(&value.val, Some(a_const::Val::Ival(number)) if number.ival == 0)))
        }
        _ => None,
    })
}

/// The journal has its own way with these.
fn is_savepoint(procedure: &Procedure) -> bool {
    matches!(
        procedure,
        Procedure::Savepoint(_) | Procedure::Release(_) | Procedure::RollbackTo(_)
    )
}

impl Verdict {
    fn of(text: &[u8], facts: SessionFacts, rules: &Rules, epoch: u64) -> Self {
        let mut verdict = Self {
            facts,
            epoch,
            class: classify(text),
            kind: None,
            writes: false,
            begins: None,
            deferrable: None,
            isolation: None,
            outcome: Outcome::Pass,
            after: facts.transaction,
            changes_schema: false,
            creations: Vec::new(),
        };
        match read(text) {
            Ok(statements) => verdict.judge(statements, rules),
            // Its words for a syntax error are the server's.
            Err(ParseError::Syntax(_)) => {}
            Err(error) => verdict.outcome = Outcome::Refuse(unreadable(&error)),
        }
        verdict
    }

    fn judge(&mut self, statements: Vec<Statement>, rules: &Rules) {
        self.kind = statements.first().map(Statement::kind);
        let says_off =
            |statement: &Statement| says(statement, "transaction_read_only") == Some(false);
        self.writes = statements.iter().any(says_off);
        let begins = |statement: &&Statement| {
            use pg_query::protobuf::TransactionStmtKind as Control;
            matches!(
                statement.kind(),
                Kind::Transaction(Control::TransStmtBegin | Control::TransStmtStart)
            )
        };
        self.begins = statements
            .iter()
            .rfind(begins)
            .map(|begin| says(begin, "transaction_read_only"));
        self.deferrable = statements
            .iter()
            .find_map(|statement| says(statement, "transaction_deferrable"));
        self.isolation = statements
            .iter()
            .find_map(|statement| match statement.node() {
                Some(NodeEnum::TransactionStmt(begin)) => asked_isolation(&begin.options),
                _ => None,
            });
        let ddl = |statement: &Statement| statement.kind() == Kind::Ddl;
        self.changes_schema = statements.iter().any(ddl);
        let several = statements.len() > 1;
        let mut facts = self.facts;
        let mut block = facts.transaction.open;
        let mut parts = Vec::new();
        for statement in statements {
            facts.transaction.open = block || several;
            let decision = policy::decide(&statement, &facts, rules);
            let after = facts.transaction.after(&statement, &decision);
            facts.transaction = after;
            if matches!(statement.kind(), Kind::Transaction(_)) {
                block = after.open;
            }
            let looked_at = matches!(
                decision.action,
                Action::Answer(Answer::Setting | Answer::Session(_)) | Action::Emulate(_)
            );
            parts.push(Part {
                span: statement.span.clone(),
                creation: policy::creation(&statement),
                statement: looked_at.then(|| Box::new(statement)),
                decision,
            });
        }
        let within = parts.iter().filter(|part| part.goes_within());
        self.creations = within.filter_map(|part| part.creation.clone()).collect();
        self.after = match block {
            true => TransactionFacts {
                open: true,
                ..facts.transaction
            },
            false => TransactionFacts::default(),
        };
        if !parts.iter().all(Part::passes) {
            self.outcome = Outcome::Parts(parts);
        }
    }

    /// Its statements, unless nothing is done with any of them.
    pub(super) fn parts(&self) -> Option<&[Part]> {
        match &self.outcome {
            Outcome::Parts(parts) => Some(parts),
            Outcome::Pass | Outcome::Refuse(_) => None,
        }
    }

    /// The statement, if the text has only one and something is done with it.
    pub(super) fn alone(&self) -> Option<&Part> {
        match &self.outcome {
            Outcome::Parts(parts) => match parts.as_slice() {
                [part] => Some(part),
                _ => None,
            },
            _ => None,
        }
    }

    /// Where a text of several statements is cut, since one of them cannot be in one transaction with
    /// the others: behind the first piece.
    pub(super) fn cut(&self) -> Option<Cut<'_>> {
        let parts = self.parts()?;
        let at = (1..parts.len())
            .find(|at| parts[*at].stands_alone() || parts[at - 1].stands_alone())?;
        // The rest is decided about again, and tells the same, unless only one statement is left or
        // what the next one had to be parted from is gone.
        let last = Some(&parts[at]).filter(|part| {
            at + 1 == parts.len() || part.decision.placement == Placement::AfterCommit
        });
        let notices = parts.first().into_iter().chain(last);
        let split = notices.flat_map(|part| {
            let notices = part.decision.notices.iter();
            notices.filter(|notice| part.is_procedure() && notice.level == Level::Warning)
        });
        Some(Cut {
            at: parts[at].span.start,
            warnings: match self.facts.transaction.open {
                true => Vec::new(),
                false => split
                    .filter(|notice| notice.rule == policy::SPLIT.into())
                    .collect(),
            },
        })
    }

    /// It asks for advisory locks, and nothing else.
    pub(super) fn locks(&self) -> bool {
        self.alone().is_some_and(|part| part.locks().is_some())
    }

    pub(super) fn passes(&self) -> bool {
        matches!(self.outcome, Outcome::Pass)
    }

    /// Bytes of memory, about.
    fn weight(&self) -> usize {
        let effects = self.class.effects.as_ref().map_or(0, |all| all.len() * 64);
        let parts = match &self.outcome {
            Outcome::Pass => 0,
            Outcome::Refuse(_) => 256,
            Outcome::Parts(parts) => parts.iter().map(|part| 1024 + 8 * part.span.len()).sum(),
        };
        size_of::<Self>() + effects + parts
    }

    /// Whether other facts may make another verdict of it.
    fn holds_for(&self, facts: &SessionFacts, epoch: u64) -> bool {
        if self.epoch != epoch
            || self.facts.switches != facts.switches
            || self.facts.created != facts.created
            || self.facts.tenants != facts.tenants
        {
            return false;
        }
        let (then, now) = (self.facts.transaction, facts.transaction);
        match self.kind {
            None | Some(Kind::Read) => true,
            Some(Kind::Write | Kind::Lock) if self.passes() => then.ddl == now.ddl,
            _ => then == now,
        }
    }
}

/// Whether names without a schema may mean other objects behind it.
fn moves_path(class: &Class) -> bool {
    let effects = class.effects.iter().flat_map(|effects| effects.iter());
    effects.into_iter().any(|effect| match effect {
        Effect::Set { name, .. } | Effect::Reset(name) => name == "search_path",
        Effect::Local | Effect::ResetAll | Effect::DiscardAll | Effect::Pin(_) => true,
        _ => false,
    })
}

fn read(text: &[u8]) -> Result<Vec<Statement>, ParseError> {
    let text = std::str::from_utf8(text).map_err(|_| ParseError::Encoding)?;
    Statement::read(text)
}

fn unreadable(error: &ParseError) -> ClientError {
    let (code, hint) = match error {
        ParseError::Encoding => ("22021", "Send the text in UTF-8."),
        ParseError::TooLong(_) => ("54000", "Send the data as parameters, or with COPY."),
        _ => ("54001", "Nest expressions less deeply."),
    };
    ClientError::error(code, error.to_string()).hint(hint)
}

impl Session {
    /// What policy says of a text as things are; `None` where policy is off.
    pub(super) fn judge(&self, text: &[u8]) -> Option<Rc<Verdict>> {
        let policy = self.env.policy.as_ref()?;
        let mut known = policy.verdicts.known();
        let facts = self.facts(policy.profile, known.as_of);
        let epoch = known.epoch;
        if let Some(verdict) = known.cache.get(text, &facts, epoch) {
            return Some(verdict);
        }
        let verdict = Rc::new(Verdict::of(text, facts, &known.rules, epoch));
        let (kept, weight) = (Rc::clone(&verdict), verdict.weight());
        known.cache.put(text, &facts, epoch, kept, weight);
        Some(verdict)
    }

    /// The same for a text of which policy has said something: as things are now, that may be
    /// something else.
    pub(super) fn judge_again(&self, text: &[u8], verdict: &Rc<Verdict>) -> Rc<Verdict> {
        let holds = self.env.policy.as_ref().is_none_or(|policy| {
            let known = policy.verdicts.known();
            verdict.holds_for(&self.facts(policy.profile, known.as_of), known.epoch)
        });
        match holds {
            true => Rc::clone(verdict),
            false => self.judge(text).unwrap_or_else(|| Rc::clone(verdict)),
        }
    }

    fn facts(&self, profile: Dialect, as_of: Month) -> SessionFacts {
        let transaction = self.transaction;
        SessionFacts {
            profile,
            as_of,
            switches: self.switches,
            transaction: TransactionFacts {
                // Without a block, what was executed since the last Sync is a transaction too.
                open: transaction.open || transaction.ddl || transaction.wrote,
                ..transaction
            },
            created: self.is_in_created(),
            tenants: self.env.isolation.is_some(),
        }
    }

    /// What policy makes of a statement outside any transaction.
    pub(super) fn decide_alone(&self, statement: &Statement) -> Option<Decision> {
        let policy = self.env.policy.as_ref()?;
        let known = policy.verdicts.known();
        let facts = SessionFacts {
            transaction: TransactionFacts::default(),
            ..self.facts(policy.profile, known.as_of)
        };
        Some(policy::decide(statement, &facts, &known.rules))
    }

    /// A Query of this verdict was taken.
    pub(super) fn note_queried(&mut self, verdict: &Verdict) {
        self.changes_schema |= verdict.changes_schema;
        self.note_creations(verdict);
        self.transaction = verdict.after;
        self.begun_read_only = verdict.begins.unwrap_or(self.begun_read_only);
        if verdict.writes {
            self.read_only = Some(false);
        }
        self.deferrable = verdict.deferrable.or(self.deferrable);
        self.isolation = verdict.isolation.or(self.isolation);
        self.note_transaction_end(verdict);
    }

    /// A portal of a statement of this kind was executed, in the extended protocol.
    pub(super) fn note_executed(&mut self, verdict: &Verdict) {
        use pg_query::protobuf::TransactionStmtKind as Control;
        self.note_transaction_end(verdict);
        self.changes_schema |= verdict.changes_schema;
        self.note_creations(verdict);
        match verdict.kind {
            Some(Kind::Ddl) => self.transaction.ddl = true,
            Some(Kind::Write | Kind::Lock) => self.transaction.wrote = true,
            Some(Kind::Transaction(Control::TransStmtBegin | Control::TransStmtStart)) => {
                self.transaction.open = true;
                self.begun_read_only = verdict.begins.unwrap_or_default();
                if verdict.writes {
                    self.read_only = Some(false);
                }
                self.deferrable = verdict.deferrable;
                self.isolation = verdict.isolation;
            }
            Some(Kind::Transaction(Control::TransStmtCommit | Control::TransStmtRollback)) => {
                self.transaction = TransactionFacts::default()
            }
            _ => {}
        }
    }

    /// What is made in a transaction block may have to go again.
    fn note_creations(&mut self, verdict: &Verdict) {
        if self.switches.ddl_in_transaction != DdlInTransaction::Split {
            return;
        }
        let block = self.transaction.open || verdict.class.statements > 1;
        match block && moves_path(&verdict.class) {
            true => self.creations.stray(),
            false => self.creations.expect(&verdict.creations),
        }
    }

    /// Temporary tables of a transaction that is rolled back go.
    fn note_transaction_end(&mut self, verdict: &Verdict) {
        use pg_query::protobuf::TransactionStmtKind as Control;
        match verdict.kind {
            Some(Kind::Transaction(Control::TransStmtRollback)) => self.temporary.note_end(true),
            Some(Kind::Transaction(Control::TransStmtCommit))
                if self.status == TransactionStatus::Open =>
            {
                self.temporary.note_end(false);
            }
            _ => {}
        }
    }

    /// The client was told what its transaction is.
    pub(super) fn settle_transaction(&mut self, status: TransactionStatus) {
        if !self.owed.is_empty() || self.owed.is_unsynced() {
            return;
        }
        match status {
            TransactionStatus::Idle => {
                self.transaction = TransactionFacts::default();
                self.read_only = None;
                self.deferrable = None;
                self.isolation = None;
                self.end_cursors(true);
            }
            _ => self.transaction.open = true,
        }
    }

    /// A Sync ends what was executed without a block.
    pub(super) fn note_synced(&mut self) {
        if !self.transaction.open {
            self.transaction = TransactionFacts::default();
        }
    }
}
