//! Typed configuration. Keys are those of `config/dsql-proxy.yaml`, which comments each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// A string of the configuration. Like every string there, it may be given as `{env: NAME}` or
/// `{file: PATH}`, which [`Config::load`] resolves.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Text(pub String);

/// A [`Text`] that must not be printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

/// Reads a key that is there as `Some`: a restriction without a value is a mistake, not none.
fn present<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

/// The whole file.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where clients connect.
    pub listen: Listen,
    /// The HTTP endpoint for operators.
    #[serde(default)]
    pub admin: Option<Admin>,
    /// Worker threads; 0 is one per core.
    #[serde(default)]
    pub workers: usize,
    /// Upstreams by name.
    #[serde(default)]
    pub clusters: BTreeMap<String, Cluster>,
    /// What clients may connect to, by the name they give as database.
    #[serde(default)]
    pub databases: BTreeMap<String, Database>,
    /// Who may log in.
    #[serde(default)]
    pub users: Vec<User>,
    /// Login rules.
    #[serde(default)]
    pub auth: Auth,
    /// Limits on clients.
    #[serde(default)]
    pub limits: Limits,
    /// Logging.
    #[serde(default)]
    pub log: Log,
    /// The rules of the dialect.
    #[serde(default)]
    pub dialect: DialectRules,
    /// Tenant policies by name.
    #[serde(default)]
    pub tenancy: BTreeMap<String, TenantPolicy>,
    /// Issuers of tokens that users log in with, by name.
    #[serde(default)]
    pub tokens: BTreeMap<String, TokenIssuer>,
}

/// Where a tenant policy is written.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct TenantPolicy {
    /// The policy file (docs/isolation.md).
    pub file: PathBuf,
}

/// Where clients connect.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address of the listener.
    pub address: SocketAddr,
    /// TLS for clients; without it only plain connections are taken.
    #[serde(default)]
    pub tls: Option<ListenTls>,
    /// Connections that have not logged in yet, at most.
    #[serde(default = "defaults::unauthenticated")]
    pub max_unauthenticated: usize,
    /// From accept to a finished login, at most.
    #[serde(
        default = "defaults::login_timeout",
        deserialize_with = "super::units::duration"
    )]
    pub login_timeout: Duration,
}

/// Certificate for clients.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ListenTls {
    /// PEM file, leaf first.
    pub certificate: PathBuf,
    /// PEM file.
    pub private_key: PathBuf,
    /// Refuse clients that do not ask for TLS.
    #[serde(default)]
    pub required: bool,
    /// PEM file of those who vouch for clients' certificates. Clients need none, but what they show
    /// has to be good.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

/// Whose tokens are taken for passwords (RFC 7519, JSON web tokens).
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct TokenIssuer {
    /// Claim `iss` has to be this.
    pub issuer: Text,
    /// Claim `aud` has to have this.
    pub audience: Text,
    /// The issuer's public keys: a JSON web key set (RFC 7517). Read again at a reload.
    pub keys_file: PathBuf,
    /// Claim that has to be the login name. Without it a token is good for every user of this issuer.
    #[serde(default)]
    pub user_claim: Option<Text>,
}

/// The HTTP endpoint for operators.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Address of the HTTP listener.
    pub address: SocketAddr,
    /// Host names it may be called by, besides IP addresses and `localhost`.
    #[serde(default)]
    pub names: Vec<String>,
}

/// What kind of server a cluster is.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ClusterKind {
    /// Aurora DSQL: TLS and IAM token, always.
    Dsql,
    /// PostgreSQL, Aurora PostgreSQL, RDS.
    Postgres,
}

/// TLS towards a `postgres` cluster, named as libpq's `sslmode`.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamTls {
    /// Never.
    Disable,
    /// When the server offers it; the certificate is not checked.
    #[default]
    Prefer,
    /// Always; the certificate is not checked.
    Require,
    /// Always; chain and host name are checked.
    VerifyFull,
}

