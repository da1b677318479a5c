//! From a running configuration to a new one: what can change under way, and what cannot.
//!
//! Live: users, the contents of certificate files, the log level. The rest has sockets, threads,
//! pools and sessions behind it and needs a restart.

use super::schema::{Config, Log, User};

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
    let mut changes = Changes::default();
    users(&old.users, &new.users, &mut changes.live);
    let live = [("log.level", old.log.level == new.log.level)];
    let restart = [
        ("auth", old.auth == new.auth),
        ("limits", old.limits == new.limits),
        (
            "listen.max_unauthenticated",
            old.listen.max_unauthenticated == new.listen.max_unauthenticated,
        ),
        (
            "listen.login_timeout",
            old.listen.login_timeout == new.listen.login_timeout,
        ),
        ("listen.tls", old.listen.tls == new.listen.tls),
        ("listen.address", old.listen.address == new.listen.address),
        ("admin", old.admin == new.admin),
        ("workers", old.workers == new.workers),
        ("log.format", old.log.format == new.log.format),
    ];
    note(&live, &mut changes.live);
    note(&restart, &mut changes.restart);
    let names = old.clusters.keys().chain(new.clusters.keys());
    entries(
        "clusters",
        names,
        |name| (old.clusters.get(name), new.clusters.get(name)),
        &mut changes.restart,
    );
    let names = old.databases.keys().chain(new.databases.keys());
    entries(
        "databases",
        names,
        |name| (old.databases.get(name), new.databases.get(name)),
        &mut changes.restart,
    );
    changes
}

/// What runs after a reload: `new` where [`compare`] says live, `old` elsewhere. A user may name a
/// database that is not there before the restart.
#[must_use]
pub fn merge(old: &Config, new: &Config) -> Config {
    let mut merged = old.clone();
    merged.users.clone_from(&new.users);
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

fn users(old: &[User], new: &[User], lines: &mut Vec<String>) {
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
