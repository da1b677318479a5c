//! The session's settings, and how transactions undo their changes.

use std::sync::Arc;

use crate::policy::settings::{self, Scope};
use crate::sql::Effect;
use crate::upstream::{Settings, SharedSettings};

use super::value::value_of;

/// Settings of the session and the label of its connection at one moment.
#[derive(Debug, Clone, Default)]
struct Snapshot {
    session: SharedSettings,
    label: SharedSettings,
    /// What the proxy keeps itself, as SHOW tells it.
    kept: SharedSettings,
    /// The same, by SET LOCAL.
    local: SharedSettings,
    /// What SET LOCAL made of `search_path`.
    path: Option<String>,
}

/// Parameters a server reports that no SET changes.
const FIXED: [&str; 6] = [
    "server_version",
    "server_encoding",
    "integer_datetimes",
    "is_superuser",
    "session_authorization",
    "in_hot_standby",
];

/// The settings of a session: what it wants and what its connection has.
#[derive(Debug, Default)]
pub struct SettingsState {
    /// What RESET goes back to: the client's startup parameters.
    defaults: SharedSettings,
    /// Which settings the proxy keeps itself.
    scope: Scope,
    /// What RESET makes of these: start-up parameters, and the database entry's.
    kept_defaults: SharedSettings,
    now: Snapshot,
    /// At the start of the transaction.
    base: Snapshot,
    savepoints: Vec<(Vec<u8>, Snapshot)>,
    failed: bool,
    reported: Vec<(String, String)>,
}

impl SettingsState {
    /// Settings of a new session.
    #[must_use]
    pub fn new(defaults: SharedSettings) -> Self {
        let now = Snapshot {
            session: Arc::clone(&defaults),
            ..Snapshot::default()
        };
        Self {
            base: now.clone(),
            now,
            defaults,
            ..Self::default()
        }
    }

    /// The start-up settings in the server's own spelling.
    pub fn adopt(&mut self, settings: SharedSettings) {
        self.defaults = Arc::clone(&settings);
        self.now.session = settings;
        self.base = self.now.clone();
    }

    /// What RESET goes back to: the client's start-up parameters.
    #[must_use]
    pub fn defaults(&self) -> &SharedSettings {
        &self.defaults
    }

    /// What the session wants.
    #[must_use]
    pub fn wanted(&self) -> &SharedSettings {
        &self.now.session
    }

    /// The search path as the transaction has it, as SET takes it; `None`: that of the server.
    #[must_use]
    pub fn search_path(&self) -> Option<&str> {
        let set = match self.now.path.as_deref() {
            Some("DEFAULT") => self.defaults.get("search_path"),
            Some(path) => return Some(path),
            None => self.now.session.get("search_path"),
        };
        set.map(String::as_str)
    }

    /// It is another than when the transaction began.
    #[must_use]
    pub fn has_moved_path(&self) -> bool {
        let of = |snapshot: &Snapshot| snapshot.session.get("search_path").cloned();
        self.now.path.is_some() || of(&self.now) != of(&self.base)
    }

    /// What the connection has.
    #[must_use]
    pub fn label(&self) -> &SharedSettings {
        &self.now.label
    }

    /// What the connection had when its transaction began.
    #[must_use]
    pub fn label_at_start(&self) -> &SharedSettings {
        &self.base.label
    }

    /// The proxy keeps settings itself; these are their values to begin with.
    pub fn keep(&mut self, scope: Scope, defaults: Settings) {
        self.scope = scope;
        self.kept_defaults = Arc::new(defaults);
    }

    /// Which settings the proxy keeps itself.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The value of a setting that the proxy keeps, as SHOW tells it.
    #[must_use]
    pub fn kept(&self, name: &str) -> Option<&str> {
        let default = || settings::default(name, self.scope);
        let sets = [&self.now.local, &self.now.kept, &self.kept_defaults];
        let set = sets.iter().find_map(|set| set.get(name));
        set.map(String::as_str).or_else(default)
    }

    /// No value of a setting that the proxy keeps differs from its default.
    #[must_use]
    pub fn keeps_nothing(&self) -> bool {
        self.now.local.is_empty() && self.now.kept.is_empty() && self.kept_defaults.is_empty()
    }

    /// Sets a setting that the proxy keeps; `None` resets it.
    pub fn set_kept(&mut self, name: &str, value: Option<&str>, local: bool) {
        let now = &mut self.now;
        let default = self.kept_defaults.get(name).map(String::as_str);
        let to = value.or(default);
        if local {
            let to = to.or_else(|| settings::default(name, self.scope));
            if let Some(to) = to {
                Arc::make_mut(&mut now.local).insert(name.to_owned(), to.to_owned());
            }
            return;
        }
        if now.local.contains_key(name) {
            Arc::make_mut(&mut now.local).remove(name);
        }
        match value {
            Some(value) => {
                Arc::make_mut(&mut now.kept).insert(name.to_owned(), value.to_owned());
            }
            None if now.kept.contains_key(name) => {
                Arc::make_mut(&mut now.kept).remove(name);
            }
            None => {}
        }
    }

