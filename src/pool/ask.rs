//! Statements that the proxy runs for itself, each a transaction of its own.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::upstream::{OwedQueue, Owner, Settings, difference};
use crate::wire::backend::{TransactionStatus, command_tag, error_fields, row_values};
use crate::wire::reply::ClientError;
use crate::wire::{frame, frontend};

use super::lease::Lease;
use super::slots::Pool;

/// A statement takes at most this; a slower connection is closed.
const LIMIT: Duration = Duration::from_secs(20);

const SEARCH_PATH: &str = "search_path";

/// What the server answered.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Values of each row in text format.
    pub rows: Vec<Vec<Option<String>>>,
    /// The command tag.
    pub tag: String,
    /// Body of the RowDescription.
    pub columns: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub enum AskError {
    /// The server refused the statement: SQLSTATE and message.
    Refused(String, String),
    /// The connection was lost; whether the statement was carried out is not known.
    Lost(String),
    /// There is no connection.
    Without(ClientError),
}

/// Whose connections the proxy itself uses, and who speaks through it: never a tenant.
static OWN: Owner = Owner::Unrestricted;

impl Pool {
    fn own(&self) -> Option<&'static Owner> {
        self.is_per_tenant().then_some(&OWN)
    }

    /// Runs one statement on a connection of the pool, whose settings are those of whoever had it
    /// before: names in `sql` have their schemas.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask(self: &Rc<Self>, sql: &str) -> Result<Asked, AskError> {
        let mut lease = self.borrow_one().await.map_err(AskError::Without)?;
        let outcome = run(&mut lease, sql).await?;
        give_back(lease);
        outcome
    }

    /// The same for a statement of a client, with the `search_path` of its session; `None` is the
    /// server's own.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask_in(self: &Rc<Self>, path: Option<&str>, sql: &str) -> Result<Asked, AskError> {
        let mut lease = self.borrow_one().await.map_err(AskError::Without)?;
        if lease.label.get(SEARCH_PATH).map(String::as_str) != path {
            let mut wanted = Settings::clone(&lease.label);
            match path {
                Some(path) => wanted.insert(SEARCH_PATH.to_owned(), path.to_owned()),
                None => wanted.remove(SEARCH_PATH),
            };
            let sql = difference(&lease.label, &wanted);
            let outcome = run(&mut lease, &sql).await?;
            if outcome.is_err() {
                give_back(lease);
                return outcome;
            }
            lease.label = Arc::new(wanted);
        }
        let outcome = run(&mut lease, sql).await?;
        give_back(lease);
        outcome
    }

    async fn borrow_one(self: &Rc<Self>) -> Result<Lease, ClientError> {
        if let Some(lease) = self.take(self.own()) {
            return Ok(lease);
        }
        let mut ticket = self.wait(self.own())?;
        poll_fn(|cx| ticket.poll(cx)).await
    }
}

/// Runs one text; an error of the first kind ends the connection.
async fn run(lease: &mut Lease, sql: &str) -> Result<Result<Asked, AskError>, AskError> {
    frontend::put_query(lease.output.tail(), sql.as_bytes());
    // A Query destroys the unnamed statement.
    lease.unnamed = None;
    let outcome = match timeout(LIMIT, exchange(lease)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    outcome.map_err(|error| AskError::Lost(error.to_string()))
}

fn give_back(mut lease: Lease) {
    lease.input.set_gate(false);
    lease.input.release();
    if let Some(settled) = OwedQueue::<()>::default().settle() {
        lease.give_back(settled);
    }
}

/// The answer up to the ReadyForQuery of an idle connection.
async fn exchange(lease: &mut Lease) -> io::Result<Result<Asked, AskError>> {
    poll_fn(|cx| {
        let conn = &mut **lease;
        conn.output.poll_drain(&mut conn.stream, cx)
    })
    .await?;
    let mut asked = Asked::default();
    let mut refusal = None;
    loop {
        while let Some(header) =
            frame::backend_header(lease.input.unread()).map_err(io::Error::other)?
        {
            if lease.input.unread().len() < header.total {
                lease.input.reserve(header.total);
                break;
            }
            let frame = lease.input.unread()[..header.total].to_vec();
            lease.input.drop_unread(header.total);
            let body = &frame[frame::HEADER..];
            match header.tag {
                b'E' => {
                    let fields = error_fields(body);
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    refusal = Some(AskError::Refused(text(fields.code), text(fields.message)));
                }
                b'T' => asked.columns = body.to_vec(),
                b'D' => asked.rows.push(row_values(body)),
                b'C' => {
                    let tag = command_tag(body).unwrap_or_default();
                    asked.tag = String::from_utf8_lossy(tag).into_owned();
                }
                b'Z' => {
                    let status = body.first().copied().and_then(TransactionStatus::from_byte);
                    return match (status, refusal) {
                        (Some(TransactionStatus::Idle), Some(refusal)) => Ok(Err(refusal)),
                        (Some(TransactionStatus::Idle), None) => Ok(Ok(asked)),
                        _ => Err(io::Error::other("still in a transaction")),
                    };
                }
                _ => {}
            }
        }
        let count = poll_fn(|cx| {
            let conn = &mut **lease;
            conn.input.poll_fill(&mut conn.stream, cx)
        })
        .await?;
        if count == 0 {
            let cause = match refusal {
                Some(AskError::Refused(_, message)) => message,
                _ => "it was closed".to_owned(),
            };
            return Err(io::Error::other(cause));
        }
    }
}
