//! Starts processes that must not outlive this one, from a thread that lives as long as it.
//!
//! A parent-death signal is sent when the *thread* that made the child ends, and tests run on threads of their own:
//! a server shared by several tests would die with the first. One thread makes them all.

use std::{
    io,
    process::{Child, Command},
    sync::{OnceLock, mpsc},
    thread,
};

type Request = (Command, mpsc::Sender<io::Result<Child>>);

static KEEPER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();

/// Starts `command`.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    let keeper = KEEPER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        thread::spawn(move || {
            for (mut command, answer) in requests {
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let gone = || io::Error::other("the thread that starts servers is gone");
    let (answer, child) = mpsc::channel();
    keeper.send((command, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}
