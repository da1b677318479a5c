//! Ports for the servers of the tests.

use std::net::TcpListener;
use std::sync::Mutex;

/// A TCP port of 127.0.0.1 that was free a moment ago and is given out once in this process.
pub fn free() -> u16 {
    static GIVEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut given = GIVEN.lock().expect("no test panics while it holds this");
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        if !given.contains(&port) {
            given.push(port);
            return port;
        }
    }
}
