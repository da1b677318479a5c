//! What operators see and do: readiness, metrics, reload, drain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::proto::MetricFamily;
use serde_json::{Value, json};

use crate::auth::Method;
use crate::config::Config;
use crate::pool::Census;
use crate::retry::Outcome;
use crate::session::Standing;
use crate::telemetry::conflicts::WINDOW_MINUTES;
use crate::telemetry::metrics::{counter, gauge, histogram};
use crate::telemetry::tally::{BOUNDS, Durations, REPETITIONS, Tally, WorkerTally};
use crate::upstream::token;

use super::isolation::policies_of;
use super::proxy::{Shared, rules_of};

/// The operators' hold on a running proxy.
#[derive(Clone)]
pub struct Operations {
    shared: Arc<Shared>,
}

impl Operations {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Whether the proxy can serve a new client.
    ///
    /// # Errors
    /// The reasons why not, one sentence each.
    pub fn ready(&self) -> Result<(), Vec<String>> {
        let mut reasons = Vec::new();
        if self.shared.is_draining() {
            reasons.push("draining".to_owned());
        }
        for pool in self.shared.pool_list() {
            match pool.trouble() {
                Some(trouble) => reasons.push(format!("pool {}: {trouble}", pool.name)),
                None if pool.connected() == 0 => {
                    reasons.push(format!("pool {}: not connected yet", pool.name));
                }
                None => {}
            }
        }
        for (isolation, _) in self.shared.isolations() {
            let database = isolation.database();
            match &*isolation.standing() {
                Standing::Open { .. } => {}
                Standing::Unverified { .. } => {
                    reasons.push(format!("tenants of {database}: not verified yet"));
                }
                Standing::Closed { reasons: found, .. } => {
                    let found = found
                        .iter()
                        .map(|why| format!("tenants of {database}: {why}"));
                    reasons.extend(found);
                }
            }
        }
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(reasons)
        }
    }

    /// Applies new users and rules of the dialect, and reads certificates again; open sessions go on.
    ///
    /// # Errors
    /// What is wrong; nothing was changed then.
    pub fn reload(&self, config: &Config) -> Result<(), String> {
        let (rules, as_of) = rules_of(config).map_err(|error| format!("dialect: {error}"))?;
        let policies = policies_of(config).map_err(|error| error.to_string())?;
        let gate = self.shared.gate();
        gate.reload_tls().map_err(|error| error.to_string())?;
        gate.reload_users(config)
            .map_err(|error| error.to_string())?;
        self.shared.ruling().put(rules, as_of);
        for (isolation, _) in self.shared.isolations() {
            if let Some(policy) = policies.get(isolation.database()) {
                tracing::info!(
                    target: "audit",
                    database = isolation.database(),
                    policy_version = policy.version,
                    "tenant policy reloaded"
                );
                isolation.replace(Arc::clone(policy));
            }
        }
        self.shared.note_reload();
        Ok(())
    }

    /// Stops accepting and ends sessions as they come to rest.
    pub fn drain(&self) {
        self.shared.drain();
    }

    /// Numbers for people: pools and clients.
    #[must_use]
    pub fn status(&self) -> Value {
        let pools: Vec<Value> = self
            .shared
            .pool_list()
            .iter()
            .map(|pool| {
                let census = pool.census();
                json!({
                    "pool": pool.name,
                    "limit": pool.limits.size,
                    "free": census.free,
                    "connecting": census.connecting,
                    "idle": census.idle,
                    "leased": census.leased,
                    "waiters": census.waiters,
                    "trouble": pool.trouble(),
                })
            })
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.shared.uptime().as_secs(),
            "draining": self.shared.is_draining(),
            "connections": self.shared.connections(),
            "clients": self.sum(|tally| &tally.clients),
            "workers": self.shared.tallies().count(),
            "pools": pools,
        })
    }

    /// All metrics of the proxy.
    #[must_use]
    pub fn metrics(&self) -> Vec<MetricFamily> {
        let mut families = self.client_metrics();
        families.extend(self.pool_metrics());
        families.extend(self.login_metrics());
        families.extend(self.traffic_metrics());
        families.extend(self.conflict_metrics());
        families.push(self.refusal_metric());
        families
    }

    fn client_metrics(&self) -> Vec<MetricFamily> {
        let clients = self.sum(|tally| &tally.clients);
        let waiting = self.sum(|tally| &tally.waiting);
        vec![
            gauge(
                "clients",
                "Logged-in clients.",
                &[
                    (&[("state", "serving")], clients.saturating_sub(waiting)),
                    (&[("state", "waiting")], waiting),
                ],
            ),
            gauge(
                "connections",
                "Connections to the listener, logged in or not.",
                &[(&[], self.shared.connections() as u64)],
            ),
            gauge(
                "cancel_keys",
                "Sessions that a cancel request can reach.",
                &[(&[], self.shared.cancels().len() as u64)],
            ),
            counter(
                "sessions_total",
                "Sessions that ended.",
                &[(&[], self.sum(|tally| &tally.sessions_ended))],
            ),
            counter(
                "pins_total",
                "Sessions that kept their connection for state that cannot be followed.",
                &[(&[], self.sum(|tally| &tally.pins))],
            ),
            counter(
                "protocol_violations_total",
                "Clients that broke the protocol.",
                &[(&[], self.sum(|tally| &tally.client_violations))],
            ),
            counter(
                "config_reloads_total",
                "Successful reloads.",
                &[(&[], self.shared.reloads())],
            ),
        ]
    }

    /// Statements of tenants that were refused.
    fn refusal_metric(&self) -> MetricFamily {
        let mut rows = Vec::new();
        for (isolation, _) in self.shared.isolations() {
            for (rule, count) in isolation.refusals() {
                let labels = [("database", isolation.database()), ("rule", rule.name())];
                rows.push((labels, count));
            }
        }
        counter(
            "tenant_refusals_total",
            "Statements of tenants that were refused, by rule.",
            &borrowed(&rows),
        )
    }

    fn pool_metrics(&self) -> Vec<MetricFamily> {
        let pools: Vec<(&str, Census)> = self
            .shared
            .pool_list()
            .iter()
            .map(|pool| (pool.name.as_str(), pool.census()))
            .collect();
        let states: [(&str, CountOf); 5] = [
            ("free", |census| census.free),
            ("connecting", |census| census.connecting),
            ("idle", |census| census.idle),
            ("leased", |census| census.leased),
            ("transit", |census| census.transit),
        ];
        let labels: Vec<([(&str, &str); 2], u64)> = pools
            .iter()
            .flat_map(|(name, census)| {
                states.iter().map(move |(state, count)| {
                    ([("pool", *name), ("state", *state)], count(census) as u64)
                })
            })
            .collect();
        let slots: Vec<(&[(&str, &str)], u64)> = labels
            .iter()
            .map(|(labels, count)| (labels.as_slice(), *count))
            .collect();
        let per_pool =
            |value: fn(&crate::pool::PoolShared) -> u64| -> Vec<([(&str, &str); 1], u64)> {
                let list = self.shared.pool_list();
                list.iter()
                    .map(|pool| ([("pool", pool.name.as_str())], value(pool)))
                    .collect()
            };
        let limits = per_pool(|pool| pool.limits.size as u64);
        let waiters = per_pool(|pool| pool.census().waiters as u64);
        let connected = per_pool(crate::pool::PoolShared::connected);
        let refused = per_pool(crate::pool::PoolShared::refused);
        vec![
            gauge(
                "servers",
                "Slots of a pool by state; their sum is the limit.",
                &slots,
            ),
            gauge(
                "pool_limit",
                "Connections a pool may have.",
                &borrowed(&limits),
            ),
            gauge(
                "pool_waiters",
                "Clients waiting for a connection.",
                &borrowed(&waiters),
            ),
            counter(
                "server_connects_total",
                "Connections opened.",
                &borrowed(&connected),
            ),
            counter(
                "server_connect_failures_total",
                "Attempts to connect that failed.",
                &borrowed(&refused),
            ),
            self.durations(
                "pool_wait_seconds",
                "Time a client waited for a connection.",
                |tally| &tally.wait,
            ),
        ]
    }

    fn login_metrics(&self) -> Vec<MetricFamily> {
        let counters = self.shared.gate().counters();
        let methods = Method::ALL;
        let rows: Vec<([(&str, &str); 2], u64)> = methods
            .iter()
            .flat_map(|method| {
                let name = method.as_str();
                [
                    (
                        [("method", name), ("outcome", "ok")],
                        counters.logins_ok(*method),
                    ),
                    (
                        [("method", name), ("outcome", "failed")],
                        counters.logins_failed(*method),
                    ),
                ]
            })
            .collect();
        let ends: [(&str, u64); 5] = [
            ("refused", counters.refused()),
            ("throttled", counters.throttled()),
            ("over_limit", counters.over_limit()),
            ("timed_out", counters.timed_out()),
            ("left", counters.left()),
        ];
        let ends: Vec<([(&str, &str); 1], u64)> = ends
            .iter()
            .map(|(reason, count)| ([("reason", *reason)], *count))
            .collect();
        vec![
            counter(
                "client_logins_total",
                "Logins by method and outcome.",
                &borrowed(&rows),
            ),
            counter(
                "client_arrivals_ended_total",
                "Connections that ended before a login, by reason.",
                &borrowed(&ends),
            ),
            gauge(
                "clients_unauthenticated",
                "Connections that have not logged in yet.",
                &[(&[], counters.unauthenticated() as u64)],
            ),
            counter(
                "cancel_requests_total",
                "Cancel requests received.",
                &[(&[], counters.cancels())],
            ),
            counter(
                "token_signs_total",
                "IAM tokens made.",
                &[(&[], token::minted())],
            ),
        ]
    }

    fn traffic_metrics(&self) -> Vec<MetricFamily> {
        let bytes_in = self.sum(|tally| &tally.bytes_in);
        let bytes_out = self.sum(|tally| &tally.bytes_out);
        let simple: [(&str, &str, TallyOf); 8] = [
            (
                "queries_total",
                "Queries, function calls and Syncs sent upstream.",
                |t| &t.requests,
            ),
            ("leases_total", "Times a connection was lent.", |t| {
                &t.leases
            }),
            (
                "begins_deferred_total",
                "BEGINs that travelled with the first statement.",
                |t| &t.begins_deferred,
            ),
            (
                "settings_synced_total",
                "Times a connection was given a session's settings.",
                |t| &t.settings_synced,
            ),
            (
                "reprepared_total",
                "Statements prepared again on another connection.",
                |t| &t.reprepared,
            ),
            ("cancels_total", "Cancel requests passed on.", |t| {
                &t.cancels
            }),
            (
                "upstream_lost_total",
                "Upstream connections lost while a session held them.",
                |t| &t.upstream_lost,
            ),
            (
                "commit_unknown_total",
                "Commits whose outcome could not be known.",
                |t| &t.commit_unknown,
            ),
        ];
        let mut families: Vec<MetricFamily> = simple
            .iter()
            .map(|(name, help, tally)| counter(name, help, &[(&[], self.sum(tally))]))
            .collect();
        families.push(counter(
            "bytes_total",
            "Bytes read, by the side they came from.",
            &[
                (&[("from", "client")], bytes_in),
                (&[("from", "upstream")], bytes_out),
            ],
        ));
        families.push(self.durations(
            "proxy_seconds",
            "Time the proxy itself spent in one turn of a session (a statement takes two).",
            |tally| &tally.turn,
        ));
        families
    }

    fn conflict_metrics(&self) -> Vec<MetricFamily> {
        let outcomes = Outcome::ALL.map(|outcome| {
            let count = self.sum(|tally| &tally.conflicts[outcome as usize]);
            ([("outcome", outcome.label())], count)
        });
        let logs = self.shared.conflict_logs();
        let codes: Vec<([(&str, &str); 2], u64)> = logs
            .iter()
            .flat_map(|(name, log)| {
                let row = |(code, count)| ([("database", *name), ("code", code)], count);
                log.by_code().map(row)
            })
            .collect();
        let tables: Vec<(&str, Vec<(String, u64)>)> = logs
            .iter()
            .map(|(name, log)| (*name, log.by_table()))
            .collect();
        let tables: Vec<([(&str, &str); 2], u64)> = tables
            .iter()
            .flat_map(|(name, rows)| {
                rows.iter()
                    .map(|(table, count)| ([("database", *name), ("table", table)], *count))
            })
            .collect();
        let analysed: Vec<([(&str, &str); 1], u64)> = logs
            .iter()
            .map(|(name, log)| ([("database", *name)], log.analysed()))
            .collect();
        vec![
            counter(
                "retries_total",
                "Transactions that met a conflict (40001), by how that ended for the client.",
                &borrowed(&outcomes),
            ),
            counter(
                "conflicts_total",
                "Conflicts (40001) met by transactions and their repetitions, by DSQL's code.",
                &borrowed(&codes),
            ),
            counter(
                "conflicts_analysed_total",
                "Conflicts over rows whose statements were looked at.",
                &borrowed(&analysed),
            ),
            counter(
                "conflicts_by_table_total",
                "Analysed conflicts by each table that the transaction wrote or locked.",
                &borrowed(&tables),
            ),
            self.repetitions(),
            self.durations(
                "retry_seconds",
                "Time a transaction that was repeated spent repeating.",
                |tally| &tally.repeating,
            ),
        ]
    }

    fn repetitions(&self) -> MetricFamily {
        let mut counts = [0; REPETITIONS.len() + 1];
        let mut sum = 0;
        for worker in self.shared.tallies() {
            let (worker_counts, worker_sum) = worker.repetitions.read();
            counts
                .iter_mut()
                .zip(worker_counts)
                .for_each(|(count, more)| *count += more);
            sum += worker_sum;
        }
        histogram(
            "retry_attempts",
            "Repetitions of transactions that were repeated.",
            &REPETITIONS,
            &counts,
            sum as f64,
        )
    }

    /// Which tables, statements and keys met conflicts; at most `rows` of each, for each database
    /// entry. Key values are in it: for operators only.
    #[must_use]
    pub fn conflicts(&self, rows: usize) -> Value {
        let now = Instant::now();
        let databases: serde_json::Map<String, Value> = self
            .shared
            .conflict_logs()
            .iter()
            .map(|(name, log)| ((*name).to_owned(), log.report(now, rows)))
            .collect();
        json!({
            "window_seconds": WINDOW_MINUTES * 60,
            "uptime_seconds": self.shared.uptime().as_secs(),
            "databases": databases,
        })
    }

    fn sum(&self, tally: impl Fn(&WorkerTally) -> &Tally) -> u64 {
        self.shared
            .tallies()
            .map(|worker| tally(worker).get())
            .sum()
    }

    fn durations(
        &self,
        name: &str,
        help: &str,
        of: fn(&WorkerTally) -> &Durations,
    ) -> MetricFamily {
        let mut counts = [0; BOUNDS.len() + 1];
        let mut sum = 0.0;
        for worker in self.shared.tallies() {
            let (worker_counts, worker_sum) = of(worker).read();
            counts
                .iter_mut()
                .zip(worker_counts)
                .for_each(|(count, more)| *count += more);
            sum += worker_sum;
        }
        histogram(name, help, &BOUNDS, &counts, sum)
    }

    /// Time since the start.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.shared.uptime()
    }
}

type CountOf = fn(&Census) -> usize;
type TallyOf = fn(&WorkerTally) -> &Tally;
type Row<'a> = (&'a [(&'a str, &'a str)], u64);

fn borrowed<'a, const N: usize>(rows: &'a [([(&'a str, &'a str); N], u64)]) -> Vec<Row<'a>> {
    rows.iter()
        .map(|(labels, value)| (labels.as_slice(), *value))
        .collect()
}
