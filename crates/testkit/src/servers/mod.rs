//! Real servers for tests: provisioned once, started in seconds, gone when the test ends, however it ends.
//!
//! ```no_run
//! # async fn example() {
//! use slipstream_testkit::servers::{Release, Server, ServerConfig, or_skip};
//! let Some(mut server) = or_skip(Server::start(Release::OpenSearch2_19_1, ServerConfig::default()).await) else {
//!     return;
//! };
//! server.kill().await;
//! or_skip(server.restart().await);
//! # }
//! ```
//!
//! A server listens on 127.0.0.1 only, on ports that stay its own until it is dropped; its folder is removed then.
//! Should the test process be killed, the kernel kills its servers.
//!
//! On two cores a start takes longer than many a test. [`Server::ready`] therefore takes one that an earlier test of the same process
//! is done with, as empty as a new one, if there is one.

mod account;
mod cluster;
mod config;
mod disk;
mod emptying;
mod error;
mod folder;
mod install;
mod instance;
mod java;
mod keeper;
mod launch;
mod ports;
mod release;
mod security;
mod settings;
mod shelf;

use std::ops::{Deref, DerefMut};

pub(crate) use self::instance::tail;
pub use self::{
    cluster::Cluster,
    config::ServerConfig,
    error::{SkipOrError, or_skip},
    instance::Instance,
    release::{Engine, Release},
    security::{ADMIN, ADMIN_PASSWORD, SERVICE_TOKEN},
};
use self::{emptying::Inventory, shelf::Shelved};
use crate::aside;

/// A server that belongs to whoever holds this.
#[derive(Debug)]
pub struct Server {
    /// `None` only while it is dropped.
    instance: Option<Instance>,
    /// What it had when it was new, where another test may have it after this one.
    inventory: Option<Inventory>,
}

impl Server {
    /// Starts `release` and waits until it answers.
    ///
    /// # Errors
    /// If this machine cannot run it, or it does not start.
    pub async fn start(release: Release, config: ServerConfig) -> Result<Self, SkipOrError> {
        Ok(Server {
            instance: Some(Instance::start(release, config).await?),
            inventory: None,
        })
    }

    /// The same, unless a test before this one is done with such a server: then that, emptied. For clusters of one node; one with security
    /// is always new, for its users would stay.
    ///
    /// # Errors
    /// If this machine cannot run it, or it does not start.
    pub async fn ready(release: Release, config: ServerConfig) -> Result<Self, SkipOrError> {
        if config.secured {
            return Server::start(release, config).await;
        }
        while let Some(Shelved {
            mut instance,
            inventory,
        }) = shelf::take(release, &config)
        {
            match emptying::empty(&mut instance, &inventory).await {
                Ok(()) => {
                    return Ok(Server {
                        instance: Some(instance),
                        inventory: Some(inventory),
                    });
                }
                Err(why) => aside(&format!("a used {release} is not used again: {why}")),
            }
        }
        let mut server = Server::start(release, config).await?;
        server.inventory = Inventory::of(&server.client()).await.ok();
        Ok(server)
    }

    /// Ends the server in an orderly way and removes its folder.
    pub async fn stop(mut self) {
        self.inventory = None;
        self.shut_down().await;
    }
}

impl Deref for Server {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        self.instance.as_ref().expect("it is not being dropped")
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Instance {
        self.instance.as_mut().expect("it is not being dropped")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What a failed test leaves is not trusted.
        if let (Some(instance), Some(inventory)) = (self.instance.take(), self.inventory.take())
            && !std::thread::panicking()
        {
            shelf::put(Shelved { instance, inventory });
        }
    }
}
