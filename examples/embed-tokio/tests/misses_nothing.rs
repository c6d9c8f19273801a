//! The reactor is turned only when it says so, so that whatever does not wake tokio hangs the test.

use std::{
    cell::Cell,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use embed_tokio::drive;
use thence::net::{Protocol, TcpListener, Transport};
use thence::prelude::*;
use thence::{Handle, Reactor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::LocalSet,
};

/// Runs tokio until `work`, which is begun with the reactor there, has ended.
fn embedded(work: impl FnOnce(Handle) -> Deferred<()>) {
    watched();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(LocalSet::new().run_until(async {
        let mut reactor = Reactor::builder().build().unwrap();
        let work = work(reactor.handle());
        let (tx, rx) = oneshot::channel();
        work.settled().done(move |outcome| {
            let _ = tx.send(matches!(outcome, Outcome::Ok(())));
        });
        assert!(drive(&mut reactor, rx).await.unwrap().unwrap(), "the work has failed");
        // The end of the reactor breaks the connections that are still there.
        assert_eq!(thence::unhandled(), 0);
    }));
}

/// A loop that is not woken ends the test, not the patience of whoever waits for it.
fn watched() {
    let (alive, ended) = mpsc::channel::<()>();
    thread_local!(static ALIVE: Cell<Option<mpsc::Sender<()>>> = const { Cell::new(None) });
    ALIVE.set(Some(alive));
    thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("tokio was not woken");
            std::process::abort();
        }
    });
}

#[test]
fn timers_end_and_never_early() {
    embedded(|_| {
        flow(async {
            for _ in 0..50 {
                let (before, wait) = (Instant::now(), Duration::from_millis(3));
                after(wait).await;
                assert!(before.elapsed() >= wait);
            }
            Ok(())
        })
    });
}

#[test]
fn a_call_from_another_thread_wakes_the_loop() {
    embedded(|handle| {
        let (fired, calls) = Deferred::<()>::new();
        let fired = fired.remote();
        thread::spawn(move || {
            let (tx, rx) = mpsc::channel();
            for _ in 0..200 {
                let tx = tx.clone();
                handle.call(move || tx.send(()).unwrap()).unwrap();
                // The loop sleeps again before the next one.
                rx.recv().unwrap();
            }
            fired.fire(());
        });
        calls
    });
}

#[test]
fn offloaded_jobs_come_back() {
    embedded(|_| {
        flow(async {
            for n in 0..200 {
                assert_eq!(offload(move || Ok(n * 2)).await?, n * 2);
            }
            Ok(())
        })
    });
}

struct Echo;

impl Protocol for Echo {
    fn received(&mut self, transport: &Transport, bytes: bytes::Bytes) {
        transport.send(bytes);
    }
}

#[test]
fn tasks_of_tokio_are_served() {
    embedded(|_| {
        let (fired, served) = Deferred::<()>::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr();
        listener.serve(|_| Echo).report();
        tokio::task::spawn_local(async move {
            let clients = [1_u8, 2, 3].map(|by| {
                tokio::spawn(async move {
                    let mut stream = TcpStream::connect(addr).await.unwrap();
                    for n in 0..100 {
                        stream.write_all(&[n, by]).await.unwrap();
                        let mut heard = [0; 2];
                        stream.read_exact(&mut heard).await.unwrap();
                        assert_eq!(heard, [n, by]);
                    }
                })
            });
            for client in clients {
                client.await.unwrap();
            }
            fired.fire(());
        });
        served
    });
}

#[test]
fn many_at_once_are_all_served() {
    embedded(|_| {
        flow(async {
            let timers = (0..2000).map(|n| after(Duration::from_millis(n % 7)));
            let jobs = (0..1000).map(|n| offload(move || Ok(n)));
            let (timers, jobs): (Vec<_>, Vec<_>) = (timers.collect(), jobs.collect());
            for timer in timers {
                timer.await;
            }
            let mut sum = 0;
            for job in jobs {
                sum += job.await?;
            }
            assert_eq!(sum, 999 * 1000 / 2);
            Ok(())
        })
    });
}

/// More than a turn takes up: what is left brings no other edge.
#[test]
fn a_crowd_that_comes_at_once_is_served() {
    embedded(|_| {
        let (fired, served) = Deferred::<()>::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr();
        listener.serve(|_| Echo).report();
        tokio::task::spawn_local(async move {
            let mut crowd = Vec::new();
            for _ in 0..400 {
                let mut stream = TcpStream::connect(addr).await.unwrap();
                stream.write_all(b"a").await.unwrap();
                assert_eq!(stream.read_u8().await.unwrap(), b'a');
                crowd.push(stream);
            }
            for stream in &crowd {
                assert_eq!(stream.try_write(b"b").unwrap(), 1);
            }
            for stream in &mut crowd {
                assert_eq!(stream.read_u8().await.unwrap(), b'b');
            }
            fired.fire(());
        });
        served
    });
}
