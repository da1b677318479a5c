//! SAVEPOINT, RELEASE and ROLLBACK TO for servers without them.
//!
//! A savepoint is a mark in the journal of the open transaction. Going back to it rolls back all of
//! the server's transaction and does again what came ahead of the mark ([`Replay::take_back`]). In
//! the place of these statements the server gets one that does nothing, so that its answers come in
//! order and its errors skip what they have to.

use crate::config::Savepoints as Way;
use crate::policy::settings::SAVEPOINTS;
use crate::retry::Mark;
use crate::sql::scan::{Token, Tokens};
use crate::sql::{Class, Effect, Statement};
use crate::upstream::Expect;
use crate::wire::backend::TransactionStatus;
use crate::wire::frontend;
use crate::wire::reply::{self, ClientError};
use crate::wire::sqlstate;

use super::frontend::Taken;
use super::names::Prepared;
use super::procedure;
use super::run::{Note, Own, Session};

/// The savepoints of the open transaction, oldest first.
#[derive(Debug, Default)]
pub(super) struct Savepoints {
    /// Names, and where they are.
    marks: Vec<(Vec<u8>, Place)>,
    /// What BEGIN, COMMIT or ROLLBACK have made of the transaction since the last ReadyForQuery.
    pub block: Option<TransactionStatus>,
}

/// Where a savepoint is.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// In the transaction.
    At(Mark),
    /// Nothing was done behind it when the transaction was committed: it is where the next begins.
    Begin,
    /// What came behind it was committed.
    Lost,
}

impl Savepoints {
    /// The transaction is over.
    pub fn clear(&mut self) {
        self.marks.clear();
    }

    /// What came ahead of them is committed, though the client's transaction goes on; of these nothing
    /// that came behind.
    pub fn outlive(&mut self, fresh: usize) {
        let lost = self.marks.len().saturating_sub(fresh);
        for (number, (_, place)) in self.marks.iter_mut().enumerate() {
            *place = match number < lost {
                true => Place::Lost,
                false => Place::Begin,
            };
        }
    }

    /// The transaction begins again where the last of so many was set.
    fn begin_again(&mut self, count: usize) {
        self.marks.truncate(count);
    }

    /// How many there are.
    pub fn depth(&self) -> usize {
        self.marks.len()
    }

    /// The connection is gone.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// A SAVEPOINT was carried out; a name may be used again.
    pub fn set(&mut self, name: &[u8], mark: Mark) {
        self.marks.push((name.to_vec(), Place::At(mark)));
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        self.marks.iter().rposition(|(known, _)| known == name)
    }

    fn release(&mut self, name: &[u8]) {
        if let Some(at) = self.find(name) {
            self.marks.truncate(at);
        }
    }
}

/// What is asked of savepoints, by a text of one statement or of several.
enum Asked<'a> {
    Nothing,
    One(&'a Effect),
    Several,
}

