//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use slipstream_model::Bootstrap;

/// Cross-cluster replication for OpenSearch and Elasticsearch, without plugins.
///
/// Exit status: 0 done, 1 the thing asked about is false or failed, 2 usage or configuration error.
#[derive(Debug, Parser)]
#[command(name = "slipstream", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print answers and errors as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How log lines on stderr look; SLIPSTREAM_LOG sets what is logged (default: info)
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One object a line
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch an index being replicated between two embedded clusters
    Demo(DemoArgs),
    /// Run a leader agent beside the cluster to read from
    Leader(AgentArgs),
    /// Run a follower agent, with its gateway, beside the cluster to write to
    Follower(AgentArgs),
    /// Try what an agent needs before it is started, and say what to change
    Doctor(AgentArgs),
    /// Run the embedded engine alone
    Sandbox(SandboxArgs),
    /// Make a private CA and certificates for trying things out
    #[command(subcommand)]
    Certs(CertsCommand),
    /// Print a user's line for the gateway's `users_file`; the password is the first line of stdin
    Password {
        /// The user
        name: String,
    },
    /// Start following an index of a leader
    Start(StartArgs),
    /// End following: the index takes writes
    Stop(IndexArgs),
    /// Hold an index where it is
    Pause(PauseArgs),
    /// Go on with a paused or failed index
    Resume(IndexArgs),
    /// Show where indices stand
    Status(StatusArgs),
    /// Compare a following index with its leader's: exit status 0 equal, 1 different, 2 could not tell
    Verify(VerifyArgs),
    /// Follow a leader's indices by their names
    #[command(subcommand)]
    Autofollow(AutofollowCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Keep everything up after the walkthrough, to try it by hand
    #[arg(long)]
    pub(crate) serve: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// The agent's TOML file; each key can be overridden by SLIPSTREAM_SECTION__KEY
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct SandboxArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9200")]
    pub(crate) listen: SocketAddr,
    /// The engine that it says it is
    #[arg(long, value_enum, default_value_t = EngineArg::Opensearch)]
    pub(crate) engine: EngineArg,
    /// A folder to keep the indices in; without it they are gone with the process
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// The engines that the sandbox can stand in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineArg {
    /// OpenSearch
    Opensearch,
    /// Elasticsearch
    Elasticsearch,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// Make a CA: DIR/ca.pem and DIR/ca.key
    Init {
        /// Where; made if it is not there
        dir: PathBuf,
    },
    /// Issue an agent's certificate: DIR/NAME.pem and DIR/NAME.key
    Issue {
        /// The CA's folder
        dir: PathBuf,
        /// What the files are called
        name: String,
        /// A DNS name, IP address or URI of the agent; can be repeated
        #[arg(long = "san", value_name = "SAN", required = true)]
        sans: Vec<String>,
    },
}

/// Where the agent is controlled.
#[derive(Debug, Args)]
pub(crate) struct GatewayArgs {
    /// The follower agent's gateway
    #[arg(
        long,
        value_name = "URL",
        env = "SLIPSTREAM_GATEWAY",
        default_value = "http://127.0.0.1:9710",
        hide_env_values = true
    )]
    pub(crate) gateway: String,
    /// Who you are to the gateway; the password comes from --password-file or SLIPSTREAM_PASSWORD
    #[arg(long, value_name = "NAME", env = "SLIPSTREAM_USER", hide_env_values = true)]
    pub(crate) user: Option<String>,
    /// A file with the password in its first line
    #[arg(
        long,
        value_name = "FILE",
        env = "SLIPSTREAM_PASSWORD_FILE",
        hide_env_values = true
    )]
    pub(crate) password_file: Option<PathBuf>,
    /// The only CAs to trust for https, as PEM; without it those of the system
    #[arg(long, value_name = "FILE", env = "SLIPSTREAM_CA_FILE", hide_env_values = true)]
    pub(crate) ca_file: Option<PathBuf>,
    /// A certificate to show to the gateway, as PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "SLIPSTREAM_CERT_FILE",
        hide_env_values = true,
        requires = "key_file"
    )]
    pub(crate) cert_file: Option<PathBuf>,
    /// Its private key, as PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "SLIPSTREAM_KEY_FILE",
        hide_env_values = true,
        requires = "cert_file"
    )]
    pub(crate) key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// The index to make on the target cluster
    pub(crate) follower_index: String,
    /// The leader's alias
    #[arg(long, value_name = "ALIAS")]
    pub(crate) leader: String,
    /// The index of the leader
    #[arg(long, value_name = "NAME")]
    pub(crate) leader_index: String,
    /// What the index begins with, instead of what the agent finds faster: the leader's files, or its documents
    #[arg(long, value_name = "HOW", value_parser = Bootstrap::ALL.map(Bootstrap::as_str))]
    pub(crate) bootstrap: Option<String>,
    /// Wait until the leader's contents have been copied
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AutofollowCommand {
    /// Make a rule: it follows what there is, and new indices within a second
    Add(AddRuleArgs),
    /// End a rule; what it has started goes on
    Remove {
        /// The rule
        name: String,
        /// The leader's alias
        #[arg(long, value_name = "ALIAS")]
        leader: String,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Show the rules, and what they could not start
    List(GatewayArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AddRuleArgs {
    /// What the rule is called
    pub(crate) name: String,
    /// The leader's alias
    #[arg(long, value_name = "ALIAS")]
    pub(crate) leader: String,
    /// The indices to follow; `*` stands for any run of characters
    #[arg(long, value_name = "PATTERN")]
    pub(crate) pattern: String,
    /// Of those, indices to leave; can be repeated
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// How followers are called, with {{leader_index}} for the leader's name
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) follower_index: Option<String>,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
}

#[derive(Debug, Args)]
pub(crate) struct IndexArgs {
    /// The following index
    pub(crate) index: String,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The following index
    pub(crate) index: String,
    /// Put right what differs: write the leader's documents again, delete those that it does not have
    #[arg(long)]
    pub(crate) repair: bool,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// The following index
    pub(crate) index: String,
    /// Why, for whoever looks at the status
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// One following index, shard by shard; without it all
    pub(crate) index: Option<String>,
    /// Look again every two seconds: a live table on a terminal, a line an index and look elsewhere
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
}
