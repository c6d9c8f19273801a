//! What the driver knows of a descriptor.

use std::collections::VecDeque;

use super::pending::{Pending, Side};
use crate::driver::{Arena, Key};

/// A descriptor's two directions.
#[derive(Default)]
pub(super) struct Source {
    pub(super) registered: bool,
    pub(super) read: Direction,
    pub(super) write: Direction,
}

/// One direction of a source. It is tried when `ready`; `ready` ends with EAGAIN and comes back
/// with an edge. Its operations are a list through their entries, in the order they came.
pub(super) struct Direction {
    pub(super) first: Option<Key>,
    last: Option<Key>,
    pub(super) ready: bool,
    pub(super) listed: bool,
    /// The other end will send no more, which is an edge that has been: a short read says nothing
    /// about what follows.
    pub(super) closed: bool,
}

impl Source {
    pub(super) fn side(&mut self, side: Side) -> &mut Direction {
        match side {
            Side::Read => &mut self.read,
            Side::Write => &mut self.write,
        }
    }

    /// Puts an operation behind the others.
    pub(super) fn queue(&mut self, side: Side, key: Key, ops: &mut Arena<Pending>) {
        let direction = self.side(side);
        match direction.last.replace(key) {
            None => direction.first = Some(key),
            Some(last) => {
                let last = ops.get_mut(last).expect("a queued operation is pending");
                last.set_next(Some(key));
            }
        }
    }

    pub(super) fn unqueue_first(&mut self, side: Side, ops: &Arena<Pending>) {
        let direction = self.side(side);
        let first = direction.first.and_then(|first| ops.get(first));
        direction.first = first.and_then(Pending::next);
        if direction.first.is_none() {
            direction.last = None;
        }
    }

    /// Takes an operation out; false when it is not among them.
    pub(super) fn unqueue(&mut self, side: Side, key: Key, ops: &mut Arena<Pending>) -> bool {
        let direction = self.side(side);
        let mut before = None;
        let mut at = direction.first;
        while at.is_some_and(|at| at != key) {
            before = at;
            at = at.and_then(|at| ops.get(at)).and_then(Pending::next);
        }
        if at.is_none() {
            return false;
        }
        let next = ops.get(key).and_then(Pending::next);
        if direction.last == Some(key) {
            direction.last = before;
        }
        match before.and_then(|before| ops.get_mut(before)) {
            None => direction.first = next,
            Some(before) => before.set_next(next),
        }
        if let Some(taken) = ops.get_mut(key) {
            taken.set_next(None);
        }
        true
    }
}

impl Direction {
    /// There may be something now.
    pub(super) fn edge(&mut self, source: Key, side: Side, listed: &mut VecDeque<(Key, Side)>) {
        self.ready = true;
        if !self.listed && self.first.is_some() {
            self.listed = true;
            listed.push_back((source, side));
        }
    }
}

impl Default for Direction {
    fn default() -> Self {
        Direction { first: None, last: None, ready: true, listed: false, closed: false }
    }
}
