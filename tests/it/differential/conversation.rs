//! Holding a scripted conversation: what is still owed by the server decides how much may be read.

use std::collections::VecDeque;
use std::fmt;
use std::io;

use crate::client::{Client, Login, LoginError, parameter};
use crate::message::{self, Frame};

/// One thing the client does.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends messages, in pieces of at most so many bytes (0: at once).
    Send(Vec<Vec<u8>>, usize),
    /// Reads all that the server owes without further messages from us.
    ReadAll,
    /// Reads at most so many messages of what the server owes.
    Read(usize),
    /// If the server waits for COPY data: sends these messages.
    Copy(Vec<Vec<u8>>, usize),
    /// Reads to the first notice; if there is one, cancels.
    CancelAtNotice,
    /// The end of the conversation.
    End(End),
}

/// How a client leaves.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// Closes what is open, reads everything, sends Terminate.
    Orderly,
    /// Sends Terminate at once and reads to the end.
    TerminateNow,
    /// Reads what is owed and ends the stream without Terminate.
    Vanish,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(messages, piece) => {
                write!(
                    f,
                    "send (pieces of {piece})\n{}",
                    message::render_frontend(&messages.concat())
                )
            }
            Self::Copy(messages, piece) => {
                write!(
                    f,
                    "copy (pieces of {piece})\n{}",
                    message::render_frontend(&messages.concat())
                )
            }
            other => writeln!(f, "{other:?}"),
        }
    }
}

/// What a conversation was like.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    lines: Vec<String>,
    failure: Option<String>,
}

impl Outcome {
    /// Whether the connection broke or did not answer.
    pub fn failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Every line, the failure last.
    pub fn lines(&self) -> Vec<String> {
        self.lines
            .iter()
            .cloned()
            .chain(self.failure.clone())
            .collect()
    }
}

/// Connects, does the steps, and tells what came back.
pub fn hold(address: &str, login: &Login, steps: &[Step]) -> Outcome {
    let client = match Client::login(address, login) {
        Ok(client) => client,
        Err(LoginError::Refused(frame)) => {
            return Outcome {
                lines: vec![frame.render(false)],
                failure: None,
            };
        }
        Err(LoginError::Io(error)) => {
            return Outcome {
                lines: Vec::new(),
                failure: Some(format!("login: {error}")),
            };
        }
    };
    let mut conversation = Conversation::new(client);
    let greeting = std::mem::take(&mut conversation.client.greeting);
    greeting.iter().for_each(|frame| conversation.record(frame));
    let failure = steps.iter().enumerate().find_map(|(at, step)| {
        let error = conversation.take(step).err()?;
        Some(format!(
            "FAILED at step {at}: {error}; still owed {:?}",
            conversation.owed
        ))
    });
    conversation.place_parameters();
    Outcome {
        lines: conversation.lines,
        failure,
    }
}

/// A request that has not been answered in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owed {
    Parse,
    Bind,
    DescribeStatement,
    DescribePortal,
    /// `data_sent`: COPY data went out with it.
    Execute {
        data_sent: bool,
    },
    Close,
    Sync,
    Query {
        data_sent: bool,
    },
    Function,
}

struct Conversation {
    client: Client,
    owed: VecDeque<Owed>,
    /// How many of `owed`, from the front, the server answers without further messages from us.
    flushed: usize,
    /// After an error: everything up to Sync is ignored.
    skipping: bool,
    /// The server waits for COPY data.
    copy_in: bool,
    closed: bool,
    lines: Vec<String>,
    parameters: Vec<(String, String)>,
    /// OIDs of tables in the order they were seen: they differ between the two databases.
    tables: Vec<u32>,
}

impl Conversation {
    fn new(client: Client) -> Self {
        Self {
            client,
            owed: VecDeque::new(),
            flushed: 0,
            skipping: false,
            copy_in: false,
            closed: false,
            lines: Vec::new(),
            parameters: Vec::new(),
            tables: Vec::new(),
        }
    }

