//! tokio-postgres through the proxy. Drivers of other languages: `tests/clients/run.sh`.

use tokio_postgres::{NoTls, SimpleQueryMessage, error::SqlState};

use crate::postgres::{self, ROLE};
use crate::proxy::plan;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

#[test]
fn tokio_postgres_works_through_the_proxy() {
    let proxy = plan().size(3).workers(2).start();
    let target = format!(
        "host=127.0.0.1 port={} user={ROLE} password={ROLE} dbname=app",
        proxy.port
    );
    runtime().block_on(async {
        let (mut client, connection) = tokio_postgres::connect(&target, NoTls).await.expect("login");
        let driver = tokio::spawn(connection);
        client
            .batch_execute("drop table if exists client_tokio; create table client_tokio (id int primary key, name text)")
            .await
            .expect("a table");
        let insert = client.prepare("insert into client_tokio values ($1, $2)").await.expect("prepared");
        for id in 0..50i32 {
            client.execute(&insert, &[&id, &format!("n{id}")]).await.expect("inserted");
        }
        // Many statements on one connection without waiting for each other.
        let select = client.prepare("select name from client_tokio where id = $1").await.expect("prepared");
        let answers = futures_util::future::join_all((0..50i32).map(|id| {
            let (client, select) = (&client, &select);
            async move { client.query_one(select, &[&id]).await.expect("a row").get::<_, String>(0) }
        }))
        .await;
        assert!(answers.iter().enumerate().all(|(id, name)| *name == format!("n{id}")));

        let transaction = client.transaction().await.expect("begun");
        let portal = transaction.bind("select id from client_tokio order by id", &[]).await.expect("bound");
        let mut seen = 0;
        loop {
            let rows = transaction.query_portal(&portal, 7).await.expect("rows");
            seen += rows.len();
            if rows.len() < 7 {
                break;
            }
        }
        assert_eq!(seen, 50);
        transaction.rollback().await.expect("rolled back");

        let error = client.execute(&insert, &[&1i32, &"again"]).await.expect_err("twice");
        assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION));
        let messages = client.simple_query("select 1; select 2").await.expect("answers");
        let rows = messages.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_))).count();
        assert_eq!(rows, 2);

        let cancel = client.cancel_token();
        let slow = client.batch_execute("select pg_sleep(30)");
        let cancelled = async {
            tokio::task::spawn_blocking(wait_for_sleep).await.expect("no panic");
            cancel.cancel_query(NoTls).await.expect("a cancel request");
        };
        let (slow, ()) = tokio::join!(slow, cancelled);
        assert_eq!(slow.expect_err("cancelled").code(), Some(&SqlState::QUERY_CANCELED));
        assert_eq!(client.query_one("select 1", &[]).await.expect("a row").get::<_, i32>(0), 1);
        drop(client);
        driver.await.expect("no panic").expect("an orderly end");
    });
    proxy.wait_base();
}

/// Until the server runs the statement that is to be cancelled.
fn wait_for_sleep() {
    let mut admin = postgres::cluster().connect_superuser("app");
    let running = "select count(*) from pg_stat_activity \
                   where query = 'select pg_sleep(30)' and state = 'active'";
    while admin.scalar(running) == "0" {}
}
