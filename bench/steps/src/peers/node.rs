//! The same work by Node's promises: `node.js`.

use crate::work::Work;
use crate::worker::Program;

static NODE: Program = Program {
    what: "Node.js",
    interpreters: &["node"],
    script: concat!(env!("CARGO_MANIFEST_DIR"), "/src/peers/node.js"),
};

pub const WORKS: [Work; 5] = [
    there("node-ten", "Node: ten `then`, pending then resolved", "ten"),
    there("node-ready", "Node: ten `then` on a resolved promise", "ready"),
    Work {
        slice: 1_000_000,
        ..there("node-loop", "Node: loop of returned promises, per level, pending", "loop")
    },
    Work {
        slice: 1_000_000,
        ..there(
            "node-loop-ready",
            "Node: loop of returned promises, per level, resolved",
            "loop-ready",
        )
    },
    there("node-spawn", "Node: `async` function, promise, `await`", "spawn"),
];

/// Work of some hundred nanoseconds. Its code is compiled while it runs, so that instructions are
/// counted at large sizes.
const fn there(name: &'static str, what: &'static str, theirs: &'static str) -> Work {
    Work { slice: 20_000, sizes: (50_000, 150_000), ..Work::there(name, what, &NODE, theirs) }
}
