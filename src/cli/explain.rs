//! `dsql-proxy explain`: what would become of a statement, without running it. For a user with a tenant
//! the catalog is asked; else nothing is connected to.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::{ExplainArguments, Failure, print};
use crate::config::schema::{ClusterKind, Database, Dialect, Savepoints, User};
use crate::config::{self, Config};
use crate::policy::tenancy::{self, Refusal};
use crate::policy::{
    Action, DdlInTransaction, Decision, LargeDml, Level, Month, Rules, SessionFacts, Switches,
    TableRebuild, TransactionFacts, UnstorableColumns, decide,
};
use crate::server::{TenantView, rules_of, tenant_view};
use crate::sql::Statement;
use crate::sql::statement::ParseError;
use crate::wire::reply::ClientError;

/// A decision as it is printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    /// forward, rewrite, answer, emulate, reject.
    pub decision: &'static str,
    /// Texts that would go upstream.
    pub sql: Vec<String>,
    /// NOTICEs and WARNINGs.
    pub notices: Vec<String>,
    /// SQLSTATE of a refusal.
    pub sqlstate: Option<String>,
    /// Its message.
    pub message: Option<String>,
    /// Its HINT.
    pub hint: Option<String>,
    /// Rules applied.
    pub rules: Vec<String>,
}

impl Report {
    /// The report on a decision about a statement of this text.
    pub(super) fn of(decision: &Decision, text: &str) -> Self {
        let notices = decision
            .notices
            .iter()
            .map(|notice| match notice.level {
                Level::Notice => notice.message.clone(),
                Level::Warning => format!("WARNING: {}", notice.message),
            })
            .collect();
        let refusal = match &decision.action {
            Action::Reject(error) => Some(error),
            _ => None,
        };
        Self {
            decision: decision.kind(),
            sql: decision.texts(text),
            notices,
            sqlstate: refusal.map(|error| error.code.to_owned()),
            message: refusal.map(|error| error.message.clone()),
            hint: refusal.and_then(|error| error.hint.clone()),
            rules: decision.rules.iter().map(ToString::to_string).collect(),
        }
    }

    /// The report on a text that is not open to a tenant.
    fn refused(refusal: &Refusal) -> Self {
        let error = refusal.error();
        Self {
            decision: "reject",
            sql: Vec::new(),
            notices: Vec::new(),
            sqlstate: Some(error.code.to_owned()),
            message: Some(error.message),
            hint: error.hint,
            rules: vec![format!("tenancy.{}", refusal.rule.name())],
        }
    }

    /// The report on a text that cannot be read.
    pub(super) fn unread(error: &ParseError) -> Self {
        let sqlstate = match error {
            ParseError::Encoding => "22021",
            ParseError::TooLong(_) => "54000",
            ParseError::TooDeep => "54001",
            ParseError::Syntax(_) => "42601",
        };
        let message = error.to_string();
        let message = message
            .strip_prefix("Invalid statement: ")
            .unwrap_or(&message);
        Self {
            decision: "reject",
            sql: Vec::new(),
            notices: Vec::new(),
            sqlstate: Some(sqlstate.to_owned()),
            message: Some(message.to_owned()),
            hint: None,
            rules: Vec::new(),
        }
    }

    /// Makes it a refusal.
    pub(super) fn reject(&mut self, error: &ClientError) {
        self.decision = "reject";
        self.sql.clear();
        self.sqlstate = Some(error.code.to_owned());
        self.message = Some(error.message.clone());
        self.hint = error.hint.clone();
    }

    /// Adds the report on another part of what the statement becomes.
    pub(super) fn add(&mut self, other: Self) {
        for rule in other.rules {
            if !self.rules.contains(&rule) {
                self.rules.push(rule);
            }
        }
        match (self.decision, other.decision) {
            ("reject", _) => {}
            (_, "reject") => {
                self.decision = other.decision;
                self.sql.clear();
                self.sqlstate = other.sqlstate;
                self.message = other.message;
                self.hint = other.hint;
            }
            _ => {
                self.sql.extend(other.sql);
                self.notices.extend(other.notices);
            }
        }
    }

