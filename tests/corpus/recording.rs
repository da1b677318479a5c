//! A recorded conversation: what clients sent, one message a line.

use std::path::Path;

use serde_json::Value;

/// Recordings with what must have been said before in the same database.
pub const RECORDINGS: [(&str, &[&str]); 30] = [
    ("drv_asyncpg", &[]),
    ("drv_pg8000", &[]),
    ("drv_psycopg", &[]),
    ("drv_psycopg2", &[]),
    ("jdbc_autosave", &[]),
    ("jdbc_meta", &["setup"]),
    ("jdbc_sm", &[]),
    ("njs_dzmig", &[]),
    ("njs_dzpull", &["setup"]),
    ("njs_knex", &[]),
    ("njs_kysely", &[]),
    ("njs_pg", &[]),
    ("njs_pgpromise", &[]),
    ("njs_postgresjs", &[]),
    ("njs_sequelize", &[]),
    ("njs_typeorm", &[]),
    ("pgbench_i", &[]),
    ("pgbench_prep", &["pgbench_i"]),
    ("pgbench_run", &["pgbench_i"]),
    ("pgcli", &["setup"]),
    ("pgdump_fc", &["setup"]),
    ("pgdump_s", &["setup"]),
    ("pgdumpall", &[]),
    ("pgrestore", &[]),
    ("psql_setup", &[]),
    ("psql_meta", &["setup"]),
    ("rails", &[]),
    ("wagtail", &[]),
    // Behind the 1,500 statements before it.
    ("wagtail_run", &["wagtail"]),
    // What graphical tools ask for as they start, from their sources.
    ("tools", &["setup"]),
];

/// One message of a client.
#[derive(Debug, Clone)]
pub enum Message {
    /// StartupMessage with parameters besides user and database.
    Startup(Vec<(String, String)>),
    /// Query.
    Query(String),
    /// Parse: statement, text.
    Parse(String, String),
    /// Bind: portal, statement.
    Bind(String, String),
    /// Describe: kind, name.
    Describe(u8, String),
    /// Close: kind, name.
    Close(u8, String),
    /// Execute: portal, rows.
    Execute(String, u32),
    /// Sync.
    Sync,
    /// Flush.
    Flush,
    /// CopyDone; the rows were not recorded.
    CopyDone,
    /// Terminate.
    Terminate,
}

/// A recording.
pub struct Recording {
    /// The database that its first session names.
    pub database: String,
    /// Line in the file from 1, session, message.
    pub messages: Vec<(usize, u64, Message)>,
}

impl Recording {
    /// Reads `recordings/{name}.jsonl`.
    pub fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/corpus/recordings")
            .join(format!("{name}.jsonl"));
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut database = String::new();
        let mut messages = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let event: Value = serde_json::from_str(line).expect("an event");
            let session = event["c"].as_u64().expect("a session");
            if let Some(message) = message(&event) {
                messages.push((at + 1, session, message));
            }
            if let (true, Some(named)) = (database.is_empty(), event["params"]["database"].as_str())
            {
                named.clone_into(&mut database);
            }
        }
        Self { database, messages }
    }

    /// Puts the sessions one behind the other.
    pub fn part_sessions(&mut self) {
        self.messages.sort_by_key(|(_, session, _)| *session);
    }
}

fn message(event: &Value) -> Option<Message> {
    let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let kind = || event["what"].as_str().unwrap_or("S").as_bytes()[0];
    Some(match event["t"].as_str()? {
        "Startup" => {
            let parameters = event["params"].as_object().expect("parameters");
            let kept = parameters
                .iter()
                .filter(|(name, _)| !matches!(name.as_str(), "user" | "database"))
                .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
            Message::Startup(kept.collect())
        }
        "Q" => Message::Query(text("sql")),
        "P" => Message::Parse(text("name"), text("sql")),
        "B" => Message::Bind(text("portal"), text("name")),
        "D" => Message::Describe(kind(), text("name")),
        "C" => Message::Close(kind(), text("name")),
        "E" => {
            let rows = event["maxrows"].as_u64().unwrap_or(0);
            Message::Execute(text("portal"), u32::try_from(rows).unwrap_or(0))
        }
        "S" => Message::Sync,
        "H" => Message::Flush,
        "c" => Message::CopyDone,
        "X" => Message::Terminate,
        // Encryption, passwords and cancelling are not part of what is compared.
        _ => return None,
    })
}
