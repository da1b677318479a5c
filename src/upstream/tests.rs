//! Whole connects, against scripted servers and against PostgreSQL.

use crate::config::{Cluster, ClusterKind, Pool, Text};

/// A cluster with nothing but a kind and an endpoint.
pub(super) fn cluster(kind: ClusterKind, endpoint: &str) -> Cluster {
    Cluster {
        kind,
        endpoint: Text(endpoint.to_owned()),
        connect_to: None,
        region: None,
        user: Text("admin".to_owned()),
        password: None,
        tls: None,
        direct_tls: false,
        credentials: None,
        ca_file: None,
        pool: Pool::default(),
    }
}

mod cancelling;
mod fake;
mod hostile;
mod postgres;
mod scripted;
