//! `upstream_request_failure(self, request)` has no parameter for the failure it is called with.
// plain: a call of the program's own function
use thence::prelude::*;

struct Request;
struct Answer;

fn upstream_request_failure(_request: Request) -> Answer {
    Answer
}

fn main() {
    let request = Request;
    Deferred::<Answer>::err(Failure::msg("refused"))
        .recover(move |failure| upstream_request_failure(failure, request)) //~ E0061
        .done(|_answer| ());
}
