//! Tests through the wire: the real binary, a real PostgreSQL or a scripted one, and clients that
//! speak bytes.

mod abandon;
mod client;
mod conflicts;
mod console;
mod copy_batches;
mod created_databases;
mod cursors;
mod deadlines;
mod dialect;
mod differential;
mod drivers;
mod dsql;
#[path = "../emulated/mod.rs"]
mod emulated;
mod fairness;
mod hostile;
mod insight;
mod isolation;
mod lessons_access;
mod lessons_answers;
mod lessons_cancel;
mod lessons_copy;
mod lessons_pool;
mod lessons_settings;
mod lessons_statements;
mod limits;
mod locks;
mod message;
mod notifications;
mod ports;
mod postgres;
mod procedures;
mod proxy;
mod rebuilds;
mod rollbacks;
mod savepoints;
mod temporaries;
mod upstream;
