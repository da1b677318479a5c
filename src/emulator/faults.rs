//! Faults on order: each fires a number of times, at logins, statements or commits, in the order
//! they were ordered.

use std::time::Duration;

use regex::Regex;
use serde_json::{Map, Value, json};

/// Orders kept at most.
pub const MAX_ORDERS: usize = 1000;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// A login is refused with "access denied".
    RefuseLogin,
    /// A login is refused as if its token had expired.
    ExpireTokens,
    /// A login is refused because the cluster is waking up.
    WakingUp,
    /// A login is refused because the rate of connects is exceeded (53400).
    RateExceeded,
    /// A login is refused because there are too many connections (53300).
    TooManyConnections,
    /// A statement fails with 40001.
    AbortStatement,
    /// A commit fails with 40001, and nothing is applied.
    AbortCommit,
    /// The connection breaks off at a commit, and nothing is applied.
    CutBeforeCommit,
    /// The connection breaks off at a commit that is applied.
    CutAfterCommit,
    /// The connection breaks off in the middle of the first row of an answer, or in the middle of
    /// its end if it has no row.
    Cut,
    /// A statement begins late.
    Delay,
}

impl FaultKind {
    /// All kinds with their names in orders.
    pub const ALL: [(&'static str, Self); 11] = [
        ("refuse_login", Self::RefuseLogin),
        ("expire_tokens", Self::ExpireTokens),
        ("waking_up", Self::WakingUp),
        ("rate_exceeded", Self::RateExceeded),
        ("too_many_connections", Self::TooManyConnections),
        ("abort_statement", Self::AbortStatement),
        ("abort_commit", Self::AbortCommit),
        ("cut_before_commit", Self::CutBeforeCommit),
        ("cut_after_commit", Self::CutAfterCommit),
        ("cut", Self::Cut),
        ("delay", Self::Delay),
    ];

    /// The kinds that strike at a login, in the order they are looked for.
    pub const LOGIN: [Self; 5] = [
        Self::RefuseLogin,
        Self::ExpireTokens,
        Self::WakingUp,
        Self::RateExceeded,
        Self::TooManyConnections,
    ];

    /// The kind of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, kind)| *kind)
    }

    /// Its name in orders.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, kind)| *kind == self);
        found.map_or("", |(name, _)| name)
    }
}

/// Which 40001 an abort is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// OC000: another transaction changed the same rows.
    Data,
    /// OC001: another transaction changed the schema.
    Schema,
}

impl Conflict {
    /// The code inside the message.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Data => "OC000",
            Self::Schema => "OC001",
        }
    }

    /// The whole message (facts, section 3.2).
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Data => "change conflicts with another transaction (OC000)",
            Self::Schema => "schema has been updated by another transaction (OC001)",
        }
    }
}

/// One order.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// For aborts: which 40001.
    pub conflict: Conflict,
    /// How often it still strikes.
    pub left: u64,
    /// Strikes only where this matches: the text of the statement, or of one of the statements of
    /// the transaction that commits, or of the COMMIT.
    pub matching: Option<Regex>,
    /// For delays: how long.
    pub delay: Duration,
}

impl Fault {
    fn strikes(&self, texts: &[&str], plain: bool) -> bool {
        match &self.matching {
            Some(pattern) => texts.iter().any(|text| pattern.is_match(text)),
            None => plain,
        }
    }

    fn describe(&self) -> Value {
        let mut out = json!({"kind": self.kind.name(), "count": self.left});
        if matches!(
            self.kind,
            FaultKind::AbortCommit | FaultKind::AbortStatement
        ) {
            out["code"] = json!(self.conflict.code());
        }
        if let Some(pattern) = &self.matching {
            out["match"] = json!(pattern.as_str());
        }
        if self.kind == FaultKind::Delay {
            out["ms"] = json!(self.delay.as_millis());
        }
        out
    }
}

