//! The catalog as the proxy takes it.

use dsql_proxy::policy::tenancy::{Catalog, snapshot};

use crate::client::Client;

/// Reads the catalog of a database; leaves its search path pinned.
pub fn take(client: &mut Client) -> Catalog {
    let answers: Vec<snapshot::Rows> = snapshot::QUERIES
        .iter()
        .map(|query| rows(client, query))
        .collect();
    snapshot::read(&answers).expect("a catalog")
}

fn rows(client: &mut Client, sql: &str) -> snapshot::Rows {
    let frames = client.run(sql);
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    let text = |value: Option<Vec<u8>>| Some(String::from_utf8(value?).expect("text"));
    rows.map(|frame| frame.values().into_iter().map(text).collect())
        .collect()
}
