//! Statements about the session that the session itself answers: settings in all their forms,
//! DISCARD, PREPARE, EXECUTE, DEALLOCATE, SET TRANSACTION.

use pg_query::protobuf::{
    DiscardMode, ExecuteStmt, PrepareStmt, SelectStmt, VariableSetKind, VariableSetStmt, a_const,
};
use pg_query::{Node, NodeEnum};

use crate::policy::lookup::{self, Call, Found, Given, Wish};
use crate::policy::settings::{
    self, DEFAULT_DEFERRABLE, DEFAULT_ISOLATION, DEFAULT_READ_ONLY, SHOWN_ISOLATION, Setting,
};
use crate::policy::tenancy::scrub;
use crate::policy::{Answer, SessionCommand};
use crate::sql::tree::{self, Descent, Mut, walk_mut};
use crate::sql::{Kind, Statement, Tree};
use crate::upstream::Settings;
use crate::wire::backend::TransactionStatus;
use crate::wire::frontend;
use crate::wire::reply::{self, ClientError};
use crate::wire::sqlstate;

use super::kept;
use super::names::Prepared;
use super::notify;
use super::run::Session;
use super::script::{FAILING, NOTHING, Reply, Rows, Told};
use super::verdict::{Part, Verdict};

/// What the session does for a statement, when its turn comes.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Nothing,
    /// CLOSE ALL.
    CloseCursors,
    /// Changes of settings: name, value, until the end of the transaction.
    Set(Vec<Change>),
    ResetAll,
    DiscardAll,
    DiscardTemporary,
    /// LISTEN, UNLISTEN, NOTIFY.
    Tell(notify::Change),
    /// DEALLOCATE; `None` is all.
    Deallocate(Option<String>),
    /// PREPARE: the name, the query, types of parameters as in a Parse message.
    Prepare {
        name: String,
        query: String,
        types: Vec<u8>,
    },
    /// SET TRANSACTION: modes for a BEGIN that has not been sent, READ ONLY or not, and the isolation level
    /// that was asked for.
    Modes {
        text: String,
        read_only: Option<bool>,
        isolation: Option<&'static str>,
    },
}

/// A setting's new value.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub name: String,
    pub value: Option<String>,
    pub local: bool,
}

/// What goes upstream in a statement's place, and what the client is told.
pub(super) type Answered = (Option<String>, Option<Told>);

fn refused(error: ClientError) -> Answered {
    let told = Told::quietly(Reply::Refused(error));
    (Some(FAILING.to_owned()), Some(told))
}

fn done(act: Act, tag: &str) -> Answered {
    let told = Told::quietly(Reply::Act(act, tag.to_owned()));
    (Some(NOTHING.to_owned()), Some(told))
}

fn shown(name: String, value: &str) -> Answered {
    let rows = Rows {
        columns: vec![(name, reply::TEXT)],
        rows: vec![vec![Some(value.to_owned())]],
        unlocks: false,
    };
    let sent = rows.query();
    let told = Told::quietly(Reply::Rows(rows, "SHOW".to_owned()));
    (Some(sent), Some(told))
}

fn unrecognized(name: &str) -> ClientError {
    ClientError::error(
        "42704",
        format!("unrecognized configuration parameter \"{name}\""),
    )
}

fn no_statement(name: &str) -> ClientError {
    ClientError::error(
        sqlstate::INVALID_SQL_STATEMENT_NAME,
        format!("prepared statement \"{name}\" does not exist"),
    )
}

impl Session {
    /// What becomes of a statement that policy leaves to the session.
    pub(super) fn answer_of(
        &mut self,
        text: &[u8],
        part: &Part,
        answer: &Answer,
        values: &mut Settings,
    ) -> Answered {
        let Some(statement) = &part.statement else {
            return (None, None);
        };
        match answer {
            Answer::Setting => self.setting(&text[part.span.clone()], statement, values),
            Answer::Session(command) => self.command(statement, command),
            Answer::Tag(_) | Answer::Rows { .. } => (None, None),
        }
    }

    // ---- settings ----------------------------------------------------------------------------

