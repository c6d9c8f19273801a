//! The program under test, an upstream that does as it is told, and a client that speaks raw
//! HTTP/1.1: nothing between the test and the bytes.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// Longer than anything takes; reached only when something hangs.
pub const SOON: Duration = Duration::from_secs(20);

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs the program to its end.
pub fn gate<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Ran {
    let ran = Command::new(env!("CARGO_BIN_EXE_thence-gate")).args(words).output().unwrap();
    Ran {
        code: ran.status.code().unwrap_or(-1),
        out: String::from_utf8(ran.stdout).unwrap(),
        err: String::from_utf8(ran.stderr).unwrap(),
    }
}

/// Lines that threads add to and a test waits for.
#[derive(Clone, Default)]
pub struct Lines<T>(Arc<(Mutex<Vec<T>>, Condvar)>);

impl<T: Clone> Lines<T> {
    pub fn push(&self, line: T) {
        self.0.0.lock().unwrap().push(line);
        self.0.1.notify_all();
    }

    pub fn all(&self) -> Vec<T> {
        self.0.0.lock().unwrap().clone()
    }

    /// The first `count` lines of a kind, as soon as there are so many.
    pub fn wait_for(&self, count: usize, is_one: impl Fn(&T) -> bool) -> Vec<T> {
        let found = |lines: &Vec<T>| -> Vec<T> {
            lines.iter().filter(|line| is_one(line)).cloned().collect()
        };
        let guard = self.0.0.lock().unwrap();
        let (guard, late) =
            self.0.1.wait_timeout_while(guard, SOON, |lines| found(lines).len() < count).unwrap();
        assert!(!late.timed_out(), "{} of {count} lines came", found(&guard).len());
        found(&guard)
    }
}

/// What `look` finds, as soon as it finds it: for what tells nobody, such as a file.
pub fn eventually<T>(look: impl Fn() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since.elapsed() < SOON, "it does not come");
        thread::sleep(Duration::from_millis(5));
    }
}

fn next_line(errors: &mut impl BufRead) -> Option<Value> {
    let mut line = String::new();
    let is_one = errors.read_line(&mut line).is_ok_and(|read| read > 0);
    is_one.then(|| serde_json::from_str(&line).unwrap_or(Value::String(line)))
}

/// A running gateway and its log.
pub struct Gate {
    child: Child,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub log: Lines<Value>,
    dir: tempfile::TempDir,
}

impl Gate {
    /// A gateway in front of `upstream`.
    pub fn before(upstream: SocketAddr, flags: &[&str]) -> Self {
        let to = upstream.to_string();
        Self::start(&[&["--to", &to, "--listen", "127.0.0.1:0"], flags].concat())
    }

    /// A gateway with these flags, a store of its own and a free port for its metrics.
    pub fn start(flags: &[&str]) -> Self {
        let (gate, mut errors) = Self::unread(flags);
        let lines = gate.log.clone();
        thread::spawn(move || {
            while let Some(line) = next_line(&mut errors) {
                lines.push(line);
            }
        });
        gate
    }

    /// The same, whose standard error is read as far as the line that says where it listens.
    pub fn unread(flags: &[&str]) -> (Self, BufReader<ChildStderr>) {
        let (mut child, dir) = Self::spawn(flags);
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let log = Lines::default();
        let listening = loop {
            let line = next_line(&mut errors).expect("it ended before it listened");
            log.push(line.clone());
            if line["message"] == "listening" {
                break line;
            }
        };
        (Self::at(&listening, child, log, dir), errors)
    }

    /// The same, with its log in a file.
    pub fn logging_to(file: &Path, flags: &[&str]) -> Self {
        let (child, dir) = Self::spawn(&[&["--log", file.to_str().unwrap()], flags].concat());
        let listening = eventually(|| {
            let log = fs::read_to_string(file).unwrap_or_default();
            let line = log.lines().find(|line| line.contains("\"listening\""))?;
            serde_json::from_str(line).ok()
        });
        Self::at(&listening, child, Lines::default(), dir)
    }

