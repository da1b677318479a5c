//! The rewriter: reads become filtered sub-selects, writes get the tenant's predicate and value.
//!
//! One function per construct, every field of every node named, everything unknown refused.

mod copy;
mod expression;
mod hidden;
mod insert;
pub(super) mod loudness;
mod select;
mod session;
mod write;

use std::cell::Cell;
use std::collections::{BTreeSet, HashSet};

use pg_query::protobuf::{AExpr, Alias, RangeVar, SelectStmt, SetOperation, WithClause};
use pg_query::{Node, NodeEnum};

use super::catalog::{Catalog, Relation, RelationName};
use super::copy::CopyRows;
use super::lists::lists;
use super::rules::{Policy, Role, TenantColumn};
use super::tenant::{TenantParameter, Value};
use super::{RESERVED, Refusal, Rule, build};
use crate::sql::tree::{self, Descent, Ref};
use loudness::{Hazards, text};

type Done = Result<(), Refusal>;

fn refuse<T>(rule: Rule, subject: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(rule, subject))
}

/// How often views may stand in views.
const VIEW_DEPTH: usize = 8;

/// A statement's tree as it may go to the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewritten {
    /// The tree.
    pub tree: NodeEnum,
    /// It has a condition that may fail on a value: errors may be about values.
    pub loud: bool,
    /// It is a COPY FROM STDIN, whose rows are yet to get their tenant.
    pub copy: Option<CopyRows>,
    /// The parameter that stands for the tenant's value, where one does.
    pub parameter: Option<TenantParameter>,
}

/// The tree that may go to the server in place of `statement`.
///
/// # Errors
/// The statement is not open to the tenant, or not understood.
pub fn isolate(
    statement: &NodeEnum,
    policy: &Policy,
    catalog: &Catalog,
    value: Value<'_>,
) -> Result<Rewritten, Refusal> {
    let mut rewriter = Rewriter::new(statement, policy, catalog, value, false);
    let mut rewritten = statement.clone();
    rewriter.statement(&mut rewritten)?;
    if rewriter.inlined && !rewriter.loud {
        // What the views name makes more expressions loud, those ahead of them too.
        let known = rewriter;
        rewriter = Rewriter::new(statement, policy, catalog, value, false).knowing(known);
        rewritten = statement.clone();
        rewriter.statement(&mut rewritten)?;
    }
    if !rewriter.loud {
        return Ok(Rewritten {
            tree: rewritten,
            loud: false,
            parameter: rewriter.parameter.get(),
            copy: rewriter.copy_rows,
        });
    }
    // A loud condition was met somewhere: now it waits for the tenant's, or every wrap of the statement is
    // fenced.
    let known = rewriter;
    let mut rewriter = Rewriter::new(statement, policy, catalog, value, true).knowing(known);
    rewriter.guards = rewriter.reads_one_table(statement);
    let mut rewritten = statement.clone();
    rewriter.statement(&mut rewritten)?;
    if rewriter.locks {
        return refuse(Rule::LoudLock, "");
    }
    Ok(Rewritten {
        tree: rewritten,
        loud: true,
        parameter: rewriter.parameter.get(),
        copy: rewriter.copy_rows,
    })
}

/// Whether an expression can become a condition of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is run on rows that have passed all conditions.
    Result,
    /// The planner may move it.
    Condition,
}

/// What a relation's name in a statement means.
enum Meaning<'a> {
    /// A WITH item.
    Cte,
    /// A tenant table.
    Table(RelationName, TenantColumn<'a>, &'a Relation),
    /// A shared table.
    Shared(RelationName),
    /// A view and its query.
    View(RelationName, &'a str),
}

