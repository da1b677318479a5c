//! What is put into the local PostgreSQL: the role of the emulated cluster, and for `dev` the sample
//! data and the database for benchmarks.

use std::error::Error as _;
use std::path::Path;

use tokio_postgres::{Client, Config, Error, NoTls};

use super::catalog;
use super::front::DATABASE;
use super::occ::CAPTURE_SQL;
use super::postgres::{PORT, SUPERUSER};
use super::rules::{Rules, ServerVersion};
use super::verify::ADMIN;

const SAMPLE: &str = include_str!("sample.sql");
/// The database that the `bench` entry of `dev` leads to, and the role that owns it. No superuser,
/// for the reason told at [`prepare_cluster`].
pub const BENCH: &str = "bench";

/// What a query may spill (DSQL's quota, observed in October 2026).
const TEMPORARY_SPACE: &str = "ALTER DATABASE postgres SET temp_file_limit = '128MB'";

/// Makes the role `admin` unless it is there, and gives the catalog its DSQL form.
///
/// It owns the database and schema `public`, so it may do there what DSQL's admin may, and it may
/// make roles. It is no superuser on purpose: whoever has a token could else read files and run
/// programs of this machine through COPY.
///
/// # Errors
/// What PostgreSQL says.
pub async fn prepare_cluster(
    socket_folder: &Path,
    rules: &Rules,
    version: &ServerVersion,
) -> Result<(), Error> {
    let client = connect(socket_folder, SUPERUSER, DATABASE).await?;
    if !exists(&client, "SELECT 1 FROM pg_roles WHERE rolname = $1", ADMIN).await? {
        // One string is one transaction: all of it or, after a crash, nothing.
        client
            .batch_execute(
                "CREATE ROLE admin LOGIN CREATEROLE;
                 ALTER DATABASE postgres OWNER TO admin;
                 ALTER SCHEMA public OWNER TO admin;",
            )
            .await?;
    }
    client.batch_execute(TEMPORARY_SPACE).await?;
    catalog::prepare(&client, rules, version).await?;
    client
        .batch_execute(
            "SET allow_system_table_mods = on; CREATE SCHEMA IF NOT EXISTS pg_dsql;
             RESET allow_system_table_mods;",
        )
        .await?;
    client.batch_execute(CAPTURE_SQL).await
}

/// Loads the sample tables unless they are there, and makes the database for benchmarks.
///
/// # Errors
/// What PostgreSQL says.
pub async fn prepare_dev(socket_folder: &Path) -> Result<(), Error> {
    let superuser = connect(socket_folder, SUPERUSER, DATABASE).await?;
    if !exists(
        &superuser,
        "SELECT 1 FROM pg_roles WHERE rolname = $1",
        BENCH,
    )
    .await?
    {
        superuser.batch_execute("CREATE ROLE bench LOGIN").await?;
    }
    if !exists(
        &superuser,
        "SELECT 1 FROM pg_database WHERE datname = $1",
        BENCH,
    )
    .await?
    {
        superuser
            .batch_execute("CREATE DATABASE bench OWNER bench")
            .await?;
    }
    let admin = connect(socket_folder, ADMIN, DATABASE).await?;
    let table = "SELECT 1 FROM pg_tables WHERE schemaname = 'public' AND tablename = $1";
    if exists(&admin, table, "customers").await? {
        return Ok(());
    }
    admin.batch_execute(SAMPLE).await?;
    admin.batch_execute("SELECT pg_dsql.instrument()").await
}

/// An error with its cause: PostgreSQL's own message is one level down.
#[must_use]
pub fn describe(error: &Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

async fn exists(client: &Client, query: &str, name: &str) -> Result<bool, Error> {
    Ok(client.query_opt(query, &[&name]).await?.is_some())
}

async fn connect(socket_folder: &Path, user: &str, database: &str) -> Result<Client, Error> {
    let (client, connection) = Config::new()
        .host_path(socket_folder)
        .port(PORT)
        .user(user)
        .dbname(database)
        .connect(NoTls)
        .await?;
    // It ends when the client is dropped; its errors reach the client's own calls.
    tokio::spawn(connection);
    Ok(client)
}
