//! One client's conversation, from its login to its end.
//!
//! A [`Session`] is one task that owns the client's stream and, while it needs one, a lease. It
//! reads the client's frames (`frontend`), sends them on, notes what is owed for each, and relays
//! the answers (`backend`).

mod abandon;
mod advisory;
mod answer;
mod backend;
mod conflict;
mod control;
mod copy_in;
mod creations;
mod cursor;
mod databases;
mod deadline;
mod deallocate;
mod frontend;
mod hints;
mod insight;
mod isolation;
mod kept;
mod limbo;
mod names;
mod notify;
mod procedure;
mod recent;
mod rerun;
mod reset;
mod run;
mod savepoint;
mod script;
mod signal;
mod spool;
mod state;
mod temporary;
mod tenant;
mod tentative;
mod unstorable;
mod value;
mod verdict;
mod welcome;

pub use advisory::{Locks, Occupancy};
pub use conflict::RetryEnv;
pub use control::Control;
pub use databases::{DatabaseEnv, Translations};
pub use deadline::Alarm;
pub use insight::Insight;
pub use isolation::{Admissions, Guard, Isolation, Standing};
pub use kept::KeptEnv;
pub use names::{Quota, Registry};
pub use notify::Hub;
pub use run::{Session, SessionEnv};
pub use unstorable::Columns;
pub use verdict::{PolicyEnv, Ruling, Verdict, Verdicts};
pub use welcome::Profiles;
