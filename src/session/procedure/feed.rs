//! The client's data on their way into a COPY of several batches.

use crate::policy::split_warning;
use crate::upstream::Expect;
use crate::wire::frame::HEADER;
use crate::wire::frontend;
use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

use super::copy::{Batch, Copying, Insert};
use super::task::{Failure, Task};
use super::{Running, step};
use crate::session::frontend::Taken;
use crate::session::run::{End, Rest, Session};

/// The reason of a COPY that somebody wants to end.
const CANCELLED: &str = "it was cancelled";

impl Running {
    /// The COPY that is under way.
    pub(super) fn copying(&self) -> Option<&Copying> {
        match self.tasks.front() {
            Some(Task::Copy(copying)) => Some(copying),
            _ => None,
        }
    }

    fn copying_mut(&mut self) -> Option<&mut Copying> {
        match self.tasks.front_mut() {
            Some(Task::Copy(copying)) => Some(copying),
            _ => None,
        }
    }

    /// It is stopped while no server waits for its data, and its transaction has to fail with it.
    pub(super) fn fails_with_server(&mut self) -> bool {
        let within = self.within && self.failure.is_none();
        let copying = self
            .copying_mut()
            .filter(|copying| within && copying.is_held() && copying.told);
        if let Some(copying) = copying {
            copying.end(Err(CANCELLED.to_owned()));
            return true;
        }
        false
    }

    /// The next batch is not there yet.
    pub(super) fn waits_for_data(&self) -> bool {
        let copying = self.copying();
        copying.is_some_and(|copying| copying.told && !copying.is_ready())
    }
}

impl Session {
    /// The client's data are for a COPY of several batches, which has room for them.
    pub(in crate::session) fn takes_data(&self) -> bool {
        let running = self.procedure.as_deref();
        running.is_some_and(|running| {
            let copying = running.copying().filter(|_| running.failure.is_none());
            running.stop.is_none() && copying.is_some_and(Copying::takes_data)
        })
    }

    /// Takes a message of the client while it sends data.
    pub(in crate::session) fn take_data(&mut self, tag: u8, total: usize, bytes: &[u8]) -> Taken {
        let copying = self
            .procedure
            .as_mut()
            .and_then(|running| running.copying_mut());
        let Some(copying) = copying else {
            return Taken::Wait;
        };
        let body = bytes.get(HEADER..).unwrap_or_default();
        match tag {
            b'd' => {
                copying.put(body);
                return Taken::Head(bytes.len(), Rest::Keep(total - bytes.len()));
            }
            b'c' => copying.end(Ok(())),
            b'f' => {
                let reason = body.split(|byte| *byte == 0).next().unwrap_or_default();
                copying.end(Err(String::from_utf8_lossy(reason).into_owned()));
            }
            // These say nothing here.
            b'H' | b'S' => {}
            b'X' => {
                self.terminating = true;
                copying.end(Err("the client has left".to_owned()));
            }
            other => copying.end(Err(format!(
                "unexpected message type 0x{other:02X} during COPY from stdin"
            ))),
        }
        Taken::Head(bytes.len(), Rest::Drop(total - bytes.len()))
    }

    /// Takes the rest of such a message.
    pub(in crate::session) fn take_more_data(&mut self, bytes: &[u8]) {
        let copying = self
            .procedure
            .as_mut()
            .and_then(|running| running.copying_mut());
        if let Some(copying) = copying {
            copying.put(bytes);
        }
    }

    /// The server is ready for data. Tells whether the client is to know.
    pub(super) fn open_copy(&mut self) -> Result<bool, End> {
        self.copy_open = true;
        self.copying_in = true;
        self.owed.begin_copy_in();
        let Some(running) = &mut self.procedure else {
            return Ok(false);
        };
        if let Some(asked) = &mut running.asked {
            asked.copies = true;
        }
        let Some(copying) = running.copying_mut() else {
            return Ok(false);
        };
        let first = !std::mem::replace(&mut copying.told, true);
        Ok(first)
    }

