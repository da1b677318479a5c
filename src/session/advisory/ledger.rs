//! Who holds an advisory lock, as a row of the lock table says it.
//!
//! Pure: what a row says and what the clock of the database says go in, another row comes out.

use std::fmt::Write;

/// One who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    /// The session, and behind a dot which of its requests for the lock.
    pub session: String,
    /// Others may hold it too.
    pub shared: bool,
    /// When its lease ends, in milliseconds of the database's clock.
    pub until: i64,
}

/// All who hold a lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ledger(pub Vec<Holder>);

impl Ledger {
    /// Reads what [`Ledger::write`] wrote; lines of another make are passed over.
    pub fn read(text: &str) -> Self {
        let holder = |line: &str| {
            let mut fields = line.split(' ');
            Some(Holder {
                session: fields.next()?.to_owned(),
                shared: fields.next()? == "s",
                until: fields.next()?.parse().ok()?,
            })
        };
        Self(text.split(';').filter_map(holder).collect())
    }

    /// As the table has it.
    pub fn write(&self) -> String {
        let mut text = String::new();
        for holder in &self.0 {
            let mode = if holder.shared { "s" } else { "x" };
            let _ = write!(text, "{} {mode} {};", holder.session, holder.until);
        }
        text
    }

    /// With the lock given to a session until then; `None` if others are in its way. Leases that
    /// have ended are left out.
    pub fn take(&self, session: &str, shared: bool, now: i64, until: i64) -> Option<Self> {
        let mut left: Vec<Holder> = self.0.clone();
        left.retain(|holder| holder.until > now);
        let owner = |id: &str| id.split('.').next().map(str::to_owned);
        let in_its_way = |holder: &Holder| {
            owner(&holder.session) != owner(session) && !(shared && holder.shared)
        };
        if left.iter().any(in_its_way) {
            return None;
        }
        left.retain(|holder| holder.session != session || holder.shared != shared);
        left.push(Holder {
            session: session.to_owned(),
            shared,
            until,
        });
        Some(Self(left))
    }

    /// With a longer lease; `None` if the session does not hold the lock any more.
    pub fn renew(&self, session: &str, shared: bool, until: i64) -> Option<Self> {
        let mut renewed = self.clone();
        let mut holders = renewed.0.iter_mut();
        let own = holders.find(|holder| holder.session == session && holder.shared == shared)?;
        own.until = until;
        Some(renewed)
    }

    /// Without it.
    pub fn give(&self, session: &str, shared: bool) -> Self {
        let mut left = self.0.clone();
        left.retain(|holder| holder.session != session || holder.shared != shared);
        Self(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_exclude_each_other_until_their_leases_end() {
        let free = Ledger::default();
        let one = free.take("a", false, 0, 100).unwrap();
        assert_eq!(Ledger::read(&one.write()), one);
        let cases = [
            ("b", false, 50, false),
            ("b", true, 50, false),
            ("a", false, 50, true),
            ("a", true, 50, true),
            ("b", false, 100, true),
            ("b", true, 101, true),
        ];
        for (session, shared, now, taken) in cases {
            let next = one.take(session, shared, now, now + 100);
            assert_eq!(next.is_some(), taken, "{session} {shared} {now}");
        }
        let shared = free.take("a", true, 0, 100).unwrap();
        let both = shared.take("b", true, 10, 110).unwrap();
        assert_eq!(both.0.len(), 2);
        assert_eq!(both.take("a", false, 20, 120), None);
        assert!(both.give("b", true).take("a", false, 20, 120).is_some());
        assert!(both.take("c", false, 105, 200).is_none());
        assert!(both.take("c", false, 110, 200).is_some());
    }

    #[test]
    fn a_lease_is_renewed_as_long_as_it_is_there() {
        let one = Ledger::default().take("a", false, 0, 100).unwrap();
        assert_eq!(one.renew("a", false, 300).unwrap().0[0].until, 300);
        assert_eq!(one.renew("a", true, 300), None);
        assert_eq!(one.renew("b", false, 300), None);
        assert_eq!(one.give("a", false), Ledger::default());
        assert_eq!(Ledger::read("x;a s;a x nine;"), Ledger::default());
    }
}