/// The orders that are left, oldest first.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Adds an order; gives false when there are [`MAX_ORDERS`] already.
    pub fn order(&mut self, fault: Fault) -> bool {
        let alike = |known: &&mut Fault| {
            known.kind == fault.kind
                && known.conflict == fault.conflict
                && known.delay == fault.delay
                && known.matching.is_none()
                && fault.matching.is_none()
        };
        if let Some(known) = self.0.iter_mut().find(alike) {
            known.left = known.left.saturating_add(fault.left);
            return true;
        }
        let room = self.0.len() < MAX_ORDERS;
        if room {
            self.0.push(fault);
        }
        room
    }

    /// Uses up one strike of the oldest order of a kind that matches one of `texts`; an order
    /// without a pattern strikes only when `plain`.
    pub fn take(&mut self, kind: FaultKind, texts: &[&str], plain: bool) -> Option<Fault> {
        let fits = |fault: &Fault| fault.kind == kind && fault.strikes(texts, plain);
        let at = self.0.iter().position(fits)?;
        let fault = self.0.get_mut(at)?;
        fault.left -= 1;
        let taken = fault.clone();
        if taken.left == 0 {
            self.0.remove(at);
        }
        Some(taken)
    }

    /// Whether nothing is ordered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets all orders.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// What is left: strikes for each kind, and the orders one by one.
    #[must_use]
    pub fn describe(&self) -> Value {
        let sum = |kind| {
            let left = self.0.iter().filter(|fault| fault.kind == kind);
            left.fold(0u64, |sum, fault| sum.saturating_add(fault.left))
        };
        let mut out: Map<String, Value> = FaultKind::ALL
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), json!(sum(*kind))))
            .collect();
        let orders = self.0.iter().map(Fault::describe).collect();
        out.insert("orders".to_owned(), Value::Array(orders));
        Value::Object(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: FaultKind, left: u64, matching: Option<&str>) -> Fault {
        Fault {
            kind,
            conflict: Conflict::Data,
            left,
            matching: matching.map(|pattern| Regex::new(pattern).unwrap()),
            delay: Duration::ZERO,
        }
    }

    #[test]
    fn orders_are_used_up_oldest_first() {
        let mut faults = Faults::default();
        assert!(faults.order(fault(FaultKind::AbortCommit, 1, Some("(?i)update"))));
        assert!(faults.order(fault(FaultKind::AbortCommit, 2, None)));
        assert!(
            faults
                .take(FaultKind::AbortStatement, &["x"], true)
                .is_none()
        );
        let first = faults
            .take(FaultKind::AbortCommit, &["INSERT", "UPDATE t"], false)
            .unwrap();
        assert!(first.matching.is_some());
        assert!(
            faults
                .take(FaultKind::AbortCommit, &["UPDATE t"], true)
                .unwrap()
                .matching
                .is_none()
        );
        assert_eq!(faults.describe()["abort_commit"], 1);
        assert!(faults.take(FaultKind::AbortCommit, &["x"], false).is_none());
        assert!(faults.take(FaultKind::AbortCommit, &[], true).is_some());
        assert!(faults.is_empty());
    }

    #[test]
    fn equal_orders_add_up_and_there_is_an_end() {
        let mut faults = Faults::default();
        assert!(faults.order(fault(FaultKind::RefuseLogin, u64::MAX, None)));
        assert!(faults.order(fault(FaultKind::RefuseLogin, 5, None)));
        assert_eq!(faults.describe()["refuse_login"], u64::MAX);
        for n in 1..MAX_ORDERS {
            assert!(faults.order(fault(FaultKind::Delay, 1, Some(&n.to_string()))));
        }
        assert!(!faults.order(fault(FaultKind::Delay, 1, Some("x"))));
        faults.clear();
        assert!(faults.is_empty());
    }

    #[test]
    fn every_kind_has_its_name() {
        for (name, kind) in FaultKind::ALL {
            assert_eq!(FaultKind::named(name), Some(kind));
            assert_eq!(kind.name(), name);
        }
        assert_eq!(FaultKind::named("flood"), None);
    }
}
