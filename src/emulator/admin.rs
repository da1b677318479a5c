//! The emulator's HTTP endpoint: counters, faults to order, the clock.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

use super::control::Control;
use super::faults::{Conflict, Fault, FaultKind, MAX_ORDERS};
use super::quota::Quotas;
use crate::config::units::parse_duration;
use crate::net::origin;

const MAX_BODY: usize = 64 * 1024;
const MAX_CLIENTS: usize = 64;

/// An answer: status and JSON body.
type Answer = (StatusCode, Value);

/// Longest pattern on SQL, in bytes.
const MAX_PATTERN: usize = 10_000;
/// Longest delay, in milliseconds.
const MAX_DELAY: u64 = 600_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultOrder {
    kind: String,
    code: Option<String>,
    count: Option<u64>,
    #[serde(rename = "match")]
    matching: Option<String>,
    ms: Option<u64>,
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
    let body = body.await;
    if (&parts.method, parts.uri.path()) == (&Method::POST, "/clock") {
        wait_for_whole_second().await;
    }
    let (status, value) = match body {
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

/// Dates of tokens are in whole seconds. The clock moves at the turn of one, so that it is never in
/// doubt whether a token was made before.
async fn wait_for_whole_second() {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let part = Duration::from_nanos(u64::from(now.subsec_nanos()));
    tokio::time::sleep(Duration::from_secs(1) - part).await;
}

fn answer(control: &Control, method: &Method, path: &str, body: &[u8]) -> Answer {
    match (method, path) {
        (&Method::GET, "/stats") => (StatusCode::OK, json!(control.stats())),
        (&Method::GET, "/faults") => (StatusCode::OK, control.faults()),
        (&Method::DELETE, "/faults") => {
            control.clear_faults();
            (StatusCode::OK, control.faults())
        }
        (&Method::POST, "/faults") => order_fault(control, body),
        (&Method::POST, "/clock") => move_clock(control, body),
        (&Method::GET, "/quotas") => (StatusCode::OK, json!(control.quotas())),
        (&Method::POST, "/quotas") => set_quotas(control, body),
        (_, "/stats" | "/faults" | "/clock" | "/quotas") => (
            StatusCode::METHOD_NOT_ALLOWED,
            json!({"error": "method not allowed here"}),
        ),
        _ => (
            StatusCode::NOT_FOUND,
            json!({"error": "there are /stats, /faults, /clock and /quotas"}),
        ),
    }
}

fn order_fault(control: &Control, body: &[u8]) -> Answer {
    let order: FaultOrder = match serde_json::from_slice(body) {
        Ok(order) => order,
        Err(error) => return wrong(&format!("the fault is not understood: {error}")),
    };
    let fault = match read_fault(&order) {
        Ok(fault) => fault,
        Err(sentence) => return wrong(&sentence),
    };
    // Without a pattern it is about the connections that are open now.
    if fault.kind == FaultKind::Cut && fault.matching.is_none() {
        let limit = order.count.map_or(usize::MAX, |count| {
            usize::try_from(count).unwrap_or(usize::MAX)
        });
        return (StatusCode::OK, json!({"cut": control.cut(limit)}));
    }
    if control.order(fault) {
        (StatusCode::OK, control.faults())
    } else {
        wrong(&format!("there are {MAX_ORDERS} orders already"))
    }
}

fn read_fault(order: &FaultOrder) -> Result<Fault, String> {
    let kind = FaultKind::named(&order.kind).ok_or_else(|| {
        let names: Vec<&str> = FaultKind::ALL.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        format!(
            "fault kind \"{}\" is not known; there are {names}",
            order.kind
        )
    })?;
    if order.count == Some(0) {
        return Err("count must be 1 or more".to_owned());
    }
    let aborts = matches!(kind, FaultKind::AbortCommit | FaultKind::AbortStatement);
    let conflict = match order.code.as_deref() {
        None => Conflict::Data,
        Some("OC000") if aborts => Conflict::Data,
        Some("OC001") if aborts => Conflict::Schema,
        Some(_) => return Err("code is OC000 or OC001, and for aborts only".to_owned()),
    };
    if order.matching.is_some() && FaultKind::LOGIN.contains(&kind) {
        return Err("a login has no SQL to match".to_owned());
    }
    let matching = order.matching.as_deref().map(read_pattern).transpose()?;
    let delay = match (kind, order.ms) {
        (FaultKind::Delay, Some(ms)) if ms <= MAX_DELAY => Duration::from_millis(ms),
        (FaultKind::Delay, _) => return Err(format!("a delay needs ms, {MAX_DELAY} at most")),
        (_, None) => Duration::ZERO,
        (_, Some(_)) => return Err("ms is for delays only".to_owned()),
    };
    Ok(Fault {
        kind,
        conflict,
        left: order.count.unwrap_or(1),
        matching,
        delay,
    })
}

fn read_pattern(pattern: &str) -> Result<regex::Regex, String> {
    if pattern.len() > MAX_PATTERN {
        return Err(format!("match is above {MAX_PATTERN} bytes"));
    }
    regex::Regex::new(pattern).map_err(|error| format!("match is no regular expression: {error}"))
}

fn set_quotas(control: &Control, body: &[u8]) -> Answer {
    match serde_json::from_slice::<Quotas>(body) {
        Ok(quotas) if quotas.connect_rate >= 0.0 && quotas.connect_burst >= 0.0 => {
            control.set_quotas(quotas);
            (StatusCode::OK, json!(control.quotas()))
        }
        Ok(_) => wrong("connect_rate and connect_burst must not be negative"),
        Err(error) => wrong(&format!("the quotas are not understood: {error}")),
    }
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

    /// What is left when everything else is not ordered.
    fn left(kinds: &[(&str, u64)], orders: Value) -> Value {
        let mut out = json!({"orders": orders});
        for (name, _) in FaultKind::ALL {
            let found = kinds.iter().find(|(known, _)| *known == name);
            out[name] = json!(found.map_or(0, |(_, count)| *count));
        }
        out
    }

    #[test]
    fn orders_are_answered() {
        let control = Control::default();
        let post = |path: &str, body: &str| answer(&control, &Method::POST, path, body.as_bytes());
        let cases = [
            (
                "/faults",
                r#"{"kind":"refuse_login","count":2}"#,
                200,
                left(
                    &[("refuse_login", 2)],
                    json!([{"kind":"refuse_login","count":2}]),
                ),
            ),
            (
                "/faults",
                r#"{"kind":"abort_commit","code":"OC001","match":"^UPD"}"#,
                200,
                left(
                    &[("refuse_login", 2), ("abort_commit", 1)],
                    json!([{"kind":"refuse_login","count":2},
                           {"kind":"abort_commit","count":1,"code":"OC001","match":"^UPD"}]),
                ),
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
            ("/faults", r#"{"kind":"abort_commit","code":"40001"}"#),
            ("/faults", r#"{"kind":"abort_commit","match":"("}"#),
            ("/faults", r#"{"kind":"cut","code":"OC000"}"#),
            ("/faults", r#"{"kind":"delay"}"#),
            ("/faults", r#"{"kind":"delay","ms":600001}"#),
            ("/faults", r#"{"kind":"abort_commit","ms":1}"#),
            ("/faults", r#"{"kind":"flood"}"#),
            ("/quotas", r#"{"connections":-1}"#),
            ("/quotas", r#"{"connect_rate":-1}"#),
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
        assert_eq!(get("/faults").1["abort_commit"], 1);
        assert_eq!(get("/quotas").1["connections"], 10_000);
        let quotas = post("/quotas", r#"{"connections":3}"#).1;
        assert_eq!(
            (&quotas["connections"], &quotas["connect_rate"]),
            (&json!(3), &json!(100.0))
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