impl Session {
    /// The statement that the server gets in place of one about savepoints.
    pub(super) fn stand_in(&self, text: &[u8], class: &Class) -> Option<&'static [u8]> {
        let failed = self.owed.ready_due() == 0 && self.block() == TransactionStatus::Failed;
        match self.asked(text, class) {
            // A failed transaction takes none of these, which it says of the text itself.
            Asked::One(Effect::Savepoint(_) | Effect::Release(_)) if failed => None,
            // The one that can be bound in a failed transaction; it is never executed.
            Asked::One(Effect::RollbackTo(_)) => Some(b"ROLLBACK"),
            Asked::One(_) => Some(b""),
            _ => None,
        }
    }

    /// A session may turn them off for itself.
    fn way(&self) -> Way {
        match self.settings.kept(SAVEPOINTS) {
            Some("reject") if self.env.savepoints == Way::Emulate => Way::Reject,
            _ => self.env.savepoints,
        }
    }

    fn asked<'a>(&self, text: &[u8], class: &'a Class) -> Asked<'a> {
        if self.way() == Way::Forward {
            return Asked::Nothing;
        }
        match class.effects.as_deref().unwrap_or_default() {
            [effect] if is_whole(text, effect) => Asked::One(effect),
            [_] => Asked::Nothing,
            several if several.iter().any(is_about_savepoints) => Asked::Several,
            _ => Asked::Nothing,
        }
    }

    // ---- simple protocol -------------------------------------------------------------------

    /// Where a text of several statements is cut, in bytes, so that in the end each about savepoints
    /// is one of its own. Only in a transaction block: outside, the statements of a text are one
    /// transaction, which a cut would end.
    pub(super) fn savepoint_cut(&self, text: &[u8], class: &Class) -> Option<usize> {
        if self.way() != Way::Emulate {
            return None;
        }
        let effects = class.effects.as_deref()?;
        let at =
            (1..effects.len()).find(|at| effects[at - 1..=*at].iter().any(is_about_savepoints))?;
        let begins = matches!(effects[0], Effect::Begin { .. });
        if !begins && self.status == TransactionStatus::Idle {
            return None;
        }
        let statements = Statement::read(std::str::from_utf8(text).ok()?).ok()?;
        let same = statements.len() == effects.len();
        statements
            .get(at)
            .filter(|_| same)
            .map(|statement| statement.span.start)
    }

    /// Deals with a Query about savepoints; `None` when it is about something else.
    pub(super) fn take_savepoint_query(&mut self, text: &[u8], class: &Class) -> Option<Taken> {
        let effect = match self.asked(text, class) {
            Asked::Nothing => return None,
            Asked::One(effect) => effect,
            Asked::Several => {
                self.refuse_query(together());
                return Some(Taken::All);
            }
        };
        if self.way() == Way::Reject {
            self.refuse_query(rejected());
            return Some(Taken::All);
        }
        if self.waits_for_answers(matches!(effect, Effect::Savepoint(_))) {
            return Some(Taken::Wait);
        }
        if self.owed.is_unsynced() && self.block() == TransactionStatus::Open {
            // pgjdbc's autosave: behind extended messages without their Sync, of which some may have
            // been skipped, nothing could be run again. In a block a Sync commits nothing.
            self.send(Expect::Sync, true, None, |out| {
                frontend::put(out, b'S', &[]);
            });
            return Some(Taken::Wait);
        }
        let known = |name| self.savepoints.find(name);
        match (effect, self.block()) {
            (_, TransactionStatus::Idle) => self.refuse_query(outside(effect)),
            (Effect::Savepoint(name), TransactionStatus::Open) => self.set_savepoint(name, effect),
            (Effect::Release(name) | Effect::RollbackTo(name), status)
                if known(name).is_none()
                    && (status == TransactionStatus::Open || is_rollback(effect)) =>
            {
                self.refuse_query(unknown(name));
            }
            (Effect::Release(_), TransactionStatus::Open) => self.answer_query(effect, None),
            _ if let Some(taken) = self.begin_again(effect, procedure::Reply::Query) => {
                return Some(taken);
            }
            (Effect::RollbackTo(name), _) => self.roll_back_query(name, effect),
            // The server refuses it: the transaction has failed.
            _ => return None,
        }
        Some(Taken::All)
    }

    fn set_savepoint(&mut self, name: &[u8], effect: &Effect) {
        let Some(replay) = &mut self.replay else {
            return;
        };
        replay.set_marked(true);
        match replay.mark().filter(|_| self.owed.is_empty()) {
            Some(mark) => {
                self.savepoints.set(name, mark);
                self.settings.apply(effect);
                self.answer_query_here(effect);
            }
            None => {
                let mark = replay.mark_behind();
                self.answer_query(effect, Some(mark));
            }
        }
    }

    /// Answers, if need be through the server, which ends a batch that lacks its Sync.
    fn answer_query(&mut self, effect: &Effect, mark: Option<Mark>) {
        if mark.is_none() && self.owed.is_empty() && !self.owed.is_unsynced() {
            self.finish(effect, None);
            self.answer_query_here(effect);
            return;
        }
        let alone = !self.owed.may_skip();
        let (forgets, unnamed) = self.forget_unnamed(alone);
        let note = Note {
            forgets,
            unnamed,
            ..standing_in(effect, mark)
        };
        self.send(Expect::Query, false, Some(note), |out| {
            frontend::put_query(out, b"");
        });
    }

    fn answer_query_here(&mut self, effect: &Effect) {
        self.names.forget_unnamed();
        reply::put_command_complete(self.answers(), tag(effect));
        self.end_query(TransactionStatus::Open);
    }

    fn roll_back_query(&mut self, name: &[u8], effect: &Effect) {
        let mark = match self.place_of(name) {
            Some((_, Place::At(mark))) => mark,
            Some((_, Place::Begin)) => {
                self.settings.apply(&Effect::Rollback { plain: true });
                self.answer_query(effect, None);
                return;
            }
            _ => {
                self.refuse_query(committed(name));
                return;
            }
        };
        if self.is_as_at(mark) {
            self.answer_query(effect, None);
            return;
        }
        if self.moves_portal(mark) {
            self.refuse_query(fetched(name));
            return;
        }
        let mut answer = Vec::new();
        reply::put_command_complete(&mut answer, tag(effect));
        reply::put_ready(&mut answer, TransactionStatus::Open);
        let mut error = Vec::new();
        diverged(name).put(&mut error);
        reply::put_ready(&mut error, TransactionStatus::Failed);
        if self.take_back(mark, answer, error) {
            self.names.forget_unnamed();
            self.owe(Expect::Query, effect);
        } else {
            self.refuse_query(too_long(name));
        }
    }

    // ---- extended protocol -----------------------------------------------------------------

    /// Deals with the Execute of a portal about savepoints; `None` when the server is to do it.
    pub(super) fn take_savepoint_execute(
        &mut self,
        bytes: &[u8],
        prepared: &Prepared,
        portal: usize,
    ) -> Option<Taken> {
        let effect = match self.asked(&prepared.source, &prepared.class) {
            Asked::One(effect) => effect,
            _ => return None,
        };
        let portal = self.portals.get_mut(portal)?;
        if portal.spent {
            let error = cannot_be_run(&portal.name);
            // The end of its transaction may be on the way.
            if self.waits_for_answers(false) {
                return Some(Taken::Wait);
            }
            self.refuse_parse(error);
            return Some(Taken::All);
        }
        let (number, name) = (portal.number, portal.name.clone());
        let taken = self.execute_about_savepoints(bytes, effect, &name);
        if !matches!(taken, Taken::Wait) {
            let portal = self
                .portals
                .iter_mut()
                .find(|portal| portal.number == number);
            portal.into_iter().for_each(|portal| portal.spent = true);
        }
        Some(taken)
    }

    fn execute_about_savepoints(&mut self, bytes: &[u8], effect: &Effect, portal: &[u8]) -> Taken {
        if self.way() == Way::Reject {
            self.refuse_parse(rejected());
            return Taken::All;
        }
        let (Effect::Release(name) | Effect::RollbackTo(name)) = effect else {
            return self.execute_savepoint(bytes, effect);
        };
        if self.waits_for_answers(false) {
            return Taken::Wait;
        }
        let known = self.savepoints.find(name).is_some();
        match (effect, self.block()) {
            (_, TransactionStatus::Idle) => self.refuse_parse(outside(effect)),
            _ if !known => {
                self.close_portal(portal);
                self.refuse_parse(unknown(name));
            }
            _ if let Some(taken) = self.begin_again(effect, procedure::Reply::Execute) => {
                return taken;
            }
            (Effect::RollbackTo(_), _) => self.execute_roll_back(name, effect),
            _ => self.execute_stand_in(bytes, effect, None),
        }
        Taken::All
    }

    /// A server warns of a named portal that was bound in a failed transaction and never executed.
    fn close_portal(&mut self, portal: &[u8]) {
        if !portal.is_empty() {
            self.send(Expect::Close, true, None, |out| {
                frontend::put(out, b'C', &[b"P", portal, b"\0"]);
            });
        }
    }

    fn execute_savepoint(&mut self, bytes: &[u8], effect: &Effect) -> Taken {
        let mark = self.replay.as_ref().and_then(|replay| replay.mark());
        match (self.owed.status(), mark) {
            (TransactionStatus::Idle, _) | (_, None) => {}
            (_, mark) => {
                if let Some(replay) = &mut self.replay {
                    replay.set_marked(true);
                }
                self.execute_stand_in(bytes, effect, mark);
                return Taken::All;
            }
        }
        if self.waits_for_answers(false) {
            return Taken::Wait;
        }
        if self.block() == TransactionStatus::Idle {
            self.refuse_parse(outside(effect));
            return Taken::All;
        }
        // What the batch has done so far is ahead of the mark: it becomes a batch of its own. In a
        // transaction block a Sync commits nothing.
        self.send(Expect::Sync, true, None, |out| {
            frontend::put(out, b'S', &[])
        });
        Taken::Wait
    }

    fn execute_stand_in(&mut self, bytes: &[u8], effect: &Effect, mark: Option<Mark>) {
        let note = standing_in(effect, mark);
        self.send(Expect::Execute, false, Some(note), |out| {
            out.extend_from_slice(bytes);
        });
    }

    fn execute_roll_back(&mut self, name: &[u8], effect: &Effect) {
        let mut answer = Vec::new();
        reply::put_command_complete(&mut answer, tag(effect));
        let place = self.place_of(name).map(|(_, place)| place);
        let mark = match place {
            Some(Place::At(mark)) if !self.is_as_at(mark) => mark,
            Some(place @ (Place::At(_) | Place::Begin)) => {
                if let Place::Begin = place {
                    self.settings.apply(&Effect::Rollback { plain: true });
                }
                self.finish(effect, None);
                self.answers().append(&mut answer);
                return;
            }
            _ => {
                self.refuse_parse(committed(name));
                return;
            }
        };
        if self.moves_portal(mark) {
            self.refuse_parse(fetched(name));
            return;
        }
        let mut error = Vec::new();
        diverged(name).put(&mut error);
        if self.take_back(mark, answer, error) {
            self.owe(Expect::Execute, effect);
        } else {
            self.refuse_parse(too_long(name));
        }
    }

    // ---- both ------------------------------------------------------------------------------

    /// A stand-in was answered; gives the tag the client gets.
    pub(super) fn complete_stand_in(&mut self) -> Option<&'static str> {
        let note = self.owed.front_mut()?.note.as_deref_mut()?;
        let mark = note.mark.take();
        let effect = note.effects.as_deref()?.first()?.clone();
        note.stands_in.then_some(())?;
        note.done = 1;
        self.finish(&effect, mark);
        Some(tag(&effect))
    }

    /// A statement about savepoints has taken effect.
    fn finish(&mut self, effect: &Effect, mark: Option<Mark>) {
        self.settings.apply(effect);
        match (effect, mark) {
            (Effect::Savepoint(name), Some(mark)) => self.savepoints.set(name, mark),
            (Effect::Release(name), _) => {
                self.savepoints.release(name);
                let depth = self.savepoints.depth();
                self.lower_cursors(depth);
            }
            (Effect::RollbackTo(name), _) => self.arrive_at(name),
            _ => {}
        }
    }

    /// The transaction stands where the savepoint was set; later ones are gone.
    pub(super) fn arrive_at(&mut self, name: &[u8]) {
        let Some(at) = self.savepoints.find(name) else {
            return;
        };
        self.savepoints.marks.truncate(at + 1);
        self.creations.fail();
        self.roll_back_cursors(at);
        let mark = self.savepoints.marks.last_mut();
        if let (Some((_, Place::At(mark))), Some(replay)) = (mark, &self.replay) {
            replay.renew(mark);
        }
    }

    /// A transaction is over, or committed in the middle.
    pub(super) fn end_savepoints(&mut self) {
        match (self.goes_on_behind_commit(), self.begins_again()) {
            (Some(fresh), _) => self.savepoints.outlive(fresh),
            (None, Some(count)) => self.savepoints.begin_again(count),
            (None, None) => self.savepoints.clear(),
        }
    }

    /// How many of the last savepoints have nothing behind them that would have to be undone.
    pub(super) fn fresh_savepoints(&self) -> usize {
        let begun = self.has_begun();
        let fresh = |place: &Place| match place {
            Place::At(mark) => self.is_as_at(*mark),
            Place::Begin => !begun,
            Place::Lost => false,
        };
        let marks = self.savepoints.marks.iter().rev();
        marks.take_while(|(_, place)| fresh(place)).count()
    }

    /// The server has a transaction open.
    fn has_begun(&self) -> bool {
        self.begin.is_none() && self.lease.is_some() && self.block() != TransactionStatus::Idle
    }

    fn place_of(&self, name: &[u8]) -> Option<(usize, Place)> {
        let at = self.savepoints.find(name)?;
        let (_, place) = self.savepoints.marks.get(at)?;
        Some((at, *place))
    }

    /// ROLLBACK TO a savepoint where the transaction began; `None` for others.
    fn begin_again(&mut self, effect: &Effect, reply: procedure::Reply) -> Option<Taken> {
        let Effect::RollbackTo(name) = effect else {
            return None;
        };
        let (at, Place::Begin) = self.place_of(name)? else {
            return None;
        };
        if self.waits_for_answers(false) {
            return Some(Taken::Wait);
        }
        if !self.has_begun() {
            return None;
        }
        Some(self.begin_block_again(at + 1, reply))
    }

    fn is_as_at(&self, mark: Mark) -> bool {
        self.replay
            .as_ref()
            .is_some_and(|replay| replay.is_as_at(mark))
    }

    fn moves_portal(&self, mark: Mark) -> bool {
        self.replay
            .as_ref()
            .is_some_and(|replay| replay.moves_portal(mark))
    }

    fn take_back(&mut self, mark: Mark, answer: Vec<u8>, error: Vec<u8>) -> bool {
        let replay = self.replay.as_mut();
        replay.is_some_and(|replay| replay.take_back(mark, answer, error))
    }

    /// The answer comes as if from the server, which is not asked.
    fn owe(&mut self, expect: Expect, effect: &Effect) {
        let note = Note {
            effects: Some([effect.clone()].into()),
            ..Note::default()
        };
        self.owed.push(expect, false, Some(Box::new(note)));
    }

    /// Earlier requests of the client must be answered first: then it is known what the transaction
    /// is. Not those that bring a connection into line: behind them it would go back to the pool.
    /// `but_begin`: a BEGIN of the proxy's own is none.
    pub(super) fn waits_for_answers(&mut self, but_begin: bool) -> bool {
        let is_ready = |own| {
            matches!(own, Some(Own::Settings | Own::Refresh))
                || but_begin && own == Some(Own::Begin)
        };
        if self.owed_own().all(is_ready) {
            return false;
        }
        self.ask_for_answers();
        true
    }

    fn is_beginning(&self) -> bool {
        let mut owed = self.owed_own();
        owed.any(|own| own == Some(Own::Begin))
    }

    fn owed_own(&self) -> impl Iterator<Item = Option<Own>> {
        let entries = self.owed.iter();
        entries.map(|entry| entry.note.as_ref().and_then(|note| note.own))
    }

    /// The server's transaction, as far as it was answered.
    pub(super) fn block(&self) -> TransactionStatus {
        match self.savepoints.block {
            None if self.is_beginning() => TransactionStatus::Open,
            known => known.unwrap_or_else(|| self.owed.status()),
        }
    }
}

