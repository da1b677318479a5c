//! Settings that the proxy keeps: SET, RESET and SHOW of these never reach the server.
//!
//! Alone in a Query they are answered here, when nothing else is under way. Among others, or in the
//! extended protocol, the server gets a statement in their place that does nothing, so that answers
//! come in order and errors skip what they have to.

use std::ops::Range;
use std::time::Duration;

use crate::policy::settings::{self, RETRY, Refused, Scope, Setting};
use crate::sql::scan::{Token, Tokens, identifier};
use crate::upstream::{Expect, Settings, SharedSettings};
use crate::wire::backend::TransactionStatus;
use crate::wire::frontend;
use crate::wire::reply::{self, ClientError};
use crate::wire::sqlstate;

use super::frontend::Taken;
use super::limbo::{Limbo, aborted};
use super::names::Prepared;
use super::run::{Note, Session};

/// What the proxy keeps for sessions of a database entry.
#[derive(Debug, Clone)]
pub struct KeptEnv {
    /// Which settings.
    pub scope: Scope,
    /// Their values to begin with, as SHOW tells them.
    pub defaults: Settings,
    /// How long a cancelled statement may go on; `None` when the server obeys.
    pub cancel_grace: Option<Duration>,
}

/// Divides start-up parameters into the server's and those that the proxy keeps.
pub(super) fn divide(all: &SharedSettings, env: &KeptEnv) -> (SharedSettings, Settings) {
    if env.scope == Scope::Nothing {
        return (SharedSettings::clone(all), Settings::new());
    }
    let kept = |name: &str| settings::find(name, env.scope).is_some();
    let (ours, theirs): (Settings, Settings) = all
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .partition(|(name, _)| kept(name));
    (theirs.into(), ours)
}

/// What one statement asks of a setting that the proxy keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Set {
        setting: &'static Setting,
        /// As SHOW tells it, or why it is refused.
        value: Result<String, Refused>,
        local: bool,
    },
    Reset {
        setting: &'static Setting,
        local: bool,
    },
    Show(&'static Setting),
}

impl Asked {
    fn tag(&self) -> &'static str {
        match self {
            Self::Set { .. } => "SET",
            // SET … TO DEFAULT; RESET is told apart by its first word.
            Self::Reset { local: true, .. } => "SET",
            Self::Reset { .. } => "RESET",
            Self::Show(_) => "SHOW",
        }
    }
}

/// One statement of a text.
#[derive(Debug)]
struct Statement {
    span: Range<usize>,
    asked: Option<Asked>,
    tag: &'static str,
}

/// Statements of a text that stand in for those about settings the proxy keeps.
#[derive(Debug, Default)]
pub(super) struct StandIns(Vec<(usize, StandIn)>);

#[derive(Debug)]
struct StandIn {
    asked: Asked,
    tag: &'static str,
}

impl StandIns {
    fn find(&self, number: usize) -> Option<&StandIn> {
        let found = self.0.iter().find(|(at, _)| *at == number);
        found.map(|(_, stand_in)| stand_in)
    }

    /// The answer of this statement has no rows that the client may see.
    pub fn hides_rows(&self, number: usize) -> bool {
        self.find(number)
            .is_some_and(|stand_in| !matches!(stand_in.asked, Asked::Show(_)))
    }

    /// The error in place of the one that the stand-in fails with.
    pub fn error(&self, number: usize) -> Option<ClientError> {
        match &self.find(number)?.asked {
            Asked::Set { value, .. } => value.clone().err().map(refusal),
            _ => None,
        }
    }

    /// Counts the statements of a text into which others were inserted.
    pub fn shift(&mut self, is_inserted: impl Fn(usize) -> bool, total: usize) {
        let places: Vec<usize> = (0..total).filter(|at| !is_inserted(*at)).collect();
        for (at, _) in &mut self.0 {
            *at = places.get(*at).copied().unwrap_or(*at);
        }
    }
}

/// Fails when it is carried out, and not before.
const FAILING: &str = "SELECT 1/0";

/// SQLSTATE of that.
pub(super) const DIVISION_BY_ZERO: &[u8] = b"22012";

