//! Tenant isolation: what a session bound to a tenant may say, and what leaves for the server in
//! its place.
//!
//! Aurora DSQL has no row-level security. [`isolate`] answers every statement with a text that can
//! touch the tenant's rows alone, or refuses it. Three steps, each of which fails closed:
//! `rewrite` knows every construct it lets through and refuses the rest; [`verifier`], which
//! shares no code with it, accepts only proven shapes of the result; the printed text is read back
//! and compared. Pure: no clock, no socket.
//!
//! The texts are meant for a connection whose `search_path` is [`SEARCH_PATH`]: names without a
//! schema, operators among them, then mean the system's own or nothing.

pub mod barrier;
mod build;
pub mod catalog;
pub mod check;
pub mod copy;
pub mod ddl;
pub mod lists;
mod metadata;
mod rewrite;
pub mod rules;
pub mod scrub;
mod session;
pub mod snapshot;
pub mod tenant;
pub mod verifier;

use std::fmt;

use pg_query::NodeEnum;

pub use catalog::{Catalog, RelationName};
pub use check::check;
pub use rules::Policy;
pub use tenant::{Tenant, TenantParameter, TenantType};

use crate::sql::Statement;
use crate::sql::tree::{self, Descent, Ref};
use crate::wire::reply::ClientError;
use crate::wire::sqlstate::SqlState;
use rules::Catalogs;
use tenant::Value;

/// `insufficient_privilege`.
pub const INSUFFICIENT_PRIVILEGE: SqlState = "42501";

/// What `search_path` must be on every connection that takes the texts made here.
pub const SEARCH_PATH: &str = "pg_catalog";

/// Begin of the names that the rewriter makes; clients may not use such names.
pub const RESERVED: &str = "__t";

/// Why a statement is refused: the rule, for counters and the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is explained by its text, see Rule::text")]
pub enum Rule {
    StatementKind,
    Construct,
    Relation,
    DatabaseName,
    ReservedName,
    Column,
    HiddenColumn,
    HiddenTable,
    SystemColumn,
    SchemaOfColumn,
    Function,
    Operator,
    Type,
    Collation,
    Setting,
    SharedWrite,
    SharedLock,
    ViewWrite,
    View,
    NoValue,
    ForeignTenant,
    TenantAssignment,
    InsertShape,
    InsertWidth,
    GlobalKey,
    LoudLock,
    CurrentOf,
    HoldableCursor,
    CopyFrom,
    CopyBinary,
    CopyTarget,
    CopyOption,
    Explain,
    TooLong,
    TooDeep,
    OfTenant,
    Unverified,
    Unprintable,
}

