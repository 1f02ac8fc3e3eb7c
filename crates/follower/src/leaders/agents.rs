//! The agents of one alias: which of them answer, and as what.
//!
//! All are said hello to at once, and one that does not answer holds up those that did for no longer than [`PATIENCE`]:
//! it is left out, and tried again only after [`REST`], unless no other answers. Agents of another cluster, which an
//! operator registered by mistake, are never used.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use slipstream_model::event;
use slipstream_model::moment::millis_of;
use slipstream_wire::connect::{AgentChannel, ConnectError, HelloError, Peer, channel_to, hello};
use slipstream_wire::protocol::CAPABILITIES;
use slipstream_wire::tls::ClientTls;
use slipstream_wire::v1;
use tokio::time::{Instant, sleep_until};

use super::LeaderError;
use super::choice::Candidate;
use super::shared::{Asker, Shared};
use crate::overview::{AgentStatus, ClusterStatus};

/// How long those that have answered wait for the others.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long an agent that failed is left alone while others answer.
const REST: Duration = Duration::from_secs(5);

/// The agents of an alias, and what is remembered of them.
pub(super) struct Agents {
    addresses: Vec<String>,
    tls: ClientTls,
    /// In the order of the addresses.
    memory: Mutex<Vec<Memory>>,
    met: Shared<Result<Arc<[Met]>, LeaderError>>,
}

/// What is remembered of one agent.
#[derive(Default)]
struct Memory {
    /// Until it fails.
    channel: Option<AgentChannel>,
    /// The cluster that it named last, kept also while it does not answer.
    cluster: Option<String>,
    failed: Option<Instant>,
    /// Whether the log has that it cannot be used.
    missed: bool,
    /// Whether the log has that it is of another cluster.
    foreign: bool,
    /// Who it is, by its certificate.
    peer: Peer,
    /// When it was asked last.
    asked: Option<SystemTime>,
    /// What it said last.
    said: Option<v1::HelloReply>,
    /// Why it cannot be used, as of then.
    fault: Option<String>,
}

/// An agent that said hello.
pub(super) struct Met {
    /// Its address.
    pub(super) agent: String,
    pub(super) channel: AgentChannel,
    pub(super) hello: v1::HelloReply,
}

impl Met {
    /// Whether it can read files of shards at all, as far as it tells.
    pub(super) fn tails(&self) -> bool {
        self.tailed_node().is_some()
    }
}

impl Candidate for Met {
    fn agent(&self) -> &str {
        &self.agent
    }

    fn tailed_node(&self) -> Option<&str> {
        Some(self.hello.node_id.as_str()).filter(|node| self.hello.tails && !node.is_empty())
    }
}

/// What became of one hello.
type Answer = (usize, Result<Met, LeaderError>);

impl Agents {
    pub(super) fn new(addresses: Vec<String>, tls: ClientTls) -> Self {
        let memory = addresses.iter().map(|_| Memory::default()).collect();
        Agents {
            addresses,
            tls,
            memory: Mutex::new(memory),
            met: Shared::default(),
        }
    }

    /// The agents that answer and are of one cluster, in the order of their addresses; at least one.
    pub(super) async fn meet(&self, asker: Asker<'_>) -> Result<Arc<[Met]>, LeaderError> {
        self.met.get(asker, || self.greet()).await
    }

    async fn greet(&self) -> Result<Arc<[Met]>, LeaderError> {
        let answers = self.answers().await;
        self.judge(answers).map(Into::into)
    }

