//! The end of a server: whoever was let in has an answer.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use thence_core::{Deferred, Failure, hosting};
use thence_http::{Body, Request, Response, Server};
use thence_reactor::Reactor;

use crate::common::checked;

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// How a connection ended for its client.
#[derive(Debug, PartialEq)]
enum End {
    /// After an answer that said so.
    Announced,
    /// Not one byte came for the last request.
    Nothing,
    Reset,
    Truncated,
}

/// Sends one request after the other until there is no more; counts whole answers.
fn ask_on(addr: SocketAddr, answered: &AtomicU32) -> End {
    let mut stream = TcpStream::connect(addr).unwrap();
    loop {
        match ask(&mut stream) {
            Ok(is_last) => {
                answered.fetch_add(1, Ordering::Relaxed);
                if is_last {
                    return End::Announced;
                }
            }
            Err(end) => return end,
        }
    }
}

fn ask(stream: &mut TcpStream) -> Result<bool, End> {
    stream.write_all(ASK).map_err(|_| End::Reset)?;
    let mut answer = Vec::new();
    while !answer.ends_with(BODY.as_bytes()) {
        let mut piece = [0; 4096];
        match stream.read(&mut piece) {
            Ok(0) if answer.is_empty() => return Err(End::Nothing),
            Ok(0) => return Err(End::Truncated),
            Ok(n) => answer.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(End::Reset),
        }
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    Ok(answer.contains("connection: close"))
}

const BODY: &str = "the whole answer";

fn answer(_: Request) -> Deferred<Response> {
    Deferred::ok(Response::new(Body::from(BODY)))
}

#[test]
fn a_drain_under_load_answers_every_request() {
    const CLIENTS: usize = 16;
    let answered = Arc::new(AtomicU32::new(0));
    let mut reactor = Reactor::builder().signals(false).build().unwrap();
    let stop = reactor.handle();
    let clients = Rc::new(Cell::new(Vec::new()));
    let started = clients.clone();
    let counter = answered.clone();
    reactor
        .run(async move {
            let seen = Cell::new(0);
            let server = Server::bind("127.0.0.1:0")?.serve(move |request| {
                seen.set(seen.get() + 1);
                if seen.get() == 2000 {
                    stop.stop().unwrap();
                }
                answer(request)
            });
            let addr = server.local_addr();
            let begin = Arc::new(Barrier::new(CLIENTS));
            let clients = (0..CLIENTS).map(|_| {
                let (answered, begin) = (counter.clone(), begin.clone());
                thread::spawn(move || {
                    begin.wait();
                    ask_on(addr, &answered)
                })
            });
            started.set(clients.collect());
            thence_reactor::draining().await;
            Ok(())
        })
        .unwrap();
    let ends: Vec<_> = clients.take().into_iter().map(|client| client.join().unwrap()).collect();
    assert!(ends.iter().all(|end| *end == End::Announced), "{ends:?}");
    assert!(answered.load(Ordering::Relaxed) >= 2000);
    assert_eq!(hosting::live(), hosting::Live::default());
}

/// Connections that the operating system has made and the server has not seen.
fn at_the_door(addr: SocketAddr) -> Vec<TcpStream> {
    let stand = |_| {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.write_all(ASK).unwrap();
        stream
    };
    (0..40).map(stand).collect()
}

fn all_have_an_answer(clients: Vec<TcpStream>) {
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("connection: close"), "{answer:?}");
        assert!(answer.ends_with(BODY), "{answer:?}");
    }
}

#[test]
fn who_stands_at_the_door_when_a_drain_begins_is_let_in() {
    let clients = Rc::new(Cell::new(Vec::new()));
    let kept = clients.clone();
    thence_reactor::run(async move {
        let server = Server::bind("127.0.0.1:0")?.serve(answer);
        kept.set(at_the_door(server.local_addr()));
        Ok(())
    })
    .unwrap();
    all_have_an_answer(clients.take());
    assert_eq!(hosting::live(), hosting::Live::default());
}

#[test]
fn who_stands_at_the_door_when_a_server_is_closed_is_let_in() {
    checked(|| async {
        let server = Server::bind("127.0.0.1:0")?.serve(answer);
        let clients = at_the_door(server.local_addr());
        server.close();
        server.close();
        // They read on a thread of their own: the server needs this one.
        let reading = thread::spawn(move || all_have_an_answer(clients));
        server.ended().await;
        reading.join().map_err(|_| Failure::msg("not everybody had an answer"))?;
        assert!(TcpStream::connect(server.local_addr()).is_err());
        Ok(())
    });
}

#[test]
fn what_comes_behind_the_last_answer_does_not_take_it_away() {
    checked(|| async {
        let server = Server::bind("127.0.0.1:0")?.serve(answer);
        let mut client = TcpStream::connect(server.local_addr())?;
        // The second request is not processed any more (rule 63); unread, it would reset.
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        client.write_all(&ASK.repeat(5000))?;
        client.shutdown(Shutdown::Write)?;
        let reading = thread::spawn(move || all_have_an_answer(vec![client]));
        server.close();
        server.ended().await;
        reading.join().map_err(|_| Failure::msg("the answer was lost"))
    });
}
