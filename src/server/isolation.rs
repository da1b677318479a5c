//! Tenant policies: read from their files, held against the users, and verified against the databases
//! at the start, from time to time, and when a schema changes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::config::{Config, User};
use crate::net::Stream;
use crate::policy::tenancy::{Catalog, Policy, Tenant, check, snapshot};
use crate::pool::PoolShared;
use crate::session::{Isolation, Standing};
use crate::upstream::{self, Target};

use super::proxy::Shared;

/// Time between two verifications of a database.
const INTERVAL: Duration = Duration::from_secs(30);

/// How long reading a catalog may take.
const LIMIT: Duration = Duration::from_secs(30);

/// After so long without a verification tenants are not served any more.
const PATIENCE: Duration = Duration::from_secs(600);

/// Time between two attempts while nothing is known.
const RETRY: Duration = Duration::from_secs(1);

/// Bytes of a policy file at most.
const FILE_SIZE: u64 = 4 * 1024 * 1024;

/// Policies by database entry.
pub type Policies = BTreeMap<String, Arc<Policy>>;

/// Everything that is wrong with tenant policies and who is bound by them, one line each.
#[derive(Debug, Error)]
pub struct TenancyError(Vec<String>);

impl TenancyError {
    /// The lines: key and problem.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for TenancyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

/// Reads the policy files that database entries name, and makes sure that every user of such an entry
/// has a tenant or is said to see all.
///
/// # Errors
/// Everything that is wrong.
pub fn policies_of(config: &Config) -> Result<Policies, TenancyError> {
    let mut problems = Vec::new();
    let mut read = BTreeMap::new();
    for (name, policy) in &config.tenancy {
        match read_policy(&policy.file) {
            Ok(policy) => drop(read.insert(name.as_str(), Arc::new(policy))),
            Err(problem) => problems.push(format!(
                "tenancy.{name}: {}: {problem}",
                policy.file.display()
            )),
        }
    }
    let mut policies = Policies::new();
    for (name, database) in &config.databases {
        let policy = database.tenancy.as_deref().and_then(|name| read.get(name));
        if let Some(policy) = policy {
            policies.insert(name.clone(), Arc::clone(policy));
        }
    }
    for user in &config.users {
        for database in &user.databases {
            if let Some(policy) = policies.get(database)
                && let Some(problem) =
                    unbound(user, database, policy).or_else(|| mapped_anybody(config, user, policy))
            {
                problems.push(format!("users: {}: {problem}", user.name.0));
            }
        }
    }
    match problems.is_empty() {
        true => Ok(policies),
        false => Err(TenancyError(problems)),
    }
}

fn read_policy(file: &std::path::Path) -> Result<Policy, String> {
    let length = std::fs::metadata(file)
        .map_err(|error| error.to_string())?
        .len();
    if length > FILE_SIZE {
        return Err("larger than 4 MiB".to_owned());
    }
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    Policy::parse(&text).map_err(|error| error.to_string())
}

/// A user whom anybody may be has no tenant of its own: the token or certificate names it.
fn mapped_anybody(config: &Config, user: &User, policy: &Policy) -> Option<String> {
    let issuer = user
        .token
        .as_ref()
        .and_then(|name| config.tokens.get(&name.0));
    let claimless = issuer.is_some_and(|issuer| issuer.user_claim.is_none());
    let anybody = user.certificate.as_ref().is_some_and(|name| name.0 == "*");
    let mapped = policy.tenant.user_map.contains_key(&user.name.0);
    ((claimless || anybody) && mapped).then(|| {
        "any token or certificate is this user's, and the policy maps it to a tenant".to_owned()
    })
}

fn unbound(user: &User, database: &str, policy: &Policy) -> Option<String> {
    let mapped = policy.tenant.user_map.get(&user.name.0);
    let token = policy.tenant.jwt.as_ref();
    let claims = token.is_some_and(|rule| {
        let issuer = user.token.as_ref().map(|name| &name.0);
        issuer == Some(&rule.issuer)
    });
    let certified = user.certificate.is_some() && policy.tenant.certificate.is_some();
    let name = match (&user.tenant, mapped) {
        _ if !user.tenants.is_empty() => {
            let mut unknown = user.tenants.iter().filter_map(|name| {
                let error = policy.tenant_named(name).err()?;
                Some(format!("tenants: {name}: {error}"))
            });
            return unknown.next();
        }
        _ if user.unrestricted => {
            return mapped.map(|_| {
                format!("unrestricted, but the policy of database {database} maps it to a tenant")
            });
        }
        (Some(own), Some(other)) if own.0 != *other => {
            return Some(format!(
                "the policy of database {database} maps it to another tenant"
            ));
        }
        (Some(own), _) => &own.0,
        (None, Some(mapped)) => mapped,
        (None, None) if claims || certified => return None,
        (None, None) => {
            return Some(format!(
                "database {database} has a tenant policy: write tenant, or unrestricted: true"
            ));
        }
    };
    let known = policy.tenant_named(name);
    known.err().map(|error| format!("tenant: {error}"))
}

/// Verifies all databases with tenants, until the proxy drains.
pub(super) async fn watch(shared: Arc<Shared>) {
    let tasks = LocalSet::new();
    for (isolation, pool) in shared.isolations() {
        let watcher = Watcher {
            isolation: Arc::clone(isolation),
            pool: Arc::clone(pool),
            stream: None,
            verified: Instant::now(),
        };
        tasks.spawn_local(watcher.run());
    }
    tasks.run_until(shared.draining()).await;
}

struct Watcher {
    isolation: Arc<Isolation>,
    pool: Arc<PoolShared>,
    /// A connection of its own, kept from one verification to the next.
    stream: Option<Stream>,
    /// When it was verified last, or the start.
    verified: Instant,
}

impl Watcher {
    async fn run(mut self) {
        loop {
            let pause = match self.verify().await {
                true => INTERVAL,
                false => RETRY,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.isolation.change() => {}
            }
        }
    }