    fn setting(&mut self, text: &[u8], statement: &Statement, values: &mut Settings) -> Answered {
        match statement.node() {
            Some(NodeEnum::VariableSetStmt(set)) => self.set(text, set, values),
            Some(NodeEnum::VariableShowStmt(show)) if show.name == "all" => self.show_all(),
            Some(NodeEnum::VariableShowStmt(show)) => {
                let name = show.name.to_lowercase();
                if let Some(value) = self.transaction_setting(&name) {
                    return shown(name, value);
                }
                let custom = name.contains('.');
                if custom && !values.contains_key(&name) && self.settings.kept(&name).is_none() {
                    return refused(unrecognized(&show.name));
                }
                // Others are the server's.
                self.kept_statement(text, values).unwrap_or((None, None))
            }
            Some(NodeEnum::SelectStmt(_)) => self.query_settings(statement),
            _ => (None, None),
        }
    }

    fn kept_statement(&mut self, text: &[u8], values: &mut Settings) -> Option<Answered> {
        let (asked, tag) = kept::read_one(text, self.settings.scope())?;
        let sent = self.setting_query(&asked, values);
        let told = Told::quietly(Reply::Setting(asked, tag));
        Some((Some(sent), Some(told)))
    }

    fn set(&mut self, text: &[u8], set: &VariableSetStmt, values: &mut Settings) -> Answered {
        let resets = matches!(
            set.kind(),
            VariableSetKind::VarReset | VariableSetKind::VarSetDefault
        );
        match (set.kind(), set.name.as_str()) {
            (VariableSetKind::VarResetAll, _) => done(Act::ResetAll, "RESET"),
            (VariableSetKind::VarSetMulti, _) => done(Act::Set(characteristics(set)), "SET"),
            // To what they are already.
            (_, "role" | "session_authorization") => {
                let tag = match set.kind() {
                    VariableSetKind::VarReset => "RESET",
                    _ => "SET",
                };
                done(Act::Nothing, tag)
            }
            (_, name) => {
                let name = name.to_lowercase();
                if settings::find(&name, self.settings.scope()).is_none() && !resets {
                    return refused(unrecognized(&set.name));
                }
                let answered = self.kept_statement(text, values);
                answered.unwrap_or_else(|| refused(unrecognized(&set.name)))
            }
        }
    }

    /// All settings as the session sees them: those of the proxy, and DSQL's own as far as they are
    /// known here.
    fn show_all(&mut self) -> Answered {
        let mut all: Settings = self.listed().into_iter().collect();
        if let Some(lease) = &self.lease {
            all.extend(
                lease
                    .parameters
                    .iter()
                    .map(|(name, value)| (name.to_lowercase(), value.clone())),
            );
        } else {
            let baseline = self.env.pool.baseline();
            all.extend(
                baseline
                    .iter()
                    .map(|(name, value)| (name.to_lowercase(), value.clone())),
            );
        }
        let level = self.transaction_setting("transaction_isolation");
        let level = level.unwrap_or("repeatable read");
        all.insert("transaction_isolation".into(), level.into());
        let rows = all
            .into_iter()
            .map(|(name, value)| vec![Some(name), Some(value), Some(String::new())]);
        let rows = Rows {
            columns: ["name", "setting", "description"]
                .map(|name| (name.to_owned(), reply::TEXT))
                .to_vec(),
            rows: rows.collect(),
            unlocks: false,
        };
        let sent = rows.query();
        let told = Told::quietly(Reply::Rows(rows, "SHOW".to_owned()));
        (Some(sent), Some(told))
    }

    /// Names and values of the settings that the proxy keeps.
    fn listed(&self) -> Vec<(String, String)> {
        let all = settings::defaults().map(|(name, value)| {
            let now = self.settings.kept(name).unwrap_or(value);
            (name.to_owned(), now.to_owned())
        });
        all.collect()
    }

    /// `current_setting`, `set_config` and `pg_settings` in a query.
    fn query_settings(&mut self, statement: &Statement) -> Answered {
        let mut changes = Vec::new();
        let replaced = {
            let session = &*self;
            let mut ask = |call: Call| session.ask(call, &mut changes);
            let pid = session.key.0;
            lookup::replace(statement, pid, &mut ask, &|| session.listed())
        };
        match replaced {
            Err(error) => refused(error),
            Ok(None) => (None, None),
            Ok(Some(sent)) => {
                let told = Told {
                    changes,
                    ..Told::quietly(Reply::Server(None))
                };
                (Some(sent), Some(told))
            }
        }
    }

