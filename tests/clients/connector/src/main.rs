//! AWS's own connector for sqlx, directly at the emulator: tokens, connections, a pool, retries.
//!
//! The connector signs for the host it dials and takes no other address. sqlx, though, dials a unix
//! socket when it is given one, and does TLS over it under the host's name; so a small relay from a
//! socket to the emulator's port is all that is needed, and no name has to be resolved.
//! From the environment: `EMULATOR_DIR` (account.json, ca.crt), `EMULATOR_ADDRESS` (host:port).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use aurora_dsql_sqlx_connector::{
    DsqlConnectOptions, DsqlConnectOptionsBuilder, OCCRetryConfigBuilder, SharedCredentialsProvider,
    connection, is_occ_error, pool, retry_on_occ,
};
use aws_credential_types::Credentials;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, Row};
use tokio::net::{TcpStream, UnixListener};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let dir = PathBuf::from(std::env::var("EMULATOR_DIR")?);
    let address = std::env::var("EMULATOR_ADDRESS")?;
    let account: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.join("account.json"))?)?;
    let value = |key: &str| account[key].as_str().unwrap_or_default().to_owned();
    let folder = std::env::temp_dir().join(format!("dsql-connector-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let listener = UnixListener::bind(folder.join(".s.PGSQL.5432"))?;
    tokio::spawn(relay(listener, address));
    let keys = Credentials::from_keys(value("access_key_id"), value("secret_access_key"), None);
    let provider = SharedCredentialsProvider::new(keys);
    let result = check(&dir, &folder, &value("endpoint"), &provider).await;
    std::fs::remove_dir_all(&folder)?;
    result
}

async fn relay(listener: UnixListener, address: String) -> std::io::Result<()> {
    loop {
        let (mut near, _) = listener.accept().await?;
        let address = address.clone();
        tokio::spawn(async move {
            let mut far = TcpStream::connect(address).await?;
            tokio::io::copy_bidirectional(&mut near, &mut far).await
        });
    }
}

fn options(
    dir: &Path,
    folder: &Path,
    endpoint: &str,
    user: &str,
    provider: &SharedCredentialsProvider,
) -> Result<DsqlConnectOptions, Failure> {
    let postgres = PgConnectOptions::new_without_pgpass()
        .host(endpoint)
        // Also the name of the socket; the environment may say another.
        .port(5432)
        .socket(folder)
        .username(user)
        .database("postgres")
        .ssl_root_cert(dir.join("ca.crt"));
    let options = DsqlConnectOptionsBuilder::default()
        .pg_connect_options(postgres)
        .credentials_provider(Some(provider.clone()))
        .build()?;
    Ok(options)
}

async fn check(
    dir: &Path,
    folder: &Path,
    endpoint: &str,
    provider: &SharedCredentialsProvider,
) -> Result<(), Failure> {
    let admin = options(dir, folder, endpoint, "admin", provider)?;
    let mut connection = connection::connect_with(&admin).await?;
    for sql in [
        "DROP TABLE IF EXISTS connector",
        "CREATE TABLE connector (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), n int NOT NULL)",
    ] {
        sqlx::query(sql).execute(&mut connection).await?;
    }
    sqlx::query("INSERT INTO connector (n) VALUES ($1), ($2)")
        .bind(1)
        .bind(2)
        .execute(&mut connection)
        .await?;
    let sum: i64 = sqlx::query("SELECT sum(n) FROM connector").fetch_one(&mut connection).await?.get(0);
    assert_eq!(sum, 3);

    // Two writers of one row: the connector knows the error for what it is.
    let mut rival = connection::connect_with(&admin).await?;
    let mut first = connection.begin().await?;
    let mut second = rival.begin().await?;
    for transaction in [&mut first, &mut second] {
        sqlx::query("UPDATE connector SET n = n + 10 WHERE n = 1").execute(&mut **transaction).await?;
    }
    first.commit().await?;
    let lost = second.commit().await.expect_err("the second committer loses");
    assert!(is_occ_error(&lost).is_some(), "{lost}");

    // A pool, with retries of the connector, over a counter that all want.
    let pool = pool::connect_with(&admin, PgPoolOptions::new().max_connections(4)).await?;
    let tries = AtomicU32::new(0);
    let retries = OCCRetryConfigBuilder::default().max_attempts(40u32).build()?;
    let bump = || {
        retry_on_occ(&retries, || async {
            tries.fetch_add(1, Ordering::Relaxed);
            let mut transaction = pool.begin().await?;
            sqlx::query("UPDATE connector SET n = n + 1 WHERE n >= 11").execute(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(())
        })
    };
    tokio::try_join!(bump(), bump(), bump(), bump())?;
    let n: i32 = sqlx::query("SELECT max(n) FROM connector").fetch_one(&pool).await?.get(0);
    assert_eq!(n, 15, "four times one, none lost");
    pool.close().await;

    // A role of its own, with a token of the other kind.
    for sql in [
        "DROP ROLE IF EXISTS connector_clerk",
        "CREATE ROLE connector_clerk WITH LOGIN",
        "AWS IAM GRANT connector_clerk TO 'arn:aws:iam::123456789012:role/clerk'",
    ] {
        sqlx::raw_sql(sql).execute(&mut connection).await?;
    }
    let clerk = options(dir, folder, endpoint, "connector_clerk", provider)?;
    let mut clerk = connection::connect_with(&clerk).await?;
    let user: String = sqlx::query("SELECT current_user::text").fetch_one(&mut clerk).await?.get(0);
    assert_eq!(user, "connector_clerk");
    println!("aurora-dsql-sqlx-connector: {} tries for 4 updates of one row", tries.load(Ordering::Relaxed));
    Ok(())
}
