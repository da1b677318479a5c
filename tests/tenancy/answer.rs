//! What a client gets, in a form that can be compared.

use std::sync::OnceLock;

use regex::Regex;

use crate::message::Frame;

/// An answer up to ReadyForQuery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Names of columns of every result.
    pub columns: Vec<Vec<String>>,
    /// Rows and lines of COPY, in order, as text.
    pub rows: Vec<String>,
    /// Command tags.
    pub tags: Vec<String>,
    /// SQLSTATE of the error, if any.
    pub sqlstate: Option<String>,
    /// Fields of the error.
    pub error: Vec<(u8, String)>,
    /// Texts of notices.
    pub notices: Vec<String>,
}

impl Answer {
    pub fn of(frames: &[Frame]) -> Self {
        let mut answer = Self::default();
        for frame in frames {
            match frame.tag {
                b'T' => answer.columns.push(columns(&frame.body)),
                b'D' => {
                    let values = frame.values().into_iter().map(|value| match value {
                        None => "NULL".to_owned(),
                        Some(value) => format!("'{}'", String::from_utf8_lossy(&value)),
                    });
                    answer.rows.push(values.collect::<Vec<_>>().join("|"));
                }
                b'd' => answer
                    .rows
                    .push(String::from_utf8_lossy(&frame.body).into_owned()),
                b'C' => answer.tags.extend(frame.strings()),
                b'E' => {
                    answer.sqlstate = Some(frame.sqlstate());
                    answer.error = frame.fields();
                }
                b'N' => answer.notices.push(frame.render(false)),
                _ => {}
            }
        }
        answer
    }

    /// Everything of rows, columns and tags, the rows in an order of their own unless `ordered`.
    pub fn comparable(&self, ordered: bool) -> (Vec<Vec<String>>, Vec<String>, Vec<String>) {
        let mut rows = self.rows.clone();
        if !ordered {
            rows.sort();
        }
        (self.columns.clone(), rows, self.tags.clone())
    }

    /// What of rows and notices can only be another tenant's.
    pub fn taint(&self) -> Option<String> {
        self.rows
            .iter()
            .chain(&self.notices)
            .find_map(|text| tainted(text))
    }
}

/// Values that only tenants 1 and 3 have.
pub fn tainted(text: &str) -> Option<String> {
    static FOREIGN: OnceLock<Regex> = OnceLock::new();
    let foreign = FOREIGN.get_or_init(|| {
        Regex::new(
            r"note-[13]-|\bc[13]_|@t[13]|acme[13]|-00000000000[13]\b|\bu[13][1-4]\b|\bt[13][1-4]\b|\bQ[13][1-3]\b|\bn[13][1-9]\b",
        )
        .unwrap()
    });
    foreign.find(text).map(|found| found.as_str().to_owned())
}

fn columns(body: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = &body[2..];
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == 0).unwrap();
        names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        rest = &rest[end + 1 + 18..];
    }
    names
}