impl Rule {
    /// The rule's name in metrics and the audit log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StatementKind => "statement_kind",
            Self::Construct => "construct",
            Self::Relation => "relation",
            Self::DatabaseName => "database_name",
            Self::ReservedName => "reserved_name",
            Self::Column => "column",
            Self::HiddenColumn => "hidden_column",
            Self::HiddenTable => "hidden_table",
            Self::SystemColumn => "system_column",
            Self::SchemaOfColumn => "schema_of_column",
            Self::Function => "function",
            Self::Operator => "operator",
            Self::Type => "type",
            Self::Collation => "collation",
            Self::Setting => "setting",
            Self::SharedWrite => "shared_write",
            Self::SharedLock => "shared_lock",
            Self::ViewWrite => "view_write",
            Self::View => "view",
            Self::NoValue => "no_value",
            Self::ForeignTenant => "foreign_tenant",
            Self::TenantAssignment => "tenant_assignment",
            Self::InsertShape => "insert_shape",
            Self::InsertWidth => "insert_width",
            Self::GlobalKey => "global_key",
            Self::LoudLock => "loud_lock",
            Self::CurrentOf => "current_of",
            Self::HoldableCursor => "holdable_cursor",
            Self::CopyFrom => "copy_from",
            Self::CopyBinary => "copy_binary",
            Self::CopyTarget => "copy_target",
            Self::CopyOption => "copy_option",
            Self::Explain => "explain",
            Self::TooLong => "too_long",
            Self::TooDeep => "too_deep",
            Self::OfTenant => "of_tenant",
            Self::Unverified => "unverified",
            Self::Unprintable => "unprintable",
        }
    }

    /// The rule in a sentence, as clients read it. It names nothing of the database.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::StatementKind => "this kind of statement is not open to tenants",
            Self::Construct => "the statement has a construct that is not open to tenants",
            Self::Relation => "permission denied for a relation of the statement",
            Self::DatabaseName => "names with a database are not open to tenants",
            Self::ReservedName => "names that begin with __t are reserved",
            Self::Column => "a column of the statement is not known",
            Self::HiddenTable => "the table or key cannot be made with its hidden tenant column",
            Self::HiddenColumn => "a column of the statement does not exist",
            Self::SystemColumn => "system columns are not open to tenants",
            Self::SchemaOfColumn => "a schema-qualified column names no table of its query",
            Self::Function => "permission denied for a function of the statement",
            Self::Operator => "permission denied for an operator of the statement",
            Self::Type => "permission denied for a type of the statement",
            Self::Collation => "permission denied for a collation of the statement",
            Self::Setting => "permission denied for this setting",
            Self::SharedWrite => "shared tables are read-only to tenants",
            Self::SharedLock => "rows of shared tables cannot be locked by tenants",
            Self::ViewWrite => "views are read-only to tenants",
            Self::View => "a view of the statement cannot be opened to tenants",
            Self::NoValue => "the tenant has no value of the type of the table's tenant column",
            Self::ForeignTenant => "new row violates row-level security policy",
            Self::TenantAssignment => "the tenant column cannot be set in this way",
            Self::InsertWidth => "INSERT has not as many expressions as target columns",
            Self::InsertShape => "the source of the rows cannot be matched with their columns",
            Self::GlobalKey => "the table has a unique key without the tenant column",
            Self::LoudLock => {
                "rows cannot be locked by a condition that may fail on the rows of others"
            }
            Self::CurrentOf => "WHERE CURRENT OF is not open to tenants",
            Self::HoldableCursor => "cursors WITH HOLD are not open to tenants",
            Self::CopyFrom => "this form of COPY FROM is not open to tenants",
            Self::CopyBinary => "COPY FROM in binary format is not open to tenants",
            Self::CopyTarget => "COPY to files and programs is not open to tenants",
            Self::CopyOption => "an option of COPY is not open to tenants",
            Self::Explain => "EXPLAIN is not open to tenants",
            Self::TooLong => "the statement is too long",
            Self::TooDeep => "the statement is nested too deep",
            Self::OfTenant => "the statement is not the same for all tenants",
            Self::Unverified | Self::Unprintable => "the statement cannot be isolated",
        }
    }

    /// SQLSTATE for the client.
    #[must_use]
    pub fn code(self) -> SqlState {
        match self {
            Self::TooLong => "54000",
            Self::TooDeep => "54001",
            Self::CopyFrom
            | Self::CopyBinary
            | Self::HiddenTable
            | Self::CurrentOf
            | Self::HoldableCursor
            | Self::Construct
            | Self::StatementKind
            | Self::LoudLock
            | Self::InsertShape
            | Self::Explain => "0A000",
            Self::HiddenColumn => "42703",
            Self::InsertWidth => "42601",
            Self::Unverified | Self::Unprintable => "XX000",
            _ => INSUFFICIENT_PRIVILEGE,
        }
    }
}

/// A statement that does not go to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub rule: Rule,
    /// What it is about, for the audit log alone: names, never values.
    pub subject: String,
}

