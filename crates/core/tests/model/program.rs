//! What a program is: a list of small operations as plain data.
//!
//! It is read from words of four bytes, and every list of words is a program, so that a generator
//! may make words as it likes, shrink them one by one, and a fuzzer may give any bytes. A word says
//! what to do (its first byte), to which of the things at hand (its second), and how. An operation
//! with a body takes the words after it as what its callback does, or what a value, an error, a trail
//! or a closure does at the moment at which core runs code of its type.

use std::fmt;
use std::rc::Rc;

/// One operation. A `u8` picks among the things at hand, whatever their number: see
/// [`crate::hands`].
#[derive(Clone, Debug)]
pub enum Op {
    /// A trigger and its Deferred.
    Source {
        back: Back,
    },
    /// A Deferred that has ended.
    Ready(End),
    /// A step on a Deferred.
    Attach {
        on: u8,
        step: Step,
        body: Rc<Body>,
    },
    /// Fires, fails, settles or drops a trigger.
    Settle {
        trigger: u8,
        end: Option<End>,
    },
    /// Gives a trigger a canceller.
    OnCancel {
        trigger: u8,
        hook: Hook,
    },
    /// Asks a Deferred to end.
    Cancel {
        on: u8,
    },
    /// Makes a canceller of a Deferred.
    KeepCanceller {
        on: u8,
    },
    /// Uses a canceller, made earlier.
    UseCanceller {
        which: u8,
    },
    /// Leaves.
    Drop {
        on: u8,
    },
    /// Ends with a report.
    Report {
        on: u8,
    },
    /// A flow.
    Flow {
        body: Rc<Body>,
    },
    /// Awaits a Deferred; only in a flow.
    Await {
        on: u8,
        how: Await,
    },
    /// Waits for many; a step takes what they end with, or it is dropped at once.
    Many {
        many: Many,
        inputs: Vec<u8>,
        dropped: bool,
    },
    /// An empty scope.
    Scope,
    ScopeAdd {
        scope: u8,
        on: u8,
    },
    ScopeCancel {
        scope: u8,
    },
    ScopeEnded {
        scope: u8,
    },
    ScopeDrop {
        scope: u8,
    },
    /// Waits for the lock; a step puts the guard at hand, or it is left at once.
    Acquire {
        dropped: bool,
    },
    /// Drops a guard.
    Release {
        guard: u8,
    },
    /// Puts a deed at hand: the next code of a user's type that runs at this moment does it.
    Arm {
        moment: Moment,
        body: Rc<Body>,
    },
    /// What the body does happens in a turn: with the queue held, which then runs in portions.
    Turn {
        ops: Vec<Self>,
        budget: usize,
    },
}

/// When code of a user's type runs inside core.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Moment {
    /// A value is dropped by nobody's hand.
    Dropped,
    /// An error is told of a step.
    Told,
    /// An error gives its text to a report.
    Message,
    /// The trail of an error is made. Such a deed does not panic.
    TrailMade,
    /// The trail of an error is cloned.
    TrailCloned,
    /// A flow's own things are dropped. Such a deed panics only where the flow was stopped: what a
    /// function has returned is lost when one of its locals panics, and that is Rust's affair.
    FlowGone,
    /// A closure is dropped that never ran.
    ClosureGone,
}

/// Where a value of a source goes that nobody takes.
#[derive(Clone, Copy, Debug)]
pub enum Back {
    /// It is dropped.
    No,
    /// It is noted.
    Note,
    /// It is noted, and fires another trigger: the next getter of a queue.
    Next(u8),
}

/// How something ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    Ok,
    Err,
    Cancelled,
    Lost,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    Map,
    AndThen,
    OrElse,
    Then,
    Recover,
    Branch,
    Inspect,
    InspectErr,
    Finally,
    MapErr,
    Settled,
    Shield,
    Named,
}