    /// What holds of the transaction, where the server does not know it.
    fn transaction_setting(&self, name: &str) -> Option<&'static str> {
        if name == "transaction_isolation" {
            let asked = self.settings.kept(SHOWN_ISOLATION) == Some("asked");
            let default = || self.settings.kept(DEFAULT_ISOLATION).and_then(level_of);
            return asked.then(|| self.isolation.or_else(default)).flatten();
        }
        let is_on = |name: &str| self.settings.kept(name) == Some("on");
        let on = match name {
            "transaction_read_only" => match self.read_only {
                Some(said) => said,
                None if is_on(DEFAULT_READ_ONLY) => true,
                None => return None,
            },
            "transaction_deferrable" => {
                self.deferrable.unwrap_or_else(|| is_on(DEFAULT_DEFERRABLE))
            }
            _ => return None,
        };
        Some(if on { "on" } else { "off" })
    }

    fn ask(&self, call: Call, changes: &mut Vec<Change>) -> Result<Found, ClientError> {
        let name = call.name;
        if matches!(call.wish, Wish::Show { .. })
            && let Some(value) = self.transaction_setting(&name)
        {
            return Ok(Found::Value(Some(value.to_owned())));
        }
        let Some(setting) = settings::find(&name, self.settings.scope()) else {
            return match call.wish {
                // It says so itself, if there is none.
                Wish::Show { .. } => Ok(Found::Server),
                Wish::Set { .. } if settings::is_upstream(&name) => Ok(Found::Server),
                Wish::Set { .. } => Err(unrecognized(&name)),
            };
        };
        match call.wish {
            Wish::Show { or_null } => {
                let earlier = changes.iter().rev().find(|change| change.name == name);
                let earlier = earlier.and_then(|change| change.value.as_deref());
                match earlier.or(self.settings.kept(&name)) {
                    Some(value) => Ok(Found::Value(Some(value.to_owned()))),
                    None if or_null => Ok(Found::Value(None)),
                    None => Err(unrecognized(&name)),
                }
            }
            Wish::Set { value, local } => {
                let (value, number) = match value {
                    Given::Text(value) => (value, None),
                    Given::Parameter(number) => match self.bound(number) {
                        Some(value) => (value, Some(number)),
                        None => return Ok(Found::Parameter(number)),
                    },
                };
                let value = read(&setting, value.as_deref())?;
                let shown = value.as_deref().or(setting.default);
                let shown = shown.unwrap_or_default().to_owned();
                changes.push(Change { name, value, local });
                Ok(match number {
                    Some(number) => Found::Parameter(number),
                    None => Found::Value(Some(shown)),
                })
            }
        }
    }

    /// The value of a parameter of the portal that is executed; the inner `None` is NULL.
    fn bound(&self, number: i32) -> Option<Option<String>> {
        let values = self.executing.as_deref()?;
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        // Text is the same in binary format.
        let (_, value) = frontend::bind_values(values).ok()?.nth(at)?;
        match value {
            None => Some(None),
            Some(value) => Some(Some(std::str::from_utf8(value).ok()?.to_owned())),
        }
    }

    // ---- commands ----------------------------------------------------------------------------

    fn command(&mut self, statement: &Statement, command: &SessionCommand) -> Answered {
        match (command, statement.node()) {
            (SessionCommand::Discard, Some(NodeEnum::DiscardStmt(discard))) => {
                match discard.target() {
                    DiscardMode::DiscardAll if self.transaction.open => {
                        refused(ClientError::error(
                            "25001",
                            "DISCARD ALL cannot run inside a transaction block",
                        ))
                    }
                    DiscardMode::DiscardAll => done(Act::DiscardAll, "DISCARD ALL"),
                    DiscardMode::DiscardPlans => done(Act::Nothing, "DISCARD PLANS"),
                    DiscardMode::DiscardSequences => done(Act::Nothing, "DISCARD SEQUENCES"),
                    _ => done(Act::DiscardTemporary, "DISCARD TEMP"),
                }
            }
            // Channels are those of all tenants.
            (SessionCommand::Listen(_) | SessionCommand::Notify { .. }, _) if self.is_guarded() => {
                refused(not_yet(
                    "notifications are not available to tenants",
                    "Use a queue beside the database, or poll a table.",
                ))
            }
            (SessionCommand::Listen(channel), _) => {
                done(Act::Tell(notify::Change::Listen(channel.clone())), "LISTEN")
            }
            (SessionCommand::Unlisten(channel), _) => done(
                Act::Tell(notify::Change::Unlisten(channel.clone())),
                "UNLISTEN",
            ),
            (SessionCommand::Notify { channel, payload }, _) => {
                match notify::notification(channel, payload) {
                    Ok(change) => done(Act::Tell(change), "NOTIFY"),
                    Err(error) => refused(error),
                }
            }
            (SessionCommand::Deallocate(name), _) => {
                let tag = match name {
                    Some(_) => "DEALLOCATE",
                    None => "DEALLOCATE ALL",
                };
                done(Act::Deallocate(name.clone()), tag)
            }
            (SessionCommand::Prepare, Some(NodeEnum::PrepareStmt(prepare))) => {
                match prepared_by(prepare) {
                    Ok(act) => done(act, "PREPARE"),
                    Err(error) => refused(error),
                }
            }
            (SessionCommand::Execute, Some(node)) => self.execute_prepared(node),
            (SessionCommand::TransactionModes(text), node) => {
                let isolation = match node {
                    Some(NodeEnum::VariableSetStmt(set)) => asked_isolation(&set.args),
                    _ => None,
                };
                let read_only = match text.as_str() {
                    text if text.contains("READ ONLY") => Some(true),
                    text if text.contains("READ WRITE") => Some(false),
                    _ => None,
                };
                let text = text.clone();
                let modes = Act::Modes {
                    text,
                    read_only,
                    isolation,
                };
                done(modes, "SET")
            }
            (SessionCommand::Close(None), _) => done(Act::CloseCursors, "CLOSE CURSOR ALL"),
            // Alone in a Query they are portals.
            _ => refused(not_yet(
                "a SQL cursor among several statements, or prepared, is not available",
                "Send DECLARE, FETCH, MOVE and CLOSE each as a Query of its own.",
            )),
        }
    }

    /// EXECUTE, also inside EXPLAIN: the prepared query with the values in it.
    fn execute_prepared(&mut self, node: &NodeEnum) -> Answered {
        let execute = match node {
            NodeEnum::ExecuteStmt(execute) => execute,
            NodeEnum::ExplainStmt(explain) => {
                match explain.query.as_ref().and_then(|query| query.node.as_ref()) {
                    Some(NodeEnum::ExecuteStmt(execute)) => execute,
                    _ => return (None, None),
                }
            }
            _ => return (None, None),
        };
        let query = match self.filled_in(execute) {
            Ok(query) => query,
            Err(error) => return refused(error),
        };
        let whole = match node {
            NodeEnum::ExplainStmt(explain) => {
                let mut explain = explain.clone();
                explain.query = Some(Box::new(Node { node: Some(query) }));
                NodeEnum::ExplainStmt(explain)
            }
            _ => query,
        };
        let text = match tree::verify_print(&whole) {
            Ok(text) => text,
            Err(error) => {
                tracing::error!(%error, "a prepared statement cannot be filled in");
                return refused(ClientError::error(
                    sqlstate::INTERNAL_ERROR,
                    "the prepared statement could not be filled in",
                ));
            }
        };
        // Policy has its say about that too.
        let Some(verdict) = self.judge(text.as_bytes()) else {
            return (Some(text), None);
        };
        match verdict.alone() {
            None => (Some(text), Some(Told::quietly(Reply::Server(None)))),
            Some(part)
                if matches!(
                    part.statement.as_deref().map(Statement::node),
                    Some(Some(NodeEnum::ExecuteStmt(_)))
                ) =>
            {
                (None, None)
            }
            Some(part) => {
                let piece = self.piece(text.as_bytes(), part, true, &mut Settings::new());
                (piece.sent.or(Some(text)), piece.told)
            }
        }
    }

    fn filled_in(&self, execute: &ExecuteStmt) -> Result<NodeEnum, ClientError> {
        let prepared = self.names.get(execute.name.as_bytes());
        let prepared = prepared.ok_or_else(|| no_statement(&execute.name))?;
        if prepared.parameter.is_some() {
            // A value of the client's would stand for the tenant's.
            return Err(not_yet(
                "a statement that was prepared with the tenant as a parameter cannot be executed by EXECUTE",
                "Bind and execute it in the extended protocol, or prepare it with PREPARE.",
            ));
        }
        let source = std::str::from_utf8(&prepared.source).ok();
        let statement = source.and_then(|source| Statement::read(source).ok()?.pop());
        let Some(Statement {
            tree: Tree::Node(node),
            ..
        }) = statement
        else {
            return Err(not_yet(
                "this prepared statement cannot be executed by EXECUTE",
                "Bind and execute it in the extended protocol.",
            ));
        };
        let types = types_of(&prepared.types);
        let mut node = *node;
        let mut most = 0;
        walk_mut(Mut::of(&mut node), &mut |node| {
            if let Mut::Slot(slot) = node
                && let Some(NodeEnum::ParamRef(parameter)) = &slot.node
            {
                let number = usize::try_from(parameter.number).unwrap_or(0);
                most = most.max(number);
                let value = number.checked_sub(1).and_then(|at| {
                    let value = execute.params.get(at)?;
                    Some(value_of(value, types.get(at).copied().flatten()))
                });
                if let Some(value) = value {
                    **slot = value;
                    return Descent::Over;
                }
            }
            Descent::Into
        });
        let expected = most.max(types.len());
        if execute.params.len() != expected {
            return Err(ClientError::error(
                "42601",
                format!(
                    "wrong number of parameters for prepared statement \"{}\"",
                    execute.name
                ),
            )
            .detail(format!(
                "Expected {expected} parameters but got {}.",
                execute.params.len()
            )));
        }
        Ok(node)
    }

    // ---- when the turn comes -----------------------------------------------------------------

    /// Does what a statement asks for; frames ahead of its tag go to `out`.
    pub(super) fn act(&mut self, act: &Act, out: &mut Vec<u8>) -> Result<(), ClientError> {
        match act {
            Act::Nothing => {}
            Act::CloseCursors => self.cursors.clear(),
            Act::Set(changes) => self.change_settings(changes),
            Act::ResetAll => self.reset_all(out),
            Act::DiscardAll => {
                let change = self.names.clear();
                self.names.keep(&change);
                self.cursors.clear();
                self.advisory.free_of_session();
                self.temporary.drop_all();
                self.listening.leave_all();
                self.reset_all(out);
            }
            Act::Tell(change) => self.tell(change.clone()),
            Act::DiscardTemporary => self.temporary.drop_all(),
            Act::Deallocate(None) => {
                let change = self.names.clear();
                self.names.keep(&change);
            }
            Act::Deallocate(Some(name)) => {
                if self.names.get(name.as_bytes()).is_none() {
                    return Err(no_statement(name));
                }
                let change = self.names.set(name.as_bytes(), None);
                self.names.keep(&change);
            }
            Act::Prepare { name, query, types } => self.prepare(name, query, types)?,
            Act::Modes {
                text,
                read_only,
                isolation,
            } => {
                self.set_modes(text, *read_only, out);
                if self.block() != TransactionStatus::Idle || self.begin.is_some() {
                    self.isolation = isolation.or(self.isolation);
                }
            }
        }
        Ok(())
    }

    /// Settings that the proxy keeps get other values.
    pub(super) fn change_settings(&mut self, changes: &[Change]) {
        for change in changes {
            let value = change.value.as_deref();
            self.settings.set_kept(&change.name, value, change.local);
        }
        if !changes.is_empty() {
            self.obey_switches();
        }
    }

    /// All settings are as after the login. The connection follows before the next request.
    fn reset_all(&mut self, out: &mut Vec<u8>) {
        self.settings.reset_all();
        self.obey_switches();
        for (name, value) in std::mem::take(&mut self.changed_parameters) {
            let first = self.greeted.iter().find(|(known, _)| *known == name);
            let told = !self.is_guarded() || scrub::passes_parameter(&name);
            if let Some((_, first)) = first.filter(|(_, first)| told && *first != value) {
                reply::put_parameter(out, &name, first);
            }
        }
    }

    fn prepare(&mut self, name: &str, query: &str, types: &[u8]) -> Result<(), ClientError> {
        if self.names.get(name.as_bytes()).is_some() {
            return Err(ClientError::error(
                sqlstate::DUPLICATE_PREPARED_STATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        if self.names.len() >= self.env.quota.statements {
            return Err(ClientError::error(
                sqlstate::CONFIGURATION_LIMIT_EXCEEDED,
                format!(
                    "a client keeps at most {} prepared statements",
                    self.env.quota.statements
                ),
            ));
        }
        let verdict = self.judge(query.as_bytes());
        let parse = crate::wire::frontend::Parse {
            name: name.as_bytes(),
            text: query.as_bytes(),
            types,
        };
        let prepared: std::rc::Rc<Prepared> = self.prepared_of(&parse, verdict, None);
        let change = self.names.set(name.as_bytes(), Some(prepared));
        self.names.keep(&change);
        Ok(())
    }

    fn set_modes(&mut self, text: &str, read_only: Option<bool>, out: &mut Vec<u8>) {
        if self.block() == TransactionStatus::Idle && self.begin.is_none() {
            reply::put_notice_of(
                out,
                "WARNING",
                sqlstate::NO_ACTIVE_SQL_TRANSACTION,
                "SET TRANSACTION can only be used in transaction blocks",
                None,
            );
            return;
        }
        if let Some(begin) = self.begin.as_mut().filter(|_| !text.is_empty()) {
            let end = super::reset::ends(begin).pop().unwrap_or(begin.len());
            begin.truncate(end);
            begin.push(b' ');
            begin.extend_from_slice(text.as_bytes());
        }
        self.read_only = read_only.or(self.read_only);
    }

    // ---- READ ONLY ---------------------------------------------------------------------------

    /// Why a statement cannot run in a transaction that only reads, where the server does not know
    /// that it does.
    pub(super) fn refused_read_only(&self, verdict: &Verdict) -> Option<ClientError> {
        let writes = matches!(verdict.kind, Some(Kind::Write | Kind::Ddl));
        if !writes {
            return None;
        }
        let read_only = self
            .read_only
            .unwrap_or_else(|| self.settings.kept(DEFAULT_READ_ONLY) == Some("on"));
        read_only.then(|| {
            ClientError::error("25006", "cannot change anything in a read-only transaction")
                .hint("SET TRANSACTION READ WRITE, or SET default_transaction_read_only = off.")
        })
    }
}

fn not_yet(message: &str, hint: &str) -> ClientError {
    ClientError::error(sqlstate::FEATURE_NOT_SUPPORTED, message).hint(hint)
}

fn read(setting: &Setting, value: Option<&str>) -> Result<Option<String>, ClientError> {
    let Some(value) = value else {
        return Ok(None);
    };
    setting.read(value).map(Some).map_err(kept::refusal)
}

/// The isolation levels of PostgreSQL, as `transaction_isolation` tells them.
const LEVELS: [&str; 4] = [
    "read uncommitted",
    "read committed",
    "repeatable read",
    "serializable",
];

fn level_of(name: &str) -> Option<&'static str> {
    let is = |level: &&str| name.eq_ignore_ascii_case(level);
    LEVELS.into_iter().find(is)
}

/// The isolation level among the modes of BEGIN or SET TRANSACTION.
pub(super) fn asked_isolation(modes: &[Node]) -> Option<&'static str> {
    modes.iter().find_map(|mode| match &mode.node {
        Some(NodeEnum::DefElem(option)) if option.defname == "transaction_isolation" => {
            match option.arg.as_ref()?.node.as_ref()? {
                NodeEnum::AConst(constant) => match constant.val.as_ref()? {
                    a_const::Val::Sval(text) => level_of(&text.sval),
                    _ => None,
                },
                _ => None,
            }
        }
        _ => None,
    })
}