    /// Takes the catalog and compares. False when it could not be taken.
    async fn verify(&mut self) -> bool {
        let taken = timeout(LIMIT, self.take()).await;
        let catalog = match taken.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(catalog) => catalog,
            Err(problem) => {
                self.stream = None;
                self.isolation.put_off();
                if self.verified.elapsed() > PATIENCE {
                    self.isolation
                        .close("the catalog could not be read for a long time");
                }
                tracing::warn!(
                    database = self.isolation.database(),
                    problem,
                    "the catalog could not be read to verify the tenant policy"
                );
                return false;
            }
        };
        let policy = Arc::new(self.isolation.policy().in_database(&catalog));
        let findings = check(&policy, &catalog);
        let fatal: Vec<String> = findings
            .iter()
            .filter(|finding| finding.problem.is_fatal())
            .map(ToString::to_string)
            .collect();
        let was = self.isolation.standing();
        let standing = match fatal.is_empty() {
            true => Standing::Open {
                policy,
                catalog: Arc::new(catalog),
            },
            false => Standing::Closed {
                policy,
                reasons: fatal,
            },
        };
        self.verified = Instant::now();
        self.isolation.put(standing);
        self.report(&was, &self.isolation.standing());
        true
    }

    fn report(&self, was: &Standing, now: &Standing) {
        let database = self.isolation.database();
        match (was, now) {
            (_, Standing::Unverified { .. }) => {}
            (Standing::Open { policy, .. }, Standing::Open { policy: new, .. })
                if policy == new => {}
            (_, Standing::Open { policy, .. }) => tracing::info!(
                target: "audit",
                database,
                policy_version = policy.version,
                "tenant policy verified"
            ),
            (Standing::Closed { reasons, .. }, Standing::Closed { reasons: new, .. })
                if reasons == new => {}
            (_, Standing::Closed { reasons, .. }) => {
                for reason in reasons {
                    tracing::error!(
                        target: "audit",
                        database,
                        reason,
                        "tenants are not served: the database is not as the policy takes it to be"
                    );
                }
            }
        }
    }

    async fn take(&mut self) -> Result<Catalog, String> {
        if self.stream.is_some()
            && let Ok(catalog) = self.ask().await
        {
            return Ok(catalog);
        }
        // The connection may have come to its age.
        self.stream = None;
        self.ask().await
    }

    async fn ask(&mut self) -> Result<Catalog, String> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            empty => empty.insert(connect(&self.pool.target).await?),
        };
        ask(stream).await
    }
}

/// Where a database entry is served from.
pub(super) fn target_of(config: &Config, database: &str) -> Result<Target, String> {
    let entry = config.databases.get(database);
    let cluster = entry.and_then(|entry| config.clusters.get(&entry.cluster));
    let (Some(entry), Some(cluster)) = (entry, cluster) else {
        return Err(format!("there is no database {database}"));
    };
    Target::new(cluster, &entry.upstream_database.0)
        .map_err(|error| format!("cluster {}: {error}", entry.cluster))
}

