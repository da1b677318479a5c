//! What a client is told after its login: the server's parameters and its own key.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::auth::Identity;
use crate::policy::tenancy::scrub;
use crate::sql::{PinReason, reads_otherwise};
use crate::upstream::{Settings, SharedSettings};
use crate::wire::reply;

use super::databases::put_search_path;
use super::kept::divide;
use super::run::{End, Session, SessionEnv};
use super::value::value_of;

/// Start-up parameters that are not settings.
const NOT_SETTINGS: [&str; 4] = ["user", "database", "options", "replication"];

/// pg_dump refuses servers that are newer than itself, and asks older ones for nothing that Aurora
/// DSQL would not have: so it is told the oldest version that is still common.
const TOLD_TO_DUMPS: &str = "13.0";

/// The client is pg_dump or pg_dumpall.
fn dumps(identity: &Identity) -> bool {
    identity.parameters().iter().any(|(name, value)| {
        name == "application_name" && matches!(value.as_str(), "pg_dump" | "pg_dumpall")
    })
}

/// The settings a client asked for at start-up.
pub(super) fn startup_settings(identity: &Identity, env: &SessionEnv) -> SharedSettings {
    let mut settings: Settings = identity
        .parameters()
        .iter()
        .map(|(name, value)| (name.to_lowercase(), value))
        .filter(|(name, _)| !NOT_SETTINGS.contains(&name.as_str()) && !name.starts_with("_pq_."))
        .map(|(name, value)| {
            let value = value_of(&name, value);
            (name, value)
        })
        .collect();
    if env.guard.is_some() {
        super::isolation::pin_search_path(&mut settings);
    } else if let Some(databases) = &env.databases {
        put_search_path(&mut settings, &databases.naming);
    }
    Arc::new(settings)
}

/// What servers reported for a set of start-up settings, so that the next login with the same set
/// needs no connection. Keyed by pool and settings.
#[derive(Debug, Default)]
pub struct Profiles {
    known: RefCell<HashMap<(usize, SharedSettings), Rc<Profile>>>,
}

#[derive(Debug)]
struct Profile {
    /// The settings in the server's own spelling.
    settings: SharedSettings,
    parameters: Rc<[(String, String)]>,
    /// Parameters of a fresh connection at that time; others now make the profile stale.
    baseline: Rc<[(String, String)]>,
}

/// Sets kept at most; clients invent application names.
const LIMIT: usize = 1000;

impl Session {
    /// Tells the client the server's parameters. False while a connection is needed and not there.
    pub(super) fn welcome(&mut self) -> Result<bool, End> {
        let asked = Arc::clone(self.settings.wanted());
        let first = self.lease.is_none() && self.ticket.is_none();
        if let Some(profile) = first.then(|| self.profile(&asked)).flatten() {
            self.settings.adopt(Arc::clone(&profile.settings));
            self.greet(&profile.parameters);
            return Ok(true);
        }
        match self.ensure_lease() {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => {
                return Err(End::Refuse(reply::ClientError {
                    severity: reply::Severity::Fatal,
                    ..error
                }));
            }
        }
        if !self.owed.is_empty() {
            return Ok(false);
        }
        let parameters = self.lease.as_ref().map(|lease| lease.parameters.clone());
        let parameters: Rc<[(String, String)]> = parameters.unwrap_or_default().into();
        self.settings.adopt(Arc::clone(self.settings.wanted()));
        self.learn_profile(&parameters);
        self.greet(&parameters);
        if self.env.mode == crate::config::PoolMode::Transaction {
            self.release();
        }
        Ok(true)
    }

    fn profile(&self, asked: &SharedSettings) -> Option<Rc<Profile>> {
        let known = self.env.profiles.known.borrow();
        let profile = known.get(&(self.env.pool_index, Arc::clone(asked)))?;
        (profile.baseline == self.env.pool.baseline()).then(|| Rc::clone(profile))
    }

    fn learn_profile(&self, parameters: &Rc<[(String, String)]>) {
        let mut known = self.env.profiles.known.borrow_mut();
        if known.len() >= LIMIT {
            known.clear();
        }
        let (asked, _) = divide(&startup_settings(&self.identity, &self.env), &self.env.kept);
        known.insert(
            (self.env.pool_index, asked),
            Rc::new(Profile {
                settings: Arc::clone(self.settings.wanted()),
                parameters: Rc::clone(parameters),
                baseline: self.env.pool.baseline(),
            }),
        );
    }

    fn greet(&mut self, parameters: &Rc<[(String, String)]>) {
        if self.env.policy.is_some() {
            self.greeted = Rc::clone(parameters);
        }
        for (name, value) in parameters.iter() {
            if reads_otherwise(&name.to_lowercase(), value) {
                self.pin_to(PinReason::Setting);
            }
        }
        let old = self.env.policy.is_some() && dumps(&self.identity);
        let out = self.cout.tail();
        let guarded = self.env.guard.is_some();
        for (name, value) in parameters.iter() {
            if guarded && !scrub::passes_parameter(name) {
                continue;
            }
            let told = match name.as_str() {
                "server_version" if old => TOLD_TO_DUMPS,
                _ => value,
            };
            reply::put_parameter(out, name, told);
        }
        reply::put_key(out, self.key.0, &self.key.1);
        reply::put_ready(out, self.status);
        tracing::debug!(
            user = self.identity.user(),
            database = self.identity.database(),
            "session started"
        );
    }
}