/// SET SESSION CHARACTERISTICS AS TRANSACTION.
fn characteristics(set: &VariableSetStmt) -> Vec<Change> {
    let change = |name: &str, value: String| Change {
        name: name.to_owned(),
        value: Some(value),
        local: false,
    };
    let options = set.args.iter().filter_map(|arg| match &arg.node {
        Some(NodeEnum::DefElem(option)) => Some(option),
        _ => None,
    });
    let read = |option: &pg_query::protobuf::DefElem| match option.arg.as_ref()?.node.as_ref()? {
        NodeEnum::AConst(constant) => match constant.val.as_ref()? {
            a_const::Val::Sval(text) => Some(text.sval.clone()),
            a_const::Val::Ival(value) => Some(value.ival.to_string()),
            _ => None,
        },
        _ => None,
    };
    let on = |value: &str| match value {
        "0" => "off".to_owned(),
        _ => "on".to_owned(),
    };
    options
        .filter_map(|option| {
            let value = read(option).unwrap_or_else(|| "0".to_owned());
            match option.defname.as_str() {
                "transaction_isolation" => Some(change(DEFAULT_ISOLATION, value)),
                "transaction_read_only" => Some(change(DEFAULT_READ_ONLY, on(&value))),
                "transaction_deferrable" => Some(change(DEFAULT_DEFERRABLE, on(&value))),
                _ => None,
            }
        })
        .collect()
}

