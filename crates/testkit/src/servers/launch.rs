//! The command line of a server: Java itself, without the release's start script.
//!
//! The scripts start three or four short-lived JVMs before the real one, or, from Elasticsearch 8 on, keep a second
//! one beside it. Starting Java at once saves seconds per start, and the process that we hold is the server.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::{
    error::SkipOrError,
    install::Installed,
    java::Java,
    keeper,
    release::{Engine, Release},
    settings,
};

/// Everything that stays the same over a server's restarts.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) release: Release,
    pub(crate) installed: Installed,
    pub(crate) java: Java,
    pub(crate) heap_mb: u32,
    pub(crate) fast_start: bool,
    /// Settings as YAML.
    pub(crate) settings: Vec<(String, String)>,
    /// Options by which its JVM believes in another authority's certificates.
    pub(crate) trust: Option<Vec<String>>,
    /// The server's own folder: `config`, `data`, `logs`, `repo`, `tmp`, and what it prints in `output.log`.
    pub(crate) folder: PathBuf,
}

impl Launch {
    /// Starts the server; it ends with this process at the latest.
    pub(crate) fn spawn(&self) -> Result<Child, SkipOrError> {
        let program = |source| SkipOrError::Program {
            program: "setpriv",
            purpose: "start servers",
            source,
        };
        let log = self.log_path();
        let open = || std::fs::File::options().create(true).append(true).open(&log);
        let output = open().map_err(|source| SkipOrError::file("open", &log, source))?;
        let errors = output
            .try_clone()
            .map_err(|source| SkipOrError::file("open", &log, source))?;
        let mut command = self.command();
        command.stdin(Stdio::piped()).stdout(output).stderr(errors);
        let mut child = keeper::spawn(command).map_err(program)?;
        if self.reads_arguments_from_stdin()
            && let Some(stdin) = child.stdin.as_mut()
        {
            // The pipe stays open with the child: the server ends when it is closed.
            let arguments =
                settings::as_launcher_arguments(&self.settings, &self.installed.home, &self.folder);
            let _ = stdin.write_all(&arguments);
        }
        Ok(child)
    }

