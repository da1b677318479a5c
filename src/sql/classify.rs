//! What a statement text does to the session, statement by statement.
//!
//! This reads keywords, not grammar: it answers only what the pool must know to keep one client's
//! session state from another. Whatever may change state in a way that cannot be followed exactly
//! pins the session to its upstream connection.

use std::rc::Rc;

use super::reads::is_harmless;
use super::scan::{Token, Tokens, identifier};

/// Why a session keeps its upstream connection until it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinReason {
    /// LISTEN.
    Listen,
    /// SQL-level PREPARE.
    Prepare,
    /// A temporary object.
    Temporary,
    /// A session-level advisory lock.
    AdvisoryLock,
    /// A cursor WITH HOLD.
    HoldCursor,
    /// SET ROLE or SET SESSION AUTHORIZATION.
    Role,
    /// `set_config()` or a SET whose value cannot be replayed.
    Setting,
    /// LOAD.
    Load,
    /// The text was too long to be read.
    LongText,
}

impl PinReason {
    /// Label of metrics and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::Prepare => "prepare",
            Self::Temporary => "temporary",
            Self::AdvisoryLock => "advisory_lock",
            Self::HoldCursor => "hold_cursor",
            Self::Role => "role",
            Self::Setting => "setting",
            Self::Load => "load",
            Self::LongText => "long_text",
        }
    }
}

/// What one statement does to the session when it succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing the pool must know.
    None,
    /// Changes something until the transaction ends and no longer: SET TRANSACTION, SET CONSTRAINTS,
    /// SET LOCAL of what is not restored on another connection.
    Local,
    /// BEGIN or START TRANSACTION; `plain` when it can only succeed outside a transaction.
    Begin {
        /// No modes but those every server here accepts.
        plain: bool,
    },
    /// COMMIT or END, PREPARE TRANSACTION included; `plain` when nothing follows that matters.
    Commit {
        /// No CHAIN, no PREPARED.
        plain: bool,
    },
    /// ROLLBACK or ABORT of the whole transaction.
    Rollback {
        /// No CHAIN.
        plain: bool,
    },
    /// SAVEPOINT name.
    Savepoint(Vec<u8>),
    /// RELEASE name.
    Release(Vec<u8>),
    /// ROLLBACK TO name.
    RollbackTo(Vec<u8>),
    /// SET name TO value; the value as SQL text that can be sent again.
    Set {
        /// Setting name in lower case.
        name: String,
        /// Right side of `SET name TO`.
        value: String,
        /// SET LOCAL: until the transaction ends.
        local: bool,
        /// By `SELECT set_config()`, which says so with another tag.
        called: bool,
    },
    /// RESET name, or SET name TO DEFAULT.
    Reset(String),
    /// RESET ALL.
    ResetAll,
    /// DISCARD ALL.
    DiscardAll,
    /// DEALLOCATE ALL.
    DeallocateAll,
    /// DEALLOCATE name.
    Deallocate(Vec<u8>),
    /// State that cannot be followed.
    Pin(PinReason),
}

/// What the pool must know about a statement text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// One entry for each statement that answers with CommandComplete; `None` when all are
    /// [`Effect::None`].
    pub effects: Option<Rc<[Effect]>>,
    /// Statements in the text (empty ones not counted).
    pub statements: usize,
    /// False only when no statement is one that writes; functions that a SELECT calls may write
    /// nevertheless.
    pub may_write: bool,
    /// A comment `/* dsqlproxy.retry=off */` is in it: its transaction is not to be run again.
    pub opts_out: bool,
    /// A function is called that is not known to leave everything as it is.
    pub calls: bool,
}

/// Classifies a statement text.
#[must_use]
pub fn classify(text: &[u8]) -> Class {
    let mut tokens = Tokens::new(text);
    let mut effects = Vec::new();
    let mut may_write = false;
    let mut calls = false;
    loop {
        let mut statement = Statement::read(&mut tokens);
        if statement.words > 0 {
            may_write |= statement.may_write;
            calls |= statement.calls;
            effects.push(statement.effect());
        }
        if statement.last {
            break;
        }
    }
    let statements = effects.len();
    let interesting = effects.iter().any(|effect| *effect != Effect::None);
    Class {
        effects: interesting.then(|| effects.into()),
        statements,
        may_write,
        opts_out: tokens.opts_out(),
        calls,
    }
}

