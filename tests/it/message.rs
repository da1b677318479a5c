//! Messages as bytes: builders for the frontend, a reader and a readable form for the backend.
//!
//! Written from the protocol chapter of the manual and independent of the proxy's own `wire`.

use std::fmt::Write;

/// One backend message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Type byte.
    pub tag: u8,
    /// What follows the length.
    pub body: Vec<u8>,
}

/// A message of `tag` with the right length.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend((body.len() as u32 + 4).to_be_bytes());
    out.extend(body);
    out
}

fn string(text: &[u8]) -> Vec<u8> {
    let mut out = text.to_vec();
    out.push(0);
    out
}

/// `Query`.
pub fn query(sql: impl AsRef<[u8]>) -> Vec<u8> {
    message(b'Q', &string(sql.as_ref()))
}

/// `Parse` with parameter types by OID.
pub fn parse(name: &str, sql: impl AsRef<[u8]>, types: &[u32]) -> Vec<u8> {
    let mut body = string(name.as_bytes());
    body.extend(string(sql.as_ref()));
    body.extend((types.len() as u16).to_be_bytes());
    types.iter().for_each(|oid| body.extend(oid.to_be_bytes()));
    message(b'P', &body)
}

/// `Bind` with parameters of one format code each and result formats.
pub fn bind(
    portal: &str,
    statement: &str,
    parameters: &[(u16, Option<Vec<u8>>)],
    results: &[u16],
) -> Vec<u8> {
    let mut body = string(portal.as_bytes());
    body.extend(string(statement.as_bytes()));
    body.extend((parameters.len() as u16).to_be_bytes());
    parameters
        .iter()
        .for_each(|(format, _)| body.extend(format.to_be_bytes()));
    body.extend((parameters.len() as u16).to_be_bytes());
    for (_, value) in parameters {
        match value {
            None => body.extend((-1i32).to_be_bytes()),
            Some(bytes) => {
                body.extend((bytes.len() as i32).to_be_bytes());
                body.extend(bytes);
            }
        }
    }
    body.extend((results.len() as u16).to_be_bytes());
    results
        .iter()
        .for_each(|format| body.extend(format.to_be_bytes()));
    message(b'B', &body)
}

/// `Bind` with text parameters and text results.
pub fn bind_text(portal: &str, statement: &str, parameters: &[&str]) -> Vec<u8> {
    let values: Vec<_> = parameters
        .iter()
        .map(|value| (0, Some(value.as_bytes().to_vec())))
        .collect();
    bind(portal, statement, &values, &[])
}

/// `Describe` of a statement (`S`) or portal (`P`).
pub fn describe(kind: u8, name: &str) -> Vec<u8> {
    targeted(b'D', kind, name)
}

/// `Close` of a statement (`S`) or portal (`P`).
pub fn close(kind: u8, name: &str) -> Vec<u8> {
    targeted(b'C', kind, name)
}

fn targeted(tag: u8, kind: u8, name: &str) -> Vec<u8> {
    let mut body = vec![kind];
    body.extend(string(name.as_bytes()));
    message(tag, &body)
}

/// `Execute`; zero rows is no limit.
pub fn execute(portal: &str, rows: u32) -> Vec<u8> {
    let mut body = string(portal.as_bytes());
    body.extend(rows.to_be_bytes());
    message(b'E', &body)
}

/// `Sync`.
pub fn sync() -> Vec<u8> {
    message(b'S', &[])
}

/// `Flush`.
pub fn flush() -> Vec<u8> {
    message(b'H', &[])
}

/// `Terminate`.
pub fn terminate() -> Vec<u8> {
    message(b'X', &[])
}

/// `CopyData`.
pub fn copy_data(data: &[u8]) -> Vec<u8> {
    message(b'd', data)
}

/// `CopyDone`.
pub fn copy_done() -> Vec<u8> {
    message(b'c', &[])
}

/// `CopyFail`.
pub fn copy_fail(reason: &str) -> Vec<u8> {
    message(b'f', &string(reason.as_bytes()))
}

/// `FunctionCall` with arguments of one format code each.
pub fn function_call(oid: u32, arguments: &[(u16, Option<Vec<u8>>)], result: u16) -> Vec<u8> {
    let mut body = oid.to_be_bytes().to_vec();
    body.extend((arguments.len() as u16).to_be_bytes());
    arguments
        .iter()
        .for_each(|(format, _)| body.extend(format.to_be_bytes()));
    body.extend((arguments.len() as u16).to_be_bytes());
    for (_, value) in arguments {
        match value {
            None => body.extend((-1i32).to_be_bytes()),
            Some(bytes) => {
                body.extend((bytes.len() as i32).to_be_bytes());
                body.extend(bytes);
            }
        }
    }
    body.extend(result.to_be_bytes());
    message(b'F', &body)
}

/// `StartupMessage` of protocol 3.`minor`.
pub fn startup(minor: u16, parameters: &[(String, String)]) -> Vec<u8> {
    let mut body = ((3u32 << 16) | u32::from(minor)).to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend(string(name.as_bytes()));
        body.extend(string(value.as_bytes()));
    }
    body.push(0);
    untyped(&body)
}

/// A packet without a type byte.
pub fn untyped(body: &[u8]) -> Vec<u8> {
    let mut out = (body.len() as u32 + 4).to_be_bytes().to_vec();
    out.extend(body);
    out
}