impl Session {
    /// Reads the start-up parameters that the proxy keeps.
    pub(super) fn read_startup(&mut self) -> Result<(), ClientError> {
        let Some(asked) = self.startup.take() else {
            return Ok(());
        };
        let scope = self.env.kept.scope;
        let mut defaults = self.env.kept.defaults.clone();
        for (name, value) in asked {
            let Some(setting) = settings::find(&name, scope) else {
                continue;
            };
            let value = setting
                .read(&unquote(&value).unwrap_or(value))
                .map_err(|refused| ClientError {
                    severity: reply::Severity::Fatal,
                    ..refusal(refused)
                })?;
            defaults.insert(name, value);
        }
        self.settings.keep(scope, defaults);
        self.obey_switches();
        Ok(())
    }

    /// Deals with a Query of which statements are about settings the proxy keeps; `None` when none
    /// is, or when these must go upstream in other clothes.
    pub(super) fn take_kept_query(&mut self, text: &[u8], count: usize) -> Option<Taken> {
        let statements = self.kept_statements(text, count)?;
        if !statements.iter().all(|statement| statement.asked.is_some()) {
            return None;
        }
        if self.lease.is_some() {
            if !self.owed.is_empty() {
                self.ask_for_answers();
                return Some(Taken::Wait);
            }
            let fails = statements.iter().any(is_refused);
            if self.owed.is_unsynced() || fails && self.status == TransactionStatus::Open {
                return None;
            }
            self.take_passing_of_lease();
        } else if self.ticket.is_some() || self.refusal.is_some() {
            return None;
        }
        self.names.forget_unnamed();
        let status = self.answer_kept(&statements);
        self.status = status;
        reply::put_ready(self.cout.tail(), status);
        Some(Taken::All)
    }

    fn answer_kept(&mut self, statements: &[Statement]) -> TransactionStatus {
        let status = self.status;
        if status == TransactionStatus::Failed {
            aborted().put(self.cout.tail());
            return status;
        }
        let alone = status == TransactionStatus::Idle && statements.len() == 1;
        for statement in statements {
            let Some(asked) = &statement.asked else {
                continue;
            };
            if let Err(error) = self.carry_out(asked, statement.tag, alone, None) {
                error.put(self.cout.tail());
                self.settings.abandon(false);
                self.obey_switches();
                if status == TransactionStatus::Open {
                    // Its BEGIN was not sent yet.
                    self.begin = None;
                    self.limbo = Some(Limbo::told(error));
                    return TransactionStatus::Failed;
                }
                return status;
            }
        }
        if status == TransactionStatus::Idle {
            self.settings.settle_kept();
        }
        status
    }

    /// Carries a statement out and answers it, to `frame` or to the client.
    fn carry_out(
        &mut self,
        asked: &Asked,
        tag: &'static str,
        alone: bool,
        frame: Option<&mut Vec<u8>>,
    ) -> Result<(), ClientError> {
        let mut out = Vec::new();
        if alone && is_local(asked) {
            put_local_warning(&mut out);
        }
        self.apply_kept(asked)?;
        if let Asked::Show(setting) = asked {
            let value = self.settings.kept(setting.name).unwrap_or_default();
            if frame.is_none() {
                put_description(&mut out, setting.name);
            }
            put_row(&mut out, value);
        }
        reply::put_command_complete(&mut out, tag);
        match frame {
            Some(frame) => *frame = out,
            None => self.cout.tail().append(&mut out),
        }
        Ok(())
    }

    fn apply_kept(&mut self, asked: &Asked) -> Result<(), ClientError> {
        match asked {
            Asked::Set {
                setting,
                value,
                local,
            } => {
                let value = value.clone().map_err(refusal)?;
                self.settings.set_kept(setting.name, Some(&value), *local);
            }
            Asked::Reset { setting, local } => {
                self.settings.set_kept(setting.name, None, *local);
            }
            Asked::Show(_) => return Ok(()),
        }
        self.obey_switches();
        Ok(())
    }