    /// RESET ALL was carried out here: the connection does not have its values yet.
    pub fn reset_all(&mut self) {
        self.now.session = Arc::clone(&self.defaults);
        self.now.kept = SharedSettings::default();
        self.now.local = SharedSettings::default();
    }

    /// A statement outside a transaction was carried out without a connection.
    pub fn settle_kept(&mut self) {
        self.now.local = SharedSettings::default();
        self.base.kept = Arc::clone(&self.now.kept);
        self.base.session = Arc::clone(&self.now.session);
    }

    /// A connection was leased.
    pub fn attach(&mut self, label: SharedSettings) {
        self.now.label = label;
        self.base.label = Arc::clone(&self.now.label);
        self.base.session = Arc::clone(&self.now.session);
        self.savepoints.clear();
        self.reported.clear();
        self.failed = false;
    }

    /// The connection is gone, and its transaction with it. `again`: what it was asked to do is done
    /// once more, so what the proxy keeps itself stays as it is.
    pub fn abandon(&mut self, again: bool) {
        let before = std::mem::replace(&mut self.now, self.base.clone());
        if again {
            self.now.kept = before.kept;
            self.now.local = before.local;
            self.now.path = before.path;
        }
        self.savepoints.clear();
        self.reported.clear();
        self.failed = false;
    }

    /// The proxy's own SET statements succeeded.
    pub fn synced(&mut self) {
        self.now.label = Arc::clone(&self.now.session);
    }