impl Refusal {
    /// A refusal by `rule` because of `subject`.
    #[must_use]
    pub fn new(rule: Rule, subject: impl Into<String>) -> Self {
        Self {
            rule,
            subject: subject.into(),
        }
    }

    /// What the client reads.
    #[must_use]
    pub fn error(&self) -> ClientError {
        let error = ClientError::error(self.rule.code(), self.rule.text());
        match self.rule {
            // The client has said the name.
            Rule::HiddenColumn => ClientError::error(
                self.rule.code(),
                format!("column \"{}\" does not exist", self.subject),
            ),
            Rule::CopyFrom => {
                error.hint("name the columns, and copy FROM STDIN without WHERE, as the only statement of its message")
            }
            Rule::HiddenTable => error.hint(
                "write CREATE TABLE with its columns, or name the tenant column in every key",
            ),
            Rule::CopyBinary => error.hint("use format text or csv"),
            Rule::LoudLock => error.hint(
                "find the rows with a SELECT without a locking clause, then lock them by their key",
            ),
            Rule::HoldableCursor => error.hint(
                "open it in a transaction without WITH HOLD (for Django: DISABLE_SERVER_SIDE_CURSORS)",
            ),
            Rule::StatementKind => error.hint("log in as a user without a tenant to do this"),
            _ => error,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}: {} ({})",
            self.rule,
            self.rule.text(),
            self.subject
        )
    }
}

impl std::error::Error for Refusal {}

/// A statement that may go to the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Isolated {
    /// Its tree.
    pub tree: NodeEnum,
    /// Its text, which says the same.
    pub text: String,
    /// Errors may be about values ([`scrub::Context::loud`]).
    pub loud: bool,
    /// It is a COPY FROM STDIN: no row of the client's reaches the server but through
    /// [`copy::Extension`].
    pub copy: Option<copy::CopyRows>,
    /// The parameter that has to be bound to the tenant's value ([`isolate_shared`]).
    pub parameter: Option<TenantParameter>,
}

/// The highest number of a parameter that holds a tenant's value.
const LAST_PARAMETER: u16 = 32_767;

/// What leaves for the server in place of `statement`.
///
/// # Errors
/// The statement is not open to the tenant, or not understood.
pub fn isolate(
    statement: &Statement,
    policy: &Policy,
    catalog: &Catalog,
    tenant: &Tenant,
) -> Result<Isolated, Refusal> {
    isolate_for(statement, policy, catalog, |_| Ok(Value::Literal(tenant)))
}

/// What leaves for the server in place of `statement`, whoever the tenant is: its value is a parameter,
/// with the number behind those of the client. Nothing of any tenant is known here, so that the text
/// cannot hold anything of one.
///
/// # Errors
/// As [`isolate`]; [`Rule::OfTenant`] where only [`isolate`] can say.
pub fn isolate_shared(
    statement: &Statement,
    policy: &Policy,
    catalog: &Catalog,
) -> Result<Isolated, Refusal> {
    isolate_for(statement, policy, catalog, |node| {
        let number = parameter_behind(node);
        let number = number.ok_or_else(|| Refusal::new(Rule::OfTenant, ""))?;
        verifier::verify_free(node, number)
            .map_err(|problem| Refusal::new(Rule::Unverified, problem.to_string()))?;
        Ok(Value::Parameter(number))
    })
}

/// The number behind those of a statement's parameters; `None` where a parameter cannot be.
fn parameter_behind(node: &NodeEnum) -> Option<u16> {
    let takes_parameters = matches!(
        node,
        NodeEnum::SelectStmt(_)
            | NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
    );
    let mut last = 0;
    tree::walk(Ref::of(node), &mut |node| {
        if let Ref::ParamRef(parameter) = node {
            last = last.max(parameter.number);
        }
        Descent::Into
    });
    let number = u16::try_from(last).ok()?.checked_add(1)?;
    (takes_parameters && number <= LAST_PARAMETER).then_some(number)
}

