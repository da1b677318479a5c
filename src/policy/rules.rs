//! The rules as data: `config/dialect.yaml`, compiled in and replaceable.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use thiserror::Error;

use super::dialect::{self, Code};
use super::facts::Month;
use crate::wire::sqlstate::SqlState;

/// The rules that are used when none are given.
pub const DEFAULT: &str = include_str!("../../config/dialect.yaml");

/// Why rules cannot be used.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum RulesError {
    /// The file is not of the format; says where.
    #[error("{0}")]
    Format(String),
    /// A rule says something that cannot be.
    #[error("rule {rule}: {problem}")]
    Rule {
        /// Its name.
        rule: String,
        /// What is wrong.
        problem: String,
    },
}

/// What a rule does with what it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionKind {
    /// Let it pass; no later rule is asked.
    Forward,
    /// Change the statement and go on with the next rule.
    Rewrite,
    /// Answer it without the server.
    Answer,
    /// Run a procedure of several steps in its place.
    Emulate,
    /// Refuse it.
    Reject,
}

/// What profile `strict` makes of a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strict {
    /// The same: the meaning is kept.
    Same,
    /// It is refused there.
    #[default]
    Reject,
}

/// What a rule looks at. All that is given must hold.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// Names of parse nodes of whole statements; none is any statement.
    #[serde(deserialize_with = "one_or_more")]
    pub statement: Vec<String>,
    /// Name of the code that finds the construct; the rule's name when it is left out and such
    /// code exists.
    pub construct: Option<String>,
    /// Actions of ALTER TABLE, by PostgreSQL's names (`AT_SetNotNull`).
    #[serde(deserialize_with = "one_or_more")]
    pub command: Vec<String>,
    /// Kinds of objects, by PostgreSQL's names (`OBJECT_EXTENSION`).
    #[serde(deserialize_with = "one_or_more")]
    pub object: Vec<String>,
    /// Types of columns that are made (catalog names; `[]` is any array).
    #[serde(deserialize_with = "one_or_more")]
    pub column_type: Vec<String>,
    /// Types that values are cast to.
    #[serde(deserialize_with = "one_or_more")]
    pub cast: Vec<String>,
    /// Functions that are called; `*` at the end stands for anything.
    #[serde(deserialize_with = "one_or_more")]
    pub function: Vec<String>,
    /// Names of objects: extensions, settings, types, as the construct says.
    #[serde(deserialize_with = "one_or_more")]
    pub name: Vec<String>,
    /// A session switch and its value, such as `large_dml: batch`.
    pub switch: BTreeMap<String, String>,
}

fn one_or_more<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(String),
        More(Vec<String>),
    }
    OneOrMore::deserialize(deserializer).map(|given| match given {
        OneOrMore::One(one) => vec![one],
        OneOrMore::More(more) => more,
    })
}

/// A rule as the file has it.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(default, rename = "match")]
    matches: Match,
    #[serde(default)]
    since: Option<String>,
    #[serde(default)]
    until: Option<String>,
    action: ActionKind,
    #[serde(default)]
    strict: Strict,
    #[serde(default)]
    sqlstate: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    hint: Option<String>,
    #[serde(default)]
    notice: Option<String>,
    #[serde(default)]
    warning: Option<String>,
    #[serde(default)]
    once: bool,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    tag: Option<String>,
    #[serde(default)]
    what: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    newest: String,
    parameters: Parameters,
    procedures: Vec<String>,
    accepted: Vec<String>,
    rules: Vec<Written>,
}

/// Numbers that rewrites need.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// CACHE of sequences and identity columns that come without: 1, or at least 65536.
    pub sequence_cache: i32,
    /// Digits of a `numeric` without precision.
    pub numeric_precision: i32,
    /// Digits of these behind the point.
    pub numeric_scale: i32,
    /// Rows of one batch.
    pub batch_rows: u32,
    /// Settings that Aurora DSQL itself takes, in lower case.
    pub settings: Vec<String>,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name: what `explain` prints.
    pub name: Arc<str>,
    /// What the construct is, for the documentation.
    pub what: String,
    /// What it looks at.
    pub matches: Match,
    /// First month it holds.
    pub since: Month,
    /// Last month it holds.
    pub until: Month,
    /// What it does.
    pub action: ActionKind,
    /// What it does in profile `strict`.
    pub strict: Strict,
    /// SQLSTATE of its refusal.
    pub sqlstate: SqlState,
    /// Message of its refusal; `{}` is what was found.
    pub message: String,
    /// HINT of its refusal.
    pub hint: Option<String>,
    /// NOTICE with which it does something else.
    pub notice: Option<String>,
    /// WARNING, where something is lost.
    pub warning: Option<String>,
    /// Tell a session only the first time.
    pub once: bool,
    /// Type that takes the place of the matched one.
    pub to: Option<String>,
    /// Command tag of its answer.
    pub tag: Option<String>,
    /// The code that finds or changes the construct.
    pub(super) code: Option<Code>,
}

