//! A process that is out of descriptors, which is a process of its own.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write as _},
    net::{SocketAddr, TcpStream as StdStream},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use thence_core::{Failure, flow};
use thence_reactor::{
    Live, Reactor, after,
    net::{TcpListener, TcpStream, UnixStream},
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

#[test]
fn accepting_pauses_and_goes_on_and_nobody_at_the_door_is_lost() {
    let mut program = Program::start("serves everybody");
    let addr: SocketAddr = program.rest_after("listens on ").parse().unwrap();
    // All of them are let in by the operating system at once.
    let mut clients: Vec<StdStream> =
        (0..CLIENTS).map(|_| StdStream::connect(addr).unwrap()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        client.write_all(&[n as u8]).unwrap();
    }
    let said = program.rest_after("WARN accept on ");
    assert!(said.starts_with(&format!("{addr} pauses")), "{said}");
    assert!(said.contains("Too many open files") && said.contains("ulimit -n"), "{said}");
    // Those who are in are served all the while.
    let mut first = clients.remove(0);
    assert_eq!(answer(&mut first), 0);
    // Each one that leaves makes room for another.
    drop(first);
    for (n, mut client) in clients.into_iter().enumerate() {
        assert_eq!(answer(&mut client), n as u8 + 1);
    }
    assert!(program.rest_after("INFO accept on ").ends_with("goes on"));
    program.rest_after("nothing is left");
    assert!(program.child.wait().unwrap().success());
}

#[test]
fn what_cannot_be_opened_says_so_and_leaves_nothing_behind() {
    let mut program = Program::start("opens without room");
    program.rest_after("nothing is left");
    assert!(program.child.wait().unwrap().success());
}

fn answer(client: &mut StdStream) -> u8 {
    let mut byte = [0];
    client.read_exact(&mut byte).unwrap();
    byte[0]
}

/// What the tests run as a process of its own: this very file, told by the environment.
#[test]
fn program() {
    let Ok(program) = env::var("THENCE_TEST_PROGRAM") else { return };
    tracing::subscriber::set_global_default(Printed).unwrap();
    let before = descriptors();
    let mut reactor = Reactor::builder().signals(false).build().unwrap();
    let ended = match program.as_str() {
        "serves everybody" => reactor.run(serve_everybody()),
        "opens without room" => reactor.run(open_without_room()),
        other => panic!("no program {other}"),
    };
    ended.unwrap();
    assert_eq!(reactor.live(), Live::default());
    drop(reactor);
    assert_eq!(descriptors(), before);
    println!("nothing is left");
    std::process::exit(0);
}

/// Answers every client with what it said, and waits for its end.
async fn serve_everybody() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    leave_room_for(ROOM);
    println!("listens on {}", listener.local_addr());
    let mut served = Vec::new();
    for _ in 0..CLIENTS {
        let (stream, _) = listener.accept().await?;
        served.push(flow(async move {
            stream.write(stream.read(1).await?).await?;
            assert_eq!(stream.read(1).await?, "");
            Ok(())
        }));
    }
    for client in served {
        client.await?;
    }
    raise_the_limit();
    Ok(())
}

async fn open_without_room() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr();
    leave_room_for(0);
    for _ in 0..3 {
        assert!(is_out(TcpListener::bind("127.0.0.1:0")));
        assert!(is_out(UnixStream::pair()));
        let refused = TcpStream::connect(addr).await.expect_err("no descriptor is left");
        let error = refused.downcast_ref::<std::io::Error>().expect("an I/O error");
        assert_eq!(Errno::from_io_error(error), Some(Errno::MFILE));
    }
    // For a client, and none for who accepts it.
    leave_room_for(1);
    let client = TcpStream::connect(addr).await?;
    let accepting = listener.accept();
    after(Duration::from_millis(1)).await;
    assert!(!accepting.is_ready());
    raise_the_limit();
    let (stream, from) = accepting.await?;
    assert_eq!(from, client.local_addr()?);
    stream.write("welcome").await?;
    assert_eq!(client.read_exact(7).await?, "welcome");
    Ok(())
}

fn is_out<T>(result: std::io::Result<T>) -> bool {
    result.err().is_some_and(|error| error.to_string().contains("open files"))
}

/// Lets the process open so many more.
fn leave_room_for(more: usize) {
    raise_the_limit();
    // What is at the limit or above can be open, and not be opened.
    let is_free = |fd: &u64| fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_err();
    let limit = (0..).filter(is_free).nth(more);
    setrlimit(Resource::Nofile, Rlimit { current: limit, ..getrlimit(Resource::Nofile) }).unwrap();
}

fn raise_the_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

/// Without the one that looks.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

struct Program {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(name: &str) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "emfile::program", "--nocapture"])
            .env("THENCE_TEST_PROGRAM", name)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Program { child, lines }
    }

    /// Reads on to the line that has `text`, and gives what stands behind it.
    fn rest_after(&mut self, text: &str) -> String {
        loop {
            let line = self.lines.next().expect("the program ended before").unwrap();
            if let Some((_, rest)) = line.split_once(text) {
                return rest.to_owned();
            }
        }
    }
}

/// Prints the log.
struct Printed;

impl Subscriber for Printed {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Line(*event.metadata().level()));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line(Level);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            println!("{} {value:?}", self.0);
        }
    }
}

const CLIENTS: usize = 20;

/// How many of them fit in at once.
const ROOM: usize = 6;