    fn spawn(flags: &[&str]) -> (Child, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_thence-gate"))
            .args(flags)
            // Nothing may depend on it being unset.
            .env("RUST_BACKTRACE", "1")
            .args(["--metrics", "127.0.0.1:0", "--store"])
            .arg(dir.path().join("sessions.db"))
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        (child, dir)
    }

    fn at(listening: &Value, child: Child, log: Lines<Value>, dir: tempfile::TempDir) -> Self {
        let at = |name: &str| listening[name].as_str().unwrap().parse().unwrap();
        Self { child, address: at("address"), admin: at("metrics"), log, dir }
    }

    pub fn store(&self) -> PathBuf {
        self.dir.path().join("sessions.db")
    }

    /// A fresh session's `Cookie` line.
    pub fn cookie(&self, account: &str) -> String {
        let ran = self.session(&["create", account]);
        format!("Cookie: {}\r\n", ran.out.trim_end())
    }

    pub fn session(&self, words: &[&str]) -> Ran {
        let store = self.store();
        let ran = gate([&["session"], words, &["--store", store.to_str().unwrap()]].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        ran
    }

    /// What the gateway's own process has printed to standard output until it ended.
    pub fn printed(&mut self) -> String {
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    pub fn stdout(&mut self) -> BufReader<std::process::ChildStdout> {
        BufReader::new(self.child.stdout.take().unwrap())
    }

    pub fn client(&self) -> Client {
        Client::to(self.address)
    }

    /// One request on a connection of its own.
    pub fn ask(&self, request: &str) -> Answer {
        let mut client = self.client();
        client.send(request);
        client.answer(request.starts_with("HEAD"))
    }

    pub fn get(&self, path: &str, fields: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n{fields}\r\n"))
    }

    pub fn admin(&self, path: &str) -> Answer {
        let mut client = Client::to(self.admin);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        client.answer(false)
    }

    /// A metric's value; 0 when it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let page = self.admin("/metrics").text();
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a metric has that value.
    pub fn wait_for_metric(&self, name: &str, value: f64) {
        let since = Instant::now();
        while self.metric(name) != value {
            assert!(since.elapsed() < SOON, "{name} is {}", self.metric(name));
        }
    }

    /// The first `count` lines of the access log.
    pub fn access(&self, count: usize) -> Vec<Value> {
        self.log.wait_for(count, |line| line["message"] == "request")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let kill = format!("kill -s {name} {}", self.child.id());
        let kill = Command::new("sh").args(["-c", &kill]).status();
        assert!(kill.unwrap().success());
    }

    /// The way it ended, by itself or by a signal sent before.
    pub fn wait(&mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(since.elapsed() < SOON, "it does not end");
            // std waits for a child with a bound in no other way.
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // Fails when it has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("log of the gateway:");
            for line in self.log.all() {
                eprintln!("  {line}");
            }
        }
    }
}

/// A connection that sends what it is told.
pub struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub fn to(address: SocketAddr) -> Self {
        Self::try_to(address).unwrap()
    }

    /// A connection, if somebody listens.
    pub fn try_to(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_nodelay(true).unwrap();
        Some(Self { stream, read: Vec::new() })
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        assert!(self.try_send(bytes), "it is closed");
    }

    /// Whether the bytes could be sent.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Leaves at once.
    pub fn leave(self) {
        self.stream.shutdown(Shutdown::Both).unwrap();
    }