/// All rules, ready for use.
#[derive(Debug)]
pub struct Rules {
    /// Newest month the rules know.
    pub newest: Month,
    /// Numbers that rewrites need.
    pub parameters: Parameters,
    rules: Vec<Rule>,
    /// Positions in `rules` by name of statement, in the order of the file.
    by_statement: HashMap<String, Vec<usize>>,
    /// Those for any statement.
    general: Vec<usize>,
    accepted: Vec<(String, Month)>,
    procedures: Vec<String>,
}

impl Rules {
    /// The rules that are compiled in.
    ///
    /// # Errors
    /// Never, as far as the tests tell; the text is checked all the same.
    pub fn standard() -> Result<Arc<Self>, RulesError> {
        static RULES: OnceLock<Result<Arc<Rules>, RulesError>> = OnceLock::new();
        RULES
            .get_or_init(|| Self::read(DEFAULT).map(Arc::new))
            .clone()
    }

    /// Reads rules in the format of `config/dialect.yaml`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(text: &str) -> Result<Self, RulesError> {
        let file: File =
            serde_saphyr::from_str(text).map_err(|error| RulesError::Format(error.to_string()))?;
        let mut rules = Self {
            newest: month("newest", Some(&file.newest), Month::LAST)?,
            parameters: check_parameters(file.parameters)?,
            rules: Vec::new(),
            by_statement: HashMap::new(),
            general: Vec::new(),
            accepted: accepted(&file.accepted)?,
            procedures: file.procedures,
        };
        for written in file.rules {
            rules.add(compile(written)?);
        }
        Ok(rules)
    }

    fn add(&mut self, rule: Rule) {
        let at = self.rules.len();
        if rule.matches.statement.is_empty() {
            self.general.push(at);
        }
        for statement in &rule.matches.statement {
            let places = self.by_statement.entry(statement.clone()).or_default();
            places.push(at);
        }
        self.rules.push(rule);
    }

    /// Sets what named rules do, whatever the file says.
    ///
    /// # Errors
    /// A name that no rule has, or an action that a rule has no code for.
    pub fn override_actions(
        &mut self,
        actions: &BTreeMap<String, ActionKind>,
    ) -> Result<(), RulesError> {
        for (name, action) in actions {
            let mut found = false;
            for rule in self.rules.iter_mut().filter(|rule| *rule.name == **name) {
                found = true;
                let possible = matches!(action, ActionKind::Forward | ActionKind::Reject)
                    || rule.action == *action;
                if !possible {
                    return Err(problem(name, "can be set to forward or reject only"));
                }
                rule.action = *action;
            }
            if !found {
                return Err(problem(name, "there is no such rule"));
            }
        }
        Ok(())
    }

    /// All rules in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// Rules for a statement of this name that hold at `as_of`, in their order.
    pub(super) fn of<'r>(
        &'r self,
        statement: &str,
        as_of: Month,
    ) -> impl Iterator<Item = &'r Rule> {
        let own = self
            .by_statement
            .get(statement)
            .map_or(&[][..], Vec::as_slice);
        let mut places = Vec::with_capacity(own.len() + self.general.len());
        places.extend_from_slice(own);
        places.extend_from_slice(&self.general);
        places.sort_unstable();
        places
            .into_iter()
            .map(|at| &self.rules[at])
            .filter(move |rule| rule.since <= as_of && as_of <= rule.until)
    }

    /// Whether DSQL takes statements of this kind at all.
    pub(super) fn accepts(&self, statement: &str, as_of: Month) -> bool {
        self.accepted
            .iter()
            .any(|(name, since)| name == statement && *since <= as_of)
    }

    /// Whether the session side can run a procedure.
    pub(super) fn can_run(&self, procedure: &str) -> bool {
        self.procedures.iter().any(|known| known == procedure)
    }
}

fn problem(rule: &str, problem: impl Into<String>) -> RulesError {
    RulesError::Rule {
        rule: rule.to_owned(),
        problem: problem.into(),
    }
}

fn month(rule: &str, text: Option<&str>, default: Month) -> Result<Month, RulesError> {
    text.map_or(Ok(default), |text| {
        text.parse()
            .map_err(|error: super::facts::NotAMonth| problem(rule, error.to_string()))
    })
}

/// `Name` or `Name since 2026-08`.
fn accepted(entries: &[String]) -> Result<Vec<(String, Month)>, RulesError> {
    entries
        .iter()
        .map(|entry| match entry.split_once(" since ") {
            None => Ok((entry.clone(), Month::FIRST)),
            Some((name, since)) => Ok((name.to_owned(), month(name, Some(since), Month::FIRST)?)),
        })
        .collect()
}

fn check_parameters(parameters: Parameters) -> Result<Parameters, RulesError> {
    let cache = parameters.sequence_cache;
    if cache != 1 && cache < 65_536 {
        return Err(problem("sequence_cache", "must be 1 or at least 65536"));
    }
    let (precision, scale) = (parameters.numeric_precision, parameters.numeric_scale);
    if !(1..=1000).contains(&precision) || !(0..=precision).contains(&scale) {
        return Err(problem(
            "numeric_precision",
            "must be 1 to 1000 digits, and numeric_scale no more than these",
        ));
    }
    Ok(parameters)
}

