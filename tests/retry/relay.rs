//! A TCP relay that cuts connections after a number of bytes, wherever in the protocol that is.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use rand::Rng;

/// Not to be cut.
const NEVER: i64 = i64::MAX;

/// One connection, both ways.
struct Link {
    ends: [TcpStream; 2],
    /// Bytes that may still pass, for each way.
    left: [AtomicI64; 2],
}

/// A running relay; its threads end with the connections and with the test process.
pub struct Relay {
    address: SocketAddr,
    links: Arc<Mutex<Vec<Arc<Link>>>>,
}

impl Relay {
    /// Relays to `target`.
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let links: Arc<Mutex<Vec<Arc<Link>>>> = Arc::default();
        let shared = Arc::clone(&links);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // Whoever connects sees for himself that nobody is there.
                let _ = stream.and_then(|stream| join(stream, target, &shared));
            }
        });
        Self { address, links }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts a connection that is open once up to `bytes` more have passed one way; at once for 0.
    /// Gives false when none is open.
    pub fn cut(&self, random: &mut impl Rng, bytes: i64) -> bool {
        let links = self.links.lock().expect("unpoisoned");
        if links.is_empty() {
            return false;
        }
        let link = &links[random.random_range(0..links.len())];
        if bytes == 0 {
            link.end();
        } else {
            link.left[random.random_range(0..2)].store(bytes, Ordering::SeqCst);
        }
        true
    }
}

impl Link {
    fn end(&self) {
        for end in &self.ends {
            // It may be closed already.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn pass(&self, way: usize) -> io::Result<()> {
        let (mut from, mut to) = (&self.ends[way], &self.ends[1 - way]);
        let mut chunk = vec![0; 16 * 1024];
        loop {
            let count = from.read(&mut chunk)?;
            let left = match self.left[way].load(Ordering::SeqCst) {
                NEVER => NEVER,
                _ => self.left[way].fetch_sub(count as i64, Ordering::SeqCst),
            };
            let may = usize::try_from(left).unwrap_or(0).min(count);
            to.write_all(&chunk[..may])?;
            if may < count || count == 0 {
                return Ok(());
            }
        }
    }
}

fn join(
    stream: TcpStream,
    target: SocketAddr,
    links: &Arc<Mutex<Vec<Arc<Link>>>>,
) -> io::Result<()> {
    let other = TcpStream::connect(target)?;
    stream.set_nodelay(true)?;
    other.set_nodelay(true)?;
    let link = Arc::new(Link {
        ends: [stream, other],
        left: [AtomicI64::new(NEVER), AtomicI64::new(NEVER)],
    });
    links.lock().expect("unpoisoned").push(Arc::clone(&link));
    for way in 0..2 {
        let (link, links) = (Arc::clone(&link), Arc::clone(links));
        std::thread::spawn(move || {
            // However it ends, both sides learn of it.
            let _ = link.pass(way);
            link.end();
            let mut links = links.lock().expect("unpoisoned");
            links.retain(|open| !Arc::ptr_eq(open, &link));
        });
    }
    Ok(())
}