struct Rewriter<'a> {
    policy: &'a Policy,
    catalog: &'a Catalog,
    value: Value<'a>,
    /// The parameter that stands for the tenant's value, where one does so far.
    parameter: Cell<Option<TenantParameter>>,
    /// Every wrap becomes a fence.
    fence: bool,
    /// The one table that is read stays as it is, and loud conditions on it wait for the tenant's.
    guards: bool,
    /// A loud condition was met.
    loud: bool,
    /// A locking clause was met.
    locks: bool,
    hazards: Hazards,
    /// Names that a qualified column may end in.
    columns: HashSet<String>,
    /// Aliases of relations that give their columns other names.
    renamed: HashSet<String>,
    /// Names of WITH items in scope.
    ctes: Vec<String>,
    /// Tables of the queries in scope that stand there without an alias.
    bare: Vec<RelationName>,
    /// Wraps made so far.
    wraps: u32,
    depth: usize,
    views: usize,
    /// A view's query was put in its place.
    inlined: bool,
    copy_rows: Option<CopyRows>,
}

impl<'a> Rewriter<'a> {
    fn new(
        statement: &NodeEnum,
        policy: &'a Policy,
        catalog: &'a Catalog,
        value: Value<'a>,
        fence: bool,
    ) -> Self {
        let mut rewriter = Self {
            policy,
            catalog,
            value,
            parameter: Cell::new(None),
            fence,
            guards: false,
            loud: false,
            locks: false,
            hazards: Hazards::default(),
            columns: IMPLIED.iter().map(|name| (*name).to_owned()).collect(),
            renamed: HashSet::new(),
            ctes: Vec::new(),
            bare: Vec::new(),
            wraps: 0,
            depth: 0,
            views: 0,
            inlined: false,
            copy_rows: None,
        };
        let declared = policy
            .tables
            .keys()
            .chain(policy.shared.keys())
            .chain(policy.views.keys());
        for relation in declared.filter_map(|name| catalog.relation(name)) {
            let names = relation.columns.iter().map(|column| column.name.clone());
            rewriter.columns.extend(names);
        }
        rewriter.survey(statement);
        rewriter
    }

    /// With the names that another one has met.
    fn knowing(mut self, other: Self) -> Self {
        (self.hazards, self.columns, self.renamed) = (other.hazards, other.columns, other.renamed);
        self
    }

    /// Collects the names that the statement defines and what its tables have that matters. It may
    /// find too much (a name of a WITH item counts as the table of that name), never too little.
    fn survey(&mut self, statement: &NodeEnum) {
        let mut tables = BTreeSet::new();
        let mut float = false;
        let mut calls = false;
        let (rows, columns, renamed) =
            (&mut self.hazards.rows, &mut self.columns, &mut self.renamed);
        tree::walk(Ref::of(statement), &mut |node| {
            match node {
                Ref::RangeVar(table) => {
                    rows.insert(table.relname.clone());
                    let alias = table.alias.as_ref();
                    let other = alias.filter(|alias| !alias.colnames.is_empty());
                    renamed.extend(other.map(|alias| alias.aliasname.clone()));
                    tables.insert((table.schemaname.clone(), table.relname.clone()));
                }
                Ref::Alias(alias) => {
                    rows.insert(alias.aliasname.clone());
                    columns.insert(alias.aliasname.clone());
                    columns.extend(alias.colnames.iter().filter_map(text).map(str::to_owned));
                }
                Ref::CommonTableExpr(cte) => {
                    rows.insert(cte.ctename.clone());
                    columns.extend(cte.aliascolnames.iter().filter_map(text).map(str::to_owned));
                }
                Ref::ResTarget(target) => drop(columns.insert(target.name.clone())),
                Ref::ColumnDef(column) => drop(columns.insert(column.colname.clone())),
                Ref::FuncCall(call) => {
                    calls = true;
                    columns.extend(call.funcname.last().and_then(text).map(str::to_owned));
                }
                Ref::TypeName(name) => {
                    let name = name.names.last().and_then(text).unwrap_or_default();
                    float |= name.starts_with("float");
                    columns.insert(name.to_owned());
                }
                Ref::ParamRef(_) => calls = true,
                Ref::CteSearchClause(search) => {
                    columns.insert(search.search_seq_column.clone());
                }
                Ref::CteCycleClause(cycle) => {
                    columns.insert(cycle.cycle_mark_column.clone());
                    columns.insert(cycle.cycle_path_column.clone());
                }
                _ => {}
            }
            Descent::Into
        });
        let relations = self.catalog.relations.iter().filter(|(name, _)| {
            tables.iter().any(|(schema, table)| {
                *table == name.name && (schema.is_empty() || *schema == name.schema)
            })
        });
        let mut numeric = false;
        for column in relations.flat_map(|(_, relation)| &relation.columns) {
            let kind = column.type_name.trim_end_matches("[]");
            self.hazards.json |= kind == "json";
            numeric |= kind.starts_with("numeric") && !is_bounded(kind);
            self.hazards.dates |= kind == "date" || kind.ends_with(" without time zone");
            float |= matches!(kind, "real" | "double precision");
        }
        // A number of any size may be too large for the float it is compared with, and the error
        // shows it. The casts are the server's own, so that no expression tells of them.
        self.loud |= numeric && (float || calls);
    }