fn compile(written: Written) -> Result<Rule, RulesError> {
    let name = written.name.as_str();
    let code = match &written.matches.construct {
        Some(construct) => Some(
            dialect::code(construct)
                .ok_or_else(|| problem(name, format!("there is no construct {construct}")))?,
        ),
        None => dialect::code(name),
    };
    let fits = match (written.action, &code) {
        (ActionKind::Rewrite, Some(Code::Change(_)))
        | (ActionKind::Emulate, Some(Code::Emulate(_)))
        | (ActionKind::Forward | ActionKind::Reject, _) => true,
        (ActionKind::Answer, code) => {
            written.tag.is_some() || matches!(code, Some(Code::Answer(_)))
        }
        (ActionKind::Rewrite, _) => written.to.is_some(),
        (ActionKind::Emulate, _) => false,
    };
    if !fits {
        return Err(problem(name, "there is no code for its action"));
    }
    if written.action != ActionKind::Forward
        && written.message.is_none()
        && !(written.strict == Strict::Same && written.action != ActionKind::Reject)
    {
        return Err(problem(name, "it can refuse and has no message"));
    }
    Ok(Rule {
        since: month(name, written.since.as_deref(), Month::FIRST)?,
        until: month(name, written.until.as_deref(), Month::LAST)?,
        sqlstate: sqlstate(written.sqlstate.as_deref().unwrap_or("0A000"))
            .ok_or_else(|| problem(name, "its SQLSTATE is none that rules use"))?,
        name: written.name.into(),
        what: written.what,
        matches: written.matches,
        action: written.action,
        strict: written.strict,
        message: written.message.unwrap_or_default(),
        hint: written.hint,
        notice: written.notice,
        warning: written.warning,
        once: written.once,
        to: written.to,
        tag: written.tag,
        code,
    })
}

/// SQLSTATEs that rules may use.
fn sqlstate(text: &str) -> Option<SqlState> {
    const KNOWN: [SqlState; 13] = [
        "0A000", "22023", "25001", "25P01", "42501", "42601", "42704", "42P16", "42P17", "54000",
        "54001", "54011", "55000",
    ];
    KNOWN.into_iter().find(|known| *known == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_rules_are_sound() {
        let rules = Rules::standard().unwrap();
        let mut used: Vec<&str> = Vec::new();
        for rule in rules.iter() {
            assert!(rule.since <= rule.until, "{}", rule.name);
            assert!(!rule.what.is_empty(), "{} is not documented", rule.name);
            for text in [&rule.hint, &rule.notice, &rule.warning]
                .into_iter()
                .flatten()
            {
                assert!(!text.ends_with("{}."), "{}: {text}", rule.name);
            }
            used.push(rule.matches.construct.as_deref().unwrap_or(&rule.name));
        }
        for construct in dialect::constructs() {
            assert!(used.contains(&construct), "no rule uses {construct}");
        }
    }

    #[test]
    fn wrong_rules_are_refused() {
        let head = "newest: 2026-09\nprocedures: []\naccepted: []\nparameters: {sequence_cache: 1, numeric_precision: 38, numeric_scale: 9, batch_rows: 2500, settings: []}\n";
        let cases = [
            (
                "rules: [{name: a, action: reject}]",
                "rule a: it can refuse and has no message",
            ),
            (
                "rules: [{name: a, action: rewrite, message: m}]",
                "rule a: there is no code for its action",
            ),
            (
                "rules: [{name: a, action: reject, message: m, since: 2026}]",
                "rule a: a month is written YYYY-MM, such as 2026-09",
            ),
            (
                "rules: [{name: a, action: reject, message: m, sqlstate: '99999'}]",
                "rule a: its SQLSTATE is none that rules use",
            ),
            (
                "rules: [{name: a, action: reject, message: m, match: {construct: b}}]",
                "rule a: there is no construct b",
            ),
        ];
        for (rules, expected) in cases {
            let error = Rules::read(&format!("{head}{rules}")).unwrap_err();
            assert_eq!(error.to_string(), expected, "{rules}");
        }
        assert!(matches!(
            Rules::read(&format!("{head}rules: [{{name: a, action: fly}}]")),
            Err(RulesError::Format(_))
        ));
        let bad = head.replace("sequence_cache: 1", "sequence_cache: 100");
        assert!(Rules::read(&format!("{bad}rules: []")).is_err());
    }

    #[test]
    fn actions_can_be_set_by_name() {
        let mut rules = Rules::read(DEFAULT).unwrap();
        let set = |name: &str, action| BTreeMap::from([(name.to_owned(), action)]);
        rules
            .override_actions(&set("serial", ActionKind::Reject))
            .unwrap();
        assert!(
            rules
                .override_actions(&set("serial", ActionKind::Emulate))
                .is_err()
        );
        assert!(
            rules
                .override_actions(&set("nothing", ActionKind::Reject))
                .is_err()
        );
    }
}
