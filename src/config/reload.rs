//! From a running configuration to a new one: what can change under way, and what cannot.
//!
//! Live: users, issuers of tokens, the contents of certificate and key files, the log level, the rules
//! of the dialect, tenant policies. The rest has sockets, threads, pools and sessions behind it and
//! needs a restart.

use std::collections::BTreeMap;

use super::schema::{Config, Listen, Log, User};

/// What is different in a new configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Taken over without a restart. One line each, for logs; no values.
    pub live: Vec<String>,
    /// Ignored until the next start. One line each: the key and what happened to it.
    pub restart: Vec<String>,
}

impl Changes {
    /// Nothing is different. Files named by both configurations may still have new contents.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.restart.is_empty()
    }
}

/// Compares a running configuration with a new one.
#[must_use]
pub fn compare(old: &Config, new: &Config) -> Changes {
    // By name, so that a key that is new to the format is not forgotten here.
    let Config {
        listen,
        admin,
        workers,
        clusters,
        databases,
        users,
        auth,
        limits,
        log: Log { format, level },
        dialect,
        tenancy,
        tokens,
    } = old;
    let mut changes = Changes::default();
    compare_users(users, &new.users, &mut changes.live);
    let live = [
        ("log.level", *level == new.log.level),
        ("dialect", *dialect == new.dialect),
        ("tenancy", *tenancy == new.tenancy),
        ("tokens", *tokens == new.tokens),
    ];
    note(&live, &mut changes.live);
    let restart = [
        ("auth", *auth == new.auth),
        ("limits", *limits == new.limits),
    ];
    note(&restart, &mut changes.restart);
    compare_listen(listen, &new.listen, &mut changes.restart);
    let restart = [
        ("admin", *admin == new.admin),
        ("workers", *workers == new.workers),
        ("log.format", *format == new.log.format),
    ];
    note(&restart, &mut changes.restart);
    compare_maps("clusters", clusters, &new.clusters, &mut changes.restart);
    compare_maps("databases", databases, &new.databases, &mut changes.restart);
    changes
}

fn compare_listen(old: &Listen, new: &Listen, lines: &mut Vec<String>) {
    let Listen {
        address,
        tls,
        max_unauthenticated,
        login_timeout,
    } = old;
    let same = [
        (
            "listen.max_unauthenticated",
            *max_unauthenticated == new.max_unauthenticated,
        ),
        ("listen.login_timeout", *login_timeout == new.login_timeout),
        ("listen.tls", *tls == new.tls),
        ("listen.address", *address == new.address),
    ];
    note(&same, lines);
}

fn compare_maps<T: PartialEq>(
    section: &str,
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    lines: &mut Vec<String>,
) {
    let names = old.keys().chain(new.keys());
    entries(section, names, |name| (old.get(name), new.get(name)), lines);
}

/// What runs after a reload: `new` where [`compare`] says live, `old` elsewhere. A user may name a
/// database that is not there before the restart.
#[must_use]
pub fn merge(old: &Config, new: &Config) -> Config {
    let mut merged = old.clone();
    merged.users.clone_from(&new.users);
    // A database that is to have a tenant policy, or another one, has it from the restart on: users who were
    // written for it are not let in before.
    let tenancy = |config: &Config, name: &str| {
        let database = config.databases.get(name);
        database.and_then(|database| database.tenancy.clone())
    };
    for user in &mut merged.users {
        user.databases
            .retain(|name| tenancy(old, name) == tenancy(new, name));
    }
    merged.dialect.clone_from(&new.dialect);
    merged.tenancy.clone_from(&new.tenancy);
    merged.tokens.clone_from(&new.tokens);
    merged.log = Log {
        format: old.log.format,
        level: new.log.level.clone(),
    };
    merged
}

fn note(keys: &[(&str, bool)], lines: &mut Vec<String>) {
    let changed = keys.iter().filter(|(_, same)| !same);
    lines.extend(changed.map(|(key, _)| format!("{key} changed")));
}

fn compare_users(old: &[User], new: &[User], lines: &mut Vec<String>) {
    let find = |users: &'_ [User], name: &str| users.iter().position(|user| user.name.0 == name);
    let names = old.iter().chain(new).map(|user| &user.name.0);
    entries(
        "users",
        names,
        |name| {
            (
                find(old, name).map(|index| &old[index]),
                find(new, name).map(|index| &new[index]),
            )
        },
        lines,
    );
}

/// One line for each name whose entry was added, removed or changed.
fn entries<'n, T: PartialEq>(
    section: &str,
    names: impl Iterator<Item = &'n String>,
    find: impl Fn(&str) -> (Option<T>, Option<T>),
    lines: &mut Vec<String>,
) {
    let names: std::collections::BTreeSet<&String> = names.collect();
    for name in names {
        let what = match find(name) {
            (None, Some(_)) => "added",
            (Some(_), None) => "removed",
            (old, new) if old != new => "changed",
            _ => continue,
        };
        lines.push(format!("{section}.{name} {what}"));
    }
}