/// How many tokens of a statement are kept: enough for every form of SET that is followed.
const KEPT: usize = 24;

struct Statement<'a> {
    head: [Token<'a>; KEPT],
    kept: usize,
    /// Tokens seen, kept or not.
    words: usize,
    last: bool,
    may_write: bool,
    calls: bool,
    pin: Option<PinReason>,
    hold: bool,
    updates: bool,
    /// SELECT … INTO makes a table.
    into: bool,
    /// Names `pg_settings`, whose UPDATE is a SET.
    names_settings: bool,
}

impl<'a> Statement<'a> {
    fn read(tokens: &mut Tokens<'a>) -> Self {
        let mut statement = Self {
            head: [Token::Semicolon; KEPT],
            kept: 0,
            words: 0,
            last: true,
            may_write: true,
            calls: false,
            pin: None,
            hold: false,
            updates: false,
            into: false,
            names_settings: false,
        };
        // SQL-standard routine bodies hold semicolons: BEGIN ATOMIC … END.
        let mut atomic = 0usize;
        let mut previous = Token::Semicolon;
        let mut before = Token::Semicolon;
        for token in tokens {
            match token {
                Token::Semicolon if atomic == 0 => {
                    statement.last = false;
                    break;
                }
                Token::Word(word) => {
                    if statement.is_create() {
                        track_atomic(&mut atomic, previous, token);
                        if atomic > 0 {
                            // Where such a body ends takes a grammar to tell.
                            statement.pin(PinReason::Setting);
                        }
                    }
                    statement.look_at(word, previous);
                }
                Token::Quoted(name) => statement.look_at_quoted(name),
                Token::Symbol(b'(') => statement.calls |= may_call(before, previous),
                _ => {}
            }
            if statement.kept < KEPT {
                statement.head[statement.kept] = token;
                statement.kept += 1;
            }
            statement.words += 1;
            before = std::mem::replace(&mut previous, token);
        }
        if statement.configured().is_some() {
            statement.pin = None;
            statement.calls = false;
        }
        statement.may_write = !statement.is_reading();
        statement
    }

    fn is_create(&self) -> bool {
        self.kept > 0 && self.head[0].is("create")
    }

    fn is_reading(&self) -> bool {
        let first = self.head[0];
        [
            "show", "set", "begin", "start", "rollback", "abort", "reset",
        ]
        .iter()
        .any(|word| first.is(word))
            || (["select", "values", "table"]
                .iter()
                .any(|word| first.is(word))
                && self.pin.is_none()
                && !self.into)
    }

    fn look_at(&mut self, word: &[u8], previous: Token<'a>) {
        // Only words with these first letters and lengths matter; the test keeps the scan cheap.
        match (word[0] | 0x20, word.len()) {
            (b's', 10) if word.eq_ignore_ascii_case(b"set_config") => self.pin(PinReason::Setting),
            (b'p', 7..) if starts_with(word, b"pg_temp") => self.pin(PinReason::Temporary),
            (b'p', 16..) if is_session_lock(word) => self.pin(PinReason::AdvisoryLock),
            (b't', 4 | 9) if is_temporary(word) => {
                let creates = ["create", "into", "local", "global", "replace"]
                    .iter()
                    .any(|before| previous.is(before));
                if creates {
                    self.pin(PinReason::Temporary);
                }
            }
            (b'i', 4) if word.eq_ignore_ascii_case(b"into") => self.into = true,
            (b'u', 6) if word.eq_ignore_ascii_case(b"update") => self.updates = true,
            (b'p', 11) if word.eq_ignore_ascii_case(b"pg_settings") => self.names_settings = true,
            (b'h', 4) if word.eq_ignore_ascii_case(b"hold") && previous.is("with") => {
                self.hold = true;
            }
            _ => {}
        }
    }

