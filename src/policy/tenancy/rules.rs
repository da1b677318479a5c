//! The policy file: which tables belong to tenants, and what tenants may name besides.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use thiserror::Error;

use super::catalog::{Catalog, RelationKind, RelationName};
use super::lists::lists;
use super::tenant::{NotATenant, Tenant, TenantType};

/// Why a policy cannot be used.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum PolicyError {
    /// The file is not of the format; says where.
    #[error("{0}")]
    Format(String),
    /// It says something that cannot be.
    #[error("{key}: {problem}")]
    Value {
        /// Where in the file.
        key: String,
        /// What is wrong.
        problem: String,
    },
}

/// What happens to what the file does not name. There is one value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unnamed {
    /// It is refused.
    #[default]
    Deny,
}

/// Where a session's tenant comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The user's entry.
    UserMap,
    /// A signed claim.
    Jwt,
    /// The client's certificate.
    Certificate,
}

/// A claim of the token that a client logs in with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// Entry of `tokens:` of the proxy's configuration that must have vouched for it.
    pub issuer: String,
    /// The claim that names the tenant.
    pub claim: String,
}

/// Which name of a client's certificate is the tenant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateName {
    /// The only common name of the subject.
    CommonName,
    /// The only DNS name.
    Dns,
}

/// Section `tenant`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantRules {
    /// Tenant column of tables that do not name theirs.
    #[serde(default = "tenant_column")]
    pub column: String,
    /// Its type in tables that do not name theirs.
    #[serde(rename = "type")]
    pub kind: TenantType,
    /// Who says which tenant a session belongs to. All that answer must agree.
    #[serde(default = "user_map_alone")]
    pub resolve: Vec<Source>,
    /// Tenants of users.
    #[serde(default)]
    pub user_map: BTreeMap<String, String>,
    /// The token to trust.
    #[serde(default)]
    pub jwt: Option<Jwt>,
    /// The name to trust.
    #[serde(default)]
    pub certificate: Option<CertificateName>,
    /// Further spellings of a tenant in columns of other types, by its name.
    #[serde(default)]
    pub values: BTreeMap<String, BTreeMap<TenantType, String>>,
}

fn tenant_column() -> String {
    "tenant_id".to_owned()
}

fn user_map_alone() -> Vec<Source> {
    vec![Source::UserMap]
}

/// What to do with unique keys that do not contain the tenant column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExistenceOracle {
    /// The database is not served.
    #[default]
    Refuse,
    /// A conflict tells that another tenant has the key, as under row-level security.
    Accept,
}

/// A table that belongs to tenants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TableRules {
    /// Tenant column.
    pub column: Option<String>,
    /// Type of the tenant column.
    #[serde(rename = "type")]
    pub kind: Option<TenantType>,
    /// Keys without the tenant column.
    pub existence_oracle: ExistenceOracle,
    /// Tenants do not see the tenant column: for them the table has none.
    pub hidden: Option<bool>,
}

/// What tenants may do with a shared table. There is one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Read it.
    Read,
}

/// A table that all tenants see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedRules {
    /// What they may do.
    pub access: Access,
}

/// What becomes of a view's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ViewMode {
    /// Its query takes its place.
    Inline,
    /// It is refused.
    Refuse,
}

/// A view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewRules {
    /// What becomes of it.
    pub mode: ViewMode,
}

/// Functions whose author vouches that they are pure and read no table: `app.fx(numeric,text)`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FunctionRules {
    /// Their signatures, with their schemas.
    pub allow: Vec<Signature>,
}

/// A function of the database, as the policy names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature {
    /// Its schema; never `pg_catalog`, whose functions are on the program's own list.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Types of its arguments as written.
    pub arguments: Vec<String>,
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        read_signature(&text).ok_or_else(|| {
            serde::de::Error::custom(
                "a function is written schema.name(type, …), its schema is not pg_catalog",
            )
        })
    }
}

