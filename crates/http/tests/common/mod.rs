//! What the tests share: a run that must leave nothing behind, and raw HTTP over loopback.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod world;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use thence_core::{Failure, Report, flow, hosting, set_failure_hook, unhandled};
use thence_reactor::net::{TcpListener, TcpStream};

/// Runs `main` on a reactor of its own thread; nothing may be unhandled or left.
pub fn checked<F>(main: impl FnOnce() -> F + Send + 'static)
where
    F: Future<Output = Result<(), Failure>> + 'static,
{
    assert_eq!(reported(main), Vec::<String>::new());
}

/// As [`checked`], and gives what was reported.
pub fn reported<F>(main: impl FnOnce() -> F + Send + 'static) -> Vec<String>
where
    F: Future<Output = Result<(), Failure>> + 'static,
{
    let thread = std::thread::spawn(move || {
        let seen = Rc::<RefCell<Vec<String>>>::default();
        let log = seen.clone();
        set_failure_hook(move |report: &Report| log.borrow_mut().push(report.message().into()));
        thence_reactor::run(async move { main().await }).unwrap();
        assert_eq!(hosting::live(), hosting::Live::default(), "left behind");
        let seen = seen.take();
        assert_eq!(unhandled(), seen.len() as u64);
        seen
    });
    thread.join().unwrap()
}

/// An upstream that gives each connection to `f`, and how many there were.
pub fn upstream<F>(f: impl Fn(Raw) -> F + 'static) -> Result<(SocketAddr, Rc<Cell<u32>>), Failure>
where
    F: Future<Output = Result<(), Failure>> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr();
    let accepted = Rc::new(Cell::new(0));
    let count = accepted.clone();
    flow::<()>(async move {
        loop {
            let (stream, _) = listener.accept().await?;
            count.set(count.get() + 1);
            flow(f(Raw::new(stream))).report();
        }
    })
    .report();
    Ok((addr, accepted))
}

/// A raw connection.
pub struct Raw(pub TcpStream, RefCell<Vec<u8>>);

impl Raw {
    pub async fn connect(addr: SocketAddr) -> Result<Self, Failure> {
        Ok(Self::new(TcpStream::connect(addr).await?))
    }

    pub fn new(stream: TcpStream) -> Self {
        Self(stream, RefCell::default())
    }

    pub async fn send(&self, text: &str) -> Result<(), Failure> {
        self.0.write(text.to_owned()).await
    }

    /// Everything until the other side closes.
    pub async fn rest(&self) -> Result<String, Failure> {
        let mut all = self.1.take();
        loop {
            let bytes = self.0.read(65_536).await?;
            if bytes.is_empty() {
                return Ok(String::from_utf8_lossy(&all).into_owned());
            }
            all.extend_from_slice(&bytes);
        }
    }

    /// Everything until `end` has come.
    pub async fn until(&self, end: &str) -> Result<String, Failure> {
        let mut all = self.1.take();
        loop {
            if let Some(at) = String::from_utf8_lossy(&all).find(end) {
                let rest = all.split_off(at + end.len());
                self.1.replace(rest);
                return Ok(String::from_utf8_lossy(&all).into_owned());
            }
            let bytes = self.0.read(65_536).await?;
            if bytes.is_empty() {
                let all = String::from_utf8_lossy(&all).into_owned();
                return Err(Failure::msg(format!("closed before {end:?}: {all:?}")));
            }
            all.extend_from_slice(&bytes);
        }
    }
}
