//! `threads.deferToThread(self.get_session_info_from_cookie)`: the function wants the request.
// says: write `move || Ok(f(argument))`
use thence::prelude::*;

struct Request;
struct Session;

fn get_session_info_from_cookie(_request: Request) -> Result<Session, Failure> {
    Ok(Session)
}

fn main() {
    offload(get_session_info_from_cookie).report(); //~ E0593
}
