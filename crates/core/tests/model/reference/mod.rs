//! The reference: DESIGN.md §3.2 to §3.5 as an interpreter, naive and slow.
//!
//! One `Vec` of cells, one queue, and nothing clever: a cell is never freed or replaced, a returned
//! Deferred is waited for by the step that returned it however long the chain, and whatever has to
//! wait its turn stands in a list. Each rule is one function; the words of the contract stand above
//! it.

mod deeds;
mod firing;
mod flows;
mod lanes;
mod leave;
mod many;
mod ops;
mod owning;
mod silent;

use std::collections::VecDeque;
use std::rc::Rc;

use crate::event::{Event, Saw};
use crate::hands::{Hands, Place};
use crate::program::{Await, Back, Body, Hook, Many, Op, Step};

/// Everything that happens when the program runs.
pub fn run(program: &[Op]) -> Vec<Event> {
    let mut reference = Reference::new();
    reference.ops(program, Place::OUTSIDE);
    reference.finish();
    reference.log
}

/// The number of a cell.
type Id = usize;

/// How something ended. A value is one or many numbers, each with its way back.
#[derive(Clone, Debug)]
enum Out {
    Ok(Vec<Item>),
    /// The value of a `settled`.
    Settled(Box<Self>),
    /// The lock, for whoever has it.
    Guard,
    Err(Vec<u32>),
    /// The errors of a `first_ok`.
    AllFailed(Vec<u32>),
    Cancelled,
    Lost,
    Panicked(u32),
}

#[derive(Clone, Copy, Debug)]
struct Item {
    number: u32,
    back: Back,
}

/// Something that finishes later.
struct Cell {
    what: What,
    state: State,
    waiter: Waiter,
    /// A request stands.
    asked: bool,
    /// What it waits for.
    up: Option<Id>,
    /// Whether an error is told of it: see [`Told`].
    told: Told,
    /// A step on what had ended, which ran while it was attached.
    at_once: bool,
    /// It stands in the list of what is handed on.
    listed: bool,
}

/// What an error is told of when a cell ends with it.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Told {
    /// Of nothing: another stands in the place of this step, or its error tells nobody.
    Nothing,
    /// Of this step.
    Itself,
    /// Of the step whose place was taken, and of this one.
    Both,
}

enum What {
    Source {
        back: Back,
        hooks: Vec<Canceller>,
        hooked: bool,
    },
    Step(Work),
    /// A step whose callback returned a Deferred, which it waits for now.
    Forward,
    Flow(Flow),
    Ready,
}

enum State {
    Pending,
    /// Its callback is in the queue.
    Queued,
    Running,
    Ended(Out),
    /// Somebody took what it ended with.
    Taken,
}

/// Who has a cell's end.
#[derive(Clone, Copy)]
enum Waiter {
    /// Nobody: it was left, or never wanted.
    Nobody,
    /// Whoever holds the Deferred.
    Held,
    /// A step or a flow.
    Cell(Id),
    /// One of many.
    Member { gathering: usize, index: usize },
}

enum Work {
    /// What the program attached.
    Callback {
        step: Step,
        call: Call,
    },
    /// A step with no callback for what comes: the error of what cannot fail.
    Passes,
    Settled,
    Shield,
    Report,
    /// The callback that takes what a `settled`, a scope's end or the many gave.
    Takes {
        who: u32,
        lane: Lane,
    },
    /// One of a `join`, which puts its value aside.
    Aside,
    /// The member of a scope.
    Owned {
        scope: usize,
        member: Id,
    },
}

#[derive(Clone)]
struct Call {
    who: u32,
    place: Place,
    body: Rc<Body>,
    owned: Option<Id>,
}

struct Flow {
    call: Call,
    /// The operation it goes on with.
    at: usize,
    awaits: Option<(Id, Await)>,
    /// What it awaits ended during the poll.
    woken: bool,
}

#[derive(Clone, Copy)]
enum Canceller {
    User {
        hook: Hook,
        source: u32,
    },
    Members(usize),
    /// Of a waiter for the lock.
    Line(Id),
}

/// `all`, `first`, `first_ok` or `join` under way.
struct Gathering {
    many: Many,
    members: Vec<Id>,
    values: Vec<Option<Vec<Item>>>,
    /// What it will end with: the winner, or the first failure.
    end: Option<Out>,
    failed: Vec<(usize, u32)>,
    stopped: Option<Out>,
    left: usize,
    result: Id,
}

#[derive(Default)]
struct Scope {
    members: Vec<Id>,
    waiting: Vec<Id>,
    /// How many operations on it are under way: they hold it, too.
    held: u32,
    dropped: bool,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Lane {
    Ok,
    Err,
    Stop,
}

struct Reference {
    cells: Vec<Cell>,
    gatherings: Vec<Gathering>,
    scopes: Vec<Scope>,
    hands: Hands<Id, Id, Id, usize, ()>,
    /// The one queue: steps and flows whose callback is to run.
    queue: VecDeque<Id>,
    /// What has ended and was not handed on yet.
    ended: VecDeque<Id>,
    handing: bool,
    /// Requests that were not sent yet.
    requests: VecDeque<Id>,
    asking: bool,
    /// Ends nobody takes that were not told yet.
    unclaimed: VecDeque<Out>,
    telling: bool,
    locked: bool,
    /// Who waits for the lock.
    line: VecDeque<Id>,
    /// How many callbacks, hooks and holds there are around what happens now.
    busy: u32,
    /// A callback's panic unwinds: what panics now would end the process, so nothing does.
    unwinding: bool,
    log: Vec<Event>,
}

impl Cell {
    fn lane(&self) -> Lane {
        match self.state {
            State::Ended(Out::Ok(_) | Out::Settled(_) | Out::Guard) => Lane::Ok,
            State::Ended(Out::Err(_) | Out::AllFailed(_)) => Lane::Err,
            _ => Lane::Stop,
        }
    }
}

impl Out {
    fn saw(&self) -> Saw {
        match self {
            Self::Ok(items) => items.last().map_or(Saw::Nothing, |item| Saw::Value(item.number)),
            Self::Settled(_) | Self::Guard => Saw::Nothing,
            Self::Err(numbers) | Self::AllFailed(numbers) => {
                numbers.last().map_or(Saw::Nothing, |n| Saw::Error(*n))
            }
            Self::Cancelled => Saw::Cancelled,
            Self::Lost => Saw::Lost,
            Self::Panicked(number) => Saw::Panicked(*number),
        }
    }
}
