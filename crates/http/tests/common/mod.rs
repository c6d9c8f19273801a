//! What the tests share: a run that must leave nothing behind, and raw HTTP over loopback.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use thence_core::{Failure, Report, hosting, set_failure_hook, unhandled};
use thence_reactor::net::TcpStream;

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

/// A raw connection.
pub struct Raw(pub TcpStream, RefCell<Vec<u8>>);

impl Raw {
    pub async fn connect(addr: SocketAddr) -> Result<Self, Failure> {
        Ok(Self(TcpStream::connect(addr).await?, RefCell::default()))
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