    /// The file that holds what the server prints.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.folder.join("output.log")
    }

    fn reads_arguments_from_stdin(&self) -> bool {
        self.release.engine() == Engine::Elasticsearch && self.release.version().0 >= 8
    }

    /// OpenSearch 3's agent, which polices what plugins do, costs a quarter of the start and no test is about it.
    fn runs_without_agent(&self) -> bool {
        self.fast_start && self.release.engine() == Engine::OpenSearch && self.release.version().0 >= 3
    }

    fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        if let Some(account) = self.installed.account {
            command
                .arg(format!("--reuid={}", account.uid))
                .arg(format!("--regid={}", account.gid));
            command.arg("--clear-groups");
        }
        command.args(["--pdeathsig", "KILL", "--"]);
        command
            .arg(self.java.home.join("bin/java"))
            .args(self.jvm_options())
            .args(self.main_class());
        command.current_dir(&self.folder);
        for name in [
            "JAVA_TOOL_OPTIONS",
            "_JAVA_OPTIONS",
            "JDK_JAVA_OPTIONS",
            "CLASSPATH",
        ] {
            command.env_remove(name);
        }
        let scratch = self.folder.join("tmp");
        command
            .env("ES_TMPDIR", &scratch)
            .env("LIBFFI_TMPDIR", &scratch)
            .env("HOME", &self.folder);
        command
    }

    fn jvm_options(&self) -> Vec<String> {
        let home = self.installed.home.display();
        let mut options: Vec<String> = [
            "-Xshare:auto",
            "-Xss1m",
            "-XX:-UsePerfData",
            "-XX:-OmitStackTraceInFastThrow",
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            "-Dfile.encoding=UTF-8",
            "-Djna.nosys=true",
            "-Dio.netty.noUnsafe=true",
            "-Dio.netty.noKeySetOptimization=true",
            "-Dio.netty.recycler.maxCapacityPerThread=0",
            "-Dio.netty.allocator.numDirectArenas=0",
            "-Dlog4j.shutdownHookEnabled=false",
            "-Dlog4j2.disable.jmx=true",
            "-Dlog4j2.formatMsgNoLookups=true",
        ]
        .map(str::to_owned)
        .to_vec();
        options.push(format!("-Xmx{}m", self.heap_mb));
        options.push(format!("-XX:MaxDirectMemorySize={}m", self.heap_mb / 2));
        options.push(format!("-Djava.io.tmpdir={}", self.folder.join("tmp").display()));
        if self.fast_start {
            // A test's server lives for a minute: time spent on optimising it is not earned back.
            options.extend(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"].map(str::to_owned));
            options.push(format!("-Xms{}m", (self.heap_mb / 2).max(128)));
        } else {
            options.push("-XX:+UseG1GC".to_owned());
            options.push(format!("-Xms{}m", self.heap_mb));
        }
        options.extend(self.trust.iter().flatten().cloned());
        if self.java.feature < 23 {
            options.push("-Djava.locale.providers=SPI,COMPAT".to_owned());
        } else {
            options.push("-Djava.locale.providers=CLDR".to_owned());
            options.push(
                "-XX:CompileCommand=dontinline,java/lang/invoke/MethodHandle.setAsTypeCache".to_owned(),
            );
            options.push(
                "-XX:CompileCommand=dontinline,java/lang/invoke/MethodHandle.asTypeUncached".to_owned(),
            );
        }
        if self.java.feature >= 20 && !self.fast_start {
            options.push("--add-modules=jdk.incubator.vector".to_owned());
        }
        if (18..24).contains(&self.java.feature) {
            options.push("-Djava.security.manager=allow".to_owned());
        }
        match (self.release.engine(), self.release.version().0) {
            (Engine::OpenSearch, 3..) => {
                if !self.runs_without_agent() {
                    options.push(format!("-javaagent:{home}/agent/opensearch-agent.jar"));
                }
                options.push(
                    "--add-opens=java.base/java.nio=org.apache.arrow.memory.core,ALL-UNNAMED".to_owned(),
                );
                options.push("-Dorg.apache.lucene.store.MMapDirectory.sharedArenaMaxPermits=1".to_owned());
            }
            (Engine::Elasticsearch, 8..) => {
                options.push("-Dorg.apache.lucene.store.MMapDirectory.sharedArenaMaxPermits=1".to_owned());
                options.push(format!(
                    "-Dorg.apache.lucene.vectorization.upperJavaFeatureVersion={}",
                    self.java.feature
                ));
                options.extend(
                    [
                        "-XX:+EnableDynamicAgentLoading",
                        "-Djdk.attach.allowAttachSelf=true",
                    ]
                    .map(str::to_owned),
                );
            }
            _ => {}
        }
        options
    }

    fn main_class(&self) -> Vec<String> {
        let home = self.installed.home.display();
        let config = self.folder.join("config");
        let (prefix, class) = match self.release.engine() {
            Engine::OpenSearch => ("opensearch", "org.opensearch.bootstrap.OpenSearch"),
            Engine::Elasticsearch => ("es", "org.elasticsearch.bootstrap.Elasticsearch"),
        };
        let mut arguments = vec![
            format!("-D{prefix}.path.home={home}"),
            format!("-D{prefix}.path.conf={}", config.display()),
            format!("-D{prefix}.distribution.type=zip"),
        ];
        if self.reads_arguments_from_stdin() {
            let (major, minor, patch) = self.release.version();
            let bridge = format!(
                "{home}/lib/entitlement-bridge/elasticsearch-entitlement-bridge-{major}.{minor}.{patch}.jar"
            );
            arguments.extend([
                "-Des.java.type=ES_JAVA_HOME".to_owned(),
                format!("--patch-module=java.base={bridge}"),
                "--add-exports=java.base/org.elasticsearch.entitlement.bridge=org.elasticsearch.entitlement,\
                 java.logging,java.net.http,java.naming,jdk.net,jdk.zipfs,jdk.management.agent"
                    .to_owned(),
                "--module-path".to_owned(),
                format!("{home}/lib"),
                "--add-modules=jdk.net".to_owned(),
                "--add-modules=jdk.management.agent".to_owned(),
                "--add-modules=ALL-MODULE-PATH".to_owned(),
                "-m".to_owned(),
                format!("org.elasticsearch.server/{class}"),
            ]);
        } else {
            if self.release.engine() == Engine::Elasticsearch {
                let flavor = if settings::has_x_pack(&self.installed.home) {
                    "default"
                } else {
                    "oss"
                };
                arguments.push(format!("-Des.distribution.flavor={flavor}"));
            }
            arguments.push(format!("-D{prefix}.bundled_jdk=false"));
            let mut classes = format!("{home}/lib/*");
            if self.runs_without_agent() {
                // Classes that the agent would bring along.
                let (major, minor, patch) = self.release.version();
                let _ = write!(
                    classes,
                    ":{home}/agent/opensearch-agent-bootstrap-{major}.{minor}.{patch}.jar"
                );
            }
            arguments.extend(["-cp".to_owned(), classes, class.to_owned()]);
        }
        arguments
    }
}