    /// The proxy's own switches may have changed, or changed back with their transaction.
    pub(super) fn obey_switches(&mut self) {
        let on = self.settings.kept(RETRY) != Some("off");
        if on != self.retry_on {
            self.retry_on = on;
            self.set_retry(on);
        }
    }

    /// The statements of a text, if any of them is about a setting that the proxy keeps.
    fn kept_statements(&self, text: &[u8], count: usize) -> Option<Vec<Statement>> {
        let scope = self.settings.scope();
        if scope == Scope::Nothing || count == 0 {
            return None;
        }
        let statements = read_statements(text, scope, count == 1);
        let any = statements.iter().any(|statement| statement.asked.is_some());
        (any && statements.len() == count).then_some(statements)
    }

    /// The text for the server, with other statements in the place of those that the proxy carries
    /// out itself.
    pub(super) fn substitute_kept(&self, text: &[u8], count: usize) -> Option<(Vec<u8>, StandIns)> {
        let statements = self.kept_statements(text, count)?;
        let mut sent = Vec::new();
        let mut stand_ins = StandIns::default();
        let mut copied = 0;
        let mut values = Settings::new();
        for (number, statement) in statements.into_iter().enumerate() {
            let Some(asked) = statement.asked else {
                continue;
            };
            sent.extend_from_slice(&text[copied..statement.span.start]);
            copied = statement.span.end;
            let stand_in = match &asked {
                Asked::Set { value: Err(_), .. } => FAILING.to_owned(),
                Asked::Show(setting) => {
                    let known = values.get(setting.name).map(String::as_str);
                    let value = known.or(self.settings.kept(setting.name));
                    show_text(setting, value.unwrap_or_default())
                }
                Asked::Set {
                    setting,
                    value: Ok(value),
                    ..
                } => {
                    values.insert(setting.name.to_owned(), value.clone());
                    "SELECT 1 WHERE false".to_owned()
                }
                Asked::Reset { .. } => "SELECT 1 WHERE false".to_owned(),
            };
            sent.extend_from_slice(stand_in.as_bytes());
            let tag = statement.tag;
            stand_ins.0.push((number, StandIn { asked, tag }));
        }
        sent.extend_from_slice(&text[copied..]);
        Some((sent, stand_ins))
    }

    /// A stand-in of the Query at the head of the queue is complete: gives its proper tag.
    pub(super) fn complete_kept(&mut self) -> Option<&'static str> {
        let note = self.owed.front()?.note.as_deref()?;
        let stand_in = note.stand_ins.as_ref()?.find(note.done)?;
        let (asked, tag) = (stand_in.asked.clone(), stand_in.tag);
        // A refused value fails before it comes to this.
        self.apply_kept(&asked).ok()?;
        Some(tag)
    }

    // ---- extended protocol -----------------------------------------------------------------

    /// The statement that the server gets in place of one about a setting that the proxy keeps.
    pub(super) fn kept_stand_in(&self, text: &[u8], count: usize) -> Option<Vec<u8>> {
        let asked = self.kept_alone(text, count)?.0;
        Some(match asked {
            Asked::Show(setting) => show_text(setting, "").into_bytes(),
            _ => Vec::new(),
        })
    }

    /// Whether a text is one statement about a setting that the proxy keeps.
    pub(super) fn is_kept(&self, text: &[u8], count: usize) -> bool {
        self.kept_alone(text, count).is_some()
    }

    fn kept_alone(&self, text: &[u8], count: usize) -> Option<(Asked, &'static str)> {
        if count != 1 {
            return None;
        }
        let statement = self.kept_statements(text, count)?.pop()?;
        Some((statement.asked?, statement.tag))
    }

    /// Deals with the Execute of a portal about such a setting.
    pub(super) fn take_kept_execute(&mut self, prepared: &Prepared) -> Option<Taken> {
        let (asked, tag) = self.kept_alone(&prepared.source, prepared.class.statements)?;
        if self.waits_for_answers(false) {
            return Some(Taken::Wait);
        }
        let alone = match self.block() {
            TransactionStatus::Failed => {
                self.refuse_parse(aborted());
                return Some(Taken::All);
            }
            status => status == TransactionStatus::Idle,
        };
        let mut frame = Vec::new();
        match self.carry_out(&asked, tag, alone, Some(&mut frame)) {
            Err(error) => self.refuse_parse(error),
            Ok(()) => {
                let note = Note {
                    frame,
                    ..Note::default()
                };
                self.send(Expect::Local, false, Some(note), |_| {});
                self.answer_local();
            }
        }
        Some(Taken::All)
    }
}

