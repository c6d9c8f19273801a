//! `thence-gate doctor`: what a gateway with these flags would meet on this machine.
//!
//! It changes nothing: no store is made, and a port is taken only to be given back.

use std::io::Write as _;

use crate::{
    args::Serve,
    exit::{Exit, Trouble},
    limits::Limits,
};

pub use self::{
    finding::{Finding, Verdict},
    system::System,
};

mod certificate;
mod driver;
mod finding;
mod limits;
mod log;
mod machine;
mod network;
mod report;
mod store;
mod system;

/// Looks at everything and prints what it finds. Ends well when nothing is bad.
///
/// # Errors
/// Never: what cannot be looked at is a finding too.
pub fn examine(asked: &Serve, json: bool) -> Result<Exit, Trouble> {
    let findings = findings(asked, &System::of_this_machine());
    let page = if json { report::json(&findings) } else { report::text(&findings) };
    // Whoever reads only the first lines closes the pipe early, which is no failure.
    let _ = std::io::stdout().write_all(page.as_bytes());
    let is_bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    Ok(if is_bad { Exit::CouldNotStart } else { Exit::Done })
}

fn findings(asked: &Serve, system: &System) -> Vec<Finding> {
    let limits = Limits::default();
    let (listen, admin) = (asked.listening(), asked.showing());
    let mut findings = vec![
        driver::driver(),
        driver::uring(system),
        machine::kernel(system),
        machine::processors(system),
        machine::memory(system, &limits),
        machine::clock(system),
        machine::user(),
        limits::descriptors(&limits),
        limits::descriptors_of_machine(system, &limits),
        limits::backlog(system),
        limits::ports(system, &limits, listen.0),
        store::store(asked),
    ];
    findings.extend(log::log(asked));
    findings.extend(network::listeners(listen, admin));
    findings.extend(certificate::certificate(asked));
    findings.extend(network::upstream(asked, &limits, listen.0));
    findings
}
