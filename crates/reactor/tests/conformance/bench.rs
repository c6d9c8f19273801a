//! A driver under test.

use std::{
    collections::HashMap,
    io,
    sync::OnceLock,
    time::{Duration, Instant},
};

use bytes::Bytes;
use thence_reactor::driver::{
    Address, Buffers, Completion, Done, Driver, Key, Live, Op, Socket, is_cancelled,
};

use crate::{
    count::{Count, alone, counted},
    drivers::{Outside, Tested},
};

/// A driver, what was asked of it and what it said.
pub struct Bench {
    driver: Option<Box<dyn Driver>>,
    outside: Option<Box<dyn Outside>>,
    /// Delivered, and not looked at.
    completed: Vec<Completion>,
    /// How often each operation has ended.
    ends: HashMap<Key, usize>,
}

/// Runs `body` on a driver of its own, and counts what is left.
pub fn check<D: Tested>(body: impl FnOnce(&mut Bench)) {
    let _alone = alone();
    let before = Count::now();
    let (driver, outside) = D::make();
    let mut bench = Bench {
        driver: Some(Box::new(driver)),
        outside: Some(outside),
        completed: Vec::new(),
        ends: HashMap::new(),
    };
    body(&mut bench);
    bench.assert_nothing_left();
    drop(bench);
    assert_eq!(Count::now(), before, "descriptors or buffers were leaked");
}

impl Bench {
    pub fn driver(&mut self) -> &mut dyn Driver {
        &mut **self.driver.as_mut().expect("it was not dropped")
    }

    pub fn outside(&self) -> &dyn Outside {
        &**self.outside.as_ref().expect("it was not dropped")
    }

    pub fn live(&self) -> Live {
        self.driver.as_ref().expect("it was not dropped").live()
    }

    /// Drops the driver with all that is pending.
    pub fn drop_driver(&mut self) {
        self.driver = None;
        self.outside = None;
        self.ends.clear();
    }

    pub fn submit(&mut self, op: Op) -> Key {
        let key = self.driver().submit(op);
        assert!(self.ends.insert(key, 0).is_none(), "{key:?} names two operations");
        key
    }

    pub fn cancel(&mut self, key: Key) {
        self.driver().cancel(key);
    }

    pub fn turn(&mut self, wait: Duration) {
        let mut completed = Vec::new();
        self.driver().turn(Some(wait), &mut completed).unwrap();
        for completion in &completed {
            let ends = self.ends.get_mut(&completion.key).expect("it was begun");
            assert_eq!(*ends, 0, "{:?} goes on after its end", completion.key);
            *ends += usize::from(!completion.more);
        }
        self.completed.append(&mut completed);
    }

    /// Waits, as for ever, for a wake that comes or came.
    #[track_caller]
    pub fn wait_for_wake(&mut self) {
        let before = self.driver().now();
        self.turn(PATIENCE);
        assert!(self.driver().now() < before + PATIENCE, "it slept through");
    }

    /// Everything that ends without waiting.
    pub fn settle(&mut self) {
        (0..20).for_each(|_| self.turn(Duration::ZERO));
    }

    /// The end of `key`, or a piece of what it brings, turning until that is there.
    #[track_caller]
    pub fn end(&mut self, key: Key) -> io::Result<Done> {
        let limit: Instant = self.driver().now() + PATIENCE;
        loop {
            if let Some(place) = self.completed.iter().position(|done| done.key == key) {
                return self.completed.remove(place).result;
            }
            assert!(self.driver().now() < limit, "{key:?} does not end");
            self.turn(PATIENCE / 4);
        }
    }

    #[track_caller]
    pub fn done(&mut self, key: Key) -> Done {
        self.end(key).unwrap_or_else(|error| panic!("{key:?} failed: {error}"))
    }

    pub fn has_ended(&self, key: Key) -> bool {
        self.ends[&key] > 0
    }

    #[track_caller]
    pub fn assert_pending(&mut self, key: Key) {
        self.settle();
        assert!(!self.has_ended(key), "nothing was there for it");
    }