/// What a callback does, and gives.
#[derive(Debug)]
pub struct Body {
    pub ops: Vec<Op>,
    /// What the steps give that go on; the others give a value.
    pub give: Give,
    /// It panics after all it did.
    pub panics: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Give {
    Ok,
    Err,
    /// A Deferred that has ended.
    Ready(End),
    /// A Deferred whose trigger is at hand from then on.
    Pending,
    /// A Deferred that its closure has owned since it was attached.
    Owned(u8),
    /// A Deferred that is at hand when it runs.
    Found(u8),
    /// The Deferred at the end of its own chain: it would wait for itself.
    Itself,
}

/// What a trigger's canceller does, after it was noted.
#[derive(Clone, Copy, Debug)]
pub enum Hook {
    Note,
    /// Ends its own source: it was too late, failed meanwhile, or gives up.
    Own(Option<End>),
    /// Ends another.
    Other(u8, Option<End>),
    /// Cancels a Deferred.
    Cancel(u8),
    /// Leaves a Deferred.
    Drop(u8),
}

#[derive(Clone, Copy, Debug)]
pub enum Await {
    /// With `?`.
    Try,
    /// And goes on after an error.
    Keep,
    /// For the whole outcome.
    Settled,
}

#[derive(Clone, Copy, Debug)]
pub enum Many {
    All,
    First,
    FirstOk,
    Join,
}

/// A program of these words.
pub fn read(words: &[[u8; 4]]) -> Vec<Op> {
    let mut reader = Reader { words: words.iter(), depth: 0, in_flow: false };
    let mut ops = Vec::new();
    while let Some(op) = reader.op() {
        ops.push(op);
    }
    ops
}

/// The words of these bytes; the last is filled up.
pub fn words(bytes: &[u8]) -> Vec<[u8; 4]> {
    bytes
        .chunks(4)
        .map(|chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            word
        })
        .collect()
}

struct Reader<'a> {
    words: std::slice::Iter<'a, [u8; 4]>,
    /// How many bodies stand around what is read.
    depth: u8,
    in_flow: bool,
}

impl Reader<'_> {
    fn op(&mut self) -> Option<Op> {
        let &[kind, pick, how, more] = self.words.next()?;
        Some(match kind % 52 {
            0..4 => Op::Source { back: back(how, more) },
            4 => Op::Ready(end(how)),
            5..15 => self.attach(pick, how, more),
            15..19 => Op::Settle { trigger: pick, end: end_or_drop(how) },
            19..22 => Op::OnCancel { trigger: pick, hook: hook(how, more) },
            22..25 => Op::Cancel { on: pick },
            25 => Op::KeepCanceller { on: pick },
            26 => Op::UseCanceller { which: pick },
            27 => Op::Drop { on: pick },
            28 => Op::Report { on: pick },
            29 | 30 => self.flow(more, how),
            31 | 32 if self.in_flow => Op::Await { on: pick, how: awaits(how) },
            31 | 32 => self.flow(more | 1, how),
            33 => many(pick, how, more),
            34 => Op::Scope,
            35 | 36 => Op::ScopeAdd { scope: how, on: pick },
            37 => match how % 4 {
                0 => Op::ScopeCancel { scope: pick },
                1 => Op::ScopeDrop { scope: pick },
                _ => Op::ScopeEnded { scope: pick },
            },
            40 | 41 => Op::Acquire { dropped: how % 4 == 3 },
            42 | 43 => Op::Release { guard: pick },
            44..52 => {
                let ops = self.ops(1 + how % 3, false);
                let body = Body { ops, give: Give::Ok, panics: more % 4 == 3 };
                Op::Arm { moment: moment(pick), body: Rc::new(body) }
            }
            _ if self.depth == 0 => {
                Op::Turn { ops: self.ops(how % 5, false), budget: usize::from(more % 4) + 1 }
            }
            _ => Op::Settle { trigger: pick, end: end_or_drop(how) },
        })
    }

    fn attach(&mut self, on: u8, how: u8, more: u8) -> Op {
        let step = match how % 20 {
            0 => Step::Map,
            1..7 => Step::AndThen,
            7 => Step::OrElse,
            8..11 => Step::Then,
            11 => Step::Recover,
            12 => Step::Branch,
            13 => Step::Inspect,
            14 => Step::InspectErr,
            15 => Step::Finally,
            16 => Step::MapErr,
            17 => Step::Settled,
            18 => Step::Shield,
            _ => Step::Named,
        };
        let count = if more.is_multiple_of(3) { more / 16 % 4 } else { 0 };
        let ops = self.ops(count, false);
        let give = match more % 16 {
            0 => Give::Ok,
            1 => Give::Err,
            2 => Give::Ready(end(more / 16)),
            3..6 => Give::Pending,
            6..10 => Give::Owned(how / 20),
            10..15 => Give::Found(how / 20),
            _ => Give::Itself,
        };
        Op::Attach { on, step, body: Rc::new(Body { ops, give, panics: more % 29 == 28 }) }
    }

    fn flow(&mut self, count: u8, how: u8) -> Op {
        let ops = self.ops(count % 6, true);
        let give = if how % 4 == 1 { Give::Err } else { Give::Ok };
        Op::Flow { body: Rc::new(Body { ops, give, panics: how % 16 == 15 }) }
    }

    /// The next words as a body. What is nested too deep is empty.
    fn ops(&mut self, count: u8, in_flow: bool) -> Vec<Op> {
        if self.depth == DEEPEST {
            return Vec::new();
        }
        let outer = std::mem::replace(&mut self.in_flow, in_flow);
        self.depth += 1;
        let ops = (0..count).map_while(|_| self.op()).collect();
        self.depth -= 1;
        self.in_flow = outer;
        ops
    }
}