/// One upstream.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// What it is.
    pub kind: ClusterKind,
    /// Host with optional `:port` (default 5432), or for `postgres` the folder of a unix socket
    /// (starts with `/`, optional `:port`).
    pub endpoint: Text,
    /// Dial this `host:port`, keep `endpoint` for SNI, certificate check and signing.
    #[serde(default)]
    pub connect_to: Option<Text>,
    /// AWS region; derived from a DSQL endpoint when left out.
    #[serde(default)]
    pub region: Option<Text>,
    /// User to log in as.
    #[serde(default = "defaults::upstream_user")]
    pub user: Text,
    /// Password (`postgres` only).
    #[serde(default)]
    pub password: Option<Secret>,
    /// TLS (`postgres` only; `dsql` always verifies).
    #[serde(default)]
    pub tls: Option<UpstreamTls>,
    /// TLS from the first byte (ALPN `postgresql`), without SSLRequest.
    #[serde(default)]
    pub direct_tls: bool,
    /// AWS credentials; default is the AWS chain.
    #[serde(default)]
    pub credentials: Option<Credentials>,
    /// Extra root certificates, PEM file.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Connections.
    #[serde(default)]
    pub pool: Pool,
}

/// Static AWS credentials.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// Access key id.
    pub access_key_id: Text,
    /// Secret access key.
    pub secret_access_key: Secret,
    /// Session token of temporary credentials.
    #[serde(default)]
    pub session_token: Option<Secret>,
}

/// Limits of the connections to one cluster and upstream database.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    /// Connections at most.
    pub size: usize,
    /// Connections kept open at least.
    pub min: usize,
    /// New connections a second, sustained.
    pub connect_rate: u32,
    /// New connections at once.
    pub connect_burst: u32,
    /// A connection is replaced when it is older (jittered by up to a tenth, never in a transaction).
    #[serde(deserialize_with = "super::units::duration")]
    pub max_age: Duration,
    /// An idle connection above `min` is closed after this.
    #[serde(deserialize_with = "super::units::duration")]
    pub idle_timeout: Duration,
    /// A client waits at most this long for a connection (then 53300).
    #[serde(deserialize_with = "super::units::duration")]
    pub wait_timeout: Duration,
    /// Clients waiting at most (then 53300 at once).
    pub max_waiters: usize,
    /// One attempt to connect and log in takes at most this.
    #[serde(deserialize_with = "super::units::duration")]
    pub connect_timeout: Duration,
    /// Prepared statements kept on each upstream connection.
    pub prepared_statements: usize,
    /// Never lend a connection to one tenant that has served another.
    pub per_tenant: bool,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            size: 20,
            min: 0,
            connect_rate: 100,
            connect_burst: 1000,
            max_age: Duration::from_secs(55 * 60),
            idle_timeout: Duration::from_secs(600),
            wait_timeout: Duration::from_secs(5),
            max_waiters: 10_000,
            connect_timeout: Duration::from_secs(10),
            prepared_statements: 500,
            per_tenant: false,
        }
    }
}

/// How long a client keeps an upstream connection.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum PoolMode {
    /// Until its transaction ends.
    #[default]
    Transaction,
    /// Until it disconnects.
    Session,
}

/// Which dialect rules apply.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Statements pass as they are.
    Off,
    /// Only what means the same on DSQL; the rest is refused.
    Strict,
    /// What DSQL lacks is made to work where that can be done.
    #[default]
    Compat,
}

/// Which rules make up the dialect.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct DialectRules {
    /// Month of the Aurora DSQL that is upstream, `2026-09`; the newest one that the rules know when
    /// left out.
    pub as_of: Option<String>,
    /// Rules in place of those that are compiled in, in the format of `config/dialect.yaml`.
    pub file: Option<PathBuf>,
    /// What single rules do, by their names.
    pub rules: BTreeMap<String, RuleAction>,
}

/// What a rule can be made to do.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum RuleAction {
    /// Let the statement pass.
    Forward,
    /// Refuse it.
    Reject,
}

/// What becomes of DDL inside transactions.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum DdlInTransaction {
    /// More than DSQL takes is refused.
    Reject,
    /// The transaction is committed around it, with a WARNING.
    Split,
}

/// What becomes of statements that change more rows than a transaction may.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LargeDml {
    /// They are refused.
    Refuse,
    /// They are run as several transactions.
    Batch,
}

/// What becomes of changes of a table for which it has to be made anew.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum TableRebuild {
    /// They are refused.
    Reject,
    /// Tables of up to 3,000 rows are made anew.
    Small,
    /// All tables are.
    Rebuild,
}