fn standing_in(effect: &Effect, mark: Option<Mark>) -> Note {
    Note {
        effects: Some([effect.clone()].into()),
        stands_in: true,
        mark,
        ..Note::default()
    }
}

fn is_about_savepoints(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Savepoint(_) | Effect::Release(_) | Effect::RollbackTo(_)
    )
}

fn is_rollback(effect: &Effect) -> bool {
    matches!(effect, Effect::RollbackTo(_))
}

/// The text is such a statement and nothing more; the server refuses others.
fn is_whole(text: &[u8], effect: &Effect) -> bool {
    if !is_about_savepoints(effect) {
        return false;
    }
    let tokens: Vec<Token<'_>> = Tokens::new(text)
        .filter(|token| *token != Token::Semicolon)
        .collect();
    let is = |at: usize, word| tokens.get(at).is_some_and(|token| token.is(word));
    let name_at = match effect {
        Effect::Savepoint(_) => 1,
        Effect::Release(_) => 1 + usize::from(is(1, "savepoint") && tokens.len() > 2),
        _ => {
            let to = 1 + usize::from(is(1, "work") || is(1, "transaction"));
            if !is(to, "to") {
                return false;
            }
            to + 1 + usize::from(is(to + 1, "savepoint") && tokens.len() > to + 2)
        }
    };
    tokens.len() == name_at + 1
        && matches!(tokens.get(name_at), Some(Token::Word(_) | Token::Quoted(_)))
}

