//! The table of server releases the suites may ask for: where each comes from and which Java runs it.
//!
//! Coordinates are those of the plain zips in the public Maven repository. They hold few modules, start quickly and
//! need no container.

/// Which of the two projects a release belongs to; they differ in the names of their properties and main classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// Elasticsearch, 7.x and 8.x.
    Elasticsearch,
    /// OpenSearch, 1.x to 3.x.
    OpenSearch,
}

/// One released server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(
    non_camel_case_types,
    reason = "the version must stay readable: 2_19_1 is not 2191"
)]
pub enum Release {
    /// Elasticsearch 7.3.0, the oldest that the suites know.
    Elasticsearch7_3_0,
    /// Elasticsearch 7.10.2, the last under the Apache licence.
    Elasticsearch7_10_2,
    /// Elasticsearch 7.17.29, the end of 7.x.
    Elasticsearch7_17_29,
    /// Elasticsearch 8.19.21.
    Elasticsearch8_19_21,
    /// OpenSearch 1.3.0.
    OpenSearch1_3_0,
    /// OpenSearch 2.19.1.
    OpenSearch2_19_1,
    /// OpenSearch 3.6.0; needs Java 21.
    OpenSearch3_6_0,
}

/// A row of the table.
struct Facts {
    name: &'static str,
    engine: Engine,
    version: (u32, u32, u32),
    group: &'static str,
    artifact: &'static str,
    java: (u32, u32),
}

const ES_GROUP: &str = "org.elasticsearch.distribution.integ-test-zip";
const OS_GROUP: &str = "org.opensearch.distribution.integ-test-zip";

impl Release {
    /// Every release of the table, oldest first within its engine.
    pub const ALL: [Self; 7] = [
        Self::Elasticsearch7_3_0,
        Self::Elasticsearch7_10_2,
        Self::Elasticsearch7_17_29,
        Self::Elasticsearch8_19_21,
        Self::OpenSearch1_3_0,
        Self::OpenSearch2_19_1,
        Self::OpenSearch3_6_0,
    ];

    /// The releases that the standing suites run against, small enough a set to keep cached everywhere.
    pub const COMMON: [Self; 5] = [
        Self::Elasticsearch7_10_2,
        Self::Elasticsearch7_17_29,
        Self::Elasticsearch8_19_21,
        Self::OpenSearch2_19_1,
        Self::OpenSearch3_6_0,
    ];

    const fn facts(self) -> Facts {
        // The upper Java bounds are those of the security manager, which these releases cannot start without:
        // Java 18 wants a flag for it (see `launch`) and Java 24 has none.
        match self {
            Self::Elasticsearch7_3_0 => Facts::es("Elasticsearch 7.3.0", (7, 3, 0), (11, 17)),
            Self::Elasticsearch7_10_2 => Facts::es("Elasticsearch 7.10.2", (7, 10, 2), (11, 17)),
            Self::Elasticsearch7_17_29 => Facts::es("Elasticsearch 7.17.29", (7, 17, 29), (11, 21)),
            Self::Elasticsearch8_19_21 => Facts::es("Elasticsearch 8.19.21", (8, 19, 21), (17, 99)),
            Self::OpenSearch1_3_0 => Facts::os("OpenSearch 1.3.0", (1, 3, 0), (11, 17)),
            Self::OpenSearch2_19_1 => Facts::os("OpenSearch 2.19.1", (2, 19, 1), (11, 21)),
            Self::OpenSearch3_6_0 => Facts::os("OpenSearch 3.6.0", (3, 6, 0), (21, 99)),
        }
    }

    /// The name for humans, such as `OpenSearch 2.19.1`.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// The project.
    pub const fn engine(self) -> Engine {
        self.facts().engine
    }

    /// Major, minor and patch version.
    pub const fn version(self) -> (u32, u32, u32) {
        self.facts().version
    }

    /// Oldest and newest Java feature release that runs it.
    pub const fn java_range(self) -> (u32, u32) {
        self.facts().java
    }

    /// The folder and zip name in the cache, such as `opensearch-2.19.1`.
    pub fn slug(self) -> String {
        let Facts {
            artifact,
            version: (major, minor, patch),
            ..
        } = self.facts();
        format!("{artifact}-{major}.{minor}.{patch}")
    }

    /// Name and Maven coordinate of the security plugin, for releases that do not carry theirs.
    pub(crate) fn security_plugin(self) -> Option<(String, String)> {
        if self.engine() != Engine::OpenSearch {
            return None;
        }
        let (major, minor, patch) = self.version();
        let version = format!("{major}.{minor}.{patch}.0");
        Some((
            format!("opensearch-security-{version}"),
            format!("org.opensearch.plugin:opensearch-security:{version}:zip"),
        ))
    }

    /// The Maven coordinate, `group:artifact:version:zip`.
    pub fn coordinate(self) -> String {
        let Facts {
            group,
            artifact,
            version: (major, minor, patch),
            ..
        } = self.facts();
        format!("{group}:{artifact}:{major}.{minor}.{patch}:zip")
    }
}

impl Facts {
    const fn es(name: &'static str, version: (u32, u32, u32), java: (u32, u32)) -> Self {
        Self {
            name,
            engine: Engine::Elasticsearch,
            version,
            group: ES_GROUP,
            artifact: "elasticsearch",
            java,
        }
    }

    const fn os(name: &'static str, version: (u32, u32, u32), java: (u32, u32)) -> Self {
        Self {
            name,
            engine: Engine::OpenSearch,
            version,
            group: OS_GROUP,
            artifact: "opensearch",
            java,
        }
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_coordinates_and_folders_agree() {
        for release in Release::ALL {
            let (major, minor, patch) = release.version();
            let version = format!("{major}.{minor}.{patch}");
            assert!(release.name().ends_with(&version), "{release:?}");
            assert!(release.slug().ends_with(&version), "{release:?}");
            assert!(
                release.coordinate().ends_with(&format!(":{version}:zip")),
                "{release:?}"
            );
        }
    }
}