/// What becomes of columns of types that Aurora DSQL has in expressions and does not store.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum UnstorableColumns {
    /// They are refused.
    Refuse,
    /// They are kept as text, and seen as what they stand for.
    Text,
}

/// What `transaction_isolation` tells.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ShownIsolation {
    /// The level that Aurora DSQL has.
    Actual,
    /// The level that the client asked for.
    Asked,
}

/// What becomes of SAVEPOINT, RELEASE and ROLLBACK TO.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Savepoints {
    /// The proxy runs the transaction again up to the savepoint.
    Emulate,
    /// They are refused.
    Reject,
    /// They are sent as they are.
    Forward,
}

impl Config {
    /// Whether databases may be created from an entry.
    #[must_use]
    pub fn creates_databases(&self, database: &Database) -> bool {
        let cluster = self.clusters.get(&database.cluster);
        let can = cluster.is_some_and(|cluster| cluster.kind == ClusterKind::Dsql)
            && database.dialect == Dialect::Compat
            && database.tenancy.is_none();
        can && database.created_databases != Some(false)
    }
}

/// One database as clients see it.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Name of a cluster.
    pub cluster: String,
    /// Database name at the cluster.
    #[serde(default = "defaults::upstream_database")]
    pub upstream_database: Text,
    /// Dialect profile.
    #[serde(default)]
    pub dialect: Dialect,
    /// When a connection goes back to the pool.
    #[serde(default)]
    pub pool_mode: PoolMode,
    /// Tenant policy: a name from `tenancy`.
    #[serde(default, deserialize_with = "present")]
    pub tenancy: Option<String>,
    /// `dsqlproxy.ddl_in_transaction` of sessions that set none; default `reject`.
    #[serde(default)]
    pub ddl_in_transaction: Option<DdlInTransaction>,
    /// `dsqlproxy.large_dml` of sessions that set none; default `refuse`.
    #[serde(default)]
    pub large_dml: Option<LargeDml>,
    /// `dsqlproxy.table_rebuild` of sessions that set none; default `small`.
    #[serde(default)]
    pub table_rebuild: Option<TableRebuild>,
    /// `dsqlproxy.unstorable_columns` of sessions that set none; default `refuse`. Only with
    /// `dialect: compat` and without `tenancy`.
    #[serde(default)]
    pub unstorable_columns: Option<UnstorableColumns>,
    /// `dsqlproxy.shown_isolation` of sessions that set none; default `actual`.
    #[serde(default)]
    pub shown_isolation: Option<ShownIsolation>,
    /// CREATE DATABASE makes schemas of the cluster that are connected to as databases; default `true` on
    /// `dsql` clusters with `dialect: compat` and without `tenancy`, else `false`.
    #[serde(default)]
    pub created_databases: Option<bool>,
    /// Savepoints; default `emulate` on `dsql` clusters with `dialect: compat`, else `forward`.
    #[serde(default)]
    pub savepoints: Option<Savepoints>,
    /// Repeating after conflicts; default on for `dsql` clusters, off for others.
    #[serde(default)]
    pub retry: Option<Retry>,
    /// `statement_timeout` of sessions that set none. This and the next two: only where the proxy
    /// keeps these settings, on `dsql` clusters with `dialect: compat`.
    #[serde(default, deserialize_with = "super::units::optional_duration")]
    pub statement_timeout: Option<Duration>,
    /// `idle_in_transaction_session_timeout` of sessions that set none.
    #[serde(default, deserialize_with = "super::units::optional_duration")]
    pub idle_in_transaction_timeout: Option<Duration>,
    /// `transaction_timeout` of sessions that set none.
    #[serde(default, deserialize_with = "super::units::optional_duration")]
    pub transaction_timeout: Option<Duration>,
    /// How long a `dsql` cluster may take to obey a cancel request before its connection is given
    /// up, 200 ms at most where nothing can have been changed; default 1 s.
    #[serde(default, deserialize_with = "super::units::optional_duration")]
    pub cancel_grace: Option<Duration>,
}