fn moment(pick: u8) -> Moment {
    match pick % 16 {
        0..4 => Moment::Dropped,
        4..9 => Moment::Told,
        9 => Moment::Message,
        10 | 11 => Moment::TrailMade,
        12 => Moment::TrailCloned,
        13 => Moment::FlowGone,
        _ => Moment::ClosureGone,
    }
}

fn back(how: u8, more: u8) -> Back {
    match how % 4 {
        0 | 1 => Back::No,
        2 => Back::Note,
        _ => Back::Next(more),
    }
}

fn end(how: u8) -> End {
    match how % 8 {
        0..4 => End::Ok,
        4 | 5 => End::Err,
        6 => End::Cancelled,
        _ => End::Lost,
    }
}

fn end_or_drop(how: u8) -> Option<End> {
    if how % 8 == 7 { None } else { Some(end(how % 8)) }
}

fn hook(how: u8, more: u8) -> Hook {
    match how % 8 {
        0 | 1 => Hook::Note,
        2..5 => Hook::Own(end_or_drop(how / 8)),
        5 => Hook::Other(more, end_or_drop(how / 8)),
        6 => Hook::Cancel(more),
        _ => Hook::Drop(more),
    }
}

fn awaits(how: u8) -> Await {
    match how % 4 {
        0 | 1 => Await::Try,
        2 => Await::Keep,
        _ => Await::Settled,
    }
}

fn many(pick: u8, how: u8, more: u8) -> Op {
    let many = match how % 4 {
        0 => Many::All,
        1 => Many::First,
        2 => Many::FirstOk,
        _ => Many::Join,
    };
    let count = if matches!(many, Many::Join) { 2 } else { how / 4 % 4 };
    let inputs = (0..count).map(|n| pick.wrapping_add(n * (more % 4))).collect();
    Op::Many { many, inputs, dropped: more >= 224 }
}

/// How deep bodies nest.
pub const DEEPEST: u8 = 3;

impl Step {
    /// Its callback may return a Deferred.
    pub fn goes_on(self) -> bool {
        matches!(self, Self::AndThen | Self::OrElse | Self::Then | Self::Branch)
    }
}

/// A program to be read by a person: one operation a line, bodies indented.
pub struct Listing<'a>(pub &'a [Op]);

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(self.0, 1, f)
    }
}

fn list(ops: &[Op], depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for op in ops {
        write!(f, "{:1$}", "", depth * 4)?;
        match op {
            Op::Attach { on, step, body } => {
                write!(f, "Attach {step:?} to {on}, giving {:?}", body.give)?;
                list_body(body, depth, f)?;
            }
            Op::Flow { body } => {
                write!(f, "Flow, giving {:?}", body.give)?;
                list_body(body, depth, f)?;
            }
            Op::Arm { moment, body } => {
                write!(f, "Arm {moment:?}")?;
                list_body(body, depth, f)?;
            }
            Op::Turn { ops, budget } => {
                writeln!(f, "Turn in portions of {budget}")?;
                list(ops, depth + 1, f)?;
            }
            op => writeln!(f, "{op:?}")?,
        }
    }
    Ok(())
}

fn list_body(body: &Body, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "{}", if body.panics { ", panicking" } else { "" })?;
    list(&body.ops, depth + 1, f)
}
