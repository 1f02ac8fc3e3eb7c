//! The account that servers run under. They refuse to run as root, so where the tests do, a system user stands in;
//! everybody else runs them as they are.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::error::SkipOrError;

const USER: &str = "slipstream-test";

/// A user to switch to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The account to switch to, created where it is missing; `None` where the tests don't run as root.
///
/// Two processes may ask at once: the caller holds the cache's lock.
pub(crate) fn for_servers() -> Result<Option<Account>, SkipOrError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    if let Some(account) = find() {
        return Ok(Some(account));
    }
    let purpose = "make the account that servers run under";
    let made = Command::new("useradd")
        .args([
            "--system",
            "--user-group",
            "--no-create-home",
            "--shell",
            "/usr/sbin/nologin",
            USER,
        ])
        .output()
        .map_err(|source| SkipOrError::Program {
            program: "useradd",
            purpose,
            source,
        })?;
    find().map(Some).ok_or_else(|| SkipOrError::Provision {
        program: "useradd",
        purpose: purpose.to_owned(),
        output: String::from_utf8_lossy(&made.stderr).into_owned(),
    })
}

fn find() -> Option<Account> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == USER).then_some(())?;
        Some(Account {
            uid: fields.nth(1)?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    })
}

/// Whether any user can reach files below `path`: each existing folder on the way lets everyone pass.
pub(crate) fn open_to_all(path: &Path) -> bool {
    path.ancestors()
        .filter(|folder| !folder.as_os_str().is_empty())
        .filter_map(|folder| folder.metadata().ok())
        .all(|meta| meta.mode() & 0o001 != 0)
}

/// The first of the folders that `account` can reach; the last one where none is.
pub(crate) fn reachable(account: Option<Account>, folders: [PathBuf; 2]) -> PathBuf {
    let [first, second] = folders;
    if account.is_none() || open_to_all(&first) {
        first
    } else {
        second
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_private_folder_on_the_way_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(open_to_all(&inner), open_to_all(folder.path()));
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!open_to_all(&inner));
    }
}
