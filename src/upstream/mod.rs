mod conn;
mod owed;
mod settings;

pub use conn::{Conn, PreparedSet, STATEMENT_PREFIX, next_statement_id, statement_name};
pub use owed::{Expect, Owed, OwedQueue, Settled};
pub use settings::{Settings, SharedSettings, difference, same, value_of};
