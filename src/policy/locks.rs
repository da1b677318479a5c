//! Advisory locks and notifications, as a statement asks for them.

use std::collections::BTreeMap;

/// A SELECT of advisory lock functions alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdvisoryLock {
    /// The calls, in order.
    pub calls: Vec<LockCall>,
    /// Name and type OID of the column of each.
    pub columns: Vec<(String, u32)>,
    /// Settings that it changes before: name, value, until the end of the transaction.
    pub settings: Vec<(String, String, bool)>,
    /// What the server prepares in its place: the same parameters and columns.
    pub prepared: String,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockCall {
    /// What it asks for.
    pub wish: LockWish,
    /// Others may hold the lock too, in the same way.
    pub shared: bool,
    /// The lock ends with the transaction.
    pub transaction: bool,
    /// The key: one number, or two.
    pub arguments: Vec<LockArgument>,
}

/// SELECT pg_notify(…).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyCall {
    /// The channel.
    pub channel: TextArgument,
    /// The payload.
    pub payload: TextArgument,
    /// Name of the column.
    pub column: String,
    /// What the server prepares in its place.
    pub prepared: String,
}

/// SELECT pg_terminate_backend(…) or pg_cancel_backend(…).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalCall {
    /// The session ends; else its statement.
    pub terminate: bool,
    /// Which session.
    pub target: SignalTarget,
    /// Name of the column.
    pub column: String,
    /// What the server prepares in its place.
    pub prepared: String,
}

/// The session that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalTarget {
    /// By its process id, or NULL.
    Constant(Option<i64>),
    /// The same as a parameter, counted from 1.
    Parameter(usize),
    /// Itself.
    Own,
}

/// An argument of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextArgument {
    /// A text, or NULL.
    Constant(Option<String>),
    /// A parameter, counted from 1.
    Parameter(usize),
}

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockWish {
    /// The lock, when it is free.
    Lock,
    /// The lock, if it is free.
    Try,
    /// Its end.
    Unlock,
    /// The end of all locks of the session.
    UnlockAll,
}

/// A part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockArgument {
    /// A number, or NULL.
    Constant(Option<i64>),
    /// A parameter, counted from 1.
    Parameter(usize),
    /// What the server works out.
    Expression(LockExpression),
}

/// A key that the server works out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockExpression {
    /// SQL; parameters stand in it as `$1`.
    pub text: String,
    /// What each parameter is, by its number.
    pub parameters: BTreeMap<usize, KeyParameter>,
}

/// How the bytes of a parameter in binary format are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyParameter {
    /// As a text.
    Text,
    /// As a whole number.
    Number,
    /// Not at all: its type is not known.
    Unknown,
}