fn prepared_by(prepare: &PrepareStmt) -> Result<Act, ClientError> {
    let query = prepare.query.as_ref().and_then(|query| query.node.as_ref());
    let query = query.and_then(|query| tree::verify_print(query).ok());
    let Some(query) = query else {
        return Err(not_yet(
            "this statement cannot be prepared by PREPARE",
            "Prepare it in the extended protocol.",
        ));
    };
    let mut types = u16::try_from(prepare.argtypes.len())
        .unwrap_or(0)
        .to_be_bytes()
        .to_vec();
    for argument in &prepare.argtypes {
        types.extend_from_slice(&oid_of(argument).to_be_bytes());
    }
    Ok(Act::Prepare {
        name: prepare.name.clone(),
        query,
        types,
    })
}

/// Types of parameters by OID and name in the catalog (`pg_type.dat` of PostgreSQL).
const TYPES: [(u32, &str); 20] = [
    (16, "bool"),
    (17, "bytea"),
    (20, "int8"),
    (21, "int2"),
    (23, "int4"),
    (25, "text"),
    (26, "oid"),
    (114, "json"),
    (700, "float4"),
    (701, "float8"),
    (1042, "bpchar"),
    (1043, "varchar"),
    (1082, "date"),
    (1083, "time"),
    (1114, "timestamp"),
    (1184, "timestamptz"),
    (1186, "interval"),
    (1700, "numeric"),
    (2950, "uuid"),
    (3802, "jsonb"),
];

