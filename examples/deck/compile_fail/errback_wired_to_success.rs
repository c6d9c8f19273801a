//! `d.addErrback(self.upstream_request_success, request)`: the success handler gets the failures.
// says: `f` takes the error and gives a value in its place.
use thence::prelude::*;

struct Upstream;
struct Answer;

fn do_upstream_request() -> Deferred<Upstream> {
    Deferred::ok(Upstream)
}

fn upstream_request_success(_upstream: Upstream) -> Answer {
    Answer
}

fn main() {
    do_upstream_request()
        .map(upstream_request_success)
        .recover(upstream_request_success) //~ E0631
        .done(|_answer| ());
}