fn tag(effect: &Effect) -> &'static str {
    match effect {
        Effect::Savepoint(_) => "SAVEPOINT",
        Effect::Release(_) => "RELEASE",
        _ => "ROLLBACK",
    }
}

// ---- what the client is told ---------------------------------------------------------------------

fn outside(effect: &Effect) -> ClientError {
    let statement = match effect {
        Effect::Savepoint(_) => "SAVEPOINT",
        Effect::Release(_) => "RELEASE SAVEPOINT",
        _ => "ROLLBACK TO SAVEPOINT",
    };
    ClientError::error(
        sqlstate::NO_ACTIVE_SQL_TRANSACTION,
        format!("{statement} can only be used in transaction blocks"),
    )
}

fn unknown(name: &[u8]) -> ClientError {
    ClientError::error(
        sqlstate::INVALID_SAVEPOINT,
        format!(
            "savepoint \"{}\" does not exist",
            String::from_utf8_lossy(name)
        ),
    )
}

fn together() -> ClientError {
    ClientError::error(
        sqlstate::FEATURE_NOT_SUPPORTED,
        "a savepoint among several statements of one Query is not supported",
    )
    .hint("Send SAVEPOINT, RELEASE and ROLLBACK TO as statements of their own.")
}

fn cannot_be_run(portal: &[u8]) -> ClientError {
    ClientError::error(
        sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!(
            "portal \"{}\" cannot be run",
            String::from_utf8_lossy(portal)
        ),
    )
}

