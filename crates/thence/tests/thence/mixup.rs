//! The mix-up drill: a pooled line-protocol store, answers that come late, waiters that do not wait.
//!
//! `examples/mixup` is the same with a plain `Vec` for a pool and a dropped read: there thousands of
//! answers reach the wrong asker. A `Lease` goes back only when its answer was read, so here it is
//! none, however one stops waiting.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use thence::net::{TcpListener, TcpStream};
use thence::prelude::*;
use thence::{Lease, Pool, all, hosting, sleep, unhandled};

const CONNECTIONS: usize = 8;
const LOOK_UPS: usize = 4_000;
const ASKERS: usize = 16;
const LATE_EVERY: usize = 97;
const LATE_BY: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_millis(2);

#[derive(Clone, Copy)]
enum Way {
    /// `timeout` asks the look-up to end.
    Cancel,
    /// The wait is dropped; the look-up goes on to its end.
    Leave,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    right: usize,
    wrong: usize,
    left: usize,
}

#[test]
fn no_answer_reaches_the_wrong_asker_when_waiters_cancel() {
    drill(Way::Cancel);
}

#[test]
fn no_answer_reaches_the_wrong_asker_when_waiters_leave() {
    drill(Way::Leave);
}

fn drill(way: Way) {
    let tally = run(async move {
        let store = TcpListener::bind("127.0.0.1:0")?;
        let addr = store.local_addr();
        serve(store);
        let pool = Pool::new(CONNECTIONS, move || TcpStream::connect(addr).map(Line::new));
        let tally = Rc::<Cell<Tally>>::default();
        let askers: Vec<_> = (0..ASKERS)
            .map(|asker| {
                let (pool, tally) = (pool.clone(), tally.clone());
                flow(async move {
                    for key in (asker..LOOK_UPS).step_by(ASKERS) {
                        let answer = patient(look_up(&pool, key), way).await?;
                        let mut now = tally.get();
                        match answer {
                            None => now.left += 1,
                            Some(answer) if answer == answer_to(&key.to_string()) => now.right += 1,
                            Some(_) => now.wrong += 1,
                        }
                        tally.set(now);
                    }
                    Ok(())
                })
            })
            .collect();
        all(askers).await?;
        Ok(tally.get())
    })
    .unwrap();
    assert_eq!(tally.right + tally.wrong + tally.left, LOOK_UPS);
    assert_eq!(tally.wrong, 0, "{tally:?}");
    assert!(tally.left >= LOOK_UPS / LATE_EVERY / 2, "nobody had to leave: {tally:?}");
    assert!(tally.right > 0, "nobody was answered: {tally:?}");
    assert_eq!((hosting::live(), unhandled()), (hosting::Live::default(), 0));
}

/// A connection that speaks lines.
struct Line {
    stream: TcpStream,
    unread: RefCell<Vec<u8>>,
}

impl Line {
    fn new(stream: TcpStream) -> Self {
        Self { stream, unread: RefCell::default() }
    }

    async fn read(&self) -> Result<Option<String>, Failure> {
        loop {
            let end = self.unread.borrow().iter().position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let line: Vec<u8> = self.unread.borrow_mut().drain(..=end).collect();
                return Ok(Some(String::from_utf8(line)?.trim_end().to_owned()));
            }
            let bytes = self.stream.read(4096).await?;
            if bytes.is_empty() {
                return Ok(None);
            }
            self.unread.borrow_mut().extend_from_slice(&bytes);
        }
    }
}

fn look_up(pool: &Pool<Line>, key: usize) -> Deferred<String> {
    let lease = pool.lease();
    flow(async move {
        let connection: Lease<Line> = lease.await?;
        connection.stream.write(format!("{key}\n")).await?;
        let answer = connection.read().await?;
        let answer = answer.ok_or_else(|| Failure::msg("the store closed the connection"))?;
        // The one way back into the pool, behind the whole answer.
        connection.give_back();
        Ok(answer)
    })
}

/// The answer, or `None` once patience is over.
async fn patient(answer: Deferred<String>, way: Way) -> Result<Option<String>, Failure> {
    match way {
        Way::Cancel => match answer.timeout(PATIENCE).settled().await {
            Outcome::Ok(answer) => Ok(Some(answer)),
            Outcome::Err(failure) if failure.is::<Elapsed>() => Ok(None),
            outcome => outcome.into_result().map(Some),
        },
        Way::Leave => {
            let mut answer = pin!(answer.into_future());
            let mut patience = pin!(sleep(PATIENCE));
            poll_fn(|cx| match answer.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(answer.map(Some)),
                Poll::Pending => patience.as_mut().poll(cx).map(|()| Ok(None)),
            })
            .await
        }
    }
}

fn answer_to(key: &str) -> String {
    format!("answer to {key}")
}

/// The store: a line for a line, in order, every 97th of them late.
fn serve(listener: TcpListener) {
    let asked = Rc::<Cell<usize>>::default();
    flow::<()>(async move {
        loop {
            let (stream, _) = listener.accept().await?;
            let (line, asked) = (Line::new(stream), asked.clone());
            flow(async move {
                while let Some(key) = line.read().await? {
                    asked.set(asked.get() + 1);
                    if asked.get().is_multiple_of(LATE_EVERY) {
                        after(LATE_BY).await;
                    }
                    line.stream.write(format!("{}\n", answer_to(&key))).await?;
                }
                Ok(())
            })
            // A client that was closed in the middle of an answer is what this drill is about.
            .recover(|_| ())
            .done(|()| ());
        }
    })
    .report();
}