/// 0 for a type that is inferred.
fn oid_of(argument: &Node) -> u32 {
    let Some(NodeEnum::TypeName(name)) = &argument.node else {
        return 0;
    };
    let last = name.names.last().and_then(|name| name.node.as_ref());
    let Some(NodeEnum::String(last)) = last else {
        return 0;
    };
    let found = TYPES.iter().find(|(_, known)| *known == last.sval);
    found
        .filter(|_| name.array_bounds.is_empty())
        .map_or(0, |(oid, _)| *oid)
}

/// The types of a Parse message, as far as they have names here.
fn types_of(types: &[u8]) -> Vec<Option<&'static str>> {
    let oids = types.get(2..).unwrap_or_default().chunks_exact(4);
    let name = |oid: &[u8]| {
        let oid = u32::from_be_bytes(oid.try_into().ok()?);
        let found = TYPES.iter().find(|(known, _)| *known == oid);
        found.map(|(_, name)| *name)
    };
    oids.map(name).collect()
}

/// A value in the place of a parameter: its type is what it was prepared with, or is inferred as
/// that of the parameter was.
fn value_of(value: &Node, to: Option<&'static str>) -> Node {
    let mut value = value.clone();
    if let Some(NodeEnum::AConst(constant)) = &mut value.node
        && !constant.isnull
    {
        let text = match &constant.val {
            Some(a_const::Val::Ival(value)) => Some(value.ival.to_string()),
            Some(a_const::Val::Fval(value)) => Some(value.fval.clone()),
            Some(a_const::Val::Boolval(value)) => Some(value.boolval.to_string()),
            _ => None,
        };
        if let Some(text) = text {
            constant.val = Some(a_const::Val::Sval(pg_query::protobuf::String {
                sval: text,
            }));
        }
    }
    let Some(to) = to else {
        return value;
    };
    let cast = Statement::read(&format!("SELECT NULL::pg_catalog.{to}"));
    let cast = cast.ok().and_then(|mut read| read.pop());
    let Some(Statement {
        tree: Tree::Node(node),
        ..
    }) = cast
    else {
        return value;
    };
    match *node {
        NodeEnum::SelectStmt(select) => cast_in(*select, &value).unwrap_or(value),
        _ => value,
    }
}

/// The one column of a query, a cast, about another value.
fn cast_in(mut select: SelectStmt, value: &Node) -> Option<Node> {
    let NodeEnum::ResTarget(target) = select.target_list.pop()?.node? else {
        return None;
    };
    let mut cast = *target.val?;
    if let Some(NodeEnum::TypeCast(cast)) = &mut cast.node {
        cast.arg = Some(Box::new(value.clone()));
    }
    Some(cast)
}