    /// Whether the statement reads one tenant table and nothing besides, with conditions in its WHERE alone: then
    /// CASE keeps loud ones from rows of others, and the plan is that of the table itself.
    fn reads_one_table(&self, statement: &NodeEnum) -> bool {
        let Some(select) = read_of(statement) else {
            return false;
        };
        let [
            Node {
                node: Some(NodeEnum::RangeVar(table)),
            },
        ] = select.from_clause.as_slice()
        else {
            return false;
        };
        let renamed = |alias: &Alias| !alias.colnames.is_empty();
        let seen =
            matches!(self.declared(table), Ok(Meaning::Table(_, column, _)) if !column.hidden);
        let mixed = tree::any(statement, &mut |node| match node {
            // A pattern that is wrong fails when it is planned, which CASE would put off.
            Ref::AExpr(AExpr { name, .. }) => name
                .last()
                .and_then(text)
                .is_none_or(|name| lists().is_estimated(name)),
            node => matches!(node, Ref::SubLink(_)),
        });
        // Of what the server casts by itself no condition tells.
        !self.loud
            && seen
            && !mixed
            && !table.alias.as_ref().is_some_and(renamed)
            && select.op() == SetOperation::SetopNone
            && select.with_clause.is_none()
            && select.having_clause.is_none()
            && select.locking_clause.is_empty()
    }