    /// Cancels what is pending, for which there is nothing.
    #[track_caller]
    pub fn take_back(&mut self, key: Key) {
        self.cancel(key);
        let error = self.end(key).expect_err("nothing was there for it");
        assert!(is_cancelled(&error), "{error}");
    }

    /// Cancels what goes on until then, and gives all that it still brings.
    pub fn stop(&mut self, key: Key) -> Vec<io::Result<Done>> {
        self.cancel(key);
        let mut all = Vec::new();
        while !self.has_ended(key) || self.completed.iter().any(|done| done.key == key) {
            all.push(self.end(key));
        }
        all
    }

    /// How many ends were delivered that nobody has looked at.
    pub fn unseen(&self) -> usize {
        self.completed.len()
    }

    pub fn accept(&mut self, listener: &Socket) -> Key {
        self.submit(Op::Accept { listener: listener.clone(), wait: true })
    }

    /// Accepts whoever is there already.
    pub fn accept_now(&mut self, listener: &Socket) -> io::Result<Done> {
        let key = self.submit(Op::Accept { listener: listener.clone(), wait: false });
        self.end(key)
    }

    #[track_caller]
    pub fn connect(&mut self, to: &Address) -> Socket {
        let key = self.submit(Op::Connect { to: to.clone() });
        let Done::Connected(socket) = self.done(key) else { panic!("connects") };
        socket
    }

    pub fn recv(&mut self, socket: &Socket, max: usize) -> Key {
        self.submit(Op::Recv { socket: socket.clone(), max })
    }

    #[track_caller]
    pub fn received(&mut self, socket: &Socket, max: usize) -> Bytes {
        let key = self.recv(socket, max);
        let Done::Received(bytes) = self.done(key) else { panic!("receives") };
        bytes
    }

    pub fn send(&mut self, socket: &Socket, bytes: impl Into<Vec<u8>>) -> Key {
        let buffers = Buffers::from(counted(bytes));
        self.submit(Op::Send { socket: socket.clone(), buffers })
    }

    #[track_caller]
    pub fn sent(&mut self, socket: &Socket, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        let len = bytes.len();
        let key = self.send(socket, bytes);
        assert!(matches!(self.done(key), Done::Sent(n) if n == len));
    }

    /// Sends the front of [`pattern`] until nothing more goes, and says how much that was.
    pub fn fill(&mut self, socket: &Socket) -> usize {
        let mut filled = 0;
        loop {
            let buffers = Buffers::from(pattern().slice(filled..));
            let key = self.submit(Op::Send { socket: socket.clone(), buffers });
            self.assert_pending(key);
            self.cancel(key);
            match self.end(key) {
                Ok(Done::Sent(n)) => filled += n,
                Err(error) if is_cancelled(&error) => return filled,
                other => panic!("{other:?}"),
            }
        }
    }

    /// No byte is there, nor the end.
    #[track_caller]
    pub fn assert_silent(&mut self, socket: &Socket) {
        let key = self.recv(socket, 1);
        self.assert_pending(key);
        self.take_back(key);
    }

    fn assert_nothing_left(&mut self) {
        if self.driver.is_none() {
            return;
        }
        self.settle();
        for (key, ends) in &self.ends {
            assert_eq!(*ends, 1, "{key:?} has not ended once");
        }
        assert!(self.completed.is_empty(), "ends that nobody looked at: {:?}", self.completed);
        assert_eq!(self.live(), Live::default(), "something is left");
        assert!(!self.driver().has_work());
    }
}

/// More bytes than any connection holds, no two neighbours alike.
pub fn pattern() -> &'static Bytes {
    static PATTERN: OnceLock<Bytes> = OnceLock::new();
    PATTERN.get_or_init(|| (0..16 << 20).map(|n: u32| (n ^ n >> 8 ^ n >> 16) as u8).collect())
}

/// After so long on the driver's clock an operation counts as lost.
const PATIENCE: Duration = Duration::from_secs(20);