fn isolate_for<'a>(
    statement: &Statement,
    policy: &Policy,
    catalog: &Catalog,
    value: impl FnOnce(&NodeEnum) -> Result<Value<'a>, Refusal>,
) -> Result<Isolated, Refusal> {
    if statement.text.len() > policy.limits.statement_bytes {
        return Err(Refusal::new(
            Rule::TooLong,
            statement.text.len().to_string(),
        ));
    }
    if statement.asynchronous {
        return Err(Refusal::new(Rule::StatementKind, "ASYNC"));
    }
    let node = statement
        .node()
        .ok_or_else(|| Refusal::new(Rule::StatementKind, "AWS IAM"))?;
    if let Some(text) = session::passes(node, policy) {
        return Ok(Isolated {
            tree: node.clone(),
            text,
            loud: false,
            copy: None,
            parameter: None,
        });
    }
    match isolate_rows(node, policy, catalog, value(node)?) {
        Err(refusal) if policy.catalogs == Catalogs::Declared && refusal.rule != Rule::OfTenant => {
            // Whose query is of catalogs alone learns what is wrong with it as such.
            metadata::read(node, policy).map_err(|other| match other.rule {
                Rule::Relation | Rule::StatementKind => refusal,
                _ => other,
            })
        }
        isolated => isolated,
    }
}

fn isolate_rows(
    node: &NodeEnum,
    policy: &Policy,
    catalog: &Catalog,
    value: Value<'_>,
) -> Result<Isolated, Refusal> {
    let rewrite::Rewritten {
        tree,
        loud,
        copy,
        parameter,
    } = rewrite::isolate(node, policy, catalog, value)?;
    let expected = match value {
        Value::Literal(tenant) => verifier::Expected::Tenant(tenant),
        Value::Parameter(_) => verifier::Expected::Parameter(parameter),
    };
    verifier::verify(&tree, policy, catalog, expected)
        .map_err(|problem| Refusal::new(Rule::Unverified, problem.to_string()))?;
    let text = tree::verify_print(&tree)
        .map_err(|problem| Refusal::new(Rule::Unprintable, problem.to_string()))?;
    Ok(Isolated {
        tree,
        text,
        loud,
        copy,
        parameter,
    })
}

/// Whether a client may declare a parameter of this type (`Parse` has the OID). A parameter of type
/// `regclass` would tell by its input function which relations exist.
#[must_use]
pub fn takes_parameter(oid: u32) -> bool {
    // 0 and `unknown` leave it to the server, which finds a type of the statement's own; then the
    // types of config/isolation.yaml and their arrays. OIDs are of pg_type.dat.
    const TYPES: [u32; 42] = [
        0, 705, 16, 17, 20, 21, 23, 25, 114, 700, 701, 1042, 1043, 1082, 1083, 1114, 1184, 1186,
        1266, 1700, 2950, 3802, 1000, 1001, 1005, 1007, 1016, 1009, 199, 1021, 1022, 1014, 1015,
        1182, 1183, 1115, 1185, 1187, 1270, 1231, 2951, 3807,
    ];
    TYPES.contains(&oid)
}

/// What leaves for the server in place of all statements of one message: every one must pass before
/// any is sent.
///
/// # Errors
/// The first refusal.
pub fn isolate_all(
    statements: &[Statement],
    policy: &Policy,
    catalog: &Catalog,
    tenant: &Tenant,
) -> Result<Vec<Isolated>, Refusal> {
    let isolated = statements
        .iter()
        .map(|statement| isolate(statement, policy, catalog, tenant))
        .collect::<Result<Vec<_>, _>>()?;
    // Its data must be told from those of others.
    if isolated.len() > 1 && isolated.iter().any(|one| one.copy.is_some()) {
        return Err(Refusal::new(Rule::CopyFrom, "several statements"));
    }
    Ok(isolated)
}

#[cfg(test)]
mod tests;
