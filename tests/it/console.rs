//! The operators' console.

use crate::client::Login;
use crate::message;
use crate::postgres::ROLE;
use crate::proxy;

#[test]
fn operators_ask_the_console() {
    let verifier = proxy::verifier("root");
    let plan = proxy::plan().user(&format!(
        "name: root, password: \"{verifier}\", admin: true"
    ));
    let proxy = plan.start();
    let mut client = proxy.connect();
    client.run("SELECT 1");
    let mut console = proxy
        .login(&Login::new("root", "dsqlproxy").password("root"))
        .expect("an operator");
    let mut rows = |text: &str| -> Vec<Vec<String>> {
        let frames = console.run(text);
        let text =
            |value: Option<Vec<u8>>| String::from_utf8(value.expect("no NULL")).expect("text");
        let rows = frames.iter().filter(|frame| frame.tag == b'D');
        rows.map(|frame| frame.values().into_iter().map(text).collect())
            .collect()
    };
    let clients = rows("SHOW CLIENTS;");
    assert_eq!(clients.len(), 1, "{clients:?}");
    assert_eq!(&clients[0][1..3], [ROLE, "app"]);
    let pools = rows("show pools");
    assert!(pools.iter().any(|pool| pool[0] == "main/app"), "{pools:?}");
    assert!(
        rows("SHOW STATS")
            .iter()
            .any(|row| row[0].starts_with("dsqlproxy_queries_total"))
    );
    assert_eq!(rows("SHOW DATABASES").len(), 3);
    assert!(rows("SHOW VERSION")[0][0].starts_with("dsql-proxy "));
    assert!(rows("SHOW HELP").len() > 5);
    assert_eq!(console.query("")[0].tag, b'I');
    assert_eq!(console.sqlstate("SELECT 1"), "42601");
    console.send(&[message::parse("", "SHOW POOLS", &[]), message::sync()].concat());
    let refused = console.until_ready();
    assert_eq!(
        (refused.len(), refused[0].sqlstate()),
        (2, "0A000".to_owned())
    );
    drop(client);
    proxy.wait_base();
    console.run("DRAIN");
    let last = console.until_closed().expect("a farewell");
    assert_eq!(last[0].sqlstate(), "57P01");
}
