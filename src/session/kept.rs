//! Settings that the proxy keeps: SET, RESET and SHOW of these never reach the server.
//!
//! Alone in a Query they are answered here, when nothing else is under way. Among others, or in the
//! extended protocol, the server gets a statement in their place that does nothing, so that answers
//! come in order and errors skip what they have to.

use std::ops::Range;
use std::time::Duration;

use crate::config::Savepoints;
use crate::policy::settings::{
    self, DDL_IN_TRANSACTION, INDEX_WAIT, LARGE_DML, RETRY, Refused, SAVEPOINTS, Scope, Setting,
    TABLE_REBUILD, UNSTORABLE_COLUMNS,
};
use crate::policy::{DdlInTransaction, LargeDml, Switches, TableRebuild, UnstorableColumns};
use crate::sql::scan::{Token, Tokens, identifier};
use crate::upstream::{Settings, SharedSettings};
use crate::wire::frontend;
use crate::wire::reply::{self, ClientError};

use super::run::Session;
use super::script::{FAILING, NOTHING, Piece, Reply, Script, Told};

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
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    Set {
        setting: Setting,
        /// As SHOW tells it, or why it is refused.
        value: Result<String, Refused>,
        local: bool,
    },
    Reset {
        setting: Setting,
        local: bool,
    },
    Show(Setting),
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

    pub fn is_show(&self) -> bool {
        matches!(self, Self::Show(_))
    }

    /// SET LOCAL.
    pub fn is_local(&self) -> bool {
        matches!(
            self,
            Self::Set { local: true, .. } | Self::Reset { local: true, .. }
        )
    }

    /// The name of the setting that is shown.
    pub fn shown(&self) -> Option<String> {
        match self {
            Self::Show(setting) => Some(setting.name.to_string()),
            _ => None,
        }
    }

    /// Why it cannot be done.
    pub fn refusal(&self) -> Option<ClientError> {
        match self {
            Self::Set { value, .. } => value.clone().err().map(refusal),
            _ => None,
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

/// What a text of one statement asks of a setting that the proxy keeps, and the tag of the answer.
pub(super) fn read_one(text: &[u8], scope: Scope) -> Option<(Asked, &'static str)> {
    let mut statements = read_statements(text, scope, true);
    let statement = statements.pop().filter(|_| statements.is_empty())?;
    Some((statement.asked?, statement.tag))
}

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

    pub(super) fn apply_kept(&mut self, asked: &Asked) -> Result<(), ClientError> {
        match asked {
            Asked::Set {
                setting,
                value,
                local,
            } => {
                let value = value.clone().map_err(refusal)?;
                self.settings.set_kept(&setting.name, Some(&value), *local);
            }
            Asked::Reset { setting, local } => {
                self.settings.set_kept(&setting.name, None, *local);
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
        if self.env.policy.is_some() {
            self.switches = self.read_switches();
        }
    }

    /// The switches that policy asks for.
    fn read_switches(&self) -> Switches {
        let is = |name, value| self.settings.kept(name) == Some(value);
        // What a tenant's text was proven to do holds of the text alone, not of several made of it.
        let whole = self.is_guarded();
        Switches {
            ddl_in_transaction: match !whole && is(DDL_IN_TRANSACTION, "split") {
                true => DdlInTransaction::Split,
                false => DdlInTransaction::Reject,
            },
            large_dml: match !whole && is(LARGE_DML, "batch") {
                true => LargeDml::Batch,
                false => LargeDml::Refuse,
            },
            table_rebuild: match self.settings.kept(TABLE_REBUILD) {
                Some("reject") => TableRebuild::Reject,
                Some("rebuild") => TableRebuild::Rebuild,
                _ => TableRebuild::Small,
            },
            unstorable_columns: match self.env.columns.is_some() && is(UNSTORABLE_COLUMNS, "text") {
                true => UnstorableColumns::Text,
                false => UnstorableColumns::Refuse,
            },
            index_wait: !is(INDEX_WAIT, "off"),
            savepoints: !is(SAVEPOINTS, "reject") && self.env.savepoints != Savepoints::Reject,
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

    /// What becomes of a text of which statements are about settings that the proxy keeps.
    pub(super) fn kept_script(&self, text: &[u8], count: usize) -> Option<Script> {
        let statements = self.kept_statements(text, count)?;
        let mut values = Settings::new();
        let pieces = statements.into_iter().map(|statement| Piece {
            span: statement.span,
            sent: statement
                .asked
                .as_ref()
                .map(|asked| self.setting_query(asked, &mut values)),
            told: statement
                .asked
                .map(|asked| Told::quietly(Reply::Setting(asked, statement.tag))),
        });
        Some(Script(pieces.collect()))
    }

    /// What the server gets in place of such a statement. `values`: as the statements before it
    /// leave them.
    pub(super) fn setting_query(&self, asked: &Asked, values: &mut Settings) -> String {
        match asked {
            Asked::Set { value: Err(_), .. } => FAILING.to_owned(),
            Asked::Show(setting) => {
                let known = values.get(&*setting.name).map(String::as_str);
                let value = known.or(self.settings.kept(&setting.name));
                show_text(setting, value.unwrap_or_default())
            }
            Asked::Set {
                setting,
                value: Ok(value),
                ..
            } => {
                values.insert(setting.name.to_string(), value.clone());
                NOTHING.to_owned()
            }
            Asked::Reset { .. } => NOTHING.to_owned(),
        }
    }
}

pub(super) fn refusal(refused: Refused) -> ClientError {
    ClientError {
        hint: refused.hint,
        ..ClientError::error(refused.code, refused.message)
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
        list if list.contains(&Token::Symbol(b',')) => setting.read_list(&list_of(list)?),
        _ => return None,
    };
    Some(Asked::Set {
        setting,
        value,
        local,
    })
}

fn list_of(tokens: &[Token<'_>]) -> Option<Vec<String>> {
    let items = tokens.split(|token| *token == Token::Symbol(b','));
    let item = |item: &[Token<'_>]| match item {
        [only] => constant(*only),
        _ => None,
    };
    items.map(item).collect()
}

fn name_of(tokens: &[Token<'_>], scope: Scope) -> Option<Setting> {
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

pub(super) fn put_local_warning(out: &mut Vec<u8>) {
    let fields =
        b"SWARNING\0VWARNING\0C25P01\0MSET LOCAL can only be used in transaction blocks\0\0";
    frontend::put(out, b'N', &[fields]);
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
            "set search_path = 1",
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