    fn json(&self) -> String {
        // Strings and lists of strings have no way to fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    fn text(&self) -> String {
        let mut lines = vec![format!("decision: {}", self.decision)];
        lines.extend(self.sql.iter().map(|sql| format!("sql:      {sql}")));
        lines.extend(
            self.notices
                .iter()
                .map(|notice| format!("notice:   {notice}")),
        );
        if let (Some(code), Some(message)) = (&self.sqlstate, &self.message) {
            lines.push(format!("error:    {code} {message}"));
        }
        lines.extend(self.hint.iter().map(|hint| format!("hint:     {hint}")));
        if !self.rules.is_empty() {
            lines.push(format!("rules:    {}", self.rules.join(", ")));
        }
        lines.join("\n")
    }
}

/// Prints the decision about every statement of the text, one report each.
///
/// # Errors
/// The configuration is wrong, or has no such user or database.
pub fn run(arguments: &ExplainArguments) -> Result<(), Failure> {
    let config = Config::load(&arguments.config)?;
    let database = database(&config, arguments)?;
    let (rules, newest) = match &arguments.rules {
        Some(file) => {
            let rules = rules(Some(file))?;
            let newest = rules.newest;
            (rules, newest)
        }
        None => rules_of(&config).map_err(|error| Failure::Wrong(format!("dialect: {error}")))?,
    };
    let mut facts = SessionFacts {
        profile: match &arguments.profile {
            Some(profile) => super::lint::profile(profile)?,
            None => dialect(&config, database),
        },
        as_of: match &arguments.as_of {
            Some(month) => parse_month(month)?,
            None => newest,
        },
        switches: switches(database),
        transaction: TransactionFacts::default(),
        created: false,
        tenants: false,
    };
    let view = view(
        &config,
        &arguments.user,
        arguments.database.as_deref(),
        arguments.tenant.as_deref(),
    )?;
    let reports = match &view {
        None => reports(&arguments.sql, &mut facts, &rules),
        Some(view) => isolated_reports(&arguments.sql, view, &mut facts, &rules),
    };
    for report in reports {
        print(&if arguments.json {
            report.json()
        } else {
            report.text()
        })?;
    }
    Ok(())
}

/// The rules of a file, or those that are compiled in.
pub(super) fn rules(file: Option<&Path>) -> Result<Arc<Rules>, Failure> {
    let Some(file) = file else {
        return Rules::standard()
            .map_err(|error| Failure::Start(format!("config/dialect.yaml: {error}")));
    };
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::Start(format!("{}: {error}", file.display())))?;
    Rules::read(&text)
        .map(Arc::new)
        .map_err(|error| Failure::Wrong(format!("{}: {error}", file.display())))
}

/// The profile that holds for a database: PostgreSQL needs no dialect.
fn dialect(config: &Config, database: &Database) -> Dialect {
    match config.clusters.get(&database.cluster) {
        Some(cluster) if cluster.kind == ClusterKind::Dsql => database.dialect,
        _ => Dialect::Off,
    }
}

/// The switches of a session of this database that has set none itself.
fn switches(database: &Database) -> Switches {
    Switches {
        savepoints: database.savepoints != Some(Savepoints::Reject),
        ddl_in_transaction: match database.ddl_in_transaction {
            Some(config::DdlInTransaction::Split) => DdlInTransaction::Split,
            _ => DdlInTransaction::Reject,
        },
        large_dml: match database.large_dml {
            Some(config::LargeDml::Batch) => LargeDml::Batch,
            _ => LargeDml::Refuse,
        },
        table_rebuild: match database.table_rebuild {
            Some(config::TableRebuild::Reject) => TableRebuild::Reject,
            Some(config::TableRebuild::Rebuild) => TableRebuild::Rebuild,
            _ => TableRebuild::Small,
        },
        unstorable_columns: match database.unstorable_columns {
            Some(config::UnstorableColumns::Text) => UnstorableColumns::Text,
            _ => UnstorableColumns::Refuse,
        },
        ..Switches::default()
    }
}