fn is_refused(statement: &Statement) -> bool {
    matches!(statement.asked, Some(Asked::Set { value: Err(_), .. }))
}

fn is_local(asked: &Asked) -> bool {
    matches!(
        asked,
        Asked::Set { local: true, .. } | Asked::Reset { local: true, .. }
    )
}

fn refusal(refused: Refused) -> ClientError {
    ClientError {
        hint: refused.hint,
        ..ClientError::error(sqlstate::INVALID_PARAMETER_VALUE, refused.message)
    }
}

fn show_text(setting: &Setting, value: &str) -> String {
    format!(
        "SELECT '{}' AS \"{}\"",
        value.replace('\'', "''"),
        setting.name
    )
}

// ---- reading a text ------------------------------------------------------------------------------

/// As many tokens of a statement are looked at.
const KEPT: usize = 12;

fn read_statements(text: &[u8], scope: Scope, quick: bool) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut tokens = Tokens::new(text);
    let mut words: Vec<Token<'_>> = Vec::new();
    let mut span = 0..0;
    let mut long = false;
    loop {
        let token = tokens.next();
        match token {
            None | Some(Token::Semicolon) => {
                if !words.is_empty() {
                    let asked = (!long).then(|| read_statement(&words, scope)).flatten();
                    let reset = words.first().is_some_and(|word| word.is("reset"));
                    let tag = match &asked {
                        Some(Asked::Reset { .. }) if !reset => "SET",
                        Some(asked) => asked.tag(),
                        None => "",
                    };
                    statements.push(Statement {
                        span: span.clone(),
                        asked,
                        tag,
                    });
                }
                words.clear();
                long = false;
                if token.is_none() {
                    return statements;
                }
            }
            Some(token) => {
                if words.is_empty() {
                    let about = ["set", "reset", "show"].iter().any(|word| token.is(word));
                    if quick && !about {
                        return statements;
                    }
                    span.start = tokens.span().start;
                }
                span.end = tokens.span().end;
                if words.len() < KEPT {
                    words.push(token);
                } else {
                    long = true;
                }
            }
        }
    }
}

fn read_statement(words: &[Token<'_>], scope: Scope) -> Option<Asked> {
    let (first, rest) = words.split_first()?;
    if first.is("show") {
        return name_of(rest, scope).map(Asked::Show);
    }
    if first.is("reset") {
        let setting = name_of(rest, scope)?;
        let local = false;
        return Some(Asked::Reset { setting, local });
    }
    if !first.is("set") {
        return None;
    }
    let (local, rest) = match rest {
        [scope, rest @ ..] if scope.is("local") => (true, rest),
        [scope, rest @ ..] if scope.is("session") => (false, rest),
        rest => (false, rest),
    };
    let is_to = |token: &Token<'_>| token.is("to") || *token == Token::Symbol(b'=');
    let at = rest.iter().position(is_to)?;
    let setting = name_of(&rest[..at], scope)?;
    let value = match &rest[at + 1..] {
        [] => return None,
        [only] if only.is("default") => return Some(Asked::Reset { setting, local }),
        [only] => setting.read(&constant(*only)?),
        [Token::Symbol(sign @ (b'-' | b'+')), Token::Number(number)] => {
            let number = std::str::from_utf8(number).ok()?;
            setting.read(&format!("{}{number}", char::from(*sign)))
        }
        list if list.contains(&Token::Symbol(b',')) => Err(setting.only_one()),
        _ => return None,
    };
    Some(Asked::Set {
        setting,
        value,
        local,
    })
}

fn name_of(tokens: &[Token<'_>], scope: Scope) -> Option<&'static Setting> {
    let mut name = String::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Symbol(b'.') if at % 2 == 1 => name.push('.'),
            token if at % 2 == 0 => {
                name.push_str(&String::from_utf8(identifier(*token)?).ok()?.to_lowercase());
            }
            _ => return None,
        }
    }
    settings::find(&name, scope)
}

fn constant(token: Token<'_>) -> Option<String> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    match token {
        Token::Text(bytes) => unquote(&text(bytes)?),
        Token::Number(bytes) => text(bytes),
        token => String::from_utf8(identifier(token)?).ok(),
    }
}

