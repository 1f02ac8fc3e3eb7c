//! Why a CA or a certificate could not be made.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a CA or a certificate could not be made.
#[derive(Debug, Error)]
pub enum CertsError {
    /// Nothing is overwritten.
    #[error(
        "`{}` exists already and is never overwritten: choose another name or folder, or remove it \
         yourself",
        .0.display()
    )]
    Exists(PathBuf),
    /// The folder holds no CA.
    #[error("`{}` is missing: make a CA in this folder first with `slipstream certs init`", .0.display())]
    NoCa(PathBuf),
    /// A file or folder could not be read or written.
    #[error("cannot {action} `{}`: check the path and the permissions of this user", .path.display())]
    Io {
        /// "read", "write" or "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The CA's files cannot be used.
    #[error(
        "`{}` is not usable: restore it from a backup, or make a new CA in another folder",
        .path.display()
    )]
    BadCa {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rcgen::Error,
    },
    /// `ca.key` belongs to another CA than `ca.pem`.
    #[error(
        "the key `ca.key` does not belong to the certificate `ca.pem` in `{}`: restore the pair from a \
         backup",
        .0.display()
    )]
    CaMismatch(PathBuf),
    /// The name cannot be a file's.
    #[error("`{0}` cannot be the name of a certificate: use letters, digits, `-`, `_` and `.`, and not `ca`")]
    Name(String),
    /// No subject alternative name was given.
    #[error(
        "certificate `{0}` needs at least one `--san`: the host name or address that followers \
         connect to, for a leader agent; the identity that the leader knows it by, for a follower \
         agent"
    )]
    NoSan(String),
    /// A subject alternative name is none.
    #[error("`{0}` is neither a DNS name, nor an IP address, nor a URI such as `spiffe://example/follower`")]
    San(String),
    /// The library could not make the key or the certificate.
    #[error("cannot make certificate `{name}`")]
    Make {
        /// The certificate's name.
        name: String,
        /// What the library says.
        #[source]
        source: rcgen::Error,
    },
}
