//! The gateway `thence-gate`: cookie to session to identity header, in one process.
//!
//! ```text
//!            cookie                row                 X-Account-Id
//!  client ----------> [ cookie ] ------> [ store ] ------------------> upstream
//!         <---------- [ answer ] <--------- relay <-------------------
//!             one log line, the counters
//! ```
//!
//! The program is a library with a thin `main` so that its parts can be tested one by one; nothing
//! here is meant to be depended on. Rules are cited as the gateway's notes number them: S1 to S15
//! for sessions, rule 1 to rule 75 for HTTP.

#![forbid(unsafe_code)]

pub mod access_log;
pub mod address;
pub mod admin;
pub mod answer;
pub mod args;
pub mod certificates;
pub mod cut;
pub mod demo;
pub mod demo_upstream;
pub mod denied;
pub mod descriptors;
pub mod doctor;
pub mod door;
pub mod exit;
pub mod forward;
pub mod gate;
pub mod limits;
pub mod log_writer;
pub mod memory;
pub mod metrics;
pub mod place;
pub mod ports;
pub mod probe;
pub mod relay;
pub mod request_id;
pub mod run;
pub mod serve;
pub mod session;
pub mod sessions;
pub mod signals;
pub mod upload;
pub mod upstream;
pub mod visit;