/// `SSLRequest`.
pub fn ssl_request() -> Vec<u8> {
    untyped(&80_877_103u32.to_be_bytes())
}

/// `GSSENCRequest`.
pub fn gss_request() -> Vec<u8> {
    untyped(&80_877_104u32.to_be_bytes())
}

/// `CancelRequest`.
pub fn cancel_request(pid: u32, key: &[u8]) -> Vec<u8> {
    let mut body = 80_877_102u32.to_be_bytes().to_vec();
    body.extend(pid.to_be_bytes());
    body.extend(key);
    untyped(&body)
}

impl Frame {
    /// The fields of an ErrorResponse or NoticeResponse.
    pub fn fields(&self) -> Vec<(u8, String)> {
        self.body
            .split(|byte| *byte == 0)
            .filter_map(|field| {
                let (code, text) = field.split_first()?;
                Some((*code, String::from_utf8_lossy(text).into_owned()))
            })
            .collect()
    }

    /// One field of an ErrorResponse or NoticeResponse.
    pub fn field(&self, code: u8) -> Option<String> {
        self.fields()
            .into_iter()
            .find(|(found, _)| *found == code)
            .map(|(_, text)| text)
    }

    /// The SQLSTATE of an ErrorResponse.
    pub fn sqlstate(&self) -> String {
        self.field(b'C').unwrap_or_default()
    }

    /// The values of a DataRow.
    pub fn values(&self) -> Vec<Option<Vec<u8>>> {
        let mut rest = &self.body[2..];
        let mut values = Vec::new();
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            match usize::try_from(i32::from_be_bytes(*length)) {
                Err(_) => {
                    values.push(None);
                    rest = tail;
                }
                Ok(length) => {
                    values.push(Some(tail[..length].to_vec()));
                    rest = &tail[length..];
                }
            }
        }
        values
    }

    /// The NUL-terminated strings of the body.
    pub fn strings(&self) -> Vec<String> {
        let body = self.body.strip_suffix(&[0]).unwrap_or(&self.body);
        body.split(|byte| *byte == 0)
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect()
    }

    /// A line for people and for comparison. Where in the server's source an error was raised
    /// (fields F, L, R) is left out unless `source` asks for it.
    pub fn render(&self, source: bool) -> String {
        match self.tag {
            b'1' => "ParseComplete".into(),
            b'2' => "BindComplete".into(),
            b'3' => "CloseComplete".into(),
            b'n' => "NoData".into(),
            b's' => "PortalSuspended".into(),
            b'I' => "EmptyQueryResponse".into(),
            b'c' => "CopyDone".into(),
            b'Z' => format!("ReadyForQuery {}", self.body.escape_ascii()),
            b'C' => format!("CommandComplete {}", self.body.escape_ascii()),
            b'S' => format!("ParameterStatus {}", self.strings().join("=")),
            b'D' => format!("DataRow {}", self.body.escape_ascii()),
            b'E' | b'N' => self.render_fields(source),
            tag => format!(
                "{} {}",
                (tag as char).escape_default(),
                self.body.escape_ascii()
            ),
        }
    }

    fn render_fields(&self, source: bool) -> String {
        let mut line = String::from(if self.tag == b'E' {
            "ErrorResponse"
        } else {
            "NoticeResponse"
        });
        // Where a cancel hits is a matter of time.
        let cancelled = self.sqlstate() == "57014";
        for (code, text) in self.fields() {
            if (source || !b"FLR".contains(&code)) && !(cancelled && code == b'W') {
                // How PL/pgSQL names a function depends on the search_path of the session that
                // first called it on a connection.
                let text = if code == b'W' {
                    unqualified(&text)
                } else {
                    text
                };
                let _ = write!(line, " {}={text:?}", code as char);
            }
        }
        line
    }
}

/// A context line without the schema of a PL/pgSQL function.
fn unqualified(context: &str) -> String {
    let begin = "PL/pgSQL function ";
    context
        .split(begin)
        .map(|part| match part.split_once('(') {
            Some((name, rest)) => {
                let plain = name.rsplit('.').next().unwrap_or(name);
                format!("{plain}({rest}")
            }
            None => part.to_owned(),
        })
        .collect::<Vec<_>>()
        .join(begin)
}

/// A readable form of bytes a frontend sends after startup.
pub fn render_frontend(mut bytes: &[u8]) -> String {
    let mut out = String::new();
    while bytes.len() >= 5 {
        let length = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize + 1;
        let Some(frame) = bytes.get(..length) else {
            break;
        };
        let name = match frame[0] {
            b'Q' => "Query",
            b'P' => "Parse",
            b'B' => "Bind",
            b'D' => "Describe",
            b'E' => "Execute",
            b'C' => "Close",
            b'S' => "Sync",
            b'H' => "Flush",
            b'X' => "Terminate",
            b'F' => "FunctionCall",
            b'd' => "CopyData",
            b'c' => "CopyDone",
            b'f' => "CopyFail",
            _ => "?",
        };
        let _ = writeln!(out, "    {name} {}", frame[5..].escape_ascii());
        bytes = &bytes[length..];
    }
    if !bytes.is_empty() {
        let _ = writeln!(out, "    (raw) {}", bytes.escape_ascii());
    }
    out
}
