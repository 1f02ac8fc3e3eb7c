//! What a failed storm leaves behind: the logs of both agents and both servers, to be read afterwards.

use std::path::PathBuf;

use super::Scene;

/// Keeps logs if the storm panics, or `STORM_KEEP` is set.
pub(super) struct Relics {
    logs: Vec<(PathBuf, &'static str)>,
    seed: u64,
}

impl Relics {
    pub(super) fn of(seed: u64, scene: &Scene) -> Relics {
        let agents = scene.agents.folder.path();
        Relics {
            logs: vec![
                (agents.join("leader.log"), "leader-agent.log"),
                (agents.join("follower.log"), "follower-agent.log"),
                (agents.join("leader.toml"), "leader.toml"),
                (scene.pair.leader.log_path(), "leader-cluster.log"),
                (scene.pair.target.log_path(), "target-cluster.log"),
            ],
            seed,
        }
    }
}

impl Drop for Relics {
    fn drop(&mut self) {
        let name = match (std::thread::panicking(), std::env::var_os("STORM_KEEP")) {
            (true, _) => "storm-fail",
            (false, Some(_)) => "storm",
            (false, None) => return,
        };
        let folder = std::env::temp_dir().join(format!("{name}-{}", self.seed));
        // A failure may be under way; one to copy must not hide it.
        let _ = std::fs::create_dir_all(&folder);
        for (log, name) in &self.logs {
            let _ = std::fs::copy(log, folder.join(name));
        }
        println!("  logs are in {}", folder.display());
    }
}