    /// Says hello to all. Ends when all have answered that did not fail lately, or some have and the others' time is
    /// over; while nobody has, those that failed lately are tried too, and it ends when everyone has failed.
    async fn answers(&self) -> Vec<Answer> {
        let (rested, mut resting) = self.by_rest();
        let mut calls: FuturesUnordered<_> = rested.into_iter().map(|at| self.hello(at)).collect();
        let mut answers = Vec::new();
        let patience = sleep_until(Instant::now() + PATIENCE);
        tokio::pin!(patience);
        loop {
            let anyone = answers.iter().any(|(_, answer): &Answer| answer.is_ok());
            let impatient = calls.is_empty() || patience.is_elapsed();
            if anyone && impatient {
                break;
            }
            if impatient {
                calls.extend(resting.drain(..).map(|at| self.hello(at)));
            }
            tokio::select! {
                answer = calls.next() => match answer {
                    Some(answer) => {
                        if !anyone && answer.1.is_ok() {
                            patience.as_mut().reset(Instant::now() + PATIENCE);
                        }
                        answers.push(answer);
                    }
                    None => break,
                },
                () = &mut patience, if !patience.is_elapsed() => {}
            }
        }
        let silent = (0..self.addresses.len())
            .filter(|at| !resting.contains(at) && !answers.iter().any(|(answered, _)| answered == at));
        let silent: Vec<Answer> = silent.map(|at| (at, Err(self.too_slow(at)))).collect();
        answers.extend(silent);
        answers.sort_by_key(|(at, _)| *at);
        answers
    }

    async fn hello(&self, at: usize) -> Answer {
        let agent = &self.addresses[at];
        let greeting = async {
            let channel = self.channel(at)?;
            let hello = hello(channel.clone(), agent, env!("CARGO_PKG_VERSION"), &CAPABILITIES).await?;
            Ok(Met {
                agent: agent.clone(),
                channel,
                hello,
            })
        };
        let answer = greeting.await;
        if answer.is_err() {
            // A connection on which nothing comes may be broken without anybody knowing: not used again.
            self.memory()[at].channel = None;
        }
        (at, answer)
    }

    fn channel(&self, at: usize) -> Result<AgentChannel, ConnectError> {
        let mut memory = self.memory();
        if let Some(channel) = &memory[at].channel {
            return Ok(channel.clone());
        }
        let channel = channel_to(&self.addresses[at], self.tls.clone(), memory[at].peer.clone())?;
        memory[at].channel = Some(channel.clone());
        Ok(channel)
    }

    /// Remembers what the answers tell, says once what an operator should know, and keeps the agents that can be used.
    fn judge(&self, answers: Vec<Answer>) -> Result<Vec<Met>, LeaderError> {
        let mut memory = self.memory();
        let anyone = answers.iter().any(|(_, answer)| answer.is_ok());
        let (mut met, mut failure) = (Vec::new(), None);
        for (at, answer) in answers {
            let (address, memory) = (&self.addresses[at], &mut memory[at]);
            memory.asked = Some(SystemTime::now());
            match answer {
                Ok(agent) => {
                    memory.failed = None;
                    memory.fault = None;
                    memory.said = Some(agent.hello.clone());
                    if std::mem::take(&mut memory.missed) {
                        tracing::info!(
                            event = event::LEADER_AGENT_BACK,
                            address,
                            "a leader agent answers again"
                        );
                    }
                    memory.cluster = Some(agent.hello.cluster_uuid.clone());
                    met.push((at, agent));
                }
                Err(error) => {
                    memory.failed = Some(Instant::now());
                    memory.fault = Some(crate::chain(&error));
                    if !std::mem::replace(&mut memory.missed, true) {
                        let reason = crate::chain(&error);
                        tracing::warn!(
                            event = event::LEADER_AGENT_UNREACHABLE,
                            address,
                            reason,
                            others_stand_in = anyone,
                            "a leader agent cannot be used"
                        );
                    }
                    failure.get_or_insert(error);
                }
            }
        }
        let (ours, strange) = self.of_one_cluster(&mut memory, met);
        match strange.or(failure) {
            Some(error) if ours.is_empty() => Err(error),
            _ => Ok(ours),
        }
    }