    fn look_at_quoted(&mut self, name: &[u8]) {
        let inner = &name[1..name.len() - 1];
        self.names_settings |= inner == b"pg_settings";
        if name[0] != b'"' {
            // U&"…" may spell any name.
            self.pin(PinReason::Setting);
        } else if inner == b"set_config" {
            self.pin(PinReason::Setting);
        } else if inner.starts_with(b"pg_temp") {
            self.pin(PinReason::Temporary);
        } else if is_session_lock(inner) {
            self.pin(PinReason::AdvisoryLock);
        }
    }

    fn pin(&mut self, reason: PinReason) {
        self.pin.get_or_insert(reason);
    }

    fn effect(&mut self) -> Effect {
        if self.updates && self.names_settings {
            self.pin(PinReason::Setting);
        }
        let head = &self.head[..self.kept];
        let rest = &head[1..];
        let whole = self.words == self.kept;
        let Token::Word(first) = head[0] else {
            return self.otherwise();
        };
        match first.to_ascii_lowercase().as_slice() {
            b"begin" => Effect::Begin {
                plain: whole && is_plain_begin(rest),
            },
            b"start" => Effect::Begin {
                plain: whole
                    && rest.first().is_some_and(|token| token.is("transaction"))
                    && is_plain_begin(rest),
            },
            b"commit" | b"end" => Effect::Commit {
                plain: whole && is_plain_end(rest),
            },
            b"rollback" | b"abort" => rollback(rest),
            b"savepoint" => name_of(rest.first(), Effect::Savepoint),
            b"release" => name_of(
                rest.iter().find(|token| !token.is("savepoint")),
                Effect::Release,
            ),
            b"set" if whole => set(rest),
            b"set" => Effect::Pin(PinReason::Setting),
            b"reset" => reset(rest),
            b"discard" => discard(rest),
            b"deallocate" => deallocate(rest),
            b"listen" => Effect::Pin(PinReason::Listen),
            b"load" => Effect::Pin(PinReason::Load),
            b"prepare" if rest.first().is_some_and(|token| token.is("transaction")) => {
                Effect::Commit { plain: false }
            }
            b"prepare" => Effect::Pin(PinReason::Prepare),
            b"declare" if self.hold => Effect::Pin(PinReason::HoldCursor),
            b"do" => code_block(head),
            b"select" => self.configured().unwrap_or_else(|| self.otherwise()),
            _ => self.otherwise(),
        }
    }

    /// `SELECT set_config('name', 'value', false)` of constants and nothing else is a SET.
    fn configured(&self) -> Option<Effect> {
        if self.words != self.kept {
            return None;
        }
        let call = match &self.head[..self.kept] {
            [select, call @ ..] if select.is("select") => call,
            _ => return None,
        };
        let call = match call {
            [schema, Token::Symbol(b'.'), call @ ..] if schema.is("pg_catalog") => call,
            call => call,
        };
        let [
            function,
            Token::Symbol(b'('),
            Token::Text(name),
            Token::Symbol(b','),
            value @ Token::Text(text),
            Token::Symbol(b','),
            local,
            Token::Symbol(b')'),
        ] = call
        else {
            return None;
        };
        let local = match (local.is("true"), local.is("false")) {
            (true, _) => true,
            (_, true) => false,
            _ => return None,
        };
        let name = plain_text(name)?.to_ascii_lowercase();
        let role = matches!(name.as_str(), "role" | "session_authorization" | "seed");
        let known = function.is("set_config") && !role && !is_of_transaction(&name);
        if !known {
            return None;
        }
        if IDENTIFIER_LISTS.contains(&name.as_str()) && !plain_text(text)?.is_empty() {
            // Of SET each name of a list is a constant of its own.
            return Some(Effect::Set {
                value: identifier_list(plain_text(text)?)?,
                name,
                local,
                called: true,
            });
        }
        match set_to(name, std::slice::from_ref(value), local) {
            Effect::Set {
                name, value, local, ..
            } => Some(Effect::Set {
                name,
                value,
                local,
                called: true,
            }),
            _ => None,
        }
    }

