//! What the emulator logs: enough to know what happened, and never a token.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use crate::Test;
use crate::client::Session;
use crate::ground::{Ground, TOKENS};
use crate::tokens;

pub const TESTS: &[Test] = &[("logs::no_token_is_logged", no_token_is_logged)];

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps what this process logs from now on, the emulators' part included.
pub fn install() {
    let (filter, handle) = reload::Layer::new(LevelFilter::INFO);
    let output = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(|| Sink);
    tracing_subscriber::registry()
        .with(filter)
        .with(output)
        .init();
    let _ = LEVEL.set(handle);
}

fn set_level(level: LevelFilter) {
    LEVEL.get().unwrap().reload(level).unwrap();
}

fn no_token_is_logged(ground: &mut Ground) {
    ground.forget_keeper();
    // Made before: the SDK logs what it signs at TRACE, and that is not the emulator's log.
    let good = ground.token("admin");
    let bad = tokens::bad_tokens(ground);
    set_level(LevelFilter::TRACE);
    for (_, token, _) in bad {
        let _ = Session::open(&ground.door, &[("user", "admin")], &token);
        TOKENS.lock().unwrap().push(token);
    }
    let mut session = Session::open(&ground.door, &[("user", "admin")], &good)
        .unwrap_or_else(|lost| panic!("{lost}"));
    session.run("SELECT 1");
    session.refused("SELECT nonsense");
    for fault in ["expire_tokens", "refuse_login"] {
        ground.order(&format!(r#"{{"kind":"{fault}","count":1}}"#));
        ground.refusal(&[("user", "admin")], &good);
    }
    // A token in the wrong place: as a user, a database, a setting.
    for name in ["user", "database", "search_path", "work_mem"] {
        let _ = Session::open(&ground.door, &[("user", "admin"), (name, &good)], &good);
    }
    // Wait until the connections of the refused are logged to their end.
    ground.await_stat("connections", 1);
    set_level(LevelFilter::INFO);

    let mut logged = String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned();
    assert!(logged.contains("login refused"), "the log is kept");
    assert!(logged.contains("access denied"), "and says why");
    read_files(ground.dir.path(), &mut logged);
    let tokens = TOKENS.lock().unwrap();
    assert!(tokens.len() > 60, "{}", tokens.len());
    for token in tokens.iter().filter(|token| token.len() > 40) {
        // Short ends are no secret; the signature is one, whatever else is wrong with the token.
        assert!(!logged.contains(token.as_str()), "a token is logged");
        for secret in secrets(token) {
            let at = logged.find(secret);
            assert!(
                at.is_none(),
                "{:?}",
                at.map(|at| &logged[at.saturating_sub(200)..at])
            );
        }
    }
    let key = &ground.emulator.account().secret_access_key;
    assert!(
        !logged.contains(key.as_str()),
        "the secret access key is logged"
    );
}

/// Signature and session token.
fn secrets(token: &str) -> impl Iterator<Item = &str> {
    token
        .split(['?', '&'])
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, value)| {
            matches!(*name, "X-Amz-Signature" | "X-Amz-Security-Token") && value.len() > 20
        })
        .map(|(_, value)| value)
}

/// PostgreSQL's own log is among these.
fn read_files(folder: &Path, out: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let is_log = path.extension().is_some_and(|end| end == "log");
        if is_log && path.is_file() {
            out.push_str(&String::from_utf8_lossy(&std::fs::read(&path).unwrap()));
        } else if path.is_dir() && path.file_name().is_some_and(|name| name != "base") {
            read_files(&path, out);
        }
    }
}