fn rejected() -> ClientError {
    ClientError::error(
        sqlstate::FEATURE_NOT_SUPPORTED,
        "savepoints are turned off for this session",
    )
    .hint(
        "Aurora DSQL has no savepoints. The proxy emulates them where databases.NAME.savepoints \
         says emulate.",
    )
}

fn committed(name: &[u8]) -> ClientError {
    ClientError::error(
        sqlstate::FEATURE_NOT_SUPPORTED,
        format!(
            "the transaction cannot be taken back to savepoint \"{}\"",
            String::from_utf8_lossy(name)
        ),
    )
    .detail("It was committed around a statement behind the savepoint, and is no longer atomic.")
    .hint("Roll back what is left of it, or SET dsqlproxy.ddl_in_transaction = reject.")
}

fn diverged(name: &[u8]) -> ClientError {
    ClientError::error(
        sqlstate::SERIALIZATION_FAILURE,
        format!(
            "could not roll back to savepoint \"{}\" due to concurrent update",
            String::from_utf8_lossy(name)
        ),
    )
    .hint("Run the whole transaction again.")
}

fn fetched(name: &[u8]) -> ClientError {
    ClientError::error(
        sqlstate::SERIALIZATION_FAILURE,
        format!(
            "could not roll back to savepoint \"{}\"",
            String::from_utf8_lossy(name)
        ),
    )
    .detail("Behind it rows were fetched from a portal that was bound ahead of it.")
    .hint("Run the whole transaction again, and fetch all rows of a portal before going on.")
}