    fn otherwise(&self) -> Effect {
        self.pin.map_or(Effect::None, Effect::Pin)
    }
}

/// Settings whose string value is a list of identifiers (`GUC_LIST_QUOTE` in PostgreSQL): a single
/// literal would be read as one name.
pub const IDENTIFIER_LISTS: [&str; 2] = ["search_path", "temp_tablespaces"];

/// The right side of SET for a list of identifiers in one string; `None`: it is none.
#[must_use]
pub fn identifier_list(text: &str) -> Option<String> {
    let mut list = Vec::new();
    let mut expect_name = true;
    for token in Tokens::new(text.as_bytes()) {
        match token {
            Token::Word(name) if expect_name => list.push(quote_identifier(
                &std::str::from_utf8(name).ok()?.to_ascii_lowercase(),
            )),
            Token::Quoted(name) if expect_name && name[0] == b'"' => {
                list.push(std::str::from_utf8(name).ok()?.to_owned());
            }
            Token::Symbol(b',') if !expect_name => {}
            _ => return None,
        }
        expect_name = !expect_name;
    }
    if list.is_empty() {
        return text.trim().is_empty().then(|| "''".to_owned());
    }
    (!expect_name).then(|| list.join(", "))
}

fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The inside of a string constant without escapes.
fn plain_text(constant: &[u8]) -> Option<&str> {
    let inner = constant.strip_prefix(b"'")?.strip_suffix(b"'")?;
    let plain = !inner.contains(&b'\'') && !inner.contains(&b'\\');
    plain.then(|| std::str::from_utf8(inner).ok()).flatten()
}

/// Whether what stands before a parenthesis is a call of a function that may write. `AS alias (`
/// calls nothing.
fn may_call(before: Token<'_>, previous: Token<'_>) -> bool {
    match previous {
        Token::Word(_) | Token::Quoted(_) if before.is("as") => false,
        // A schema's: whoever made it knows what it does.
        Token::Word(_) if before == Token::Symbol(b'.') => true,
        Token::Word(word) => !is_harmless(word),
        Token::Quoted(_) => true,
        _ => false,
    }
}

fn track_atomic(depth: &mut usize, previous: Token<'_>, token: Token<'_>) {
    if token.is("atomic") && previous.is("begin") {
        *depth = 1;
    } else if *depth > 0 && token.is("case") {
        *depth += 1;
    } else if *depth > 0 && token.is("end") {
        *depth -= 1;
    }
}

fn starts_with(word: &[u8], prefix: &[u8]) -> bool {
    word.len() >= prefix.len() && word[..prefix.len()].eq_ignore_ascii_case(prefix)
}

fn is_temporary(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"temp") || word.eq_ignore_ascii_case(b"temporary")
}

/// `pg_advisory_lock`, `pg_try_advisory_lock` and their `_shared` forms, not the `_xact_` ones.
fn is_session_lock(word: &[u8]) -> bool {
    (starts_with(word, b"pg_advisory_lock") || starts_with(word, b"pg_try_advisory_lock"))
        && !word.eq_ignore_ascii_case(b"pg_advisory_unlock")
}

