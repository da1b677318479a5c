//! Whether the database is as the policy takes it to be. What is proven of statements holds only
//! then, so a database with a fatal finding is not served.

use std::fmt;

use super::barrier;
use super::catalog::{
    Catalog, ForeignKey, ReferentialAction, Relation, RelationKind, RelationName,
};
use super::rules::{ExistenceOracle, Policy, Role, TenantColumn};
use super::tenant::TenantType;

/// Something that is not as the policy takes it to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The relation it is about.
    pub relation: RelationName,
    /// What it is.
    pub problem: Problem,
}

/// What is wrong with a relation. Names are of columns, keys and other relations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// A declared relation is not there.
    Missing,
    /// It is there as something else: a view declared as a table.
    Kind,
    /// The tenant column is not there.
    NoColumn(String),
    /// The tenant column may be NULL, so a wrong value would not be refused.
    Nullable(String),
    /// The tenant column has another type than declared: name, type.
    ColumnType(String, String),
    /// A unique key does not contain the tenant column: a conflict tells of rows of others.
    GlobalKey(String),
    /// The same, accepted by the policy.
    AcceptedKey(String),
    /// A foreign key to a tenant table does not pair the tenant columns: it sees rows of others.
    ForeignKey(String),
    /// A foreign key changes the tenant column of other rows.
    ForeignAction(String),
    /// A foreign key to a table that is not declared.
    UndeclaredReference(String, RelationName),
    /// Rules, policies or triggers do something that no statement says.
    Attachment(String),
    /// An undeclared view reads a declared table.
    UndeclaredView(RelationName),
    /// A view that is to be inlined reads something undeclared.
    ViewReads(RelationName),
    /// A column's type is not one of the system's that are known: its operators are not found under
    /// the search path of tenants. Name, type.
    UnknownType(String, String),
}

impl Problem {
    /// Whether the database cannot be served with it.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::AcceptedKey(_) | Self::UnknownType(..))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relation = &self.relation;
        match &self.problem {
            Problem::Missing => write!(f, "{relation} does not exist"),
            Problem::Kind => write!(f, "{relation} is not what the policy declares it to be"),
            Problem::NoColumn(column) => write!(f, "{relation} has no column {column}"),
            Problem::Nullable(column) => write!(f, "{relation}.{column} is not NOT NULL"),
            Problem::ColumnType(column, kind) => write!(
                f,
                "{relation}.{column} is of type {kind}, not of the declared one"
            ),
            Problem::GlobalKey(key) => write!(
                f,
                "unique key {key} of {relation} does not contain the tenant column; \
                 existence_oracle: accept lets it tell of keys of other tenants"
            ),
            Problem::AcceptedKey(key) => write!(
                f,
                "unique key {key} of {relation} tells of keys of other tenants, as accepted"
            ),
            Problem::ForeignKey(key) => write!(
                f,
                "foreign key {key} of {relation} does not pair the tenant columns"
            ),
            Problem::ForeignAction(key) => {
                write!(f, "foreign key {key} of {relation} sets its tenant column")
            }
            Problem::UndeclaredReference(key, other) => write!(
                f,
                "foreign key {key} of {relation} references {other}, which is not declared"
            ),
            Problem::Attachment(name) => {
                write!(
                    f,
                    "{relation} has {name}: rules, policies and triggers are not supported"
                )
            }
            Problem::UndeclaredView(table) => {
                write!(f, "view {relation} reads {table} and is not declared")
            }
            Problem::ViewReads(table) => {
                write!(f, "view {relation} reads {table}, which is not declared")
            }
            Problem::UnknownType(column, kind) => write!(
                f,
                "{relation}.{column} is of type {kind}: conditions on it may fail for tenants"
            ),
        }
    }
}

/// Compares the policy with the catalog. An empty list is a database that can be served.
#[must_use]
pub fn check(policy: &Policy, catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    let declared = policy
        .tables
        .keys()
        .chain(policy.shared.keys())
        .chain(policy.views.keys());
    for name in declared {
        let mut problems = Vec::new();
        match catalog.relation(name) {
            None => problems.push(Problem::Missing),
            Some(relation) => check_relation(name, relation, policy, &mut problems),
        }
        let found = problems.into_iter().map(|problem| Finding {
            relation: name.clone(),
            problem,
        });
        findings.extend(found);
    }
    findings.extend(undeclared_views(policy, catalog));
    findings
}

