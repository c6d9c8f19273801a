//! What is sent: on how many connections, and how much at once.

use std::time::Duration;

use crate::load::Until;

/// Connections that each have one message under way.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How the command line calls it.
    pub name: &'static str,
    /// How the tables call it.
    pub what: &'static str,
    /// Connections to a server.
    pub connections: usize,
    /// Bytes in a message.
    pub message: usize,
    /// Messages on each connection at which instructions are counted.
    pub sizes: (u64, u64),
}

impl Shape {
    /// The one for which the number of instructions is a goal.
    pub const BASE: Self = SHAPES[1];

    /// How long messages are sent before anything is measured: Node compiles what it runs often.
    pub const WARM_UP: Until = Until::Passed(Duration::from_millis(150));

    /// How long they are sent while it is.
    pub const WINDOW: Until = Until::Passed(Duration::from_millis(250));

    /// The shape of this name.
    pub fn find(name: &str) -> Option<Self> {
        SHAPES.into_iter().find(|shape| shape.name == name)
    }

    /// What a server reads at most at once. There is room for more than a message: what fills its
    /// buffer makes most servers look for more at once, and there is none.
    pub fn read(self) -> usize {
        (2 * self.message).max(4096)
    }

    /// Whether there is one connection, so that what counts is how soon the answer is there.
    pub fn is_ping_pong(self) -> bool {
        self.connections == 1
    }
}

/// All shapes.
pub const SHAPES: [Shape; 5] = [
    Shape {
        name: "1x64",
        what: "1 connection, 64 bytes",
        connections: 1,
        message: 64,
        sizes: (500, 2_500),
    },
    Shape {
        name: "50x64",
        what: "50 connections, 64 bytes",
        connections: 50,
        message: 64,
        sizes: (40, 240),
    },
    Shape {
        name: "500x64",
        what: "500 connections, 64 bytes",
        connections: 500,
        message: 64,
        sizes: (4, 24),
    },
    Shape {
        name: "50x4k",
        what: "50 connections, 4 KiB",
        connections: 50,
        message: 4 << 10,
        sizes: (40, 240),
    },
    Shape {
        name: "16x64k",
        what: "16 connections, 64 KiB",
        connections: 16,
        message: 64 << 10,
        sizes: (20, 120),
    },
];
