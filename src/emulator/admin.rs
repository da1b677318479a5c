//! The emulator's HTTP endpoint: counters, faults to order, the clock.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::control::{Control, LoginFault};
use crate::config::units::parse_duration;
use crate::net::origin;

const MAX_BODY: usize = 64 * 1024;
const MAX_CLIENTS: usize = 64;

/// An answer: status and JSON body.
type Answer = (StatusCode, Value);

/// The fault kinds this version knows.
const KINDS: &str = "refuse_login, expire_tokens, cut";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultOrder {
    kind: String,
    count: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockOrder {
    advance: String,
}

/// Answers HTTP on `listener` until `stop` changes.
pub async fn serve(listener: TcpListener, control: Arc<Control>, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "emulator admin: accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let control = Arc::clone(&control);
        let mut stop = stop.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| respond(request, &control));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(30))
                .serve_connection(TokioIo::new(socket), service);
            tokio::select! {
                served = connection => {
                    if let Err(error) = served {
                        tracing::debug!(%error, "emulator admin: connection ended");
                    }
                }
                _ = stop.wait_for(|stop| *stop) => {}
            }
            drop(place);
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    control: &Control,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    if let Err((status, sentence)) = origin::check(&parts.method, &parts.headers, &[]) {
        return Ok(response(status, &json!({"error": sentence})));
    }
    let body = tokio::time::timeout(
        Duration::from_secs(10),
        Limited::new(body, MAX_BODY).collect(),
    );
    let (status, value) = match body.await {
        Ok(Ok(body)) => answer(control, &parts.method, parts.uri.path(), &body.to_bytes()),
        Ok(Err(_)) => wrong("the body could not be read, or is above 64 KiB"),
        Err(_) => (
            StatusCode::REQUEST_TIMEOUT,
            json!({"error": "the body did not arrive"}),
        ),
    };
    Ok(response(status, &value))
}

fn response(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string() + "\n")));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn answer(control: &Control, method: &Method, path: &str, body: &[u8]) -> Answer {
    match (method, path) {
        (&Method::GET, "/stats") => (StatusCode::OK, json!(control.stats())),
        (&Method::GET, "/faults") => (StatusCode::OK, json!(control.faults())),
        (&Method::DELETE, "/faults") => {
            control.clear_faults();
            (StatusCode::OK, json!(control.faults()))
        }
        (&Method::POST, "/faults") => order_fault(control, body),
        (&Method::POST, "/clock") => move_clock(control, body),
        (_, "/stats" | "/faults" | "/clock") => (
            StatusCode::METHOD_NOT_ALLOWED,
            json!({"error": "method not allowed here"}),
        ),
        _ => (
            StatusCode::NOT_FOUND,
            json!({"error": "there are /stats, /faults and /clock"}),
        ),
    }
}

fn order_fault(control: &Control, body: &[u8]) -> Answer {
    let order: FaultOrder = match serde_json::from_slice(body) {
        Ok(order) => order,
        Err(error) => return wrong(&format!("the fault is not understood: {error}")),
    };
    if order.count == Some(0) {
        return wrong("count must be 1 or more");
    }
    match order.kind.as_str() {
        "refuse_login" => control.order(LoginFault::Refuse, order.count.unwrap_or(1)),
        "expire_tokens" => control.order(LoginFault::Expire, order.count.unwrap_or(1)),
        "cut" => {
            let limit = order.count.map_or(usize::MAX, |count| {
                usize::try_from(count).unwrap_or(usize::MAX)
            });
            return (StatusCode::OK, json!({"cut": control.cut(limit)}));
        }
        other => {
            return wrong(&format!(
                "fault kind \"{other}\" is not known; this version has {KINDS}"
            ));
        }
    }
    (StatusCode::OK, json!(control.faults()))
}

fn move_clock(control: &Control, body: &[u8]) -> Answer {
    let order: ClockOrder = match serde_json::from_slice(body) {
        Ok(order) => order,
        Err(error) => return wrong(&format!("the order is not understood: {error}")),
    };
    let by = match parse_duration(&order.advance) {
        Ok(by) => by,
        Err(error) => return wrong(&error),
    };
    match control.advance(by) {
        Some(total) => (StatusCode::OK, json!({"advanced_seconds": total.as_secs()})),
        None => wrong("the clock moves by ten years in all at most"),
    }
}

fn wrong(sentence: &str) -> Answer {
    (StatusCode::BAD_REQUEST, json!({"error": sentence}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_answered() {
        let control = Control::default();
        let post = |path: &str, body: &str| answer(&control, &Method::POST, path, body.as_bytes());
        let cases = [
            (
                "/faults",
                r#"{"kind":"refuse_login","count":2}"#,
                200,
                json!({"refuse_login":2,"expire_tokens":0}),
            ),
            (
                "/faults",
                r#"{"kind":"expire_tokens"}"#,
                200,
                json!({"refuse_login":2,"expire_tokens":1}),
            ),
            ("/faults", r#"{"kind":"cut"}"#, 200, json!({"cut":0})),
            (
                "/clock",
                r#"{"advance":"300s"}"#,
                200,
                json!({"advanced_seconds":300}),
            ),
            (
                "/clock",
                r#"{"advance":"1m"}"#,
                200,
                json!({"advanced_seconds":360}),
            ),
        ];
        for (path, body, status, expected) in cases {
            assert_eq!(
                post(path, body),
                (StatusCode::from_u16(status).unwrap(), expected)
            );
        }
        for (path, body) in [
            ("/faults", ""),
            ("/faults", "[]"),
            ("/faults", r#"{"count":1}"#),
            ("/faults", r#"{"kind":"abort_commit"}"#),
            ("/faults", r#"{"kind":"refuse_login","count":0}"#),
            ("/faults", r#"{"kind":"refuse_login","count":-1}"#),
            ("/faults", r#"{"kind":"refuse_login","match":"x"}"#),
            ("/clock", r#"{"advance":"-300s"}"#),
            ("/clock", r#"{"advance":"9999999h"}"#),
            ("/clock", r#"{"advance":300}"#),
            ("/clock", "{}"),
        ] {
            let (status, value) = post(path, body);
            assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
            assert!(
                value["error"].as_str().is_some_and(|text| text.len() > 10),
                "{body}"
            );
        }
        let get = |path: &str| answer(&control, &Method::GET, path, b"");
        assert_eq!(
            get("/faults").1,
            json!({"refuse_login":2,"expire_tokens":1})
        );
        assert_eq!(get("/stats").1["clock_advance_seconds"], 360);
        assert_eq!(
            answer(&control, &Method::DELETE, "/faults", b"").1["refuse_login"],
            0
        );
        assert_eq!(get("/clock").0, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(get("/").0, StatusCode::NOT_FOUND);
    }
}