fn check_relation(
    name: &RelationName,
    relation: &Relation,
    policy: &Policy,
    problems: &mut Vec<Problem>,
) {
    let table = relation.kind == RelationKind::Table;
    match policy.role(name) {
        Some(Role::Tenant(_) | Role::Shared) if !table => return problems.push(Problem::Kind),
        Some(Role::Tenant(column)) => {
            check_column(relation, column, problems);
            check_keys(name, relation, column, policy, problems);
            check_references(relation, column, policy, problems);
        }
        Some(Role::View) => match &relation.kind {
            RelationKind::View { reads, .. } => {
                let undeclared = reads.iter().filter(|read| policy.role(read).is_none());
                problems.extend(undeclared.cloned().map(Problem::ViewReads));
            }
            _ => problems.push(Problem::Kind),
        },
        Some(Role::Shared) | None => {}
    }
    if policy.role(name).is_some() {
        problems.extend(
            relation
                .attachments
                .iter()
                .cloned()
                .map(Problem::Attachment),
        );
        let unknown = relation
            .columns
            .iter()
            .filter(|column| !is_known(&column.type_name));
        problems.extend(
            unknown
                .map(|column| Problem::UnknownType(column.name.clone(), column.type_name.clone())),
        );
    }
}

fn check_column(relation: &Relation, column: TenantColumn<'_>, problems: &mut Vec<Problem>) {
    let Some(found) = relation.column(column.name) else {
        return problems.push(Problem::NoColumn(column.name.to_owned()));
    };
    if !found.not_null {
        problems.push(Problem::Nullable(column.name.to_owned()));
    }
    let base = found.type_name.split('(').next().unwrap_or_default();
    let fits = match column.kind {
        TenantType::Integer => base == "integer",
        TenantType::Bigint => base == "bigint",
        TenantType::Uuid => base == "uuid",
        TenantType::Text => matches!(base, "text" | "character varying"),
    };
    if !fits {
        let kind = found.type_name.clone();
        problems.push(Problem::ColumnType(column.name.to_owned(), kind));
    }
}

fn check_keys(
    name: &RelationName,
    relation: &Relation,
    column: TenantColumn<'_>,
    policy: &Policy,
    problems: &mut Vec<Problem>,
) {
    let oracle = policy.tables.get(name).map(|table| table.existence_oracle);
    let accepted = oracle == Some(ExistenceOracle::Accept);
    for key in relation.keys_without(column.name) {
        problems.push(if accepted {
            Problem::AcceptedKey(key.name.clone())
        } else {
            Problem::GlobalKey(key.name.clone())
        });
    }
}

fn check_references(
    relation: &Relation,
    column: TenantColumn<'_>,
    policy: &Policy,
    problems: &mut Vec<Problem>,
) {
    for key in &relation.foreign_keys {
        match policy.role(&key.references) {
            Some(Role::Tenant(other)) => {
                let paired = key
                    .columns
                    .iter()
                    .any(|(from, to)| from == column.name && to == other.name);
                if !paired {
                    problems.push(Problem::ForeignKey(key.name.clone()));
                } else if sets_column(key, column.name) {
                    problems.push(Problem::ForeignAction(key.name.clone()));
                }
            }
            Some(Role::Shared) => {}
            Some(Role::View) | None => problems.push(Problem::UndeclaredReference(
                key.name.clone(),
                key.references.clone(),
            )),
        }
    }
}

/// Whether a foreign key's actions change this column of referencing rows.
fn sets_column(key: &ForeignKey, column: &str) -> bool {
    let [deleted, updated] = key.actions;
    let all = key.set_on_delete.is_empty();
    let named = key.set_on_delete.iter().any(|name| name == column);
    updated == ReferentialAction::Set || deleted == ReferentialAction::Set && (all || named)
}

fn undeclared_views<'a>(
    policy: &'a Policy,
    catalog: &'a Catalog,
) -> impl Iterator<Item = Finding> + 'a {
    catalog.relations.iter().filter_map(|(name, relation)| {
        let RelationKind::View { reads, .. } = &relation.kind else {
            return None;
        };
        if policy.views.contains_key(name) || barrier::is_own(name, policy, catalog) {
            return None;
        }
        let read = reads.iter().find(|read| policy.tables.contains_key(read))?;
        Some(Finding {
            relation: name.clone(),
            problem: Problem::UndeclaredView(read.clone()),
        })
    })
}