    /// A statement of the client succeeded.
    pub fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Set {
                name,
                value,
                local: false,
                ..
            } => {
                self.forget_local_path(name);
                self.change(|settings| {
                    settings.insert(name.clone(), value.clone());
                });
            }
            Effect::Set { name, value, .. } if name == "search_path" => {
                self.now.path = Some(value.clone());
            }
            Effect::Reset(name) => {
                self.forget_local_path(name);
                self.reset(name);
            }
            Effect::ResetAll | Effect::DiscardAll => {
                self.now.path = None;
                self.now.label = SharedSettings::default();
                self.now.session = Arc::clone(&self.defaults);
                self.now.kept = SharedSettings::default();
                self.now.local = SharedSettings::default();
            }
            Effect::Commit { .. } => {
                self.now.local = SharedSettings::default();
                self.now.path = None;
                self.base = self.now.clone();
            }
            Effect::Rollback { .. } => self.now = self.base.clone(),
            Effect::Savepoint(name) => self.savepoints.push((name.clone(), self.now.clone())),
            Effect::Release(name) => self.drop_savepoint(name, false),
            Effect::RollbackTo(name) => self.drop_savepoint(name, true),
            _ => {}
        }
    }

    fn forget_local_path(&mut self, name: &str) {
        if name == "search_path" {
            self.now.path = None;
        }
    }

    fn reset(&mut self, name: &str) {
        self.change(|settings| {
            settings.remove(name);
        });
        if let Some(value) = self.defaults.get(name) {
            let value = value.clone();
            Arc::make_mut(&mut self.now.session).insert(name.to_owned(), value);
        }
    }

    fn drop_savepoint(&mut self, name: &[u8], restore: bool) {
        let Some(at) = self.savepoints.iter().rposition(|(known, _)| known == name) else {
            return;
        };
        if restore {
            self.now = self.savepoints[at].1.clone();
            self.savepoints.truncate(at + 1);
        } else {
            self.savepoints.truncate(at);
        }
    }

    /// Changes session and label alike; equal sets stay one set.
    fn change(&mut self, change: impl Fn(&mut Settings)) {
        let shared = Arc::ptr_eq(&self.now.session, &self.now.label);
        change(Arc::make_mut(&mut self.now.session));
        if shared {
            self.now.label = Arc::clone(&self.now.session);
        } else {
            change(Arc::make_mut(&mut self.now.label));
        }
    }

    /// The server reported a parameter.
    pub fn report(&mut self, name: &str, value: &str) {
        if FIXED.contains(&name) {
            return;
        }
        let name = name.to_lowercase();
        match self.reported.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.reported.push((name, value.to_owned())),
        }
    }

    /// A statement failed.
    pub fn fail(&mut self) {
        self.failed = true;
    }

    /// The transaction goes on.
    pub fn stay_open(&mut self) {
        self.failed = false;
    }

    /// The transaction ended: an implicit one that failed is undone, and what the server reported
    /// is the truth in its own spelling.
    pub fn settle(&mut self, baseline: &[(String, String)]) {
        if std::mem::take(&mut self.failed) {
            self.now = self.base.clone();
        }
        for (name, value) in std::mem::take(&mut self.reported) {
            let fresh = baseline
                .iter()
                .any(|(known, fresh)| known.eq_ignore_ascii_case(&name) && *fresh == value);
            self.change(|settings| {
                if fresh {
                    settings.remove(&name);
                } else {
                    settings.insert(name.clone(), value_of(&name, &value));
                }
            });
        }
        self.savepoints.clear();
        self.now.local = SharedSettings::default();
        self.now.path = None;
        self.base = self.now.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::classify;

    /// Runs statements as one session; `|` ends a transaction, `!` fails the batch.
    fn run(script: &[&str]) -> (Vec<String>, Vec<String>) {
        let defaults = [("timezone".to_owned(), "'Asia/Tokyo'".to_owned())];
        let mut state = SettingsState::new(Arc::new(defaults.into()));
        state.attach(SharedSettings::default());
        state.synced();
        state.settle(&[]);
        for statement in script {
            match *statement {
                "|" => state.settle(&[]),
                "!" => state.fail(),
                "E" => {
                    state.fail();
                    state.stay_open();
                }
                text => {
                    for effect in classify(text.as_bytes())
                        .effects
                        .iter()
                        .flat_map(|e| e.iter())
                    {
                        state.apply(effect);
                    }
                }
            }
        }
        let show = |set: &Settings| set.iter().map(|(n, v)| format!("{n}={v}")).collect();
        (show(state.wanted()), show(state.label()))
    }

    #[test]
    fn s2_settings_follow_the_transaction() {
        let tokyo = "timezone='Asia/Tokyo'";
        let cases: &[(&[&str], &[&str])] = &[
            (&["SET a = 1", "|"], &["a=1", tokyo]),
            (&["BEGIN", "SET a = 1", "ROLLBACK", "|"], &[tokyo]),
            (&["BEGIN", "SET a = 1", "COMMIT", "|"], &["a=1", tokyo]),
            (&["BEGIN", "SET LOCAL a = 1", "COMMIT", "|"], &[tokyo]),
            (&["SET a = 1", "!", "|"], &[tokyo]),
            (
                &["SET a = 1", "COMMIT", "SET b = 2", "!", "|"],
                &["a=1", tokyo],
            ),
            (
                &[
                    "BEGIN",
                    "SET a = 1",
                    "SAVEPOINT s",
                    "SET a = 2",
                    "ROLLBACK TO s",
                    "COMMIT",
                    "|",
                ],
                &["a=1", tokyo],
            ),
            (
                &[
                    "BEGIN",
                    "SAVEPOINT s",
                    "SET a = 2",
                    "RELEASE s",
                    "COMMIT",
                    "|",
                ],
                &["a=2", tokyo],
            ),
            (
                &[
                    "BEGIN",
                    "SAVEPOINT s",
                    "SET a = 1",
                    "E",
                    "ROLLBACK TO s",
                    "SET a = 3",
                    "COMMIT",
                    "|",
                ],
                &["a=3", tokyo],
            ),
        ];
        for (script, expected) in cases {
            let (wanted, label) = run(script);
            assert_eq!(wanted, *expected, "{script:?}");
            assert_eq!(label, *expected, "{script:?}");
        }
    }

    #[test]
    fn reset_goes_back_to_the_startup_parameter() {
        let (wanted, label) = run(&["SET timezone = 'UTC'", "|", "RESET timezone", "|"]);
        assert_eq!(wanted, ["timezone='Asia/Tokyo'"]);
        assert!(
            label.is_empty(),
            "the connection went back to its own default"
        );
        let (wanted, label) = run(&["SET a = 1", "RESET ALL", "|"]);
        assert_eq!(wanted, ["timezone='Asia/Tokyo'"]);
        assert!(label.is_empty());
    }

    #[test]
    fn s3_the_servers_spelling_is_kept() {
        let mut state = SettingsState::new(SharedSettings::default());
        state.attach(SharedSettings::default());
        state.apply(&Effect::Set {
            name: "datestyle".into(),
            value: "iso, dmy".into(),
            local: false,
            called: false,
        });
        state.report("DateStyle", "ISO, DMY");
        state.settle(&[("DateStyle".into(), "ISO, MDY".into())]);
        assert_eq!(
            state.wanted().get("datestyle").map(String::as_str),
            Some("'ISO, DMY'")
        );
        state.report("DateStyle", "ISO, MDY");
        state.settle(&[("DateStyle".into(), "ISO, MDY".into())]);
        assert!(state.wanted().is_empty() && state.label().is_empty());
    }
}