/// How transactions that a DSQL cluster aborted with 40001 are repeated.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Repetitions of one transaction at most; 0 turns repeating off.
    pub attempts: u32,
    /// Answers of a request that may write are kept back up to this many bytes until its
    /// transaction is committed; beyond, they go on and the request is not repeated.
    #[serde(deserialize_with = "super::units::size")]
    pub hold_bytes: usize,
    /// Requests of an open transaction are kept up to this many bytes; beyond, it is not repeated.
    #[serde(deserialize_with = "super::units::size")]
    pub journal_bytes: usize,
    /// Repetitions for 100 commits at most, over about 10 s.
    pub budget_percent: u32,
    /// Keys that statements name are kept for the operators' list of conflicts.
    pub insight_keys: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            hold_bytes: 512 * 1024,
            journal_bytes: 1024 * 1024,
            budget_percent: 20,
            insight_keys: true,
        }
    }
}

impl Retry {
    /// No repetition.
    #[must_use]
    pub fn off() -> Self {
        Self {
            attempts: 0,
            ..Self::default()
        }
    }
}

/// One login.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Login name.
    pub name: Text,
    /// Password, or its verifier `SCRAM-SHA-256$…`. A user has exactly one of `password`, `token` and
    /// `certificate`.
    #[serde(default, deserialize_with = "present")]
    pub password: Option<Secret>,
    /// Entry of `tokens`: the user logs in with a JSON web token in place of a password.
    #[serde(default, deserialize_with = "present")]
    pub token: Option<Text>,
    /// Name that the client's certificate has to bear (common name, or DNS name of the subject), `*`
    /// for any that `listen.tls.client_ca` vouches for.
    #[serde(default, deserialize_with = "present")]
    pub certificate: Option<Text>,
    /// Database entries this user may connect to.
    #[serde(default)]
    pub databases: Vec<String>,
    /// May use the console database `dsqlproxy`.
    #[serde(default)]
    pub admin: bool,
    /// After this moment logins are refused (RFC 3339).
    #[serde(default)]
    pub valid_until: Option<Text>,
    /// Transactions of this user are run again after conflicts, where the database's are.
    #[serde(default = "defaults::yes")]
    pub retry: bool,
    /// Tenant this user is bound to.
    #[serde(default, deserialize_with = "present")]
    pub tenant: Option<Text>,
    /// Tenants of which this user chooses one with each login: `options=-c dsqlproxy.tenant=NAME`.
    #[serde(default)]
    pub tenants: Vec<String>,
    /// Sees the rows of every tenant: no policy applies.
    #[serde(default)]
    pub unrestricted: bool,
}

/// Login rules.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// Let clients send cleartext passwords, inside TLS only.
    pub cleartext: bool,
    /// Failed logins from one address and user within a minute before further ones are refused.
    pub max_failures: u32,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            cleartext: false,
            max_failures: 20,
        }
    }
}

/// Limits on clients.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Clients at most, logged in or not.
    pub clients: usize,
    /// After SIGTERM, open transactions may go on for this long.
    #[serde(deserialize_with = "super::units::duration")]
    pub drain_timeout: Duration,
    /// A client that is idle outside a transaction for longer is disconnected (57P05); 0 is never.
    #[serde(deserialize_with = "super::units::duration")]
    pub client_idle_timeout: Duration,
    /// Named prepared statements a client may keep (then 53400).
    pub client_statements: usize,
    /// Bytes of all statements a client keeps, with some 256 for each (then 53400).
    #[serde(deserialize_with = "super::units::size")]
    pub client_statement_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 10_000,
            drain_timeout: Duration::from_secs(30),
            client_idle_timeout: Duration::ZERO,
            client_statements: 10_000,
            client_statement_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Shape of log lines.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// Logging.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Shape of lines.
    pub format: LogFormat,
    /// Filter in the syntax of `tracing-subscriber`, such as `info` or `dsql_proxy::pool=debug`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".to_owned(),
        }
    }
}

mod defaults {
    use super::Text;
    use std::time::Duration;

    pub(super) fn yes() -> bool {
        true
    }
    pub(super) fn unauthenticated() -> usize {
        1000
    }
    pub(super) fn login_timeout() -> Duration {
        Duration::from_secs(15)
    }
    pub(super) fn upstream_user() -> Text {
        Text("admin".to_owned())
    }
    pub(super) fn upstream_database() -> Text {
        Text("postgres".to_owned())
    }
}