    /// Sends the next batch to the server that waits for it, if it is there.
    pub(super) fn send_batch(&mut self) -> bool {
        let Some(running) = &mut self.procedure else {
            return false;
        };
        let stops = running.stop.is_some();
        let Some(copying) = running.copying_mut() else {
            return false;
        };
        if stops {
            copying.end(Err(CANCELLED.to_owned()));
        }
        let (frames, splits) = match copying.batch() {
            Batch::Wait => return false,
            Batch::Fail(frames) => (frames, false),
            Batch::Send(frames, more) => (frames, more && copying.within),
        };
        copying.splits = splits;
        if let Some(asked) = &mut running.asked {
            asked.copies = false;
            asked.changes = true;
        }
        self.copying_in = false;
        // The last message ends the data.
        let end = frames.len() - last(&frames);
        self.send_rest(&frames[..end]);
        self.send(Expect::CopyEnd, true, step(true), |out| {
            out.extend_from_slice(&frames[end..]);
        });
        true
    }

    /// Asks the client for rows of so many values in binary form.
    pub(super) fn ask_for_rows(&mut self, columns: u16) {
        self.take_passing_of_lease();
        let binary = 1_u16.to_be_bytes();
        let formats = binary.repeat(usize::from(columns));
        let parts = [&[1][..], &columns.to_be_bytes(), &formats];
        frontend::put(self.cout.tail(), b'G', &parts);
        // The client may take its time.
        self.release_if_settled();
    }

    /// Sends the next batch as INSERTs, in one transaction.
    pub(super) fn send_rows(&mut self) {
        let copying = self
            .procedure
            .as_mut()
            .and_then(|running| running.copying_mut());
        let Some(copying) = copying else { return };
        let (inserts, more) = copying.inserts();
        copying.splits = more && copying.within;
        for Insert { sql, count, values } in inserts {
            if let Some(sql) = sql {
                self.send(Expect::Parse, true, step(false), |out| {
                    frontend::put_parse(out, b"", sql.as_bytes(), b"\0\0");
                });
            }
            self.send(Expect::Bind, true, step(false), |out| {
                // Unnamed portal and statement; all parameters in binary form.
                let head = b"\0\0\0\x01\0\x01";
                frontend::put(out, b'B', &[head, &count.to_be_bytes(), &values, b"\0\0"]);
            });
            self.send(Expect::Execute, true, step(true), |out| {
                frontend::put(out, b'E', &[b"\0\0\0\0\0"]);
            });
        }
        self.send(Expect::Sync, true, step(true), |out| {
            frontend::put(out, b'S', &[]);
        });
    }

    /// The client's transaction is committed behind the batch that it has done: there are more.
    pub(super) fn split_for_copy(&mut self) {
        let warning = self.notices(&[split_warning()]);
        self.take_passing_of_lease();
        self.cout.tail().extend_from_slice(&warning);
        let begin = self.begin_sent.clone();
        if let Some(running) = &mut self.procedure {
            running.within = false;
            if let Some(copying) = running.copying_mut() {
                copying.within = false;
            }
            running.block = Some(begin.unwrap_or_else(|| b"BEGIN".to_vec()));
            running.tasks.push_front(Task::Commit);
        }
    }

    /// The client gave up before the server waited for its data.
    pub(super) fn give_up_copy(&mut self) -> bool {
        let Some(running) = &mut self.procedure else {
            return false;
        };
        let within = running.within;
        let copying = running.copying_mut();
        // The server fails it together with the transaction that is open there.
        let copying = copying.filter(|copying| !(within && copying.is_held()));
        let Some(copying) = copying else { return false };
        let error = match (copying.take_broken(), copying.failure()) {
            (Some(error), _) => error,
            (None, Some(reason)) => {
                let reason = format!("COPY from stdin failed: {reason}");
                ClientError::error(sqlstate::QUERY_CANCELED, reason)
            }
            (None, None) => return false,
        };
        self.fail_procedure(Failure::Own(error), None);
        true
    }
}

/// Length of the message that ends data: CopyDone, or CopyFail by itself.
fn last(frames: &[u8]) -> usize {
    match frames.first() {
        Some(b'f') => frames.len(),
        _ => HEADER,
    }
}
