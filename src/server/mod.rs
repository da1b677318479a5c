//! Accepting clients, dealing them to workers, ending in good order.

mod barrier;
mod cancels;
mod console;
mod isolation;
mod listener;
mod operations;
mod proxy;
mod worker;

pub use barrier::{Told, sync_barriers};
pub use isolation::{Policies, TenancyError, TenantView, policies_of, tenant_view};
pub use operations::Operations;
pub use proxy::{Proxy, StartError, rules_of};
