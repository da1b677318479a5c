//! sqlx: its statement cache, a pool, transactions with savepoints, COPY.

use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgPoolCopyExt, PgPoolOptions};
use sqlx::{Acquire, Row};

#[tokio::main]
async fn main() -> Result<(), sqlx::Error> {
    // From PGHOST and its siblings; a small cache closes statements often.
    let options = PgConnectOptions::new().statement_cache_capacity(5);
    let pool = PgPoolOptions::new().max_connections(6).connect_with(options).await?;
    sqlx::raw_sql("drop table if exists client_sqlx; create table client_sqlx (id int primary key, name text)")
        .execute(&pool)
        .await?;
    let mut transaction = pool.begin().await?;
    for id in 0..50 {
        sqlx::query("insert into client_sqlx values ($1, $2)")
            .bind(id)
            .bind(format!("n{id}"))
            .execute(&mut *transaction)
            .await?;
    }
    let mut savepoint = transaction.begin().await?;
    sqlx::query("delete from client_sqlx").execute(&mut *savepoint).await?;
    savepoint.rollback().await?;
    transaction.commit().await?;

    let mut tasks = Vec::new();
    for number in 0..12 {
        let pool = pool.clone();
        tasks.push(tokio::spawn(async move {
            for round in 0..30 {
                let text = format!("select $1::int + {}", round % 9);
                let row = sqlx::query(&text).bind(number).fetch_one(&pool).await?;
                assert_eq!(row.get::<i32, _>(0), number + round % 9);
            }
            Ok::<_, sqlx::Error>(())
        }));
    }
    for task in tasks {
        task.await.expect("no panic")?;
    }

    let mut names = sqlx::query("select name from client_sqlx order by id").fetch(&pool);
    let mut count = 0;
    while let Some(row) = names.try_next().await? {
        assert_eq!(row.get::<String, _>(0), format!("n{count}"));
        count += 1;
    }
    assert_eq!(count, 50);
    drop(names);

    let error = sqlx::query("insert into client_sqlx values (1, 'again')").execute(&pool).await.unwrap_err();
    assert_eq!(error.as_database_error().and_then(|error| error.code()).as_deref(), Some("23505"));
    let mut copy = pool.copy_in_raw("copy client_sqlx from stdin").await?;
    copy.send("100\tcopied\n101\tcopied\n".as_bytes()).await?;
    assert_eq!(copy.finish().await?, 2);
    let left = sqlx::query_scalar::<_, i64>("select count(*) from client_sqlx").fetch_one(&pool).await?;
    assert_eq!(left, 52);
    pool.close().await;
    println!("sqlx done");
    Ok(())
}
