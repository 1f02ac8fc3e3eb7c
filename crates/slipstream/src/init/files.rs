//! The server of the files of restores, put together from its configuration.

use std::time::SystemTime;

use slipstream_follower::FileServer;
use slipstream_wire::tls::HttpsTls;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::bind::bind;
use crate::config::Served;
use crate::failure::{Failure, chain};

/// The server, bound to its port.
pub(crate) struct Files {
    pub(crate) server: FileServer,
    listener: TcpListener,
    tls: Option<HttpsTls>,
}

/// Its certificate, which can be replaced while it serves.
#[derive(Clone, Default)]
pub(crate) struct FilesTls(Option<HttpsTls>);

impl Files {
    /// As configured.
    pub(crate) async fn new(served: &Served) -> Result<Files, Failure> {
        let listener = bind(&served.address, "[snapshots] address", "files of restores").await?;
        let address = listener.local_addr().map_err(|error| Failure::of(&error))?;
        let tls = served.tls.as_ref().map(|https| HttpsTls::new(&https.0));
        let url = if served.address.ends_with(":0") {
            served.url(&address.to_string())
        } else {
            served.url(&served.address)
        };
        Ok(Files {
            server: FileServer::new(served.spool.clone(), &url, served.is_open()),
            listener,
            tls: tls.transpose().map_err(|error| Failure::usage(chain(&error)))?,
        })
    }

    /// Its certificate.
    pub(crate) fn tls(&self) -> FilesTls {
        FilesTls(self.tls.clone())
    }

    /// Serves until `shutdown`.
    pub(crate) async fn serve(self, shutdown: CancellationToken) -> Result<(), Failure> {
        let served = self.server.serve(self.listener, self.tls, shutdown).await;
        served.map_err(|error| Failure::of(&error))
    }
}

impl FilesTls {
    /// Takes the certificate from a file that was read anew.
    pub(crate) fn reload(&self, served: Option<&Served>) -> Result<(), String> {
        let https = served.and_then(|served| served.tls.as_ref());
        match (&self.0, https) {
            (Some(tls), Some(https)) => tls.reload(&https.0).map_err(|error| chain(&error)),
            (None, None) => Ok(()),
            _ => Err("whether [snapshots] speaks TLS changes with a restart only".to_owned()),
        }
    }

    /// When it expires, or `others` does.
    pub(crate) fn expires_at(&self, others: SystemTime) -> SystemTime {
        self.0.as_ref().map_or(others, |tls| tls.expires_at().min(others))
    }
}