fn database<'c>(config: &'c Config, arguments: &ExplainArguments) -> Result<&'c Database, Failure> {
    let (_, name) = entry(config, &arguments.user, arguments.database.as_deref())?;
    config
        .databases
        .get(name)
        .ok_or_else(|| Failure::Wrong(format!("there is no database {name}")))
}

/// A user, and the database that is meant: the one given, or the one the user would get.
fn entry<'c>(
    config: &'c Config,
    name: &str,
    database: Option<&str>,
) -> Result<(&'c User, &'c str), Failure> {
    let user = config
        .users
        .iter()
        .find(|user| user.name.0 == name)
        .ok_or_else(|| Failure::Wrong(format!("there is no user {name}")))?;
    let wanted = match (database, user.databases.as_slice()) {
        (Some(database), _) => database,
        (None, [only]) => only,
        (None, _) if user.databases.iter().any(|database| database == name) => name,
        (None, _) => {
            let message = "the user has several databases or none: say which with --database";
            return Err(Failure::Usage(message.to_owned()));
        }
    };
    let found = user.databases.iter().find(|database| *database == wanted);
    let found = found.ok_or_else(|| {
        Failure::Wrong(format!("user {name} may not connect to database {wanted}"))
    })?;
    Ok((user, found))
}

/// What a user may see, when it belongs to a tenant there: asks the database.
pub(super) fn view(
    config: &Config,
    name: &str,
    database: Option<&str>,
    tenant: Option<&str>,
) -> Result<Option<TenantView>, Failure> {
    let (user, database) = entry(config, name, database)?;
    tenant_view(config, user, database, tenant).map_err(Failure::Start)
}

/// Reports on all statements of one query string of a tenant: what the policy makes of it, and then
/// the dialect.
fn isolated_reports(
    text: &str,
    view: &TenantView,
    facts: &mut SessionFacts,
    rules: &Rules,
) -> Vec<Report> {
    let statements = match Statement::read(text) {
        Ok(statements) => statements,
        Err(error) => return vec![Report::unread(&error)],
    };
    let isolated = tenancy::isolate_all(&statements, &view.policy, &view.catalog, &view.tenant);
    let isolated = match isolated {
        Ok(isolated) => isolated,
        Err(refusal) => return vec![Report::refused(&refusal)],
    };
    facts.transaction.open |= isolated.len() > 1;
    let mut all = Vec::new();
    for one in isolated {
        let open = facts.transaction.open;
        for mut report in reports(&one.text, facts, rules) {
            let closed = view
                .reasons
                .iter()
                .map(|why| format!("WARNING: not served: {why}"));
            report.notices.splice(0..0, closed);
            report.rules.insert(0, "tenancy".to_owned());
            if report.decision == "forward" {
                report.decision = "rewrite";
                report.sql = vec![one.text.clone()];
            }
            all.push(report);
        }
        facts.transaction.open |= open;
    }
    all
}

/// Reports on all statements of one query string, which is one transaction if there are several.
pub(super) fn reports(text: &str, facts: &mut SessionFacts, rules: &Rules) -> Vec<Report> {
    if facts.profile == Dialect::Off {
        let decision = Decision {
            action: Action::Forward,
            placement: crate::policy::Placement::Within,
            notices: Vec::new(),
            rules: Vec::new(),
        };
        return vec![Report::of(&decision, text)];
    }
    let statements = match Statement::read(text) {
        Ok(statements) => statements,
        Err(error) => return vec![Report::unread(&error)],
    };
    if statements.len() > 1 {
        facts.transaction.open = true;
    }
    statements
        .iter()
        .map(|statement| {
            let decision = decide(statement, facts, rules);
            facts.transaction = facts.transaction.after(statement, &decision);
            if statements.len() > 1 {
                facts.transaction.open = true;
            }
            Report::of(&decision, text[statement.span.clone()].trim())
        })
        .collect()
}

/// The month that `--as-of` names.
pub(super) fn parse_month(text: &str) -> Result<Month, Failure> {
    text.parse()
        .map_err(|error: crate::policy::NotAMonth| Failure::Usage(format!("--as-of: {error}")))
}
