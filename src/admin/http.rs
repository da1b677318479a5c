//! The HTTP endpoint for operators: health, numbers, status, reload, drain.
//!
//! It runs on a thread and runtime of its own, so that it answers whatever the workers are busy
//! with, and goes on while they drain. One request for each connection, and a deadline for the
//! whole of it: a slow or hostile client holds one of [`CONNECTIONS`] places for [`DEADLINE`] at
//! most.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

use super::page;
use crate::config::reload::Changes;
use crate::net::origin;
use crate::sql::tree::nesting;

/// Connections at one time; others wait in the listener's queue.
pub const CONNECTIONS: usize = 64;
/// From accept to the end of the answer.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// From accept to the end of the request's header.
const HEADER_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of a request's header at most.
const HEADER_SIZE: usize = 16 * 1024;
/// Pause after a failed accept, such as one for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Tables, statements and keys of conflicts that the page shows of each database.
const PAGE_ROWS: usize = 10;

/// What the endpoint shows and does. Calls come one at a time from its thread, but for `reload`
/// and `drain`, which have a thread to themselves and may block.
pub trait Operations: Send + Sync {
    /// Whether clients can be served; if not, why, one sentence each.
    ///
    /// # Errors
    /// The reasons against.
    fn ready(&self) -> Result<(), Vec<String>>;

    /// The text of a scrape.
    fn metrics(&self) -> String;

    /// Numbers and names for people and scripts. No secrets.
    fn status(&self) -> serde_json::Value;

    /// Which tables, statements and keys met conflicts; at most `rows` of each, for each database.
    fn conflicts(&self, rows: usize) -> serde_json::Value;

    /// Reads the configuration again and takes over what can be changed under way.
    ///
    /// # Errors
    /// What is wrong with the new configuration; the old one stays in force.
    fn reload(&self) -> Result<Changes, Vec<String>>;

    /// Begins to drain, and returns at once.
    fn drain(&self);
}

/// A running endpoint. Dropping it ends it without waiting.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Binds `address` and serves until [`Server::stop`]. Clients may call it by the address, as
    /// localhost, or by one of `names`.
    ///
    /// # Errors
    /// The address cannot be bound, or the thread not started.
    pub fn start(
        address: SocketAddr,
        names: &[String],
        operations: Arc<dyn Operations>,
    ) -> io::Result<Self> {
        let names: Arc<[String]> = names.into();
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(2)
            .thread_stack_size(nesting::STACK)
            .build()?;
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .stack_size(nesting::STACK)
            .spawn(move || {
                let served = runtime.block_on(serve(listener, names, operations, stopped));
                if let Err(error) = served {
                    tracing::error!(%error, "the admin endpoint has ended");
                }
                // A reload that hangs must not keep the process.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The bound address, with the port that was found for port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and every connection, and waits until that is done.
    pub fn stop(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the admin endpoint's thread panicked");
        }
    }
}

async fn serve(
    listener: TcpListener,
    names: Arc<[String]>,
    operations: Arc<dyn Operations>,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            _ = &mut stopped => return Ok(()),
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Some((socket, place)) => {
                let (names, operations) = (Arc::clone(&names), Arc::clone(&operations));
                tokio::spawn(async move {
                    // Its end is the client's business; the log would be flooded.
                    let _ = tokio::time::timeout(DEADLINE, answer(socket, names, operations)).await;
                    drop(place);
                });
            }
            None => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn accept(
    listener: &tokio::net::TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, _)) => Some((socket, place)),
        Err(error) => {
            tracing::warn!(%error, "the admin endpoint cannot accept a connection");
            None
        }
    }
}

async fn answer(
    socket: TcpStream,
    names: Arc<[String]>,
    operations: Arc<dyn Operations>,
) -> hyper::Result<()> {
    let service =
        service_fn(move |request| respond(request, Arc::clone(&names), Arc::clone(&operations)));
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(HEADER_SIZE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), service)
        .await
}

type Answer = Response<Full<Bytes>>;

async fn respond(
    request: Request<Incoming>,
    names: Arc<[String]>,
    operations: Arc<dyn Operations>,
) -> Result<Answer, Infallible> {
    if let Err((status, sentence)) = origin::check(request.method(), request.headers(), &names) {
        return Ok(text(status, format!("{sentence}\n")));
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let posts = request.method() == Method::POST;
    let path = request.uri().path();
    let answer = match path {
        "/" | "/livez" | "/readyz" | "/metrics" | "/api/status" | "/api/conflicts" => match reads {
            true => read(path, operations.as_ref()),
            false => not_allowed("GET, HEAD"),
        },
        "/api/reload" | "/api/drain" => match posts {
            true => act(path.to_owned(), operations).await,
            false => not_allowed("POST"),
        },
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    };
    Ok(answer)
}

fn read(path: &str, operations: &dyn Operations) -> Answer {
    match path {
        "/livez" => text(StatusCode::OK, "alive\n"),
        "/readyz" => match operations.ready() {
            Ok(()) => text(StatusCode::OK, "ready\n"),
            Err(reasons) => {
                let lines = reasons.join("\n") + "\n";
                text(StatusCode::SERVICE_UNAVAILABLE, lines)
            }
        },
        "/metrics" => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            content(StatusCode::OK, kind, operations.metrics())
        }
        "/api/status" => document(StatusCode::OK, &operations.status()),
        "/api/conflicts" => document(StatusCode::OK, &operations.conflicts(usize::MAX)),
        _ => {
            let (status, conflicts) = (operations.status(), operations.conflicts(PAGE_ROWS));
            let page = page::render(&operations.ready(), &status, &conflicts);
            content(StatusCode::OK, "text/html; charset=utf-8", page)
        }
    }
}

async fn act(path: String, operations: Arc<dyn Operations>) -> Answer {
    let act = move || match path.as_str() {
        "/api/drain" => {
            operations.drain();
            document(StatusCode::ACCEPTED, &json!({"draining": true}))
        }
        _ => match operations.reload() {
            Ok(changes) => {
                let answer = json!({"changes": changes.live, "restart": changes.restart});
                document(StatusCode::OK, &answer)
            }
            Err(errors) => document(StatusCode::UNPROCESSABLE_ENTITY, &json!({"errors": errors})),
        },
    };
    tokio::task::spawn_blocking(act).await.unwrap_or_else(|_| {
        text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "failed; the log says why\n",
        )
    })
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    let headers = answer.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    content(status, "text/plain; charset=utf-8", body)
}

fn document(status: StatusCode, body: &serde_json::Value) -> Answer {
    content(status, "application/json", format!("{body}\n"))
}

fn content(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let fixed = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests;
