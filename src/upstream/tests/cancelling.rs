//! Cancel requests to scripted servers.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::fake::{Identity, accept, accept_tls, dsql, listen, plain, startup};
use crate::config::UpstreamTls;
use crate::net::{Socket, Stream};
use crate::upstream::{Target, cancel};
use crate::wire::startup::Startup;

fn expected() -> Startup {
    Startup::Cancel {
        pid: 0xdead_beef,
        key: b"12345678".to_vec(),
    }
}

#[tokio::test]
async fn c2_cancel_returns_when_the_server_has_closed() {
    let (listener, address) = listen().await;
    let mut cluster = plain(&address);
    cluster.tls = Some(UpstreamTls::Disable);
    let target = Target::new(&cluster, "postgres").expect("target");
    let (done, mut heard) = oneshot::channel();
    let client = tokio::spawn(async move {
        let result = cancel(&target, None, 0xdead_beef, b"12345678").await;
        let _ = done.send(());
        result
    });
    let mut socket = accept(&listener).await;
    assert_eq!(startup(&mut socket).await, expected());
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(heard.try_recv().is_err(), "it must wait for the server");
    drop(socket);
    client.await.expect("task").expect("cancelled");
}

#[tokio::test]
async fn c9_cancel_goes_over_tls_where_the_target_does() {
    let identity = Identity::new();
    let acceptor = identity.acceptor(&[]);
    let (listener, address) = listen().await;
    let target = Target::new(&dsql(&address, &identity), "postgres").expect("target");
    let server = async {
        let (mut stream, _) = accept_tls(&listener, &acceptor).await.expect("TLS");
        let said = startup(&mut stream).await;
        let _ = stream.shutdown().await;
        said
    };
    let (result, said) = tokio::join!(cancel(&target, None, 0xdead_beef, b"12345678"), server);
    result.expect("cancelled");
    assert_eq!(said, expected());
}

/// The second listener stands for another server that the same name leads to.
#[tokio::test]
async fn c2_cancel_goes_to_the_server_that_has_the_backend() {
    let (listener, address) = listen().await;
    let port = listener.local_addr().expect("address").port();
    let other = TcpListener::bind(("127.0.0.2", port))
        .await
        .expect("127.0.0.2");
    let connection = TcpStream::connect(&address).await.expect("connection");
    drop(accept(&listener).await);
    let stream = Stream::Plain(Socket::Tcp(connection));
    let mut cluster = plain(&format!("127.0.0.2:{port}"));
    cluster.tls = Some(UpstreamTls::Disable);
    let target = Target::new(&cluster, "postgres").expect("target");
    for (peer, server) in [(stream.peer_address(), &listener), (None, &other)] {
        let taken = async { startup(&mut accept(server).await).await };
        let request = cancel(&target, peer, 0xdead_beef, b"12345678");
        let (result, said) = tokio::join!(request, taken);
        result.expect("cancelled");
        assert_eq!(said, expected());
    }
}

#[tokio::test]
async fn cancel_without_key_or_server_fails() {
    let (listener, address) = listen().await;
    let target = Target::new(&plain(&address), "postgres").expect("target");
    let error = cancel(&target, None, 1, b"").await.expect_err("no key");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    let server = async {
        let mut socket = accept(&listener).await;
        let _ = socket.read(&mut [0; 8]).await;
        drop(socket);
        drop(listener);
    };
    let (result, ()) = tokio::join!(cancel(&target, None, 1, b"1234"), server);
    assert!(result.is_err());
    let refused = cancel(&target, None, 1, b"1234")
        .await
        .expect_err("nobody there");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}