    /// Keeps the agents of the cluster that the alias stands for, and tells what is wrong with another one.
    fn of_one_cluster(
        &self,
        memory: &mut [Memory],
        met: Vec<(usize, Met)>,
    ) -> (Vec<Met>, Option<LeaderError>) {
        let clusters: Vec<Option<&str>> = memory.iter().map(|m| m.cluster.as_deref()).collect();
        let Some((home, cluster)) = home(&clusters) else {
            return (Vec::new(), None);
        };
        let (home, cluster) = (self.addresses[home].clone(), cluster.to_owned());
        let (mut ours, mut strange) = (Vec::new(), None);
        for (at, met) in met {
            let told = std::mem::replace(&mut memory[at].foreign, met.hello.cluster_uuid != cluster);
            if !memory[at].foreign {
                ours.push(met);
                continue;
            }
            if !told {
                tracing::error!(
                    event = event::LEADER_AGENT_FOREIGN,
                    address = met.agent,
                    cluster_uuid = met.hello.cluster_uuid,
                    cluster_name = met.hello.cluster_name,
                    other = home,
                    other_cluster_uuid = cluster,
                    "two leader agents under one alias are of different clusters, the first is not used"
                );
            }
            let error = LeaderError::Foreign {
                address: met.agent,
                found: met.hello.cluster_uuid,
                other: home.clone(),
                expected: cluster.clone(),
            };
            memory[at].fault = Some(error.to_string());
            strange = Some(error);
        }
        (ours, strange)
    }

    /// The cluster that the alias stands for, as one of its agents told last.
    pub(super) fn cluster(&self) -> Option<ClusterStatus> {
        let memory = self.memory();
        let clusters: Vec<Option<&str>> = memory.iter().map(|m| m.cluster.as_deref()).collect();
        let (at, _) = home(&clusters)?;
        let said = memory[at].said.as_ref()?;
        Some(ClusterStatus {
            name: said.cluster_name.clone(),
            uuid: said.cluster_uuid.clone(),
            engine: said.engine.clone(),
            version: said.engine_version.clone(),
        })
    }

    /// What is known of each agent, in the order of their addresses.
    pub(super) fn statuses(&self) -> Vec<AgentStatus> {
        let memory = self.memory();
        let status = |(address, memory): (&String, &Memory)| {
            let said = memory.said.as_ref();
            let node = said.map(|said| said.node_name.clone());
            AgentStatus {
                address: address.clone(),
                reachable: memory.asked.map(|_| memory.fault.is_none()),
                error: memory.fault.clone(),
                asked_at_millis: memory.asked.map(millis_of),
                release: said.map(|said| said.agent_version.clone()),
                node: node.filter(|node| !node.is_empty()),
                reads_translog: said.is_some_and(|said| said.tails),
                certificate: memory.peer.certificate().map(Into::into),
            }
        };
        self.addresses.iter().zip(memory.iter()).map(status).collect()
    }

    /// The agents that may be tried, and those that failed a moment ago.
    fn by_rest(&self) -> (Vec<usize>, Vec<usize>) {
        let memory = self.memory();
        (0..memory.len()).partition(|&at| memory[at].failed.is_none_or(|failed| failed.elapsed() > REST))
    }

    fn too_slow(&self, at: usize) -> LeaderError {
        let error = io::Error::new(
            io::ErrorKind::TimedOut,
            format!("it did not answer within {PATIENCE:?} after another agent had"),
        );
        LeaderError::Hello(HelloError::Unreachable {
            address: self.addresses[at].clone(),
            source: Arc::new(error),
        })
    }

    fn memory(&self) -> MutexGuard<'_, Vec<Memory>> {
        crate::lock(&self.memory)
    }
}

/// Which cluster the alias stands for: that of most agents, of the first of them in doubt. Tells an agent of it, too.
fn home<'a>(clusters: &[Option<&'a str>]) -> Option<(usize, &'a str)> {
    let known = clusters.iter().enumerate();
    let known = known.filter_map(|(at, cluster)| cluster.map(|cluster| (at, cluster)));
    let agents = |of: &str| {
        clusters
            .iter()
            .flatten()
            .filter(|cluster| **cluster == of)
            .count()
    };
    // The last of equal ones would be taken.
    known.rev().max_by_key(|(_, cluster)| agents(cluster))
}

#[cfg(test)]
mod tests {
    use super::home;

    #[test]
    fn most_agents_decide_which_cluster_it_is_and_in_doubt_the_first() {
        let (x, y) = (Some("x"), Some("y"));
        for (clusters, expected) in [
            (vec![None, None], None),
            (vec![None, y], Some((1, "y"))),
            (vec![x, y], Some((0, "x"))),
            (vec![y, x, x], Some((1, "x"))),
            (vec![x, None, y, y, x], Some((0, "x"))),
        ] {
            assert_eq!(home(&clusters), expected, "{clusters:?}");
        }
    }
}