/// Whether a type is one of the system's whose operators are always found.
fn is_known(name: &str) -> bool {
    let base = name
        .trim_end_matches("[]")
        .split('(')
        .next()
        .unwrap_or_default();
    let zoned = base.starts_with("time") || base.starts_with("timestamp");
    zoned
        || matches!(
            base,
            "boolean"
                | "smallint"
                | "integer"
                | "bigint"
                | "real"
                | "double precision"
                | "numeric"
                | "text"
                | "character varying"
                | "character"
                | "bytea"
                | "date"
                | "interval"
                | "uuid"
                | "json"
                | "jsonb"
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tenancy::catalog::{Column, Key};

    /// A relation, a change of it, and what is found.
    type Case = (&'static str, Box<dyn FnOnce(&mut Relation)>, Problem);

    const POLICY: &str = "
version: 1
search_path: [app]
tenant: {type: integer}
tables: {app.a: {}, app.b: {}, app.c: {existence_oracle: accept}, app.t: {type: text}}
shared: {app.s: {access: read}}
views: {app.v: {mode: inline}, app.w: {mode: refuse}}
";

    fn name(text: &str) -> RelationName {
        text.parse().unwrap()
    }

    fn table(kind: &str) -> Relation {
        let column = |name: &str, kind: &str| Column {
            name: name.to_owned(),
            type_name: kind.to_owned(),
            not_null: true,
        };
        let mut relation = Relation::new(
            RelationKind::Table,
            vec![column("tenant_id", kind), column("id", "integer")],
        );
        relation
            .keys
            .push(key("pk", &[Some("tenant_id"), Some("id")]));
        relation
    }

    fn key(name: &str, columns: &[Option<&str>]) -> Key {
        Key {
            name: name.to_owned(),
            columns: columns.iter().map(|name| name.map(str::to_owned)).collect(),
            primary: false,
        }
    }

    fn reference(to: &str, columns: &[(&str, &str)], action: ReferentialAction) -> ForeignKey {
        let own = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
        ForeignKey {
            name: "fk".to_owned(),
            columns: columns.iter().map(own).collect(),
            references: name(to),
            actions: [action, ReferentialAction::Keep],
            set_on_delete: Vec::new(),
        }
    }

    fn view(reads: &[&str]) -> Relation {
        let kind = RelationKind::View {
            definition: "SELECT 1".to_owned(),
            reads: reads.iter().map(|read| name(read)).collect(),
        };
        Relation::new(kind, Vec::new())
    }

    fn good() -> Catalog {
        let mut catalog = Catalog::default();
        for table_name in ["app.a", "app.b", "app.c", "app.s", "app.other"] {
            catalog.relations.insert(name(table_name), table("integer"));
        }
        catalog.relations.insert(name("app.t"), table("text"));
        catalog
            .relations
            .insert(name("app.v"), view(&["app.a", "app.s"]));
        catalog
            .relations
            .insert(name("app.w"), view(&["app.a", "app.other"]));
        catalog
            .relations
            .insert(name("app.x"), view(&["app.other"]));
        catalog
    }

    /// What a change of the good catalog is found to be.
    fn found(relation: &str, change: impl FnOnce(&mut Catalog)) -> Vec<Problem> {
        let mut catalog = good();
        change(&mut catalog);
        let findings = check(&Policy::parse(POLICY).unwrap(), &catalog);
        assert!(
            findings
                .iter()
                .all(|finding| finding.relation == name(relation))
        );
        findings
            .into_iter()
            .map(|finding| finding.problem)
            .collect()
    }

    #[test]
    fn a_good_database_has_no_findings() {
        assert_eq!(found("app.a", |_| {}), []);
    }

    #[test]
    fn each_thing_that_breaks_the_proof_is_found() {
        fn s(text: &str) -> String {
            text.to_owned()
        }
        let a = name("app.a");
        let cases: Vec<Case> = vec![
            (
                "app.a",
                Box::new(|a| a.kind = RelationKind::Other),
                Problem::Kind,
            ),
            (
                "app.s",
                Box::new(|s| s.kind = RelationKind::Other),
                Problem::Kind,
            ),
            (
                "app.v",
                Box::new(|v| v.kind = RelationKind::Table),
                Problem::Kind,
            ),
            (
                "app.a",
                Box::new(|a| a.columns[0].name = s("x")),
                Problem::NoColumn(s("tenant_id")),
            ),
            (
                "app.a",
                Box::new(|a| a.columns[0].not_null = false),
                Problem::Nullable(s("tenant_id")),
            ),
            (
                "app.a",
                Box::new(|a| a.columns[0].type_name = s("bigint")),
                Problem::ColumnType(s("tenant_id"), s("bigint")),
            ),
            (
                "app.t",
                Box::new(|t| t.columns[0].type_name = s("character(5)")),
                Problem::ColumnType(s("tenant_id"), s("character(5)")),
            ),
            (
                "app.a",
                Box::new(|a| a.keys.push(key("u", &[Some("id")]))),
                Problem::GlobalKey(s("u")),
            ),
            (
                "app.c",
                Box::new(|c| c.keys.push(key("u", &[Some("id")]))),
                Problem::AcceptedKey(s("u")),
            ),
            (
                "app.a",
                Box::new(|a| a.keys.push(key("u", &[None]))),
                Problem::GlobalKey(s("u")),
            ),
            (
                "app.a",
                Box::new(|a| {
                    a.foreign_keys.push(reference(
                        "app.b",
                        &[("id", "id")],
                        ReferentialAction::Keep,
                    ));
                }),
                Problem::ForeignKey(s("fk")),
            ),
            (
                "app.a",
                Box::new(|a| {
                    let columns = [("tenant_id", "id"), ("id", "tenant_id")];
                    a.foreign_keys
                        .push(reference("app.b", &columns, ReferentialAction::Keep));
                }),
                Problem::ForeignKey(s("fk")),
            ),
            (
                "app.a",
                Box::new(|a| {
                    let columns = [("tenant_id", "tenant_id"), ("id", "id")];
                    a.foreign_keys
                        .push(reference("app.b", &columns, ReferentialAction::Set));
                }),
                Problem::ForeignAction(s("fk")),
            ),
            (
                "app.a",
                Box::new(|a| {
                    a.foreign_keys.push(reference(
                        "app.other",
                        &[("id", "id")],
                        ReferentialAction::Keep,
                    ));
                }),
                Problem::UndeclaredReference(s("fk"), name("app.other")),
            ),
            (
                "app.a",
                Box::new(|a| a.attachments.push(s("trigger t"))),
                Problem::Attachment(s("trigger t")),
            ),
            (
                "app.v",
                Box::new(|v| *v = view(&["app.other"])),
                Problem::ViewReads(name("app.other")),
            ),
            (
                "app.x",
                Box::new(|x| *x = view(&["app.a"])),
                Problem::UndeclaredView(a),
            ),
            (
                "app.a",
                Box::new(|a| a.columns[1].type_name = s("app.color")),
                Problem::UnknownType(s("id"), s("app.color")),
            ),
        ];
        for (relation, change, problem) in cases {
            let of = name(relation);
            let problems = found(relation, |catalog| {
                change(catalog.relations.get_mut(&of).unwrap())
            });
            assert_eq!(problems, [problem], "{relation}");
        }
        let gone = found("app.a", |catalog| {
            drop(catalog.relations.remove(&name("app.a")))
        });
        assert_eq!(gone, [Problem::Missing]);
    }

    #[test]
    fn what_agrees_is_no_finding() {
        let fine = found("app.a", |catalog| {
            let a = catalog.relations.get_mut(&name("app.a")).unwrap();
            let columns = [("tenant_id", "tenant_id"), ("id", "id")];
            a.foreign_keys
                .push(reference("app.b", &columns, ReferentialAction::Keep));
            a.foreign_keys
                .push(reference("app.s", &[("id", "id")], ReferentialAction::Keep));
            let t = catalog.relations.get_mut(&name("app.t")).unwrap();
            t.columns[0].type_name = "character varying(20)".to_owned();
        });
        assert_eq!(fine, []);
    }

    #[test]
    fn only_accepted_keys_and_unknown_types_let_a_database_be_served() {
        assert!(!Problem::AcceptedKey(String::new()).is_fatal());
        assert!(!Problem::UnknownType(String::new(), String::new()).is_fatal());
        assert!(Problem::GlobalKey(String::new()).is_fatal());
        assert!(Problem::Missing.is_fatal());
    }

    #[test]
    fn a_foreign_key_may_set_columns_that_are_not_the_tenants() {
        for (column, problems) in [
            ("id", Vec::new()),
            ("tenant_id", vec![Problem::ForeignAction("fk".to_owned())]),
        ] {
            let found = found("app.a", |catalog| {
                let columns = [("tenant_id", "tenant_id"), ("id", "id")];
                let mut key = reference("app.b", &columns, ReferentialAction::Set);
                key.set_on_delete = vec![column.to_owned()];
                let table = catalog.relations.get_mut(&name("app.a")).unwrap();
                table.foreign_keys.push(key);
            });
            assert_eq!(found, problems, "{column}");
        }
    }
}
