//! The same work by Twisted: `with_twisted.py`.

use crate::work::Work;
use crate::worker::Program;

/// The first Python on the path need not be the system's, which has what Debian brings.
static TWISTED: Program = Program {
    what: "Twisted",
    interpreters: &["python3", "/usr/bin/python3"],
    script: concat!(env!("CARGO_MANIFEST_DIR"), "/src/peers/with_twisted.py"),
};

pub const WORKS: [Work; 5] = [
    there("twisted-ten", "Twisted: ten `addCallback`, pending then fired", "ten"),
    there("twisted-ready", "Twisted: ten `addCallback` on `succeed`", "ready"),
    Work {
        slice: 100_000,
        ..there(
            "twisted-loop",
            "Twisted: loop of returned Deferreds, 100,000 deep, per level, pending",
            "loop",
        )
    },
    there(
        "twisted-loop-ready",
        "Twisted: loop of returned Deferreds, 100 deep, per level, ready",
        "loop-ready",
    ),
    there("twisted-spawn", "Twisted: `ensureDeferred`, Deferred fired, result", "spawn"),
];

/// Work of some microseconds.
const fn there(name: &'static str, what: &'static str, theirs: &'static str) -> Work {
    Work { slice: 2_000, sizes: (1_000, 3_000), ..Work::there(name, what, &TWISTED, theirs) }
}