fn read_signature(text: &str) -> Option<Signature> {
    let (name, arguments) = text.strip_suffix(')')?.split_once('(')?;
    let RelationName { schema, name } = name.trim().parse().ok()?;
    let arguments: Vec<String> = arguments
        .split(',')
        .map(|part| part.trim().to_owned())
        .collect();
    let arguments = match arguments.as_slice() {
        [only] if only.is_empty() => Vec::new(),
        _ if arguments.iter().any(String::is_empty) => return None,
        _ => arguments,
    };
    let own = !schema.starts_with("pg_") && schema != "information_schema" && schema != "sys";
    own.then_some(Signature {
        schema,
        name,
        arguments,
    })
}

/// Settings that tenants may see and change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SettingRules {
    /// Their names, in lower case.
    pub allow: BTreeSet<String>,
}

/// What becomes of EXPLAIN.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Explain {
    /// It is refused: it shows estimates that count the rows of others.
    #[default]
    Refuse,
    /// It is allowed without ANALYZE.
    Plan,
}

/// What becomes of catalogs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Catalogs {
    /// They are refused.
    #[default]
    Refuse,
    /// Tools see what the policy declares, and the system's own.
    Declared,
}

/// What clients read of the server's errors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Errors {
    /// One text for each SQLSTATE.
    #[default]
    Canned,
    /// The server's sentence, except where it may hold a value of others.
    Message,
}

/// Section `limits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Longest statement, in bytes.
    pub statement_bytes: usize,
    /// Deepest nesting of a statement's tree, in nodes.
    pub ast_depth: usize,
    /// EXPLAIN.
    pub explain: Explain,
    /// Errors.
    pub errors: Errors,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            statement_bytes: 1024 * 1024,
            ast_depth: 200,
            explain: Explain::Refuse,
            errors: Errors::Canned,
        }
    }
}

/// How the tenant's value gets into a statement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TenantValue {
    /// As a typed literal.
    #[default]
    Literal,
    /// As a bind parameter behind the client's own, where a statement can have one: tenants share its text
    /// and what servers have prepared of it.
    Parameter,
}

/// A policy as its file says it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The file's own version, told in the log and part of every cache key.
    pub version: u64,
    /// What happens to what is not named.
    #[serde(default)]
    pub default: Unnamed,
    /// Schemas in which tables without a schema are looked for, in order.
    pub search_path: Vec<String>,
    /// Tenants.
    pub tenant: TenantRules,
    /// How the tenant's value gets into a statement.
    #[serde(default)]
    pub tenant_value: TenantValue,
    /// Tables that belong to tenants.
    #[serde(deserialize_with = "tables")]
    pub tables: BTreeMap<RelationName, TableRules>,
    /// What holds of tables on the search path that are not named: `tables.default`.
    #[serde(skip)]
    pub default_table: Option<TableRules>,
    /// Those of `tables` that the file does not name ([`Policy::in_database`]).
    #[serde(skip)]
    pub found: BTreeSet<RelationName>,
    /// Tables that all tenants read.
    #[serde(default)]
    pub shared: BTreeMap<RelationName, SharedRules>,
    /// Views.
    #[serde(default)]
    pub views: BTreeMap<RelationName, ViewRules>,
    /// Functions of the database's own.
    #[serde(default)]
    pub functions: FunctionRules,
    /// Settings.
    #[serde(default)]
    pub settings: SettingRules,
    /// Catalogs.
    #[serde(default)]
    pub catalogs: Catalogs,
    /// Limits.
    #[serde(default)]
    pub limits: Limits,
}

/// Section `tables`: `default` stands for tables that are not named.
fn tables<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<RelationName, TableRules>, D::Error> {
    let written = BTreeMap::<String, TableRules>::deserialize(deserializer)?;
    let named = written.into_iter().map(|(name, rules)| {
        let name = match name.as_str() {
            DEFAULT => Ok(RelationName::new("", DEFAULT)),
            name => name.parse().map_err(serde::de::Error::custom),
        };
        name.map(|name| (name, rules))
    });
    named.collect()
}

/// Stands for all tables that are not named.
const DEFAULT: &str = "default";

/// What a relation is to the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role<'a> {
    /// Tenants' own rows of it.
    Tenant(TenantColumn<'a>),
    /// All of it, to read.
    Shared,
    /// Its query in its place.
    View,
}

