//! Bad input and trouble: what an operator sees, and that nothing is lost.
//!
//! Each test makes one thing go wrong between two embedded clusters and real agent processes, reads what the operator
//! would read (the REST error, the status, a log, an exit status), mends the cause, and compares every document.

#[path = "trouble/agents.rs"]
mod agents;
#[path = "trouble/certificates.rs"]
mod certificates;
#[path = "trouble/leader.rs"]
mod leader;
#[path = "trouble/starting.rs"]
mod starting;
#[path = "trouble/strangers.rs"]
mod strangers;
#[path = "trouble/target.rs"]
mod target;
