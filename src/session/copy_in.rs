//! COPY FROM STDIN of a tenant: its data pass [`Extension`], which gives every row the tenant's value.
//! No other byte of the client's ever goes where the server reads copy data.

use std::rc::Rc;

use crate::policy::tenancy::copy::{Broken, CopyRows, Extension, Place};
use crate::policy::tenancy::{Refusal, Rule};
use crate::upstream::Expect;
use crate::wire::frame::HEADER;
use crate::wire::frontend;

use super::backend::Step;
use super::frontend::{Taken, skip};
use super::isolation::Denied;
use super::run::{Rest, Session};

impl Session {
    /// The server waits for the data of a tenant's COPY: what it was asked for says how they are
    /// extended. `None`: nothing does.
    pub(super) fn begin_extension(&mut self, body: &[u8]) -> Option<Step> {
        let front = self.owed.front_mut()?;
        let rows = front.note.as_mut()?.rows.take()?;
        self.extension = Some(Box::new(Extension::new(Rc::clone(&rows))));
        if rows.place != Place::Added {
            return Some(Step::Pass);
        }
        // Format, number of columns, their formats: the client's are one less.
        let (count, formats) = body.get(1..)?.split_first_chunk::<2>()?;
        let count = u16::from_be_bytes(*count).checked_sub(1)?;
        let formats = formats.get(..usize::from(count) * 2)?;
        let parts = [&body[..1], &count.to_be_bytes(), formats];
        frontend::put(&mut self.replacement, b'G', &parts);
        Some(Step::Replaced)
    }

    /// The data of a COPY whose turn has not come yet have to wait for it.
    fn awaits_extension(&self) -> bool {
        self.extension.is_none()
            && self.owed.iter().any(|entry| {
                let note = entry.note.as_ref();
                note.is_some_and(|note| note.rows.is_some())
            })
    }

    /// Takes a CopyData message of a tenant, or its begin.
    pub(super) fn take_tenant_data(&mut self, total: usize, bytes: &[u8]) -> Taken {
        if self.awaits_extension() {
            return Taken::Wait;
        }
        if self.extension.is_none() || self.lease.is_none() {
            // As the server does without a COPY, or with one that failed.
            return skip(total, bytes.len());
        }
        self.extend(bytes.get(HEADER..).unwrap_or_default());
        Taken::Head(bytes.len(), Rest::Keep(total - bytes.len()))
    }

    /// Passes a piece of a tenant's data on as what it becomes.
    pub(super) fn extend(&mut self, data: &[u8]) {
        let Some(extension) = &mut self.extension else {
            return;
        };
        let mut out = Vec::with_capacity(data.len() + data.len() / 8);
        let outcome = extension.put(data, &mut out);
        self.pass_extended(&out, outcome);
    }

    fn pass_extended(&mut self, out: &[u8], outcome: Result<(), Broken>) -> bool {
        if let Err(broken) = outcome {
            self.break_extension(broken);
            return false;
        }
        if !out.is_empty() {
            let mut frame = Vec::with_capacity(out.len() + HEADER);
            frontend::put(&mut frame, b'd', &[out]);
            self.send_rest(&frame);
        }
        true
    }

    /// Takes CopyDone or CopyFail of a tenant.
    pub(super) fn take_tenant_copy_end(&mut self, bytes: &[u8]) -> Taken {
        if self.awaits_extension() {
            return Taken::Wait;
        }
        let Some(mut extension) = self.extension.take() else {
            return Taken::All;
        };
        if self.lease.is_none() {
            return Taken::All;
        }
        if bytes.first() == Some(&b'c') {
            let mut out = Vec::new();
            let outcome = extension.finish(&mut out);
            if !self.pass_extended(&out, outcome) {
                return Taken::All;
            }
        }
        self.end_copy(bytes);
        Taken::All
    }

    fn end_copy(&mut self, frame: &[u8]) {
        self.extension = None;
        self.copying_in = false;
        self.send(Expect::CopyEnd, false, None, |out| {
            out.extend_from_slice(frame);
        });
        self.answer_local();
    }

    /// Has the server fail the COPY, and with it the transaction; the client reads why.
    fn break_extension(&mut self, broken: Broken) {
        if broken == Broken::Foreign {
            self.note_denied(&Denied::Refused(Refusal::new(Rule::ForeignTenant, "COPY")));
        }
        if let Some(note) = self.owed.front_mut().and_then(|front| front.note.as_mut()) {
            note.broken = Some(broken.error());
        }
        self.fail_copy("a row cannot be copied");
    }

    /// Anything but copy data ends a COPY; what it was goes nowhere.
    pub(super) fn break_tenant_copy(&mut self, total: usize, there: usize) -> Taken {
        self.fail_copy("unexpected message during COPY from stdin");
        skip(total, there)
    }

    fn fail_copy(&mut self, reason: &str) {
        let mut frame = Vec::new();
        frontend::put(&mut frame, b'f', &[reason.as_bytes(), b"\0"]);
        self.end_copy(&frame);
    }

    /// How the rows of a tenant's text are extended, if it is a COPY FROM STDIN.
    pub(super) fn rows_of(&self, text: &[u8]) -> Option<Rc<CopyRows>> {
        self.env.guard.as_ref()?.rows_of(text)
    }
}