    /// Enters one level of nesting; [`Self::leave`] goes back.
    fn enter(&mut self) -> Done {
        self.depth += 1;
        if self.depth > self.policy.limits.ast_depth {
            return refuse(Rule::TooDeep, "");
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// Rewrites a statement as the client sent it.
    fn statement(&mut self, statement: &mut NodeEnum) -> Done {
        match statement {
            NodeEnum::SelectStmt(_)
            | NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_) => self.query(statement, Place::Result),
            NodeEnum::CopyStmt(copy) => self.copy(copy),
            _ => self.session_statement(statement),
        }
    }

    /// Rewrites a statement that reads or writes rows.
    fn query(&mut self, statement: &mut NodeEnum, place: Place) -> Done {
        self.enter()?;
        match statement {
            NodeEnum::SelectStmt(select) => self.select(select, place)?,
            NodeEnum::InsertStmt(insert) => self.insert(insert)?,
            NodeEnum::UpdateStmt(update) => self.update(update)?,
            NodeEnum::DeleteStmt(delete) => self.delete(delete)?,
            other => return refuse(Rule::StatementKind, Ref::of(other).name()),
        }
        self.leave();
        Ok(())
    }

    /// Brings the items of a WITH clause into scope and rewrites them. The caller takes them out of
    /// scope again.
    fn with(&mut self, with: &mut Option<WithClause>) -> Done {
        let Some(WithClause {
            ctes,
            recursive,
            location: _,
        }) = with
        else {
            return Ok(());
        };
        let mut names = Vec::new();
        for item in ctes.iter() {
            let Some(NodeEnum::CommonTableExpr(item)) = &item.node else {
                return refuse(Rule::Construct, "WITH");
            };
            own_name(&item.ctename)?;
            // A name of the system's must never depend on what is in scope.
            if item.ctename.starts_with("pg_") {
                return refuse(Rule::ReservedName, &item.ctename);
            }
            names.push(item.ctename.clone());
        }
        if *recursive {
            self.ctes.append(&mut names);
        }
        for item in ctes {
            let Some(NodeEnum::CommonTableExpr(item)) = &mut item.node else {
                return refuse(Rule::Construct, "WITH");
            };
            let name = item.ctename.clone();
            self.cte(item)?;
            // Without RECURSIVE an item does not see itself.
            if !*recursive {
                self.ctes.push(name);
            }
        }
        Ok(())
    }

    fn cte(&mut self, item: &mut pg_query::protobuf::CommonTableExpr) -> Done {
        let pg_query::protobuf::CommonTableExpr {
            ctename: _,
            aliascolnames,
            ctematerialized: _,
            ctequery,
            search_clause,
            cycle_clause,
            location: _,
            cterecursive: _,
            cterefcount: _,
            ctecolnames,
            ctecoltypes,
            ctecoltypmods,
            ctecolcollations,
        } = item;
        own_names(aliascolnames)?;
        if let Some(search) = search_clause {
            own_name(&search.search_seq_column)?;
        }
        if let Some(cycle) = cycle_clause {
            own_name(&cycle.cycle_mark_column)?;
            own_name(&cycle.cycle_path_column)?;
            for value in [&mut cycle.cycle_mark_value, &mut cycle.cycle_mark_default] {
                let constant = value.as_ref().is_none_or(|value| is_constant(value));
                if !constant {
                    return refuse(Rule::Construct, "CYCLE");
                }
                if let Some(value) = value {
                    self.expression(value)?;
                }
            }
        }
        let analyzed = [ctecolnames, ctecoltypes, ctecoltypmods, ctecolcollations];
        if analyzed.iter().any(|list| !list.is_empty()) {
            return refuse(Rule::Construct, "WITH");
        }
        // The tables outside are not visible in a WITH item of the same query, but an outer query's
        // are: the list only decides whether a schema may be left out.
        let ctes = self.ctes.len();
        match ctequery.as_mut().and_then(|query| query.node.as_mut()) {
            Some(query) => self.query(query, Place::Condition)?,
            None => return refuse(Rule::Construct, "WITH"),
        }
        self.ctes.truncate(ctes);
        Ok(())
    }

    /// What a relation's name in FROM means.
    fn meaning(&self, table: &RangeVar) -> Result<Meaning<'a>, Refusal> {
        let RangeVar {
            catalogname,
            schemaname,
            relname,
            ..
        } = table;
        if !catalogname.is_empty() {
            return refuse(Rule::DatabaseName, relname);
        }
        if schemaname.is_empty() && self.ctes.contains(relname) {
            return Ok(Meaning::Cte);
        }
        self.declared(table)
    }

    /// The declared relation of a name, whatever WITH says: targets of writes are never WITH items.
    fn declared(&self, table: &RangeVar) -> Result<Meaning<'a>, Refusal> {
        if !table.catalogname.is_empty() {
            return refuse(Rule::DatabaseName, &table.relname);
        }
        let candidates: Vec<RelationName> = if table.schemaname.is_empty() {
            // A name that the system has too is the system's for the server.
            if table.relname.starts_with("pg_") {
                return refuse(Rule::Relation, &table.relname);
            }
            let path = self.policy.search_path.iter();
            path.map(|schema| RelationName::new(schema, &table.relname))
                .collect()
        } else {
            vec![RelationName::new(&table.schemaname, &table.relname)]
        };
        // The first of the path that exists counts, declared or not.
        let found = candidates
            .into_iter()
            .find(|name| self.catalog.relation(name).is_some());
        let Some(name) = found else {
            return refuse(Rule::Relation, &table.relname);
        };
        let (Some(role), Some(relation)) = (self.policy.role(&name), self.catalog.relation(&name))
        else {
            return refuse(Rule::Relation, name.to_string());
        };
        use super::catalog::RelationKind;
        match (role, &relation.kind) {
            (Role::Tenant(column), RelationKind::Table) => {
                Ok(Meaning::Table(name, column, relation))
            }
            (Role::Shared, RelationKind::Table) => Ok(Meaning::Shared(name)),
            (Role::View, RelationKind::View { definition, .. }) => {
                Ok(Meaning::View(name, definition))
            }
            _ => refuse(Rule::Relation, name.to_string()),
        }
    }

    /// The tenant's value as a constant, or a parameter, of the column's type.
    fn value(&self, column: TenantColumn<'_>) -> Result<Node, Refusal> {
        let kind = column.kind;
        match self.value {
            Value::Literal(tenant) => match tenant.value(kind) {
                Some(value) => Ok(build::constant(value, kind.catalog_name())),
                None => refuse(Rule::NoValue, column.name),
            },
            Value::Parameter(number) => {
                let parameter = TenantParameter { number, kind };
                match self.parameter.replace(Some(parameter)) {
                    // One parameter has one type.
                    Some(before) if before != parameter => refuse(Rule::OfTenant, column.name),
                    _ => Ok(build::parameter(number, kind.catalog_name())),
                }
            }
        }
    }

    /// `alias.column = value`.
    fn predicate(&self, alias: &str, column: TenantColumn<'_>) -> Result<Node, Refusal> {
        Ok(build::equals(
            build::column(alias, column.name),
            self.value(column)?,
        ))
    }

    /// A new name that no client can use.
    fn wrap_name(&mut self) -> String {
        self.wraps += 1;
        format!("{RESERVED}{}", self.wraps)
    }
}

