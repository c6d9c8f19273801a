//! How a plain pool hands one request another request's answer.
//!
//! Nothing here is exotic: a store that answers one line for one line, eight connections in a `Vec`, and
//! a `timeout` round each look-up. When the timeout drops the read, the answer is still on its way; the
//! connection goes back into the pool all the same, and the next asker reads it. `next_line` is
//! cancel-safe, as its documentation says: no byte is lost. That is just what goes wrong.
//!
//! With thence a pooled connection is a `Lease`: it goes back only through `give_back()`, which a look-up
//! that was left never reaches.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

const CONNECTIONS: usize = 8;
const LOOK_UPS: usize = 4_000;
const ASKERS: usize = 16;
/// Every 97th answer is late, by more than anybody waits.
const LATE_EVERY: usize = 97;
const LATE_BY: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_millis(2);

fn main() -> io::Result<()> {
    println!("{}", drill()?);
    Ok(())
}

#[derive(Debug, Default)]
struct Tally {
    right: usize,
    wrong: usize,
    left: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} look-ups over {CONNECTIONS} pooled connections: {} right answers, {} waiters left, \
             {} answers to the wrong asker",
            self.right + self.wrong + self.left,
            self.right,
            self.left,
            self.wrong
        )
    }
}

fn drill() -> io::Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::task::spawn_local(serve(listener));

        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(Connection::open(TcpStream::connect(address).await?)?);
        }
        let pool = Rc::new(Pool {
            connections: RefCell::new(connections),
            free: Semaphore::new(CONNECTIONS),
        });

        let tally = Rc::new(RefCell::new(Tally::default()));
        let askers: Vec<_> = (0..ASKERS)
            .map(|asker| {
                let (pool, tally) = (pool.clone(), tally.clone());
                tokio::task::spawn_local(async move {
                    for key in (asker..LOOK_UPS).step_by(ASKERS) {
                        let answer = pool.look_up(key).await;
                        let mut tally = tally.borrow_mut();
                        match answer {
                            Some(answer) if answer == answer_to(&key.to_string()) => {
                                tally.right += 1;
                            }
                            Some(_) => tally.wrong += 1,
                            None => tally.left += 1,
                        }
                    }
                })
            })
            .collect();
        for asker in askers {
            asker.await?;
        }
        Ok(tally.take())
    })
}

struct Connection {
    answers: Lines<BufReader<OwnedReadHalf>>,
    questions: OwnedWriteHalf,
}

impl Connection {
    fn open(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (answers, questions) = stream.into_split();
        Ok(Self { answers: BufReader::new(answers).lines(), questions })
    }

    async fn ask(&mut self, key: usize) -> io::Result<String> {
        self.questions.write_all(format!("{key}\n").as_bytes()).await?;
        self.answers.next_line().await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

struct Pool {
    connections: RefCell<Vec<Connection>>,
    free: Semaphore,
}

impl Pool {
    /// `None` when the waiter left before the answer came.
    async fn look_up(&self, key: usize) -> Option<String> {
        let _permit = self.free.acquire().await.expect("nobody closes the semaphore");
        let mut connection = self.connections.borrow_mut().pop().expect("one per permit");
        let answer = timeout(PATIENCE, connection.ask(key)).await;
        // The bug, and the line everybody writes: the read was dropped, the connection was not.
        self.connections.borrow_mut().push(connection);
        answer.ok().map(|answer| answer.expect("the server is in this process"))
    }
}

/// The store: one line in, one line out, in order, every `LATE_EVERY`th of them late.
async fn serve(listener: TcpListener) {
    let asked = Rc::new(RefCell::new(0_usize));
    while let Ok((stream, _)) = listener.accept().await {
        let asked = asked.clone();
        tokio::task::spawn_local(async move {
            let (questions, mut answers) = stream.into_split();
            let mut questions = BufReader::new(questions).lines();
            while let Ok(Some(key)) = questions.next_line().await {
                *asked.borrow_mut() += 1;
                if asked.borrow().is_multiple_of(LATE_EVERY) {
                    sleep(LATE_BY).await;
                }
                if answers.write_all(format!("{}\n", answer_to(&key)).as_bytes()).await.is_err() {
                    break;
                }
            }
        });
    }
}

fn answer_to(key: &str) -> String {
    format!("the value of {key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_pool_gives_thousands_of_answers_to_the_wrong_asker() {
        let tally = drill().expect("loopback works");
        println!("{tally}");
        assert_eq!(tally.right + tally.wrong + tally.left, LOOK_UPS);
        assert!(tally.left > 0, "somebody left: {tally}");
        assert!(tally.wrong >= 1_000, "thousands: {tally}");
    }
}
