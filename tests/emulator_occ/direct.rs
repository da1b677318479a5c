//! Sessions that hold a transaction of the ledger each, directly on the local PostgreSQL.

use std::sync::Arc;

use dsql_proxy::emulator::occ::{
    Backend, CAPTURE_SQL, Commit, EFFECT, Failure, Ledger, SAVEPOINT, SchemaView, Transaction,
    Verdict,
};
use dsql_proxy::emulator::postgres::Postgres;
use dsql_proxy::wire::frontend::{put, put_startup};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::model::Seen;

/// Result of one simple query.
#[derive(Debug, Default)]
pub struct Reply {
    pub tag: String,
    pub rows: Vec<Vec<Option<String>>>,
    pub effects: Vec<String>,
    pub error: Option<(String, String)>,
}

pub struct Wire {
    stream: BufReader<UnixStream>,
}

impl Wire {
    pub async fn connect(postgres: &Postgres, user: &str, parameters: &[(&str, &str)]) -> Self {
        let stream = UnixStream::connect(postgres.socket()).await.unwrap();
        let mut wire = Self {
            stream: BufReader::new(stream),
        };
        let mut out = Vec::new();
        let who = [
            ("user", user),
            ("database", "postgres"),
            ("default_transaction_isolation", "repeatable read"),
        ];
        let all: Vec<_> = who.iter().chain(parameters).copied().collect();
        put_startup(&mut out, &all);
        wire.stream.write_all(&out).await.unwrap();
        let reply = wire.read().await;
        assert!(reply.error.is_none(), "{reply:?}");
        wire
    }

    pub async fn query(&mut self, sql: &str) -> Reply {
        let mut out = Vec::new();
        put(&mut out, b'Q', &[sql.as_bytes(), b"\0"]);
        self.stream.write_all(&out).await.unwrap();
        self.read().await
    }

    async fn read(&mut self) -> Reply {
        let mut reply = Reply::default();
        loop {
            let tag = self.stream.read_u8().await.unwrap();
            let length = self.stream.read_u32().await.unwrap() as usize;
            let mut body = vec![0; length - 4];
            self.stream.read_exact(&mut body).await.unwrap();
            match tag {
                b'Z' => return reply,
                b'C' => reply.tag = text(&body),
                b'D' => reply.rows.push(row(&body)),
                b'E' if reply.error.is_none() => {
                    reply.error = Some((field(&body, b'C'), field(&body, b'M')));
                }
                b'N' if field(&body, b'C') == EFFECT => reply.effects.push(field(&body, b'M')),
                _ => {}
            }
        }
    }
}

fn text(body: &[u8]) -> String {
    String::from_utf8(body[..body.len() - 1].to_vec()).unwrap()
}

fn field(body: &[u8], wanted: u8) -> String {
    let fields = body.split(|byte| *byte == 0);
    let found = fields
        .filter(|f| f.first() == Some(&wanted))
        .map(|f| &f[1..])
        .next();
    String::from_utf8(found.unwrap_or_default().to_vec()).unwrap()
}

fn row(body: &[u8]) -> Vec<Option<String>> {
    let mut at = 2;
    let columns = u16::from_be_bytes([body[0], body[1]]);
    (0..columns)
        .map(|_| {
            let length = i32::from_be_bytes(body[at..at + 4].try_into().unwrap());
            at += 4;
            let length = usize::try_from(length).ok()?;
            at += length;
            Some(String::from_utf8(body[at - length..at].to_vec()).unwrap())
        })
        .collect()
}

impl Backend for Wire {
    async fn run(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let reply = self.query(sql).await;
        match reply.error {
            None => Ok(reply.rows),
            Some((code, message)) => {
                if !["55P03", "40001", "23503", "23505"].contains(&code.as_str()) {
                    panic!("{sql}: {code} {message}");
                }
                Err(Failure::Refused { code, message })
            }
        }
    }
}

struct Open {
    transaction: Transaction,
    block: bool,
    started: bool,
    failed: bool,
}

pub struct Session {
    wire: Wire,
    ledger: Arc<Ledger>,
    view: SchemaView,
    open: Option<Open>,
    pub detached: u64,
}

impl Session {
    async fn begin(&mut self, block: bool) {
        self.wire.query(&format!("BEGIN; {SAVEPOINT}")).await;
        let transaction = Transaction::new(&self.ledger);
        self.open = Some(Open {
            transaction,
            block,
            started: false,
            failed: false,
        });
    }

