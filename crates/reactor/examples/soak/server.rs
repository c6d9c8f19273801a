//! The server, which counts.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    error::Error,
    io,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use thence_core::{Deferred, Failure, Outcome, Trigger, flow, hosting, unhandled};
use thence_reactor::{
    DeferredExt, Elapsed, Reactor, after, every,
    net::{TcpListener, TcpStream},
};

use crate::{
    process::{descriptors, raise_limit, resident},
    wire::{Request, What, text},
};

/// Serves until it is told that the load is over, and fails when it holds more than before.
pub fn run(seconds: u64) -> Result<(), Box<dyn Error>> {
    raise_limit();
    text();
    let limit = Duration::from_secs(seconds * 2 + 120);
    let began = descriptors();
    let mut reactor = Reactor::builder().signals(false).build()?;
    let before = (reactor.live(), hosting::live(), descriptors());
    let tally = Rc::new(Tally::new(seconds));
    let counted = tally.clone();
    reactor.run(async move { flow(serve(counted)).timeout(limit).await })?;
    let after = (reactor.live(), hosting::live(), descriptors());
    drop(reactor);

    tally.print();
    println!("before {before:?}");
    println!("after  {after:?}");
    if after != before || descriptors() != began {
        return Err(
            format!("something is left: {} descriptors, {began} before", descriptors()).into()
        );
    }
    if unhandled() > 0 {
        return Err(format!("{} failures went unhandled", unhandled()).into());
    }
    if tally.wrong.get() > 0 {
        return Err(format!("{} connections ended as none may", tally.wrong.get()).into());
    }
    tally.check_memory()
}

async fn serve(tally: Rc<Tally>) -> Result<(), Failure> {
    let (over, load) = Deferred::<()>::new();
    let over = Rc::new(Cell::new(Some(over)));
    // A port has so many connections to one address, and those that are closed count for a while.
    let mut addrs = Vec::new();
    for n in 1..=LISTENERS {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, n], 0)))?;
        addrs.push(listener.local_addr().to_string());
        let (tally, over) = (tally.clone(), over.clone());
        flow::<()>(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                tally.begin();
                let tally = tally.clone();
                let served = flow(converse(stream, over.clone()));
                served.settled().done(move |outcome| tally.end(outcome));
            }
        })
        .report();
    }
    println!("{}", addrs.join(" "));

    let watched = tally.clone();
    every(Duration::from_secs(1), move || {
        watched.sample();
        Ok::<(), Failure>(())
    });
    load.await?;
    // Whoever hung up is served to the end, and nobody else is here.
    for _ in 0..600 {
        if tally.open.get() == 0 {
            return Ok(());
        }
        after(Duration::from_millis(50)).await;
    }
    Err(Failure::msg(format!("{} connections do not end", tally.open.get())))
}

/// Answers the requests of one client until it has had enough.
async fn converse(
    stream: TcpStream,
    over: Rc<Cell<Option<Trigger<()>>>>,
) -> Result<&'static str, Failure> {
    loop {
        let begin = stream.read(1).timeout(PATIENCE).await?;
        if begin.is_empty() {
            return Ok("finished");
        }
        let rest = stream.read_exact(Request::LEN - 1).timeout(PATIENCE).await?;
        let request = Request::read(&[&begin[..], &rest[..]].concat())?;
        match request.what {
            What::Echo => echo(&stream, request).await?,
            What::Over => {
                if let Some(over) = over.take() {
                    over.fire(());
                }
            }
            What::Send => stream.write(request.body()).await?,
        }
    }
}

/// Gives back piece by piece, so that one half of a body may be out when its client hangs up.
async fn echo(stream: &TcpStream, request: Request) -> Result<(), Failure> {
    let body = request.body();
    let mut done = 0;
    while done < body.len() {
        let bytes = stream.read(body.len() - done).timeout(PATIENCE).await?;
        if bytes.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if bytes != body[done..done + bytes.len()] {
            return Err(Failure::msg("these are not the bytes of that body"));
        }
        done += bytes.len();
        stream.write(bytes).await?;
    }
    Ok(())
}

/// What became of the connections.
struct Tally {
    began: Instant,
    seconds: u64,
    open: Cell<usize>,
    most: Cell<usize>,
    ends: RefCell<BTreeMap<&'static str, usize>>,
    /// Ended as no client here may cause.
    wrong: Cell<usize>,
    /// The most memory by the quarters of the time.
    memory: RefCell<[usize; 4]>,
    samples: Cell<u64>,
}

impl Tally {
    fn new(seconds: u64) -> Self {
        Tally {
            began: Instant::now(),
            seconds,
            open: Cell::new(0),
            most: Cell::new(0),
            ends: RefCell::default(),
            wrong: Cell::new(0),
            memory: RefCell::default(),
            samples: Cell::new(0),
        }
    }

    fn begin(&self) {
        self.open.set(self.open.get() + 1);
        self.most.set(self.most.get().max(self.open.get()));
    }

    fn end(&self, outcome: Outcome<&'static str>) {
        self.open.set(self.open.get() - 1);
        let how = match outcome {
            Outcome::Ok(how) => how,
            Outcome::Err(failure) => match failure.downcast_ref::<io::Error>().map(io::Error::kind)
            {
                Some(io::ErrorKind::UnexpectedEof) => "hung up half-way",
                Some(io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => "reset",
                _ => {
                    self.wrong.set(self.wrong.get() + 1);
                    println!("wrong: {failure:?}");
                    if failure.is::<Elapsed>() { "silent" } else { "wrong" }
                }
            },
            Outcome::Stop(stop) => {
                self.wrong.set(self.wrong.get() + 1);
                println!("wrong: {stop}");
                "stopped"
            }
        };
        *self.ends.borrow_mut().entry(how).or_default() += 1;
    }

    fn sample(&self) {
        let past = self.began.elapsed().as_secs();
        let quarter = (past * 4 / self.seconds.max(1)).min(3) as usize;
        let most = &mut self.memory.borrow_mut()[quarter];
        *most = (*most).max(resident());
        let sample = self.samples.get();
        self.samples.set(sample + 1);
        if sample % 10 == 9 {
            self.print();
        }
    }

    fn print(&self) {
        println!(
            "{:4} s: {} open, {} at most; {:?}; {} descriptors, {} MiB; {:?}",
            self.began.elapsed().as_secs(),
            self.open.get(),
            self.most.get(),
            self.ends.borrow(),
            descriptors(),
            resident() / 1024,
            hosting::live()
        );
    }

    /// After the warm-up it must not grow and grow.
    fn check_memory(&self) -> Result<(), Box<dyn Error>> {
        let [_, early, _, late] = *self.memory.borrow();
        println!("at most {} MiB in the second quarter, {} in the last", early / 1024, late / 1024);
        match late > early + early / 2 + 32 * 1024 {
            true => Err("it has grown by half and more".into()),
            false => Ok(()),
        }
    }
}

const LISTENERS: u8 = 8;

/// A client of ours that is silent for so long is lost.
const PATIENCE: Duration = Duration::from_secs(90);
