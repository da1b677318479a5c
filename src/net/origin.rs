//! Which HTTP requests come from where an endpoint without a login may take them from.
//!
//! A browser sends requests for any page its user looks at. Two things tell such a request from an
//! operator's: the name in Host, which is the page's own when its owner lets that name lead to
//! this machine (DNS rebinding), and the Origin of one that acts.

use std::net::IpAddr;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Method, StatusCode};

/// Why a request is refused: a status and a sentence.
pub type Refusal = (StatusCode, &'static str);

/// Looks at Host and Origin. Host must be an IP address, `localhost` or one of `names`; a request
/// that does more than read must have the same host and port in its Origin, if it has one. A
/// request without a Host is no browser's.
///
/// # Errors
/// 421 for a foreign Host, 403 for a foreign Origin.
pub fn check(method: &Method, headers: &HeaderMap, names: &[String]) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    let trusted = |host| authority(host).is_some_and(|host| is_trusted(&host, names));
    if hosts.next().is_some() || host.is_some_and(|host| !trusted(host)) {
        let sentence =
            "this endpoint is called by an IP address, as localhost or by a configured name";
        return Err((StatusCode::MISDIRECTED_REQUEST, sentence));
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let own = |origin| is_own(origin, host.and_then(authority).as_ref());
    if !reads && !origins.all(own) {
        return Err((
            StatusCode::FORBIDDEN,
            "a page of another site asked for this",
        ));
    }
    Ok(())
}

fn authority(value: &HeaderValue) -> Option<Authority> {
    let text = value.to_str().ok()?;
    text.parse().ok().filter(|_| !text.contains('@'))
}

fn is_trusted(authority: &Authority, names: &[String]) -> bool {
    let host = authority.host();
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    address.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || names.iter().any(|name| host.eq_ignore_ascii_case(name))
}

fn is_own(origin: &HeaderValue, host: Option<&Authority>) -> bool {
    let text = origin.to_str().unwrap_or_default();
    let origin = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let origin = origin.and_then(|authority| authority.parse::<Authority>().ok());
    origin.is_some() && origin.as_ref() == host
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: Method, lines: &[(&'static str, &'static str)]) -> u16 {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let names = ["proxy.internal".to_owned()];
        check(&method, &headers, &names).map_or_else(|(status, _)| status.as_u16(), |()| 200)
    }

    #[test]
    fn hosts() {
        let cases = [
            ("127.0.0.1:6433", 200),
            ("127.0.0.1", 200),
            ("10.1.2.3:80", 200),
            ("[::1]:6433", 200),
            ("localhost:6433", 200),
            ("LocalHost", 200),
            ("proxy.internal:6433", 200),
            ("PROXY.internal", 200),
            ("evil.example:6433", 421),
            ("localhost.evil.example", 421),
            ("127.0.0.1.evil.example", 421),
            ("evil.proxy.internal", 421),
            ("evil.example@127.0.0.1", 421),
            ("127.0.0.1@evil.example", 421),
            ("[::1", 421),
            ("::1", 421),
            ("", 421),
            ("a b", 421),
        ];
        for (host, expected) in cases {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                assert_eq!(status(method, &[("host", host)]), expected, "{host:?}");
            }
        }
        assert_eq!(status(Method::GET, &[]), 200);
        let two = [("host", "127.0.0.1"), ("host", "evil.example")];
        assert_eq!(status(Method::GET, &two), 421);
    }

    #[test]
    fn origins() {
        let cases = [
            ("http://127.0.0.1:6433", 200),
            ("https://127.0.0.1:6433", 200),
            ("http://127.0.0.1:8080", 403),
            ("http://127.0.0.1", 403),
            ("http://localhost:6433", 403),
            ("http://evil.example:6433", 403),
            ("127.0.0.1:6433", 403),
            ("null", 403),
            ("", 403),
        ];
        for (origin, expected) in cases {
            let lines = [("host", "127.0.0.1:6433"), ("origin", origin)];
            assert_eq!(status(Method::POST, &lines), expected, "{origin:?}");
            assert_eq!(status(Method::DELETE, &lines), expected, "{origin:?}");
            assert_eq!(status(Method::GET, &lines), 200, "{origin:?}");
        }
        let rebound = [
            ("host", "evil.example:6433"),
            ("origin", "http://evil.example:6433"),
        ];
        assert_eq!(status(Method::POST, &rebound), 421);
        let no_host = [("origin", "http://127.0.0.1:6433")];
        assert_eq!(status(Method::POST, &no_host), 403);
    }
}
