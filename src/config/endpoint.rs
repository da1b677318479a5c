//! Addresses of upstream servers as the configuration writes them.

/// Port of PostgreSQL, used where none is written.
pub const PORT: u16 = 5432;

/// Where an upstream server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A host name or address (IPv6 without its brackets) and a port.
    Inet {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// The folder of a unix socket and the port in the socket's name.
    Unix {
        /// Absolute path.
        folder: String,
        /// Number after `.s.PGSQL.`.
        port: u16,
    },
}

impl std::str::FromStr for Endpoint {
    type Err = &'static str;

    /// Reads `host`, `host:port`, `[address]`, `[address]:port`, `/folder` or `/folder:port`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expected host, host:port, [IPv6]:port or the folder of a unix socket";
        const WRONG_PORT: &str = "a port is a number from 1 to 65535";
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(WRONG);
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !port.contains([']', '/']) => {
                (name, parse_port(port).ok_or(WRONG_PORT)?)
            }
            _ => (text, PORT),
        };
        if name.starts_with('/') {
            let folder = name.to_owned();
            return Ok(Self::Unix { folder, port });
        }
        match name.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(Some(address)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                let host = address.to_owned();
                Ok(Self::Inet { host, port })
            }
            None if !name.is_empty() && !name.contains([':', '/', '@', '[', ']']) => {
                let host = name.to_owned();
                Ok(Self::Inet { host, port })
            }
            _ => Err(WRONG),
        }
    }
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&port| digits && port > 0)
}

/// Region in the host name of a DSQL cluster: `<id>.dsql.<region>.on.aws`, or with a suffix as
/// PrivateLink service hosts have it, `<id>.dsql-<suffix>.<region>.on.aws`. `None` for any other
/// name, which may still reach a cluster if the region is configured.
#[must_use]
pub fn dsql_region(host: &str) -> Option<&str> {
    let ending = host.len().checked_sub(".on.aws".len())?;
    let (name, domain) = host.split_at_checked(ending)?;
    if !domain.eq_ignore_ascii_case(".on.aws") {
        return None;
    }
    let (service, region) = name.rsplit_once('.')?;
    let (id, service) = service.rsplit_once('.')?;
    let service = service.get(..4).map(|word| (word, &service[4..]));
    let is_dsql = service.is_some_and(|(word, suffix)| {
        word.eq_ignore_ascii_case("dsql") && (suffix.is_empty() || suffix.starts_with('-'))
    });
    let is_region = region.contains('-')
        && region
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (is_dsql && is_region && !id.is_empty()).then_some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let inet = |host: &str, port| {
            Some(Endpoint::Inet {
                host: host.to_owned(),
                port,
            })
        };
        let unix = |folder: &str, port| {
            Some(Endpoint::Unix {
                folder: folder.to_owned(),
                port,
            })
        };
        let cases = [
            ("db", inet("db", 5432)),
            ("db.example.com:6000", inet("db.example.com", 6000)),
            ("127.0.0.1:5433", inet("127.0.0.1", 5433)),
            ("[::1]", inet("::1", 5432)),
            ("[::1]:5433", inet("::1", 5433)),
            ("/run/postgresql", unix("/run/postgresql", 5432)),
            ("/tmp/a:b:5433", unix("/tmp/a:b", 5433)),
            ("", None),
            (":5432", None),
            ("db:", None),
            ("db:0", None),
            ("db:65536", None),
            ("db:+5", None),
            ("db:x", None),
            ("::1", None),
            ("[::1", None),
            ("[db]", None),
            ("a b", None),
            ("user@db", None),
            ("db/x", None),
            ("postgres://db", None),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse().ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn regions() {
        let cases = [
            ("abc.dsql.us-east-1.on.aws", Some("us-east-1")),
            ("ABC.DSQL.us-east-1.ON.AWS", Some("us-east-1")),
            ("abc.dsql-fnh4.eu-central-1.on.aws", Some("eu-central-1")),
            ("x.abc.dsql.us-east-1.on.aws", Some("us-east-1")),
            (".dsql.us-east-1.on.aws", None),
            ("dsql.us-east-1.on.aws", None),
            ("abc.dsqlx.us-east-1.on.aws", None),
            ("abc.rds.us-east-1.on.aws", None),
            ("abc.dsql..on.aws", None),
            ("abc.dsql.region.on.aws", None),
            ("abc.dsql.us-east-1.on.aws.evil.com", None),
            ("abc.dsql.us-east-1.amazonaws.com", None),
            ("on.aws", None),
            ("", None),
            ("ä.on.aw", None),
            ("abc.dsä.us-east-1.on.aws", None),
        ];
        for (host, expected) in cases {
            assert_eq!(dsql_region(host), expected, "{host:?}");
        }
    }
}