fn is_plain_begin(rest: &[Token<'_>]) -> bool {
    let modes = match rest {
        [first, modes @ ..] if first.is("work") || first.is("transaction") => modes,
        modes => modes,
    };
    match modes {
        [] => true,
        [read, only] => read.is("read") && (only.is("only") || only.is("write")),
        [isolation, level, repeatable, read] => {
            isolation.is("isolation")
                && level.is("level")
                && repeatable.is("repeatable")
                && read.is("read")
        }
        _ => false,
    }
}

fn is_plain_end(rest: &[Token<'_>]) -> bool {
    match rest {
        [] => true,
        [only] => only.is("work") || only.is("transaction"),
        _ => false,
    }
}

fn rollback(rest: &[Token<'_>]) -> Effect {
    if rest.first().is_some_and(|token| token.is("prepared")) {
        return Effect::None;
    }
    match rest.iter().position(|token| token.is("to")) {
        Some(at) => name_of(
            rest[at + 1..].iter().find(|token| !token.is("savepoint")),
            Effect::RollbackTo,
        ),
        None => Effect::Rollback {
            plain: is_plain_end(rest),
        },
    }
}

fn name_of(token: Option<&Token<'_>>, effect: fn(Vec<u8>) -> Effect) -> Effect {
    match token.copied().and_then(identifier) {
        Some(name) => effect(name),
        None => Effect::Pin(PinReason::Setting),
    }
}

fn set(rest: &[Token<'_>]) -> Effect {
    let (local, rest) = match rest {
        [first, rest @ ..] if first.is("local") => (true, rest),
        [first, rest @ ..] if first.is("session") && !rest.is_empty() => (false, rest),
        rest => (false, rest),
    };
    match rest {
        [first, ..] if first.is("transaction") || first.is("constraints") => Effect::Local,
        [first, ..] if first.is("characteristics") => Effect::Pin(PinReason::Setting),
        [first, ..] if first.is("role") || first.is("authorization") => {
            if local {
                Effect::Local
            } else {
                Effect::Pin(PinReason::Role)
            }
        }
        [first, zone, value @ ..] if first.is("time") && zone.is("zone") => {
            set_to("timezone".to_owned(), value, local)
        }
        [first, value @ ..] if first.is("names") => {
            set_to("client_encoding".to_owned(), value, local)
        }
        [first, value @ Token::Text(_)] if first.is("schema") => {
            set_to("search_path".to_owned(), std::slice::from_ref(value), local)
        }
        _ => set_variable(rest, local),
    }
}

fn set_variable(rest: &[Token<'_>], local: bool) -> Effect {
    let at = rest
        .iter()
        .position(|token| token.is("to") || *token == Token::Symbol(b'='));
    let Some(at) = at else {
        return Effect::Pin(PinReason::Setting);
    };
    match setting_name(&rest[..at]) {
        Some(name) => set_to(name, &rest[at + 1..], local),
        None => Effect::Pin(PinReason::Setting),
    }
}

fn set_to(name: String, value: &[Token<'_>], local: bool) -> Effect {
    match value {
        [] => Effect::Reset(name),
        [only] if only.is("default") => {
            if local && name == "search_path" {
                // What names mean depends on it.
                Effect::Set {
                    name,
                    value: "DEFAULT".to_owned(),
                    local,
                    called: false,
                }
            } else if local {
                Effect::Local
            } else {
                Effect::Reset(name)
            }
        }
        [only] if name == "timezone" && only.is("local") => Effect::Reset(name),
        value => match print_value(value) {
            // RESET ALL leaves these alone, so they are never carried over to another connection.
            Some(_) if matches!(name.as_str(), "role" | "session_authorization") => {
                Effect::Pin(PinReason::Role)
            }
            Some(_) if !local && changes_lexing(&name, value) => Effect::Pin(PinReason::Setting),
            // Not settings of a session.
            Some(_) if name == "seed" => Effect::None,
            Some(_) if is_of_transaction(&name) => Effect::Local,
            Some(value) => Effect::Set {
                name,
                value,
                local,
                called: false,
            },
            None => Effect::Pin(PinReason::Setting),
        },
    }
}

/// Properties of the transaction that SET can change; `transaction_timeout` is a setting.
fn is_of_transaction(name: &str) -> bool {
    name.starts_with("transaction_") && name != "transaction_timeout"
}

/// Encodings in which no byte of a quote or backslash is part of another character, as the clients
/// spell them.
const SAFE_ENCODINGS: [&str; 7] = [
    "utf8",
    "utf-8",
    "unicode",
    "sql_ascii",
    "latin1",
    "latin9",
    "win1252",
];

/// Whether the server reads statement texts otherwise than [`super::scan`] with this setting.
#[must_use]
pub fn reads_otherwise(name: &str, value: &str) -> bool {
    let value = value.trim_matches(|c: char| c == '\'' || c == '"' || c == ' ');
    let is = |known: &str| value.eq_ignore_ascii_case(known);
    match name {
        "client_encoding" => !SAFE_ENCODINGS.iter().any(|safe| is(safe)),
        "standard_conforming_strings" => !["on", "true", "yes", "1", "t"].iter().any(|on| is(on)),
        "backslash_quote" => true,
        _ => false,
    }
}

fn changes_lexing(name: &str, value: &[Token<'_>]) -> bool {
    print_value(value).is_none_or(|value| reads_otherwise(name, &value))
}

/// `name` or `prefix.name`, in lower case.
fn setting_name(tokens: &[Token<'_>]) -> Option<String> {
    let mut name = String::new();
    for (position, token) in tokens.iter().enumerate() {
        match (position % 2, token) {
            (0, token) => {
                let part = String::from_utf8(identifier(*token)?).ok()?;
                name.push_str(&part.to_lowercase());
            }
            (_, Token::Symbol(b'.')) => name.push('.'),
            _ => return None,
        }
    }
    (tokens.len() % 2 == 1).then_some(name)
}

/// Prints a list of constants again; anything else is not followed.
fn print_value(tokens: &[Token<'_>]) -> Option<String> {
    let mut printed = String::new();
    let mut constant = true;
    for token in tokens {
        match token {
            Token::Symbol(b',') if !constant => {
                printed.push_str(", ");
                constant = true;
            }
            Token::Symbol(sign @ (b'-' | b'+')) if constant => printed.push(char::from(*sign)),
            Token::Word(b) | Token::Quoted(b) | Token::Text(b) | Token::Number(b) if constant => {
                printed.push_str(std::str::from_utf8(b).ok()?);
                constant = false;
            }
            _ => return None,
        }
    }
    (!constant).then_some(printed)
}

fn reset(rest: &[Token<'_>]) -> Effect {
    match rest {
        [only] if only.is("all") => Effect::ResetAll,
        [only] if only.is("role") => Effect::Pin(PinReason::Role),
        [time, zone] if time.is("time") && zone.is("zone") => Effect::Reset("timezone".to_owned()),
        [session, ..] if session.is("session") => Effect::Pin(PinReason::Role),
        name => setting_name(name).map_or(Effect::Pin(PinReason::Setting), Effect::Reset),
    }
}

fn discard(rest: &[Token<'_>]) -> Effect {
    match rest {
        [only] if only.is("all") => Effect::DiscardAll,
        _ => Effect::None,
    }
}

fn deallocate(rest: &[Token<'_>]) -> Effect {
    let rest = match rest {
        [first, rest @ ..] if first.is("prepare") && !rest.is_empty() => rest,
        rest => rest,
    };
    match rest {
        [only] if only.is("all") => Effect::DeallocateAll,
        [only] => name_of(Some(only), Effect::Deallocate),
        _ => Effect::None,
    }
}

/// A DO block is looked at for the words that change a session.
fn code_block(head: &[Token<'_>]) -> Effect {
    let code = head.iter().filter_map(|token| match token {
        Token::Text(text) => Some(text.to_ascii_lowercase()),
        _ => None,
    });
    let words: [&[u8]; 6] = [b"set", b"temp", b"advisory", b"listen", b"load", b"execute"];
    for text in code {
        if words
            .iter()
            .any(|word| memchr::memmem::find(&text, word).is_some())
        {
            return Effect::Pin(PinReason::Setting);
        }
    }
    Effect::None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effects(text: &str) -> Vec<Effect> {
        let class = classify(text.as_bytes());
        class.effects.map_or_else(
            || vec![Effect::None; class.statements],
            |effects| effects.to_vec(),
        )
    }

    fn set(name: &str, value: &str, local: bool) -> Effect {
        Effect::Set {
            name: name.into(),
            value: value.into(),
            local,
            called: false,
        }
    }

    fn configured(name: &str, value: &str, local: bool) -> Effect {
        Effect::Set {
            name: name.into(),
            value: value.into(),
            local,
            called: true,
        }
    }

    #[test]
    fn effects_of_statements() {
        use Effect as E;
        use PinReason as P;
        let cases: Vec<(&str, Vec<Effect>)> = vec![
            ("", vec![]),
            (" ; ;; -- x", vec![]),
            ("SELECT 1", vec![E::None]),
            ("SELECT 1;", vec![E::None]),
            ("SELECT ';' ; select 2", vec![E::None, E::None]),
            ("BEGIN", vec![E::Begin { plain: true }]),
            ("/* c */ begin work;", vec![E::Begin { plain: true }]),
            (
                "START TRANSACTION READ ONLY",
                vec![E::Begin { plain: true }],
            ),
            ("START foo", vec![E::Begin { plain: false }]),
            (
                "BEGIN ISOLATION LEVEL REPEATABLE READ",
                vec![E::Begin { plain: true }],
            ),
            (
                "BEGIN ISOLATION LEVEL SERIALIZABLE",
                vec![E::Begin { plain: false }],
            ),
            ("BEGIN nonsense", vec![E::Begin { plain: false }]),
            (
                "COMMIT; END",
                vec![E::Commit { plain: true }, E::Commit { plain: true }],
            ),
            ("ROLLBACK", vec![E::Rollback { plain: true }]),
            ("ROLLBACK AND CHAIN", vec![E::Rollback { plain: false }]),
            ("COMMIT AND CHAIN", vec![E::Commit { plain: false }]),
            ("COMMIT PREPARED 'x'", vec![E::Commit { plain: false }]),
            ("ROLLBACK TO SAVEPOINT a", vec![E::RollbackTo(b"a".into())]),
            ("ROLLBACK WORK TO \"A\"", vec![E::RollbackTo(b"A".into())]),
            ("ROLLBACK PREPARED 'x'", vec![E::None]),
            ("RELEASE SAVEPOINT a", vec![E::Release(b"a".into())]),
            ("SET a.b = 'x; y'", vec![set("a.b", "'x; y'", false)]),
            (
                "SET SESSION Work_Mem TO '1MB'",
                vec![set("work_mem", "'1MB'", false)],
            ),
            (
                "set local search_path = a, \"B\", 'c'",
                vec![set("search_path", "a, \"B\", 'c'", true)],
            ),
            (
                "SET extra_float_digits = -3",
                vec![set("extra_float_digits", "-3", false)],
            ),
            ("SET TIME ZONE 'UTC'", vec![set("timezone", "'UTC'", false)]),
            ("SET TIME ZONE LOCAL", vec![E::Reset("timezone".into())]),
            (
                "SET TIME ZONE INTERVAL '1' HOUR TO MINUTE",
                vec![E::Pin(P::Setting)],
            ),
            ("SET NAMES 'SJIS'", vec![E::Pin(P::Setting)]),
            (
                "SET standard_conforming_strings = off",
                vec![E::Pin(P::Setting)],
            ),
            (
                "SELECT E'a'\n'\\''; SET x = 1 --'",
                vec![E::None, set("x", "1", false)],
            ),
            (
                "UPDATE pg_settings SET setting = 'x' WHERE name = 'y'",
                vec![E::Pin(P::Setting)],
            ),
            ("SET seed = 0.5", vec![E::None]),
            (
                "SET NAMES 'LATIN1'",
                vec![set("client_encoding", "'LATIN1'", false)],
            ),
            ("SET x TO DEFAULT", vec![E::Reset("x".into())]),
            ("SET ROLE bob", vec![E::Pin(P::Role)]),
            ("SET role = bob", vec![E::Pin(P::Role)]),
            ("SET LOCAL ROLE bob", vec![E::Local]),
            ("SET SESSION AUTHORIZATION bob", vec![E::Pin(P::Role)]),
            ("SET TRANSACTION READ ONLY", vec![E::Local]),
            (
                "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
                vec![E::Pin(P::Setting)],
            ),
            ("RESET ALL", vec![E::ResetAll]),
            ("RESET Work_Mem", vec![E::Reset("work_mem".into())]),
            ("DISCARD ALL", vec![E::DiscardAll]),
            ("DISCARD PLANS", vec![E::None]),
            (
                "DEALLOCATE PREPARE \"_pg3_0\"",
                vec![E::Deallocate(b"_pg3_0".into())],
            ),
            ("DEALLOCATE ALL", vec![E::DeallocateAll]),
            ("LISTEN x", vec![E::Pin(P::Listen)]),
            ("PREPARE s AS SELECT 1", vec![E::Pin(P::Prepare)]),
            (
                "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
                vec![E::Pin(P::HoldCursor)],
            ),
            ("DECLARE c CURSOR FOR SELECT 1", vec![E::None]),
            ("CREATE TEMP TABLE t (a int)", vec![E::Pin(P::Temporary)]),
            (
                "CREATE LOCAL TEMPORARY VIEW v AS SELECT 1",
                vec![E::Pin(P::Temporary)],
            ),
            ("SELECT * INTO TEMP t FROM x", vec![E::Pin(P::Temporary)]),
            ("CREATE TABLE pg_temp.t (a int)", vec![E::Pin(P::Temporary)]),
            ("SELECT temp FROM weather", vec![E::None]),
            ("SELECT 'create temp'", vec![E::None]),
            (
                "SELECT set_config('a', 'b', false)",
                vec![configured("a", "'b'", false)],
            ),
            (
                "SELECT pg_catalog.SET_CONFIG('a', 'b', false)",
                vec![configured("a", "'b'", false)],
            ),
            (
                "SELECT \"set_config\"('a', 'b', false)",
                vec![E::Pin(P::Setting)],
            ),
            (
                "SELECT set_config('TimeZone', 'UTC', true)",
                vec![configured("timezone", "'UTC'", true)],
            ),
            (
                "SELECT set_config('a', 'b', false), 1",
                vec![E::Pin(P::Setting)],
            ),
            (
                "SELECT set_config('search_path', 'A, \"B\"', false)",
                vec![configured("search_path", "\"a\", \"B\"", false)],
            ),
            (
                "SELECT set_config('search_path', 'a b', false)",
                vec![E::Pin(P::Setting)],
            ),
            (
                "SET LOCAL search_path TO DEFAULT",
                vec![set("search_path", "DEFAULT", true)],
            ),
            ("SET LOCAL work_mem TO DEFAULT", vec![E::Local]),
            (
                "SELECT set_config('search_path', '', false)",
                vec![configured("search_path", "''", false)],
            ),
            (
                "SELECT set_config('role', 'b', false)",
                vec![E::Pin(P::Setting)],
            ),
            (
                "SELECT U&\"set\\005fconfig\"('a', 'b', false)",
                vec![E::Pin(P::Setting)],
            ),
            (
                "SELECT pg_try_advisory_lock(1)",
                vec![E::Pin(P::AdvisoryLock)],
            ),
            ("SELECT pg_advisory_xact_lock(1)", vec![E::None]),
            ("SELECT pg_advisory_unlock(1)", vec![E::None]),
            (
                "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END; SELECT 2",
                vec![E::Pin(P::Setting), E::None],
            ),
            (
                "DO $$ BEGIN PERFORM set_config('a','b',false); END $$",
                vec![E::Pin(P::Setting)],
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(effects(text), expected, "{text}");
        }
    }

    #[test]
    fn reading_statements_are_known() {
        let cases = [
            ("SELECT 1", false),
            ("SHOW x", false),
            ("VALUES (1)", false),
            ("BEGIN; SELECT 1", false),
            ("SELECT 1; DELETE FROM t", true),
            ("WITH x AS (DELETE FROM t RETURNING 1) SELECT 1", true),
            ("SELECT * INTO u FROM t", true),
            ("select a, b\ninto table u from t", true),
            ("TABLE t", false),
            ("SELECT 'into' AS \"into\" -- into", false),
            ("SHOW x; SELECT 1 INTO u; SELECT 1", true),
            ("COMMIT", true),
            ("INSERT INTO t VALUES (1)", true),
        ];
        for (text, may_write) in cases {
            assert_eq!(classify(text.as_bytes()).may_write, may_write, "{text}");
        }
    }
}
