//! The ground of each test: an emulator of its own, with an empty cluster and a clock to move.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use dsql_proxy::emulator::Emulator;
use dsql_proxy::emulator::account::Account;
use serde_json::Value;

use crate::client::{Door, Failure, Lost, PATIENCE, Reply, Session};
use crate::emulated::{self, client_tls, sdk_token};

/// Every token this process made or presented, to be looked for in what it logged.
pub static TOKENS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A running emulator and how far its clock was moved.
pub struct Ground {
    pub emulator: Emulator,
    pub door: Door,
    pub dir: tempfile::TempDir,
    ahead: Duration,
    /// Empties the cluster and sets cases up; kept over cases, because connecting costs more.
    keeper: Option<Session>,
}

impl Ground {
    pub fn start() -> Self {
        let (emulator, dir) = emulated::start();
        let door = Door {
            address: emulator.address(),
            endpoint: emulator.account().endpoint.clone(),
            tls: Arc::new(client_tls(&emulator)),
            patience: PATIENCE,
        };
        Self {
            emulator,
            door,
            dir,
            ahead: Duration::ZERO,
            keeper: None,
        }
    }

    /// A token by the AWS SDK, good at the emulator's present moment.
    pub fn token(&self, user: &str) -> String {
        self.token_of(
            self.emulator.account(),
            user,
            900,
            SystemTime::now() + self.ahead,
        )
    }

    /// A token by the AWS SDK for an account that may be another one.
    pub fn token_of(&self, account: &Account, user: &str, life: u64, at: SystemTime) -> String {
        let token = sdk_token(account, user, life, at, None);
        TOKENS.lock().unwrap().push(token.clone());
        token
    }

    pub fn try_connect(&self, parameters: &[(&str, &str)]) -> Result<Session, Lost> {
        let user = parameters
            .iter()
            .find(|(name, _)| *name == "user")
            .map_or("admin", |(_, user)| *user);
        Session::open(&self.door, parameters, &self.token(user))
    }

    #[track_caller]
    pub fn connect(&self, user: &str) -> Session {
        match self.try_connect(&[("user", user), ("database", "postgres")]) {
            Ok(session) => session,
            Err(lost) => panic!("login of {user}: {lost}"),
        }
    }

    #[track_caller]
    pub fn admin(&self) -> Session {
        self.connect("admin")
    }

    /// The refusal of a login.
    #[track_caller]
    pub fn refusal(&self, parameters: &[(&str, &str)], token: &str) -> Failure {
        TOKENS.lock().unwrap().push(token.to_owned());
        match Session::open(&self.door, parameters, token) {
            Err(Lost::Told(failure)) => failure,
            Err(lost) => panic!("{parameters:?}: {lost}"),
            Ok(_) => panic!("{parameters:?}: let in"),
        }
    }

    /// Runs set-up statements, each in autocommit, each until nobody's schema change is in its way.
    #[track_caller]
    pub fn set_up<S: AsRef<str>>(&mut self, statements: &[S]) {
        for sql in statements {
            if let Err(error) = self.keep(sql.as_ref()) {
                panic!("set-up {}: {error}", sql.as_ref());
            }
        }
    }

    /// One statement by the keeper; an OC001 is retried.
    pub fn keep(&mut self, sql: &str) -> Result<Reply, String> {
        for _ in 0..20 {
            let mut session = match self.keeper.take() {
                Some(session) => session,
                None => self
                    .try_connect(&[("user", "admin")])
                    .map_err(|lost| lost.to_string())?,
            };
            match session.query(sql) {
                Ok(reply) if reply.is_occ("OC00") => self.keeper = Some(session),
                Ok(reply) => {
                    self.keeper = Some(session);
                    return match reply.failure {
                        Some(failure) => Err(failure.to_string()),
                        None => Ok(reply),
                    };
                }
                // Too old, by a clock that was moved.
                Err(_) => {}
            }
        }
        Err("no end of conflicts".to_owned())
    }

    /// Closes the keeper's session, for tests that count sessions.
    pub fn forget_keeper(&mut self) {
        self.keeper = None;
    }

    /// Drops whatever tests left behind; faults, too.
    pub fn empty(&mut self) -> Result<(), String> {
        self.http("DELETE", "/faults", "");
        self.http("POST", "/quotas", "{}");
        for _ in 0..5 {
            let left = self.keep(LEFT_BEHIND)?;
            let rows = &left.one().rows;
            if rows.is_empty() {
                return Ok(());
            }
            for row in rows {
                // What another drop took with it is gone by its turn.
                let _ = self.keep(row[0].as_deref().unwrap_or_default());
            }
        }
        Err("the cluster cannot be emptied".to_owned())
    }

    pub fn http(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        emulated::http(&self.emulator, "host: 127.0.0.1", method, path, body)
    }

    #[track_caller]
    pub fn stat(&self, name: &str) -> u64 {
        let (_, stats) = self.http("GET", "/stats", "");
        match stats[name].as_u64() {
            Some(value) => value,
            None => panic!("/stats has no {name}: {stats}"),
        }
    }

    /// Orders a fault.
    #[track_caller]
    pub fn order(&self, fault: &str) {
        let (status, answer) = self.http("POST", "/faults", fault);
        assert_eq!(status, 200, "{fault}: {answer}");
    }

    /// Sets quotas; those left out are at their defaults.
    #[track_caller]
    pub fn quotas(&self, quotas: &str) {
        let (status, answer) = self.http("POST", "/quotas", quotas);
        assert_eq!(status, 200, "{quotas}: {answer}");
    }

    /// Waits until a counter has a value: connections end on the server's own time.
    #[track_caller]
    pub fn await_stat(&self, name: &str, value: u64) {
        for _ in 0..500 {
            if self.stat(name) == value {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{name} is {}, not {value}", self.stat(name));
    }

    /// Moves the emulator's clock.
    #[track_caller]
    pub fn advance(&mut self, seconds: u64) {
        let order = format!(r#"{{"advance":"{seconds}s"}}"#);
        let (status, answer) = self.http("POST", "/clock", &order);
        assert_eq!(status, 200, "{answer}");
        self.ahead += Duration::from_secs(seconds);
    }

    /// The moment of the emulator's clock.
    pub fn now(&self) -> SystemTime {
        SystemTime::now() + self.ahead
    }
}

/// Statements that drop what is there, dependants first; DSQL's own schemas are not asked for.
const LEFT_BEHIND: &str = "SELECT drop FROM (
    SELECT 1 AS place, format('DROP SCHEMA %I CASCADE', nspname) AS drop FROM pg_namespace
     WHERE nspname !~ '^pg_' AND nspname NOT IN ('public', 'sys', 'information_schema')
    UNION ALL
    SELECT 2, format('DROP VIEW %I CASCADE', relname) FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind = 'v'
    UNION ALL
    SELECT 3, format('DROP TABLE %I CASCADE', relname) FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
    UNION ALL
    SELECT 4, format('DROP SEQUENCE %I', relname) FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'
       AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = pg_class.oid AND d.deptype IN ('i', 'a'))
    UNION ALL
    SELECT 5, format('DROP FUNCTION %s', p.oid::regprocedure) FROM pg_proc p
     WHERE pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT 6, format('DROP DOMAIN %I CASCADE', typname) FROM pg_type
     WHERE typnamespace = 'public'::regnamespace AND typtype = 'd'
    UNION ALL
    SELECT 7, format('DROP ROLE %I', rolname) FROM pg_roles
     WHERE rolname !~ '^(pg_|postgres$|admin$|dsql|sys)'
) AS things ORDER BY place";
