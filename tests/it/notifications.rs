//! LISTEN and NOTIFY among the clients of one proxy.

use crate::client::{Client, tags};
use crate::dsql::{Cluster, set_up};
use crate::message::{Frame, bind_text, describe, execute, parse, sync};
use crate::proxy::plan;

#[track_caller]
fn heard(frame: &Frame) -> String {
    assert_eq!(frame.tag, b'A', "{}", frame.render(true));
    let rest = Frame {
        tag: b'A',
        body: frame.body[4..].to_vec(),
    };
    rest.strings().join(" ")
}

fn pid(client: &Client) -> u32 {
    client.pid
}

#[test]
fn listeners_hear_what_is_committed() {
    let cluster = Cluster::start();
    let proxy = plan()
        .size(3)
        .workers(2)
        .dsql(&cluster)
        .dialect("compat")
        .start();
    let (mut a, mut b) = (proxy.connect(), proxy.connect());
    set_up(&mut a, "create table t (id int primary key)");
    assert_eq!(tags(&b.query("listen c")), "NCZ");
    b.run("listen \"C d\"");
    a.run("notify c, 'one'");
    let frame = b.frame().unwrap();
    assert_eq!(heard(&frame), "c one");
    assert_eq!(frame.body[..4], pid(&a).to_be_bytes());
    // With its transaction.
    a.run("begin");
    a.run("insert into t values (1)");
    a.run("notify c, 'two'");
    a.run("notify c, 'two'");
    a.run("rollback");
    a.run("begin");
    a.run("insert into t values (1)");
    a.run("notify c, 'three'");
    a.run("select pg_notify('C d', 'four')");
    a.run("commit");
    assert_eq!(heard(&b.frame().unwrap()), "c three");
    assert_eq!(heard(&b.frame().unwrap()), "C d four");
    // Not inside the listener's transaction.
    b.run("begin");
    b.run("select 1");
    a.run("notify c");
    b.run("select 2");
    let frames = b.run("commit");
    assert_eq!(tags(&frames), "CAZ");
    assert_eq!(heard(&frames[1]), "c ");
    // Parameters, and the sender itself.
    a.run("listen c");
    a.send(
        &[
            parse("", "select pg_notify($1, $2)", &[]),
            describe(b'S', ""),
            bind_text("", "", &["c", "five"]),
            execute("", 0),
            sync(),
        ]
        .concat(),
    );
    let frames = a.until_ready();
    assert_eq!(tags(&frames), "1tT2DCAZ");
    let own = frames.iter().find(|frame| frame.tag == b'A').unwrap();
    assert_eq!(heard(own), "c five");
    assert_eq!(heard(&b.frame().unwrap()), "c five");
    // Nobody any more.
    b.run("unlisten c");
    a.run("unlisten *");
    a.run("notify c, 'six'");
    a.run("notify \"C d\", 'seven'");
    assert_eq!(heard(&b.frame().unwrap()), "C d seven");
    b.run("discard all");
    a.run("notify \"C d\", 'eight'");
    assert_eq!(tags(&b.run("select 1")), "TDCZ");
    let long = "x".repeat(8000);
    assert_eq!(a.sqlstate(&format!("notify c, '{long}'")), "22023");
}