pub(super) async fn connect(target: &Target) -> Result<Stream, String> {
    let backend = upstream::connect(target).await;
    Ok(backend.map_err(|error| error.to_string())?.stream)
}

pub(super) async fn ask(stream: &mut Stream) -> Result<Catalog, String> {
    let mut answers = Vec::with_capacity(snapshot::QUERIES.len());
    for sql in snapshot::QUERIES {
        let rows = upstream::query(stream, sql).await;
        answers.push(rows.map_err(|error| error.to_string())?);
    }
    snapshot::read(&answers).map_err(|error| error.to_string())
}

/// What holds of a tenant's statements in a database: for commands that tell what would become of
/// them.
#[derive(Debug)]
pub struct TenantView {
    /// The policy.
    pub policy: Arc<Policy>,
    /// The database's catalog, just now.
    pub catalog: Catalog,
    /// The tenant.
    pub tenant: Tenant,
    /// Why tenants are not served, one sentence each; empty when they are.
    pub reasons: Vec<String>,
}

/// Whether a login of this user could be this tenant's.
fn may_be(user: &User, tenant: &str) -> bool {
    let shown = user.token.is_some() || user.certificate.is_some();
    user.tenants.iter().any(|name| name == tenant) || (shown && user.tenants.is_empty())
}

/// What a user of a configuration may see of a database; `None`: all of it. Connects to the database.
/// `tenant` is for users whose entry does not name theirs.
///
/// # Errors
/// A policy is wrong, or the catalog cannot be read: one sentence.
pub fn tenant_view(
    config: &Config,
    user: &User,
    database: &str,
    tenant: Option<&str>,
) -> Result<Option<TenantView>, String> {
    let policies = policies_of(config).map_err(|error| error.to_string())?;
    let Some(policy) = policies.get(database).filter(|_| !user.unrestricted) else {
        return Ok(None);
    };
    let own = user.tenant.as_ref().map(|tenant| tenant.0.as_str());
    let mapped = policy.tenant.user_map.get(&user.name.0).map(String::as_str);
    let name = match (own.or(mapped), tenant) {
        (Some(name), None) => name,
        (Some(name), Some(asked)) if name == asked => name,
        (None, Some(asked)) if may_be(user, asked) => asked,
        (None, None) => {
            return Err(format!(
                "the entry of user {} names no tenant: say which with --tenant",
                user.name.0
            ));
        }
        (_, Some(asked)) => return Err(format!("user {} is not tenant {asked}", user.name.0)),
    };
    let tenant = policy
        .tenant_named(name)
        .map_err(|error| error.to_string())?;
    let target = target_of(config, database)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let catalog = runtime.block_on(async { ask(&mut connect(&target).await?).await })?;
    let policy = Arc::new(policy.in_database(&catalog));
    let findings = check(&policy, &catalog);
    let fatal = findings.iter().filter(|finding| finding.problem.is_fatal());
    Ok(Some(TenantView {
        policy,
        reasons: fatal.map(ToString::to_string).collect(),
        catalog,
        tenant,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "
version: 1
search_path: [public]
tenant: {type: integer, user_map: {mapped: '3'}}
tables: {public.orders: {}}
";

    #[test]
    fn every_user_of_a_database_with_tenants_is_bound_or_said_to_see_all() {
        let policy = Policy::parse(POLICY).expect("a policy");
        let user = |name: &str, rest: &str| -> User {
            let text = format!("name: {name}\npassword: x\ndatabases: [app]\n{rest}");
            serde_saphyr::from_str(&text).expect("a user")
        };
        let cases = [
            ("a", "unrestricted: true", None),
            ("a", "tenant: '3'", None),
            ("mapped", "", None),
            ("mapped", "tenant: '3'", None),
            ("a", "", Some("write tenant, or unrestricted")),
            ("mapped", "tenant: '4'", Some("another tenant")),
            ("mapped", "unrestricted: true", Some("maps it to a tenant")),
            ("a", "tenant: acme", Some("canonical form")),
        ];
        for (name, rest, expected) in cases {
            let problem = unbound(&user(name, rest), "app", &policy);
            match expected {
                None => assert_eq!(problem, None, "{name} {rest}"),
                Some(words) => assert!(
                    problem.as_deref().is_some_and(|text| text.contains(words)),
                    "{name} {rest}: {problem:?}"
                ),
            }
        }
    }
}
