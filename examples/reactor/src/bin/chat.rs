//! A room in which everybody reads what the others write. Try it with two `nc`.
//!
//! Whoever reads too slowly misses lines and is told how many; nobody else waits for it.

use std::{cell::RefCell, collections::BTreeMap, env, rc::Rc};

use bytes::Bytes;
use thence::draining;
use thence::net::framing::{Frames, Lines};
use thence::net::{Protocol, TcpListener, Transport};
use thence::prelude::*;

fn main() -> Result<(), Failure> {
    let addr = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7008".into());
    if addr.starts_with('-') {
        eprintln!("usage: chat [ADDRESS]");
        std::process::exit(2);
    }
    run(async move {
        let listener = TcpListener::bind(addr)?;
        println!("listening at {}", listener.local_addr());
        let room = Room::default();
        listener.serve(move |_from| Guest::new(&room)).report();
        draining().await; // Ctrl-C: every connection closes when its lines are out
        Ok(())
    })
}

#[derive(Clone, Default)]
struct Room(Rc<RefCell<BTreeMap<u64, Seat>>>);

struct Seat {
    transport: Transport,
    /// More waits for this one than may.
    is_full: bool,
    missed: usize,
}

impl Room {
    fn say(&self, speaker: u64, line: &str) {
        let line = Bytes::from(format!("{speaker}: {line}\n"));
        for (_, seat) in self.0.borrow_mut().iter_mut().filter(|(id, _)| **id != speaker) {
            match seat.is_full {
                true => seat.missed += 1,
                false => seat.transport.send(line.clone()),
            }
        }
    }
}

struct Guest {
    room: Room,
    id: u64,
    lines: Frames<Lines>,
}

impl Guest {
    fn new(room: &Room) -> Self {
        Guest { room: room.clone(), id: 0, lines: Frames::new(Lines::new().max_len(4096)) }
    }
}

impl Protocol for Guest {
    fn connected(&mut self, transport: &Transport) {
        let mut seats = self.room.0.borrow_mut();
        self.id = seats.last_key_value().map_or(1, |(last, _)| last + 1);
        transport.send(format!("you are {}\n", self.id));
        seats.insert(self.id, Seat { transport: transport.clone(), is_full: false, missed: 0 });
    }

    fn received(&mut self, transport: &Transport, bytes: Bytes) {
        self.lines.push(bytes);
        loop {
            match self.lines.next_frame() {
                Ok(Some(line)) => self.room.say(self.id, &line),
                Ok(None) => return,
                Err(failure) => {
                    transport.send(format!("{failure}\n"));
                    return transport.close();
                }
            }
        }
    }

    fn pause_writing(&mut self, _: &Transport) {
        self.room.0.borrow_mut().entry(self.id).and_modify(|seat| seat.is_full = true);
    }

    fn resume_writing(&mut self, transport: &Transport) {
        self.room.0.borrow_mut().entry(self.id).and_modify(|seat| {
            seat.is_full = false;
            transport.send(format!("you have missed {} lines\n", std::mem::take(&mut seat.missed)));
        });
    }

    fn closed(&mut self, _how: &Result<(), Failure>) {
        self.room.0.borrow_mut().remove(&self.id);
    }
}
