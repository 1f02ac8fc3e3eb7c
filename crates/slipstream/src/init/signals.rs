//! What the process is told from outside: SIGTERM and SIGINT end it in order, SIGHUP has it read its files again.

use slipstream_model::event;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// The signals that the process listens to.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// End in order.
    End,
    /// Read certificates and rules again.
    Reload,
}

impl Signals {
    /// Listens from now on; until then a signal ends the process at once.
    pub(crate) fn listen() -> Result<Signals, Failure> {
        let on = |kind| {
            signal(kind).map_err(|error| Failure::failed(format!("signals cannot be listened to: {error}")))
        };
        Ok(Signals {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> Asked {
        let (asked, name) = tokio::select! {
            _ = self.terminate.recv() => (Asked::End, "SIGTERM"),
            _ = self.interrupt.recv() => (Asked::End, "SIGINT"),
            _ = self.hangup.recv() => (Asked::Reload, "SIGHUP"),
        };
        match asked {
            Asked::End => tracing::info!(event = event::AGENT_STOPPING, signal = name, "signal received"),
            Asked::Reload => tracing::info!(signal = name, "signal received"),
        }
        asked
    }
}