    async fn statement(&mut self, sql: &str) -> Seen {
        let open = self.open.as_mut().unwrap();
        if open.failed {
            return Seen::Error("25P02".to_owned());
        }
        if !open.started {
            open.transaction.start();
            open.started = true;
        }
        loop {
            let mut text = sql.to_owned();
            let mut locks = Vec::new();
            if let Some((plain, queries)) =
                open.transaction.unlock(&mut self.wire, sql).await.unwrap()
            {
                text = plain;
                locks = queries;
            }
            for lock in locks {
                let lock = open
                    .transaction
                    .redirect(&mut self.wire, &lock.sql)
                    .await
                    .unwrap();
                let reply = self.wire.query(&lock).await;
                assert!(reply.error.is_none(), "{lock} {reply:?}");
                for effect in reply.effects {
                    open.transaction.record(&effect).unwrap();
                }
            }
            let text = open
                .transaction
                .redirect(&mut self.wire, &text)
                .await
                .unwrap();
            let reply = self.wire.query(&text).await;
            for effect in reply.effects {
                open.transaction.record(&effect).unwrap();
            }
            let code = reply.error.as_ref().map(|(code, _)| code.as_str());
            match open.transaction.judge(code) {
                Verdict::Again => {
                    open.transaction.detach(&mut self.wire).await.unwrap();
                    self.detached += 1;
                }
                Verdict::Stands => {
                    if let Some((code, message)) = reply.error {
                        assert!(code.starts_with("23"), "{text}: {code} {message}");
                        open.failed = true;
                        return Seen::Error(code);
                    }
                    if open.transaction.holder().is_asked() {
                        open.transaction.detach(&mut self.wire).await.unwrap();
                    }
                    return Seen::Done(reply.tag, reply.rows);
                }
            }
        }
    }

    async fn end(&mut self) -> Seen {
        let open = self.open.take().unwrap();
        if open.failed {
            self.wire.query("ROLLBACK").await;
            return Seen::Done("ROLLBACK".to_owned(), vec![]);
        }
        match open
            .transaction
            .commit(&mut self.wire, &mut self.view, false)
            .await
            .unwrap()
        {
            Commit::Done => Seen::Done("COMMIT".to_owned(), vec![]),
            Commit::Conflict | Commit::SchemaChanged => Seen::Error("40001".to_owned()),
            Commit::Refused { code, message } => panic!("{code} {message}"),
        }
    }

    async fn play(&mut self, sql: &str) -> Seen {
        match sql {
            "BEGIN" => {
                self.begin(true).await;
                Seen::Done("BEGIN".to_owned(), vec![])
            }
            "COMMIT" => self.end().await,
            "ROLLBACK" => {
                self.open = None;
                self.wire.query("ROLLBACK").await;
                Seen::Done("ROLLBACK".to_owned(), vec![])
            }
            sql if self.open.as_ref().is_some_and(|open| open.block) => self.statement(sql).await,
            sql => {
                self.begin(false).await;
                let seen = self.statement(sql).await;
                match (self.end().await, seen) {
                    (Seen::Error(code), Seen::Done(..)) => Seen::Error(code),
                    (_, seen) => seen,
                }
            }
        }
    }

    /// Serves commands, and rivals that want its locks.
    async fn serve(mut self, mut commands: mpsc::Receiver<(String, oneshot::Sender<Seen>)>) -> u64 {
        loop {
            let asked = async {
                match &self.open {
                    Some(open) if !open.failed => {
                        let holder = Arc::clone(open.transaction.holder());
                        holder.asked().await;
                    }
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                command = commands.recv() => {
                    let Some((sql, answer)) = command else { return self.detached };
                    let seen = self.play(&sql).await;
                    if self.open.as_ref().is_some_and(|open| open.failed) {
                        // A failed transaction has nothing to lose, and must not hold locks.
                        self.wire.query("ROLLBACK").await;
                        self.open.as_ref().unwrap().transaction.holder().set_free();
                    }
                    answer.send(seen).unwrap();
                }
                () = asked => {
                    if let Some(open) = &mut self.open {
                        open.transaction.detach(&mut self.wire).await.unwrap();
                        self.detached += 1;
                    }
                }
            }
        }
    }
}

/// A client of one session.
pub struct Client {
    commands: mpsc::Sender<(String, oneshot::Sender<Seen>)>,
    task: tokio::task::JoinHandle<u64>,
}

impl Client {
    pub async fn open(postgres: &Postgres, ledger: &Arc<Ledger>) -> Self {
        let wire = Wire::connect(postgres, "postgres", &[("lock_timeout", "10ms")]).await;
        let session = Session {
            wire,
            ledger: Arc::clone(ledger),
            view: SchemaView::new(ledger),
            open: None,
            detached: 0,
        };
        let (commands, receiver) = mpsc::channel(1);
        Self {
            commands,
            task: tokio::spawn(session.serve(receiver)),
        }
    }

    pub async fn play(&mut self, sql: &str) -> Seen {
        let (answer, seen) = oneshot::channel();
        self.commands.send((sql.to_owned(), answer)).await.unwrap();
        seen.await.unwrap()
    }

    pub async fn close(self) -> u64 {
        drop(self.commands);
        self.task.await.unwrap()
    }
}

pub async fn prepare(postgres: &Postgres) {
    let mut wire = Wire::connect(postgres, "postgres", &[]).await;
    let schema = "SET allow_system_table_mods = on; CREATE SCHEMA IF NOT EXISTS pg_dsql;";
    for sql in [schema, CAPTURE_SQL] {
        let reply = wire.query(sql).await;
        assert!(reply.error.is_none(), "{reply:?}");
    }
    for sql in super::model::SCHEMA {
        assert_eq!(wire.query(sql).await.error, None);
    }
    assert_eq!(wire.query("SELECT pg_dsql.instrument()").await.error, None);
}
