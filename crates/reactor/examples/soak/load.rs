//! The clients.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    error::Error,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use thence_core::{Failure, all, flow, hosting, unhandled};
use thence_reactor::{DeferredExt, Live, Reactor, after, net::TcpStream};

use crate::{
    process::raise_limit,
    wire::{Request, What, text},
};

/// Keeps as many clients busy, each with one connection after the other, until the time is up.
pub fn run(seconds: u64, clients: usize, addrs: &[&str]) -> Result<(), Box<dyn Error>> {
    let addrs = addrs.iter().map(|addr| addr.parse()).collect::<Result<Vec<SocketAddr>, _>>()?;
    let clients = allowed(clients);
    text();
    let load = Rc::new(Load {
        addrs,
        begun: Instant::now(),
        time: Duration::from_secs(seconds),
        done: RefCell::default(),
    });
    let limit = Duration::from_secs(seconds * 2 + 60);
    let mut reactor = Reactor::builder().signals(false).build()?;
    let counted = load.clone();
    reactor.run(async move {
        let clients = (0..clients).map(|n| flow(Client::new(n, counted.clone()).live()));
        all(clients).timeout(limit).await
    })?;
    println!("load: {clients} clients; {:?}", load.done.borrow());
    let (live, nodes) = (reactor.live(), hosting::live());
    if live != Live::default() || nodes != hosting::Live::default() || unhandled() > 0 {
        let reports = unhandled();
        return Err(format!("left: {live:?} {nodes:?}, {reports} failures unhandled").into());
    }
    Ok(())
}

/// How many of these clients the process has descriptors for.
fn allowed(clients: usize) -> usize {
    let limit = raise_limit();
    let most = limit.saturating_sub(100);
    if clients > most {
        println!("load: {most} clients instead of {clients}: the limit of open files is {limit}");
    }
    clients.min(most)
}

struct Load {
    addrs: Vec<SocketAddr>,
    begun: Instant,
    time: Duration,
    done: RefCell<BTreeMap<&'static str, usize>>,
}

/// One client, which always does the same things in the same order.
struct Client {
    load: Rc<Load>,
    addr: SocketAddr,
    state: u64,
}

impl Client {
    fn new(n: usize, load: Rc<Load>) -> Self {
        let addr = load.addrs[n % load.addrs.len()];
        Client { load, addr, state: (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) }
    }

    async fn live(mut self) -> Result<(), Failure> {
        // They do not all come in the same moment.
        let ramp = self.load.time / 6;
        self.pause(ramp).await;
        while !self.left().is_zero() {
            let did = self.connect_once().await?;
            *self.load.done.borrow_mut().entry(did).or_default() += 1;
        }
        Ok(())
    }

    async fn connect_once(&mut self) -> Result<&'static str, Failure> {
        if self.up_to(20) == 0 {
            // Left under way, or asked to end; what was made closes.
            let connecting = TcpStream::connect(self.addr);
            if self.up_to(2) == 0 {
                connecting.cancel();
            }
            drop(connecting);
            self.pause(A_WHILE).await;
            return Ok("left while connecting");
        }
        let stream = TcpStream::connect(self.addr).timeout(PATIENCE).await?;
        self.behave(&stream).await
    }

    async fn behave(&mut self, stream: &TcpStream) -> Result<&'static str, Failure> {
        match self.up_to(16) {
            0 => Ok("left at once"),
            1 => {
                self.idle().await;
                Ok("never spoke")
            }
            2 => {
                // What was not read resets the connection.
                self.ask(stream, What::Send, 300_000);
                after(Duration::from_millis(5)).await;
                Ok("reset with an answer unread")
            }
            3 => {
                self.ask(stream, What::Send, 300_000);
                self.idle().await;
                stream.abort();
                Ok("aborted")
            }
            4 | 5 => {
                let request = self.ask(stream, What::Echo, 200_000);
                stream.write(request.body().slice(..request.len / 2)).timeout(PATIENCE).await?;
                if self.up_to(2) == 0 {
                    self.idle().await;
                }
                Ok("hung up mid-body")
            }
            6 | 7 => {
                let request = self.ask(stream, What::Echo, 100_000);
                let (written, shut) = (stream.write(request.body()), stream.shutdown());
                self.expect(stream, request.body(), usize::MAX, Duration::ZERO).await?;
                written.await?;
                shut.await?;
                match stream.read(1).timeout(PATIENCE).await?.is_empty() {
                    true => Ok("half-closed"),
                    false => Err(Failure::msg("more came than was asked for")),
                }
            }
            8 | 9 => {
                let request = self.ask(stream, What::Send, 400_000);
                self.expect(stream, request.body(), 16_384, Duration::from_millis(20)).await?;
                Ok("read slowly")
            }
            _ => {
                for _ in 0..=self.up_to(4) {
                    let request = self.ask(stream, What::Echo, 20_000);
                    let written = stream.write(request.body());
                    self.expect(stream, request.body(), usize::MAX, Duration::ZERO).await?;
                    written.await?;
                    if self.left().is_zero() {
                        break;
                    }
                    self.idle().await;
                }
                Ok("spoke and idled")
            }
        }
    }

    /// Writes the head of a request. Nobody waits for that, and it may well not arrive.
    fn ask(&mut self, stream: &TcpStream, what: What, most: u64) -> Request {
        let len = 2 + self.up_to(most) as usize;
        let from = self.up_to((text().len() - len) as u64) as usize;
        let request = Request { what, from, len };
        stream.write(request.head()).recover(|_| ()).report();
        request
    }

    /// Reads a body, and with a pause so much at a time.
    async fn expect(
        &mut self,
        stream: &TcpStream,
        body: Bytes,
        max: usize,
        pause: Duration,
    ) -> Result<(), Failure> {
        let mut done = 0;
        while done < body.len() {
            let bytes = stream.read(max.min(body.len() - done)).timeout(PATIENCE).await?;
            if bytes.is_empty() {
                return Err(Failure::msg("the answer ended half-way"));
            }
            if bytes != body[done..done + bytes.len()] {
                return Err(Failure::msg("these are not the bytes that were asked for"));
            }
            done += bytes.len();
            if !pause.is_zero() {
                after(pause).await;
            }
        }
        Ok(())
    }

    /// Does nothing for a while, most of which is most of the time.
    async fn idle(&mut self) {
        self.pause((self.load.time / 4).min(A_LONG_WHILE).min(self.left())).await;
    }

    fn left(&self) -> Duration {
        self.load.time.saturating_sub(self.load.begun.elapsed())
    }

    async fn pause(&mut self, most: Duration) {
        after(Duration::from_millis(self.up_to(most.as_millis() as u64 + 1))).await;
    }

    /// A number below `n`.
    fn up_to(&mut self, n: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % n
    }
}

const A_LONG_WHILE: Duration = Duration::from_secs(20);

/// How long a client that did not get in lets pass.
const A_WHILE: Duration = Duration::from_secs(1);

/// An answer that takes so long is lost.
const PATIENCE: Duration = Duration::from_secs(60);