/// The text of a plain string constant.
fn unquote(constant: &str) -> Option<String> {
    let inner = constant.strip_prefix('\'')?.strip_suffix('\'')?;
    Some(inner.replace("''", "'"))
}

// ---- what the client is told ---------------------------------------------------------------------

fn put_local_warning(out: &mut Vec<u8>) {
    let fields =
        b"SWARNING\0VWARNING\0C25P01\0MSET LOCAL can only be used in transaction blocks\0\0";
    frontend::put(out, b'N', &[fields]);
}

/// RowDescription of one column of type text.
fn put_description(out: &mut Vec<u8>, name: &str) {
    let text_type = 25u32.to_be_bytes();
    frontend::put(
        out,
        b'T',
        &[
            b"\0\x01",
            name.as_bytes(),
            b"\0\0\0\0\0\0\0",
            &text_type,
            b"\xff\xff\xff\xff\xff\xff\0\0",
        ],
    );
}

fn put_row(out: &mut Vec<u8>, value: &str) {
    // Values are short.
    let length = u32::try_from(value.len()).unwrap_or(0).to_be_bytes();
    frontend::put(out, b'D', &[b"\0\x01", &length, value.as_bytes()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, Option<&'static str>)> {
        let statements = read_statements(text.as_bytes(), Scope::All, false);
        let shown = statements.into_iter().map(|statement| {
            let what = match statement.asked {
                None => "-".to_owned(),
                Some(Asked::Show(setting)) => format!("show {}", setting.name),
                Some(Asked::Reset { setting, local }) => format!("reset {} {local}", setting.name),
                Some(Asked::Set {
                    setting,
                    value,
                    local,
                }) => match value {
                    Ok(value) => format!("set {} {value} {local}", setting.name),
                    Err(refused) => refused.message,
                },
            };
            (what, (!statement.tag.is_empty()).then_some(statement.tag))
        });
        shown.collect()
    }

    #[test]
    fn statements_about_kept_settings_are_found() {
        let cases = [
            (
                "set statement_timeout = 5000",
                "set statement_timeout 5s false",
                "SET",
            ),
            (
                "SET LOCAL statement_timeout TO '2min' ;",
                "set statement_timeout 2min true",
                "SET",
            ),
            (
                "set session \"statement_timeout\" to 0",
                "set statement_timeout 0 false",
                "SET",
            ),
            (
                "set dsqlproxy.retry to off",
                "set dsqlproxy.retry off false",
                "SET",
            ),
            (
                "set lock_timeout to default",
                "reset lock_timeout false",
                "SET",
            ),
            (
                "set local lock_timeout to default",
                "reset lock_timeout true",
                "SET",
            ),
            (
                "reset statement_timeout",
                "reset statement_timeout false",
                "RESET",
            ),
            ("show Statement_Timeout", "show statement_timeout", "SHOW"),
            (
                "set statement_timeout = -1",
                "-1 ms is outside the valid range for parameter \"statement_timeout\" (0 .. 2147483647)",
                "SET",
            ),
            (
                "set lock_timeout = 1, 2",
                "SET lock_timeout takes only one argument",
                "SET",
            ),
        ];
        for (text, what, tag) in cases {
            assert_eq!(read(text), [(what.to_owned(), Some(tag))], "{text}");
        }
        for text in [
            "set work_mem = 1",
            "show all",
            "select 1",
            "set statement_timeout",
            "reset all",
        ] {
            assert_eq!(read(text), [("-".to_owned(), None)], "{text}");
        }
        let many = read("select ';'; set lock_timeout = 1; -- ;\n; show lock_timeout");
        assert_eq!(many.len(), 3);
        assert_eq!(many[1].1, Some("SET"));
    }
}
