//! `dsql-proxy tenants sync`: has the server keep tenants apart itself, by the plans of `barrier`.

use crate::config::Config;
use crate::net::Stream;
use crate::policy::tenancy::barrier::{self, Plan};
use crate::policy::tenancy::{self, Catalog, Policy};
use crate::upstream::{self, QueryError, Target};
use crate::wire::sqlstate;

use super::isolation::{ask, connect, policies_of, target_of};

/// How often a statement is said that another change of the schema came before.
const ATTEMPTS: usize = 5;

/// What is told of a tenant.
#[derive(Debug, Clone, Copy)]
pub enum Told<'a> {
    /// Name of its role and schema.
    Role(&'a str),
    /// A statement that is about to be run, or would be.
    Statement(&'a str),
    /// There is nothing to change.
    Same,
    /// Something that the role lacks.
    Note(&'a str),
    /// Something is in the way of isolation by the server.
    Problem(&'a str),
}

/// Makes roles and views for these tenants of a database entry, or tells what it would do. Connects to the
/// database as the proxy does.
///
/// # Errors
/// The policy is wrong, the database cannot be reached, or it refuses a statement: one sentence.
pub fn sync_barriers(
    config: &Config,
    database: &str,
    tenants: &[String],
    dry_run: bool,
    told: &mut dyn FnMut(&str, Told<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let policies = policies_of(config).map_err(|error| error.to_string())?;
    let policy = policies
        .get(database)
        .ok_or_else(|| format!("database {database} has no tenant policy"))?;
    let target = target_of(config, database)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let mut server = Server {
            stream: connect(&target).await?,
            target,
        };
        let catalog = ask(&mut server.stream).await?;
        let policy = policy.in_database(&catalog);
        let findings = findings(&policy, &catalog);
        for tenant in tenants {
            for finding in &findings {
                told(tenant, Told::Problem(finding))?;
            }
            // What tenants are not served by the proxy either.
            if !findings.is_empty() {
                continue;
            }
            server
                .sync(&policy, &catalog, tenant, dry_run, told)
                .await?;
        }
        Ok(())
    })
}

/// What is wrong with the database, whatever is in the tenants' own schemas.
fn findings(policy: &Policy, catalog: &Catalog) -> Vec<String> {
    let mut catalog = catalog.clone();
    catalog
        .relations
        .retain(|name, _| !barrier::is_name(&name.schema));
    let findings = tenancy::check(policy, &catalog);
    let fatal = findings.iter().filter(|finding| finding.problem.is_fatal());
    fatal.map(ToString::to_string).collect()
}

struct Server {
    target: Target,
    stream: Stream,
}

impl Server {
    async fn sync(
        &mut self,
        policy: &Policy,
        catalog: &Catalog,
        tenant: &str,
        dry_run: bool,
        told: &mut dyn FnMut(&str, Told<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let name = barrier::name_of(tenant);
        told(tenant, Told::Role(&name))?;
        let mut plan = self.plan(policy, catalog, tenant, &name).await?;
        if plan.statements.is_empty() {
            told(tenant, Told::Same)?;
        }
        for statement in &plan.statements {
            told(tenant, Told::Statement(statement))?;
            if !dry_run {
                self.run(statement).await?;
            }
        }
        if !dry_run && !plan.statements.is_empty() {
            // What a new role may do is known now that it is there.
            plan = self.plan(policy, catalog, tenant, &name).await?;
            for statement in &plan.statements {
                told(
                    tenant,
                    Told::Problem(&format!("the server did not take over: {statement}")),
                )?;
            }
        }
        for note in &plan.notes {
            told(tenant, Told::Note(note))?;
        }
        for problem in &plan.problems {
            told(tenant, Told::Problem(problem))?;
        }
        Ok(())
    }

    async fn plan(
        &mut self,
        policy: &Policy,
        catalog: &Catalog,
        tenant: &str,
        name: &str,
    ) -> Result<Plan, String> {
        let tenant = policy
            .tenant_named(tenant)
            .map_err(|error| format!("tenant {tenant}: {error}"))?;
        let mut answers = Vec::new();
        for sql in barrier::queries(name) {
            let rows = upstream::query(&mut self.stream, &sql).await;
            answers.push(rows.map_err(|error| error.to_string())?);
        }
        let found = barrier::read(&answers).map_err(|error| error.to_string())?;
        Ok(barrier::plan(policy, catalog, &tenant, name, &found))
    }

    /// One statement, a transaction by itself. Another session's change of the schema makes it fail once.
    async fn run(&mut self, sql: &str) -> Result<(), String> {
        for attempt in 1.. {
            match upstream::query(&mut self.stream, sql).await {
                Ok(_) => break,
                Err(QueryError::Refused { code, .. })
                    if code == sqlstate::SERIALIZATION_FAILURE && attempt < ATTEMPTS =>
                {
                    self.stream = connect(&self.target).await?;
                }
                Err(error) => return Err(format!("{sql}: {error}")),
            }
        }
        Ok(())
    }
}
