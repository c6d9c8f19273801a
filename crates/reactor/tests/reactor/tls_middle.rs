//! Somebody in the middle of a TLS connection, who changes and cuts what goes by.

use std::io;

use thence_reactor::{
    driver::manual::Peer,
    net::{TcpListener, TcpStream, tls::TlsStream},
};

use crate::common::{
    ANY, World,
    tls::{NAME, ends, kind},
    watch,
};

struct Middle {
    /// What the client is connected to, and what is connected to the server.
    to_client: Peer,
    to_server: Peer,
}

impl Middle {
    /// Lets everything go by as it is.
    fn carry(&self, world: &mut World) {
        loop {
            world.settle();
            let (up, down) = (self.to_client.received(), self.to_server.received());
            if up.is_empty() && down.is_empty() {
                return;
            }
            assert_eq!(self.to_server.send(&up), up.len());
            assert_eq!(self.to_client.send(&down), down.len());
        }
    }
}

/// The client's end, the server's, and whoever is between them.
fn connected(world: &mut World) -> (TlsStream, TlsStream, Middle) {
    let (server, client) = ends();
    let (door, listener) = (world.manual.listen(ANY).unwrap(), TcpListener::bind(ANY).unwrap());
    let near = watch(TcpStream::connect(door.local_addr()));
    let far = watch(listener.accept());
    let to_server = world.manual.connect(listener.local_addr()).unwrap();
    world.settle();
    let middle = Middle { to_client: door.accept().unwrap(), to_server };
    let near = watch(client.connect(near.ok(), NAME));
    let far = watch(server.accept(far.ok().0));
    middle.carry(world);
    (near.ok(), far.ok(), middle)
}

#[test]
fn a_changed_byte_fails_both_ends_and_what_came_before_it_is_read() {
    let mut world = World::new();
    let (near, far, middle) = connected(&mut world);
    let writes = [watch(near.write("good")), watch(near.shutdown())];
    world.settle();
    let good = middle.to_client.received();
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    middle.to_server.send(&forged);
    let read = watch(far.read(100));
    world.settle();
    assert_eq!(read.ok(), "good");
    let after = [watch(far.read(100)), watch(far.read(100))];
    let write = watch(far.write("never heard"));
    middle.carry(&mut world);
    for read in after {
        let failure = read.err();
        assert_eq!(kind(&failure), io::ErrorKind::InvalidData);
        assert_eq!(failure.to_string(), "TLS: cannot decrypt peer's message");
    }
    assert_eq!(kind(&write.err()), io::ErrorKind::InvalidData);
    // The other end is told, and that this was all, though both streams are still there.
    assert!(middle.to_server.is_at_end());
    let told = watch(near.read(100));
    middle.carry(&mut world);
    assert_eq!(told.err().to_string(), "the other end ended TLS with BadRecordMac");
    writes.iter().for_each(|write| write.ok());
}

#[test]
fn a_stream_that_is_cut_anywhere_is_never_taken_for_a_whole_one() {
    let mut len = usize::MAX;
    let mut cut = 0;
    while cut < len {
        let mut world = World::new();
        let (near, far, middle) = connected(&mut world);
        let writes = [watch(near.write("one")), watch(near.write("two"))];
        let end = watch(near.shutdown());
        world.settle();
        let all = middle.to_client.received();
        len = all.len();
        middle.to_server.send(&all[..cut]);
        middle.to_server.finish();
        let mut heard = Vec::new();
        loop {
            let read = watch(far.read(100));
            world.settle();
            match read.take().expect("it has ended").into_result() {
                Ok(bytes) => {
                    assert!(!bytes.is_empty(), "cut after {cut} of {len} bytes");
                    heard.extend(bytes);
                }
                Err(failure) => {
                    assert_eq!(kind(&failure), io::ErrorKind::UnexpectedEof);
                    break;
                }
            }
        }
        assert!(b"onetwo".starts_with(&heard), "{heard:?}");
        writes.iter().chain([&end]).for_each(|done| done.ok());
        cut += 1;
    }
    assert!(len > 60, "two records and a close_notify");
}

#[test]
fn a_record_that_comes_twice_is_refused() {
    let mut world = World::new();
    let (near, far, middle) = connected(&mut world);
    let write = watch(near.write("pay 10"));
    world.settle();
    write.ok();
    let record = middle.to_client.received();
    middle.to_server.send(&record);
    middle.to_server.send(&record);
    let (first, second) = (watch(far.read(100)), watch(far.read(100)));
    world.settle();
    assert_eq!(first.ok(), "pay 10");
    assert_eq!(kind(&second.err()), io::ErrorKind::InvalidData);
}

#[test]
fn a_reset_fails_reads_and_writes() {
    let mut world = World::new();
    let (_near, far, middle) = connected(&mut world);
    let read = watch(far.read(1));
    world.settle();
    middle.to_server.reset();
    world.settle();
    assert_eq!(kind(&read.err()), io::ErrorKind::ConnectionReset);
    let write = watch(far.write("anybody?"));
    world.settle();
    write.err();
}
