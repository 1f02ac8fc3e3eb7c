//! Finds the Java installation that runs a release: the newest whose feature release lies in the release's range.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{error::SkipOrError, release::Release};

/// A Java installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Java {
    /// Its home; `bin/java` lies below.
    pub(crate) home: PathBuf,
    /// Its feature release, such as 17.
    pub(crate) feature: u32,
}

impl Java {
    /// Makes a file in `folder` by which a JVM believes in certificates of an authority, and no other; the options that name it.
    pub(crate) fn trusting(&self, ca: &Path, folder: &Path) -> Result<Vec<String>, SkipOrError> {
        const PROGRAM: &str = "keytool";
        const PASSWORD: &str = "changeit";
        let purpose = "have a server trust an authority";
        let store = folder.join("trust.p12");
        let arguments = [
            "-importcert",
            "-noprompt",
            "-alias",
            "ca",
            "-storetype",
            "PKCS12",
            "-storepass",
            PASSWORD,
        ];
        let mut command = Command::new(self.home.join("bin").join(PROGRAM));
        command
            .args(arguments)
            .arg("-file")
            .arg(ca)
            .arg("-keystore")
            .arg(&store);
        let made = command.output().map_err(|source| SkipOrError::Program {
            program: PROGRAM,
            purpose,
            source,
        })?;
        if !made.status.success() {
            return Err(SkipOrError::Provision {
                program: PROGRAM,
                purpose: purpose.to_owned(),
                output: String::from_utf8_lossy(&made.stdout).into_owned(),
            });
        }
        Ok(vec![
            format!("-Djavax.net.ssl.trustStore={}", store.display()),
            "-Djavax.net.ssl.trustStoreType=PKCS12".to_owned(),
            format!("-Djavax.net.ssl.trustStorePassword={PASSWORD}"),
        ])
    }
}

/// The newest installation that runs `release`.
pub(crate) fn for_release(release: Release) -> Result<Java, SkipOrError> {
    let found = installations();
    choose(&found, release.java_range()).ok_or_else(|| {
        let (oldest, newest) = release.java_range();
        let have = match found
            .iter()
            .map(|java| java.feature.to_string())
            .collect::<Vec<_>>()
        {
            versions if versions.is_empty() => "none is installed".to_owned(),
            versions => format!("found {}", versions.join(", ")),
        };
        let wanted = if newest >= 99 {
            format!("{oldest} or later")
        } else {
            format!("{oldest} to {newest}")
        };
        SkipOrError::Skip {
            reason: format!(
                "{release} needs Java {wanted} and {have}: install one under /usr/lib/jvm or set JAVA_HOME"
            ),
        }
    })
}

fn choose(found: &[Java], (oldest, newest): (u32, u32)) -> Option<Java> {
    found
        .iter()
        .filter(|java| (oldest..=newest).contains(&java.feature))
        .max_by_key(|java| java.feature)
        .cloned()
}

fn installations() -> Vec<Java> {
    let configured = ["JAVA_HOME", "SLIPSTREAM_JAVA_HOME"]
        .into_iter()
        .filter_map(std::env::var_os)
        .map(PathBuf::from);
    let packaged = std::fs::read_dir("/usr/lib/jvm")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut found: Vec<Java> = configured
        .chain(packaged)
        .filter_map(|home| inspect(&home))
        .collect();
    // The same installation shows under several links.
    found.sort_by(|a, b| (a.feature, &a.home).cmp(&(b.feature, &b.home)));
    found.dedup();
    found
}

fn inspect(home: &Path) -> Option<Java> {
    let home = home.canonicalize().ok()?;
    if !home.join("bin/java").is_file() {
        return None;
    }
    let release = std::fs::read_to_string(home.join("release")).ok()?;
    Some(Java {
        feature: feature_of(&release)?,
        home,
    })
}

/// Reads the feature release out of the `release` file that every installation since Java 9 carries.
fn feature_of(release_file: &str) -> Option<u32> {
    let line = release_file
        .lines()
        .find_map(|line| line.strip_prefix("JAVA_VERSION="))?;
    let version = line.trim().trim_matches('"');
    version.split(['.', '-', '+']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn java(feature: u32) -> Java {
        Java {
            home: PathBuf::from(format!("/jvm/{feature}")),
            feature,
        }
    }

    #[test]
    fn the_newest_in_range_is_taken() {
        let found = [java(11), java(17), java(25)];
        assert_eq!(choose(&found, (11, 17)), Some(java(17)));
        assert_eq!(choose(&found, (21, 99)), Some(java(25)));
        assert_eq!(choose(&found, (18, 21)), None);
    }

    #[test]
    fn release_files_are_understood() {
        assert_eq!(
            feature_of("IMPLEMENTOR=\"Debian\"\nJAVA_VERSION=\"17.0.15\"\n"),
            Some(17)
        );
        assert_eq!(feature_of("JAVA_VERSION=\"25\"\n"), Some(25));
        assert_eq!(feature_of("nothing"), None);
    }
}
