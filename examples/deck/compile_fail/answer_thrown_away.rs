//! `handleEvent_good` renders on a thread and drops what was rendered.
// plain: what a function says it returns
use thence::prelude::*;

fn render_index(account_id: u64) -> Result<String, Failure> {
    Ok(format!("account {account_id}"))
}

fn handle_event_good(account_id: u64) -> Deferred<String> {
    //~^ E0308
    offload(move || render_index(account_id));
}

fn main() {
    handle_event_good(42).report();
}