/// The query of a statement that does nothing but read.
fn read_of(statement: &NodeEnum) -> Option<&SelectStmt> {
    let query = match statement {
        NodeEnum::SelectStmt(select) => return Some(select),
        NodeEnum::ExplainStmt(explain) => &explain.query,
        NodeEnum::PrepareStmt(prepare) => &prepare.query,
        NodeEnum::DeclareCursorStmt(declare) => &declare.query,
        NodeEnum::CopyStmt(copy) => &copy.query,
        _ => return None,
    };
    match &query.as_ref()?.node {
        Some(NodeEnum::SelectStmt(select)) => Some(select),
        _ => None,
    }
}

/// The columns of a table that tenants see.
fn visible<'r>(relation: &'r Relation, column: TenantColumn<'_>) -> Vec<&'r str> {
    let names = relation.columns.iter().map(|column| column.name.as_str());
    names
        .filter(|name| !column.hidden || *name != column.name)
        .collect()
}

/// Names of result columns that nobody wrote.
const IMPLIED: [&str; 20] = [
    "?column?",
    "column1",
    "column2",
    "column3",
    "column4",
    "column5",
    "column6",
    "column7",
    "column8",
    "case",
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "exists",
    "array",
    "row",
    "grouping",
    "ordinality",
    "bool",
];

/// Whether every value of the type fits into a float: `numeric(12,2)`.
fn is_bounded(kind: &str) -> bool {
    let precision = kind
        .strip_prefix("numeric(")
        .and_then(|rest| rest.split(',').next())
        .and_then(|digits| digits.trim_end_matches(')').parse::<u32>().ok());
    precision.is_some_and(|digits| digits <= 38)
}

/// A name that a client may define.
fn own_name(name: &str) -> Done {
    if name.starts_with(RESERVED) {
        return refuse(Rule::ReservedName, name);
    }
    Ok(())
}

fn own_names(names: &[Node]) -> Done {
    for name in names {
        match text(name) {
            Some(name) => own_name(name)?,
            None => return refuse(Rule::Construct, "name"),
        }
    }
    Ok(())
}

fn own_alias(alias: &Option<Alias>) -> Done {
    match alias {
        Some(Alias {
            aliasname,
            colnames,
        }) => {
            own_name(aliasname)?;
            own_names(colnames)
        }
        None => Ok(()),
    }
}

/// Whether a node is a literal.
fn is_constant(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::AConst(_)) => true,
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_ref().is_some_and(|arg| is_constant(arg)),
        _ => false,
    }
}

/// Whether the setting is one that this policy's tenants may see and change.
fn may_set(policy: &Policy, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    lists().has_transaction_setting(&name)
        || (lists().has_setting(&name) && policy.settings.allow.contains(&name))
}
