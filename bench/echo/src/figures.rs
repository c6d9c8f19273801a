//! How a row of a table comes about.

use std::io;

use measure::callgrind::{self, Profile};
use measure::sample::{Order, Sample};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::load::Until;
use crate::peer::{Peer, Window};
use crate::server::{Program, Role, SERVERS, Server};
use crate::shape::Shape;

/// Rounds in a session: the servers of a session stay, so that a round of all of them is short.
pub const ROUNDS: usize = 3;

/// A server that can run here, and what was found out about it in one shape.
#[derive(Debug)]
pub struct Row {
    pub server: Server,
    program: Program,
    /// Processor time a message, in microseconds, once a round.
    pub micros: Sample,
    /// Messages a second.
    pub rate: Sample,
    /// The median time of one answer in microseconds, where there is one connection.
    pub p50: Sample,
    /// The part of a window in which the server ran.
    pub busy: Sample,
    /// Instructions a message.
    pub instructions: Option<f64>,
}

/// Measures all that can run here.
///
/// # Errors
///
/// The machine has no second core, or a server failed or answered wrongly.
pub fn measure(
    shape: Shape,
    programs: &[(Server, Program)],
    sessions: usize,
) -> io::Result<Vec<Row>> {
    let fits = |server: &Server| shape.is_ping_pong() || !matches!(server.role, Role::Spinning);
    let mut rows: Vec<Row> = programs
        .iter()
        .filter(|(server, _)| fits(server))
        .map(|(server, program)| Row::new(*server, program.clone()))
        .collect();
    let mut order = Order::new();
    for _ in 0..sessions {
        session(shape, &mut rows, &mut order)?;
    }
    if callgrind::installed() {
        for row in &mut rows {
            row.count(shape).map_err(|error| named(row, &error))?;
        }
    }
    Ok(rows)
}

/// The servers that can run here, and for each that cannot why.
pub fn programs() -> (Vec<(Server, Program)>, Vec<String>) {
    let (mut here, mut not) = (Vec::new(), Vec::new());
    for server in SERVERS {
        match server.program() {
            Ok(program) => here.push((server, program)),
            Err(error) => not.push(format!("{} is left out: {error}", server.what)),
        }
    }
    (here, not)
}

/// All servers of a session have their connections open at once.
///
/// # Errors
///
/// The system does not allow as many as it says it does.
pub fn open_many_files() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

/// Fresh servers, all at once, and rounds in which each has its window while the others sleep.
fn session(shape: Shape, rows: &mut [Row], order: &mut Order) -> io::Result<()> {
    let mut peers = Vec::new();
    for row in &*rows {
        let mut peer = Peer::start(&row.program, shape).map_err(|error| named(row, &error))?;
        peer.window(Shape::WARM_UP).map_err(|error| named(row, &error))?;
        peers.push(peer);
    }
    for _ in 0..ROUNDS {
        for place in order.shuffled(peers.len()) {
            let window = peers[place].window(Shape::WINDOW);
            rows[place].add(&window.map_err(|error| named(&rows[place], &error))?);
        }
    }
    for (row, peer) in rows.iter().zip(peers) {
        peer.close().map_err(|error| named(row, &error))?;
    }
    Ok(())
}

impl Row {
    fn new(server: Server, program: Program) -> Self {
        let [micros, rate, p50, busy] = Default::default();
        Self { server, program, micros, rate, p50, busy, instructions: None }
    }

    fn add(&mut self, window: &Window) {
        let (answers, time) = (window.run.answers as f64, window.run.time.as_secs_f64());
        self.micros.push(window.nanos as f64 / 1e3 / answers);
        self.rate.push(answers / time);
        self.p50.push(window.run.trips.median());
        self.busy.push(window.nanos as f64 / 1e9 / time);
    }

    /// Counts instructions. Under callgrind a server is so slow that all connections have a message
    /// for it at each wait: what a wait costs is shared by them.
    fn count(&mut self, shape: Shape) -> io::Result<()> {
        let Some(sizes) = self.server.sizes(shape) else {
            return Ok(());
        };
        let each = callgrind::per_operation(sizes, |each| {
            let profile = Profile::new(self.server.name);
            let mut peer = Peer::start_under(&profile, &self.program, shape)?;
            peer.window(Until::Each(each))?;
            peer.close()?;
            profile.instructions()
        })?;
        self.instructions = Some(each / shape.connections as f64);
        Ok(())
    }
}

fn named(row: &Row, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", row.server.what))
}
