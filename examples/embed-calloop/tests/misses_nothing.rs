//! calloop sleeps without a limit of its own here, so that whatever does not wake it hangs the test.

use std::{
    cell::Cell,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    rc::Rc,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use calloop::{
    EventLoop,
    timer::{TimeoutAction, Timer},
};
use embed_calloop::Embedded;
use thence::net::TcpListener;
use thence::prelude::*;
use thence::{Handle, Reactor};

/// Runs calloop until `work`, which is begun with the reactor there, has ended.
fn embedded(work: impl FnOnce(Handle) -> Deferred<()>) {
    watched();
    let mut event_loop = EventLoop::<()>::try_new().unwrap();
    let reactor = Reactor::builder().build().unwrap();
    let work = work(reactor.handle());
    let embedded = Embedded::new(reactor, event_loop.handle()).unwrap();
    let (done, signal) = (Rc::new(Cell::new(false)), event_loop.get_signal());
    let ended = done.clone();
    work.settled().done(move |outcome| {
        ended.set(matches!(outcome, Outcome::Ok(())));
        signal.stop();
    });
    event_loop.run(None, &mut (), |()| embedded.before_sleep().unwrap()).unwrap();
    assert!(done.get(), "the work has failed");
    assert_eq!(thence::unhandled(), 0);
}

/// A loop that is not woken ends the test, not the patience of whoever waits for it.
fn watched() {
    let (alive, ended) = mpsc::channel::<()>();
    thread_local!(static ALIVE: Cell<Option<mpsc::Sender<()>>> = const { Cell::new(None) });
    ALIVE.set(Some(alive));
    thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("calloop was not woken");
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

fn client(addr: SocketAddr) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        let mut heard = Vec::new();
        for n in 0..200_u8 {
            stream.write_all(&[n]).unwrap();
            let mut one = [0];
            stream.read_exact(&mut one).unwrap();
            heard.push(one[0]);
        }
        heard
    })
}

#[test]
fn sockets_are_served() {
    embedded(|_| {
        flow(async {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let clients = [client(listener.local_addr()), client(listener.local_addr())];
            let serve = || async {
                let (stream, _) = listener.accept().await?;
                loop {
                    let bytes = stream.read(100).await?;
                    if bytes.is_empty() {
                        return Ok::<_, Failure>(());
                    }
                    stream.write(bytes).await?;
                }
            };
            serve().await?;
            serve().await?;
            for client in clients {
                let heard = offload(|| Ok(client.join().unwrap())).await?;
                assert_eq!(heard, (0..200).collect::<Vec<u8>>());
            }
            Ok(())
        })
    });
}

#[test]
fn what_a_callback_of_the_loop_begins_goes_on() {
    watched();
    let mut event_loop = EventLoop::<bool>::try_new().unwrap();
    let reactor = Reactor::builder().build().unwrap();
    let embedded = Embedded::new(reactor, event_loop.handle()).unwrap();
    let signal = event_loop.get_signal();
    let timer = Timer::from_duration(Duration::from_millis(5));
    event_loop
        .handle()
        .insert_source(timer, move |_, _, begun| {
            // The reactor sleeps without a timer now.
            *begun = true;
            let signal = signal.clone();
            after(Duration::from_millis(5)).done(move |()| signal.stop());
            TimeoutAction::Drop
        })
        .unwrap();
    let mut begun = false;
    event_loop.run(None, &mut begun, |_| embedded.before_sleep().unwrap()).unwrap();
    assert!(begun);
}