fn too_long(name: &[u8]) -> ClientError {
    ClientError::error(
        sqlstate::PROGRAM_LIMIT_EXCEEDED,
        format!(
            "the transaction cannot be taken back to savepoint \"{}\"",
            String::from_utf8_lossy(name)
        ),
    )
    .detail(
        "What came ahead of the savepoint was not kept: it is longer than retry.journal_bytes, or \
         does what a rollback does not undo.",
    )
    .hint("Roll back the whole transaction.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::classify;

    #[test]
    fn whole_statements_are_told_from_others() {
        let cases = [
            ("SAVEPOINT a", true),
            ("savepoint \"A b\" ; ", true),
            ("SAVEPOINT", false),
            ("SAVEPOINT a b", false),
            ("SAVEPOINT 'a'", false),
            ("RELEASE a", true),
            ("RELEASE SAVEPOINT a", true),
            ("RELEASE SAVEPOINT a b", false),
            ("ROLLBACK TO a", true),
            ("ROLLBACK WORK TO SAVEPOINT a", true),
            ("rollback transaction to a -- so", true),
            ("ROLLBACK TO SAVEPOINT a b", false),
            ("ROLLBACK TO", false),
            ("ROLLBACK", false),
            ("ABORT TO a", true),
            ("select 1", false),
        ];
        for (text, expected) in cases {
            let effects = classify(text.as_bytes()).effects.unwrap_or_default();
            let whole = effects
                .iter()
                .any(|effect| is_whole(text.as_bytes(), effect));
            assert_eq!(whole, expected, "{text}");
        }
    }
}