    /// Says that it sends no more, and reads on.
    pub fn sends_no_more(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The next answer; 1xx are passed over. A body that breaks off is as long as it came.
    pub fn answer(&mut self, to_head: bool) -> Answer {
        loop {
            let head = self.head();
            let answer = Answer::parse(&head);
            if answer.status >= 200 {
                return self.body_of(answer, to_head);
            }
        }
    }

    /// Waits until `text` has come, and takes nothing.
    pub fn has_come(&mut self, text: &str) {
        while !self.read.windows(text.len()).any(|window| window == text.as_bytes()) {
            assert!(self.more(), "the connection ended before {text:?}: {:?}", self.read);
        }
    }

    /// The next head, with the empty line behind it.
    pub fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.read.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            assert!(self.more(), "the connection ended in a head: {:?}", self.read);
        }
    }

    fn body_of(&mut self, mut answer: Answer, to_head: bool) -> Answer {
        if to_head || matches!(answer.status, 204 | 304) {
            return answer;
        }
        if answer.field("transfer-encoding").is_some() {
            (answer.body, answer.whole) = self.chunks();
        } else if let Some(length) = answer.field("content-length") {
            let length: usize = length.parse().unwrap();
            while self.read.len() < length && self.more() {}
            answer.whole = self.read.len() >= length;
            answer.body = self.read.drain(..length.min(self.read.len())).collect();
        } else {
            while self.more() {}
            answer.body = std::mem::take(&mut self.read);
        }
        answer
    }

    fn chunks(&mut self) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            let Some(end) = self.read.windows(2).position(|window| window == b"\r\n") else {
                if self.more() {
                    continue;
                }
                return (body, false);
            };
            let size = std::str::from_utf8(&self.read[..end]).unwrap();
            let size = usize::from_str_radix(size.split(';').next().unwrap(), 16).unwrap();
            while self.read.len() < end + 2 + size + 2 {
                if !self.more() {
                    return (body, false);
                }
            }
            let chunk: Vec<u8> = self.read.drain(..end + 2 + size + 2).collect();
            body.extend_from_slice(&chunk[end + 2..end + 2 + size]);
            if size == 0 {
                assert!(chunk.ends_with(b"\r\n"), "trailers: {chunk:?}");
                return (body, true);
            }
        }
    }

    /// Whether the other side closes, rather than sends.
    pub fn is_closed(&mut self) -> bool {
        !self.more()
    }

    fn more(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.read.extend_from_slice(&bytes[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}"),
        }
    }
}

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// Whether the body came to its own end.
    pub whole: bool,
}

impl Answer {
    fn parse(head: &str) -> Self {
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect(head);
        Self { status, head: head.to_owned(), body: Vec::new(), whole: true }
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// The first line of that name in a head.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// A request as the upstream got it.
#[derive(Clone, Debug, Default)]
pub struct Got {
    pub head: String,
    pub body: Vec<u8>,
}

impl Got {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

/// An upstream: for each request it calls a function with the connection, and remembers what it
/// got.
pub struct Upstream {
    pub address: SocketAddr,
    pub got: Lines<Got>,
    /// One entry for each connection that ended.
    pub closed: Lines<()>,
}

impl Upstream {
    /// Answers every request with these bytes and keeps the connection.
    pub fn answering(bytes: &'static str) -> Self {
        Self::start(move |stream, _| stream.write_all(bytes.as_bytes()).is_ok())
    }

    /// Does `each` for every request, until it says false.
    pub fn start(each: impl Fn(&mut TcpStream, &Got) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            got: Lines::default(),
            closed: Lines::default(),
        };
        let (got, closed, each) = (upstream.got.clone(), upstream.closed.clone(), Arc::new(each));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (got, closed, each) = (got.clone(), closed.clone(), each.clone());
                thread::spawn(move || {
                    let mut client = Client { stream: stream.unwrap(), read: Vec::new() };
                    while let Some(request) = client.request() {
                        got.push(request.clone());
                        if !each(&mut client.stream, &request) {
                            break;
                        }
                    }
                    drop(client);
                    closed.push(());
                });
            }
        });
        upstream
    }
}

impl Client {
    /// The next request, for an upstream.
    fn request(&mut self) -> Option<Got> {
        while !self.read.windows(4).any(|window| window == b"\r\n\r\n") {
            if !self.more() {
                return None;
            }
        }
        let head = self.head();
        let body = if field(&head, "transfer-encoding").is_some() {
            self.chunks().0
        } else {
            let length = field(&head, "content-length").map_or(0, |l| l.parse().unwrap());
            while self.read.len() < length && self.more() {}
            self.read.drain(..length.min(self.read.len())).collect()
        };
        Some(Got { head, body })
    }
}