/// A table's tenant column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantColumn<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type.
    pub kind: TenantType,
    /// Tenants do not see it.
    pub hidden: bool,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// The text is not of the format, has unknown keys, or contradicts itself.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let mut policy: Self =
            serde_saphyr::from_str(text).map_err(|error| PolicyError::Format(error.to_string()))?;
        policy.default_table = policy.tables.remove(&RelationName::new("", DEFAULT));
        policy.check()?;
        Ok(policy)
    }

    fn check(&self) -> Result<(), PolicyError> {
        let wrong = |key: String, problem: &str| PolicyError::Value {
            key,
            problem: problem.to_owned(),
        };
        if self.search_path.is_empty() {
            return Err(wrong("search_path".to_owned(), "names no schema"));
        }
        if let Some(schema) = self.search_path.iter().find(|schema| is_systems(schema)) {
            return Err(wrong(
                format!("search_path: {schema}"),
                "is a schema of the system",
            ));
        }
        if self.tables.is_empty() && self.default_table.is_none() {
            return Err(wrong("tables".to_owned(), "names no table"));
        }
        let names = self
            .tables
            .keys()
            .chain(self.shared.keys())
            .chain(self.views.keys());
        let mut seen = BTreeSet::new();
        for name in names {
            if is_systems(&name.schema) {
                return Err(wrong(name.to_string(), "is in a schema of the system"));
            }
            if !seen.insert(name) {
                return Err(wrong(name.to_string(), "is declared twice"));
            }
        }
        let columns = self
            .tables
            .values()
            .chain(&self.default_table)
            .filter_map(|table| table.column.as_ref());
        if columns.chain([&self.tenant.column]).any(String::is_empty) {
            return Err(wrong("column".to_owned(), "is empty"));
        }
        if let Some(setting) = self
            .settings
            .allow
            .iter()
            .find(|name| !lists().has_setting(name))
        {
            return Err(wrong(
                format!("settings.allow: {setting}"),
                "cannot be left to tenants",
            ));
        }
        for user in self.tenant.user_map.keys() {
            self.tenant_of(user)
                .map_err(|error| wrong(format!("tenant.user_map.{user}"), &error.to_string()))?;
        }
        for (name, values) in &self.tenant.values {
            self.tenant_named(name)
                .map_err(|error| wrong(format!("tenant.values.{name}"), &error.to_string()))?;
            if values.contains_key(&self.tenant.kind) {
                return Err(wrong(
                    format!("tenant.values.{name}"),
                    "gives a value of the type that the name itself is of",
                ));
            }
        }
        self.check_spellings()?;
        if self.tenant.resolve.is_empty() {
            return Err(wrong("tenant.resolve".to_owned(), "names no source"));
        }
        if self.tenant.resolve.contains(&Source::Jwt) != self.tenant.jwt.is_some() {
            return Err(wrong(
                "tenant.jwt".to_owned(),
                "is given exactly when resolve names jwt",
            ));
        }
        let certificate = self.tenant.resolve.contains(&Source::Certificate);
        if certificate != self.tenant.certificate.is_some() {
            return Err(wrong(
                "tenant.certificate".to_owned(),
                "is given exactly when resolve names certificate",
            ));
        }
        Ok(())
    }

    /// Two tenants must not share a value.
    fn check_spellings(&self) -> Result<(), PolicyError> {
        let mut seen = BTreeSet::new();
        for (name, values) in &self.tenant.values {
            for (kind, value) in values {
                if !seen.insert((*kind, value)) {
                    return Err(PolicyError::Value {
                        key: format!("tenant.values.{name}"),
                        problem: "shares a value with another tenant".to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    /// The tenant of a user by the file's own map.
    ///
    /// # Errors
    /// The user has none, or it is none.
    pub fn tenant_of(&self, user: &str) -> Result<Tenant, NoTenant> {
        let name = self.tenant.user_map.get(user).ok_or(NoTenant::Unknown)?;
        self.tenant_named(name)
    }

    /// The tenant of this name: its value in columns of the file's type, and its other spellings.
    ///
    /// # Errors
    /// The name is no value of that type, or a spelling is none of its.
    pub fn tenant_named(&self, name: &str) -> Result<Tenant, NoTenant> {
        let other = self.tenant.values.get(name).into_iter().flatten();
        let other = other.map(|(kind, value)| (*kind, value.clone()));
        let values = other.chain([(self.tenant.kind, name.to_owned())]);
        Tenant::with_values(values).map_err(NoTenant::Value)
    }

    /// The policy as it holds in a database: with all tables of the search path that `tables.default`
    /// stands for.
    #[must_use]
    pub fn in_database(&self, catalog: &Catalog) -> Self {
        let mut policy = self.clone();
        let Some(default) = &self.default_table else {
            return policy;
        };
        for (name, relation) in &catalog.relations {
            if relation.kind == RelationKind::Table && self.is_default(name) {
                policy.tables.insert(name.clone(), default.clone());
                policy.found.insert(name.clone());
            }
        }
        policy
    }

    /// Whether `tables.default` stands for a table of this name.
    #[must_use]
    pub fn is_default(&self, name: &RelationName) -> bool {
        let named = self.tables.contains_key(name) && !self.found.contains(name)
            || self.shared.contains_key(name)
            || self.views.contains_key(name);
        self.default_table.is_some() && !named && self.search_path.contains(&name.schema)
    }

    /// Whether this is what another policy, as its file has it, is in a database.
    #[must_use]
    pub fn is_of(&self, file: &Self) -> bool {
        let mut policy = self.clone();
        policy.tables.retain(|name, _| !self.found.contains(name));
        policy.found.clear();
        policy == *file
    }

    /// What a relation is; `None`: not named by the policy.
    #[must_use]
    pub fn role(&self, name: &RelationName) -> Option<Role<'_>> {
        if let Some(table) = self.tables.get(name) {
            return Some(Role::Tenant(self.tenant_column(table)));
        }
        if self.shared.contains_key(name) {
            return Some(Role::Shared);
        }
        match self.views.get(name)?.mode {
            ViewMode::Inline => Some(Role::View),
            ViewMode::Refuse => None,
        }
    }

    fn tenant_column<'a>(&'a self, table: &'a TableRules) -> TenantColumn<'a> {
        let default = self.default_table.as_ref();
        let column = table.column.as_ref();
        let column = column.or_else(|| default?.column.as_ref());
        let kind = table.kind.or_else(|| default?.kind);
        let hidden = table.hidden.or_else(|| default?.hidden);
        TenantColumn {
            name: column.unwrap_or(&self.tenant.column),
            kind: kind.unwrap_or(self.tenant.kind),
            hidden: hidden.unwrap_or(false),
        }
    }

    /// The tenant column of tables that `tables.default` stands for.
    #[must_use]
    pub fn default_column(&self) -> Option<TenantColumn<'_>> {
        self.default_table
            .as_ref()
            .map(|table| self.tenant_column(table))
    }

    /// Whether some table's tenant column is hidden, or may be.
    #[must_use]
    pub fn hides(&self) -> bool {
        let default = self.default_column();
        default.is_some_and(|column| column.hidden) || self.hidden().next().is_some()
    }

    /// Tables whose tenant column is hidden, with its name.
    pub fn hidden(&self) -> impl Iterator<Item = (&RelationName, &str)> {
        self.tables.iter().filter_map(|(name, table)| {
            let column = self.tenant_column(table);
            column.hidden.then_some((name, column.name))
        })
    }

    /// Whether the function is one that the policy vouches for.
    #[must_use]
    pub fn attests(&self, schema: &str, name: &str, arguments: usize) -> bool {
        self.functions.allow.iter().any(|function| {
            function.schema == schema
                && function.name == name
                && function.arguments.len() == arguments
        })
    }
}

/// Schemas that no policy may open.
#[must_use]
pub fn is_systems(schema: &str) -> bool {
    schema.starts_with("pg_") || schema == "information_schema" || schema == "sys"
}

/// Why there is no tenant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoTenant {
    /// Nobody says which.
    #[error("no tenant is known for this user")]
    Unknown,
    /// It has no such value.
    #[error(transparent)]
    Value(#[from] NotATenant),
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
version: 7
default: deny
search_path: [app]
tenant:
  type: integer
  user_map: {svc_acme: '2'}
  values: {'2': {uuid: 00000000-0000-0000-0000-000000000002, text: acme2}}
tables:
  app.orders: {}
  app.accounts: {column: owner, existence_oracle: accept}
  app.docs: {type: uuid}
shared: {app.countries: {access: read}}
views: {app.v: {mode: inline}, app.w: {mode: refuse}}
functions: {allow: ['app.fx(numeric, text)', 'app.now()']}
settings: {allow: [application_name]}
limits: {statement_bytes: 100, errors: message}
";

    #[test]
    fn a_file_says_what_relations_are() {
        let policy = Policy::parse(GOOD).unwrap();
        let role = |name: &str| policy.role(&name.parse().unwrap());
        let column = |name, kind| {
            Some(Role::Tenant(TenantColumn {
                name,
                kind,
                hidden: false,
            }))
        };
        assert_eq!(role("app.orders"), column("tenant_id", TenantType::Integer));
        assert_eq!(role("app.accounts"), column("owner", TenantType::Integer));
        assert_eq!(role("app.docs"), column("tenant_id", TenantType::Uuid));
        assert_eq!(role("app.countries"), Some(Role::Shared));
        assert_eq!(role("app.v"), Some(Role::View));
        assert_eq!(role("app.w"), None);
        assert_eq!(role("app.Orders"), None);
        assert_eq!(role("public.orders"), None);
        assert!(policy.attests("app", "fx", 2) && policy.attests("app", "now", 0));
        assert!(!policy.attests("app", "fx", 1) && !policy.attests("public", "fx", 2));
        let tenant = policy.tenant_of("svc_acme").unwrap();
        assert_eq!(tenant.value(TenantType::Integer), Some("2"));
        assert_eq!(tenant.value(TenantType::Text), Some("acme2"));
        assert_eq!(tenant.value(TenantType::Bigint), None);
        assert_eq!(policy.tenant_of("other"), Err(NoTenant::Unknown));
        assert_eq!(policy.limits.ast_depth, 200);
    }

    #[test]
    fn a_file_that_opens_more_or_says_nonsense_is_refused() {
        let bad = [
            ("default: deny", "default: allow"),
            ("version: 7", "version: 7\nbypass: true"),
            ("version: 7\n", ""),
            ("search_path: [app]", "search_path: []"),
            ("search_path: [app]", "search_path: [app, pg_catalog]"),
            ("type: integer", "type: bpchar"),
            ("type: integer", "kind: integer"),
            ("svc_acme: '2'", "svc_acme: '02'"),
            ("svc_acme: '2'", "svc_acme: ''"),
            ("svc_acme: '2'", "svc_acme: '*'"),
            ("text: acme2", "integer: '3'"),
            ("text: acme2}", "text: acme2}, '3': {text: acme2}"),
            ("app.orders: {}", "orders: {}"),
            ("app.orders: {}", "pg_catalog.pg_class: {}"),
            ("app.orders: {}", "app.orders: {tenant: x}"),
            ("column: owner", "column: ''"),
            ("existence_oracle: accept", "existence_oracle: yes"),
            (
                "app.countries: {access: read}",
                "app.countries: {access: write}",
            ),
            (
                "app.countries: {access: read}",
                "app.orders: {access: read}",
            ),
            ("mode: inline", "mode: pass"),
            ("app.fx(numeric, text)", "pg_catalog.query_to_xml(text)"),
            ("app.fx(numeric, text)", "fx(numeric)"),
            ("app.fx(numeric, text)", "app.fx"),
            ("[application_name]", "[search_path]"),
            ("errors: message", "errors: raw"),
            ("type: integer", "type: integer\n  resolve: []"),
            ("type: integer", "type: integer\n  resolve: [jwt]"),
        ];
        for (was, is) in bad {
            assert!(GOOD.contains(was), "{was}");
            let text = GOOD.replacen(was, is, 1);
            assert!(Policy::parse(&text).is_err(), "{is}");
        }
    }
}
