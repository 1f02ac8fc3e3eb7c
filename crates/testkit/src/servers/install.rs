//! Brings a release onto this machine, once: the zip from the Maven repository into the cache, unzipped beside it.
//!
//! Several test processes may want the same release at the same moment. One does the work under a file lock, the
//! others wait for it, and both zip and folder appear by renaming, so that what is there is always whole.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::process::Command;

use super::{
    account::{self, Account},
    error::SkipOrError,
    release::Release,
};

/// A download of 160 MB over a slow line must fit.
const PROVISION_LIMIT: Duration = Duration::from_mins(15);

/// What a launch needs to know about this machine.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    /// The unzipped release, read only.
    pub(crate) home: PathBuf,
    /// Whom to run it as.
    pub(crate) account: Option<Account>,
    /// Where port locks are kept.
    pub(crate) ports: PathBuf,
}

/// Makes sure that `release` is unzipped on this machine, `secured` with its security plugin in a folder of its own.
pub(crate) async fn install(release: Release, secured: bool) -> Result<Installed, SkipOrError> {
    let plugin = if secured { release.security_plugin() } else { None };
    let cache = cache_folder();
    make_folder(&cache)?;
    let lock = lock(cache.join(format!(".{}.lock", release.slug()))).await?;
    // The account is shared by all releases; useradd takes its own lock on /etc/passwd, so two of these at a time
    // end with one failing harmlessly and finding the other's.
    let account = account::for_servers()?;
    // The usual cache lies below root's home, which the servers' account must not enter.
    let homes = account::reachable(
        account,
        [cache.clone(), PathBuf::from("/var/cache/slipstream/servers")],
    );
    make_folder(&homes)?;
    let home = homes.join(match &plugin {
        None => release.slug(),
        Some(_) => format!("{}-security", release.slug()),
    });
    if !home.join("lib").is_dir() {
        let zips = cache.join("zips");
        let mut parts = vec![(
            zip(release, &release.slug(), &release.coordinate(), &zips).await?,
            "",
        )];
        if let Some((name, coordinate)) = &plugin {
            parts.push((
                zip(release, name, coordinate, &zips).await?,
                "plugins/opensearch-security",
            ));
        }
        unzip(&parts, &home, release).await?;
    }
    drop(lock);
    Ok(Installed {
        home,
        account,
        ports: cache.join("ports"),
    })
}

fn cache_folder() -> PathBuf {
    let cache = std::env::var_os("SLIPSTREAM_CACHE")
        .map(PathBuf::from)
        .or_else(|| {
            let home = std::env::var_os("HOME")?;
            Some(PathBuf::from(home).join(".cache/slipstream"))
        });
    cache
        .unwrap_or_else(|| std::env::temp_dir().join("slipstream-cache"))
        .join("servers")
}

fn make_folder(path: &Path) -> Result<(), SkipOrError> {
    std::fs::create_dir_all(path).map_err(|source| SkipOrError::file("create", path, source))
}

/// Waits for the lock as long as another process provisions; that one has its deadlines, and the kernel lets go of
/// its lock if it dies.
async fn lock(path: PathBuf) -> Result<File, SkipOrError> {
    let locked = tokio::task::spawn_blocking(move || {
        let file = File::create(&path).map_err(|source| SkipOrError::file("create", &path, source))?;
        file.lock()
            .map_err(|source| SkipOrError::file("lock", &path, source))?;
        Ok(file)
    });
    locked
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// A zip from the cache, or from the Maven repository; `slug` is its name there.
async fn zip(release: Release, slug: &str, coordinate: &str, zips: &Path) -> Result<PathBuf, SkipOrError> {
    let name = format!("{slug}.zip");
    let zip = zips.join(&name);
    if zip.is_file() {
        return Ok(zip);
    }
    let partial = zips.join(format!(".{slug}"));
    make_folder(&partial)?;
    let mut command = Command::new("mvn");
    command
        .args(["-q", "-B", "dependency:copy"])
        .arg(format!("-Dartifact={coordinate}"));
    command.arg(format!("-DoutputDirectory={}", partial.display()));
    run(command, "mvn", "download server releases", release).await?;
    let whole = partial.join(&name);
    std::fs::rename(&whole, &zip).map_err(|source| SkipOrError::file("move", whole, source))?;
    let _ = std::fs::remove_dir_all(partial);
    Ok(zip)
}

/// Unpacks the release, and what else goes where in its folder.
async fn unzip(parts: &[(PathBuf, &str)], home: &Path, release: Release) -> Result<(), SkipOrError> {
    let slug = home.file_name().unwrap_or_default().display().to_string();
    let partial = home.with_file_name(format!(".{slug}"));
    let _ = std::fs::remove_dir_all(&partial);
    let whole = partial.join(release.slug());
    for (zip, folder) in parts {
        // The release's own zip has its folder in it.
        let into = if folder.is_empty() {
            partial.clone()
        } else {
            whole.join(folder)
        };
        make_folder(&into)?;
        let mut command = Command::new("unzip");
        command.arg("-q").arg(zip).arg("-d").arg(&into);
        run(command, "unzip", "unpack server releases", release).await?;
    }
    std::fs::rename(&whole, home).map_err(|source| SkipOrError::file("move", whole, source))?;
    let _ = std::fs::remove_dir_all(partial);
    Ok(())
}

async fn run(
    mut command: Command,
    program: &'static str,
    purpose: &'static str,
    release: Release,
) -> Result<(), SkipOrError> {
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    let failed = |output| SkipOrError::Provision {
        program,
        purpose: format!("{purpose} ({release})"),
        output,
    };
    let output = match tokio::time::timeout(PROVISION_LIMIT, command.output()).await {
        Ok(output) => output.map_err(|source| SkipOrError::Program {
            program,
            purpose,
            source,
        })?,
        Err(_) => return Err(failed(format!("no end after {} s", PROVISION_LIMIT.as_secs()))),
    };
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(failed(super::tail(&String::from_utf8_lossy(&text), 10)))
}
