//! A copy of files over TLS, as plain as can be: read, sent, received, written.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Bytes read and written at once.
const PORTION: usize = 256 * 1024;
const NAME: &str = "localhost";

/// How long it takes to copy so many files of so many bytes together, in `folder`, to others there.
pub(crate) async fn over_tls(folder: &Path, files: u64, bytes: u64) -> Result<Duration> {
    let folder = tempfile::Builder::new().prefix("plain-").tempdir_in(folder)?;
    let of = |name: &str| {
        (0..files)
            .map(|n| folder.path().join(format!("{name}-{n}")))
            .collect()
    };
    let (from, to): (Vec<_>, Vec<_>) = (of("from"), of("to"));
    let sizes: Vec<u64> = (0..files)
        .map(|n| bytes / files + u64::from(n < bytes % files))
        .collect();
    let noise: Vec<u8> = (0..PORTION).map(|_| rand::random()).collect();
    for (file, size) in from.iter().zip(&sizes) {
        let (mut file, mut left) = (File::create(file).await?, *size);
        while left > 0 {
            let portion = left.min(PORTION as u64);
            file.write_all(&noise[..portion as usize]).await?;
            left -= portion;
        }
        file.flush().await?;
    }

    let (acceptor, connector) = both_ends()?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let begun = Instant::now();
    let sending = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let mut stream = acceptor.accept(stream).await?;
        let mut portion = vec![0; PORTION];
        for file in from {
            let mut file = File::open(&file).await?;
            file.set_max_buf_size(PORTION);
            loop {
                match file.read(&mut portion).await? {
                    0 => break,
                    read => stream.write_all(&portion[..read]).await?,
                }
            }
        }
        stream.shutdown().await
    });
    let receiving = tokio::spawn(async move {
        let stream = TcpStream::connect(address).await?;
        let mut stream = connector.connect(ServerName::try_from(NAME)?, stream).await?;
        let (mut portion, mut received) = (vec![0; PORTION], 0);
        for (file, size) in to.iter().zip(sizes) {
            let (mut file, mut left) = (File::create(file).await?, size);
            file.set_max_buf_size(PORTION);
            while left > 0 {
                // As much as there is: what comes at once is a record.
                let (mut filled, most) = (0, left.min(PORTION as u64) as usize);
                while filled < most {
                    match stream.read(&mut portion[filled..most]).await? {
                        0 => bail!("the connection ended within a file"),
                        read => filled += read,
                    }
                }
                file.write_all(&portion[..filled]).await?;
                left -= filled as u64;
            }
            file.flush().await?;
            received += size;
        }
        anyhow::Ok(received)
    });
    sending.await??;
    let received = receiving.await??;
    ensure!(received == bytes, "{received} bytes came of {bytes}");
    Ok(begun.elapsed())
}

fn both_ends() -> Result<(TlsAcceptor, TlsConnector)> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([NAME.to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = &[&rustls::version::TLS13];
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone())?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((Arc::new(server).into(), Arc::new(client).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn all_bytes_arrive() {
        let folder = tempfile::tempdir().unwrap();
        over_tls(folder.path(), 3, 1_000_001).await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