    fn take(&mut self, step: &Step) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        match step {
            Step::Send(messages, piece) => self.send(messages, *piece),
            Step::Copy(messages, piece) if self.copy_in => self.send(messages, *piece),
            Step::Copy(..) => Ok(()),
            Step::ReadAll => self.read(usize::MAX),
            Step::Read(count) => self.read(*count),
            Step::CancelAtNotice => self.cancel_at_notice(),
            Step::End(end) => self.end(*end),
        }
    }

    fn send(&mut self, messages: &[Vec<u8>], piece: usize) -> io::Result<()> {
        messages.iter().for_each(|message| self.owe(message));
        let bytes = messages.concat();
        let piece = if piece == 0 {
            bytes.len().max(1)
        } else {
            piece
        };
        bytes
            .chunks(piece)
            .try_for_each(|chunk| self.client.try_send(chunk))
    }

    fn owe(&mut self, message: &[u8]) {
        let tag = message[0];
        if self.copy_in {
            // Sync and Flush are ignored while COPY data is expected.
            self.copy_in = !b"cf".contains(&tag);
            return;
        }
        match (tag, self.owed.back_mut()) {
            (b'c' | b'f', Some(Owed::Execute { data_sent } | Owed::Query { data_sent })) => {
                *data_sent = true;
                return;
            }
            (b'c' | b'f' | b'd', _) => return,
            _ => {}
        }
        if self.skipping && tag != b'S' {
            return;
        }
        let owed = match tag {
            b'P' => Owed::Parse,
            b'B' => Owed::Bind,
            b'D' if message[5] == b'S' => Owed::DescribeStatement,
            b'D' => Owed::DescribePortal,
            b'E' => Owed::Execute { data_sent: false },
            b'C' => Owed::Close,
            b'S' => Owed::Sync,
            b'Q' => Owed::Query { data_sent: false },
            b'F' => Owed::Function,
            b'H' => {
                self.flushed = self.owed.len();
                return;
            }
            other => panic!("generated a message of type {}", other as char),
        };
        self.owed.push_back(owed);
        if matches!(owed, Owed::Sync | Owed::Query { .. } | Owed::Function) {
            self.flushed = self.owed.len();
        }
        self.skipping &= owed != Owed::Sync;
    }

    /// The next message, but for the one that only a proxy sends, when the machine is busy.
    fn answer(&mut self) -> io::Result<Frame> {
        loop {
            let frame = self.client.frame()?;
            let waits = frame.tag == b'N'
                && frame.field(b'M').is_some_and(|message| {
                    message.starts_with("waiting for an upstream connection")
                });
            if !waits {
                return Ok(frame);
            }
        }
    }

    fn read(&mut self, mut count: usize) -> io::Result<()> {
        while self.flushed > 0 && count > 0 && !self.copy_in && !self.closed {
            let frame = self.answer()?;
            self.settle(&frame);
            count -= 1;
        }
        Ok(())
    }

    fn pop(&mut self) {
        self.owed.pop_front();
        self.flushed = self.flushed.saturating_sub(1);
    }

    /// Notes a message and what it settles.
    fn settle(&mut self, frame: &Frame) {
        self.record(frame);
        let Some(front) = self.owed.front().copied() else {
            return;
        };
        match (front, frame.tag) {
            (_, b'E') => self.settle_error(front, frame),
            (Owed::Parse, b'1') | (Owed::Bind, b'2') | (Owed::Close, b'3') => self.pop(),
            (Owed::DescribeStatement | Owed::DescribePortal, b'T' | b'n') => self.pop(),
            (Owed::Execute { .. }, b'C' | b'I' | b's') => self.pop(),
            (Owed::Sync | Owed::Query { .. } | Owed::Function, b'Z') => self.pop(),
            (Owed::Execute { data_sent: false }, b'G') => {
                // A Sync sent behind Execute was swallowed by the COPY.
                self.owed.truncate(1);
                self.flushed = 0;
                self.copy_in = true;
            }
            (Owed::Query { data_sent: false }, b'G') => self.copy_in = true,
            _ => {}
        }
    }

    fn settle_error(&mut self, front: Owed, frame: &Frame) {
        if frame
            .field(b'V')
            .is_some_and(|severity| severity != "ERROR")
        {
            self.closed = true;
            return;
        }
        if matches!(front, Owed::Sync | Owed::Query { .. } | Owed::Function) {
            return;
        }
        while self.owed.front().is_some_and(|owed| *owed != Owed::Sync) {
            self.pop();
        }
        self.skipping = self.owed.is_empty();
    }

    /// ParameterStatus has no fixed place among the messages before a ReadyForQuery.
    fn record(&mut self, frame: &Frame) {
        match frame.tag {
            b'S' => self.parameters.push(parameter(frame)),
            b'Z' => {
                self.place_parameters();
                self.lines.push(frame.render(false));
            }
            b'T' => {
                let mut frame = frame.clone();
                self.number_tables(&mut frame.body);
                self.lines.push(frame.render(false));
            }
            _ => self.lines.push(frame.render(strict())),
        }
    }

    /// Replaces the OIDs of tables in a RowDescription by numbers from one on.
    fn number_tables(&mut self, body: &mut [u8]) {
        let mut rest = &mut body[2..];
        while let Some(end) = rest.iter().position(|byte| *byte == 0) {
            let (field, tail) = rest[end + 1..].split_at_mut(18);
            let oid = u32::from_be_bytes(field[..4].try_into().expect("four bytes"));
            if oid != 0 {
                let known = self.tables.iter().position(|table| *table == oid);
                let number = known.unwrap_or_else(|| {
                    self.tables.push(oid);
                    self.tables.len() - 1
                });
                field[..4].copy_from_slice(&(number as u32 + 1).to_be_bytes());
            }
            rest = tail;
        }
    }

    fn place_parameters(&mut self) {
        self.parameters.sort();
        let parameters = self.parameters.drain(..);
        self.lines
            .extend(parameters.map(|(name, value)| format!("ParameterStatus {name}={value}")));
    }

    fn cancel_at_notice(&mut self) -> io::Result<()> {
        while self.flushed > 0 && !self.closed {
            let frame = self.answer()?;
            self.settle(&frame);
            if frame.tag == b'N' {
                self.client.cancel();
                return Ok(());
            }
        }
        Ok(())
    }

    fn end(&mut self, end: End) -> io::Result<()> {
        match end {
            End::Orderly => {
                self.send(&[message::sync()], 0)?;
                self.read(usize::MAX)?;
                self.client.try_send(&message::terminate())?;
            }
            End::TerminateNow => self.client.try_send(&message::terminate())?,
            End::Vanish => {
                self.read(usize::MAX)?;
                self.client.finish_sending();
            }
        }
        // What was never flushed may or may not come before the end of the stream.
        self.read(usize::MAX)?;
        loop {
            match self.client.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) if self.owed.is_empty() => self.record(&frame),
                Ok(Some(_)) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error)
                    if error.kind() == io::ErrorKind::UnexpectedEof && !self.owed.is_empty() =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.closed = true;
        self.place_parameters();
        self.lines.push("closed".into());
        Ok(())
    }
}

/// Whether the place in the server's source is compared too.
fn strict() -> bool {
    std::env::var_os("DSQLPROXY_STRICT").is_some()
}
