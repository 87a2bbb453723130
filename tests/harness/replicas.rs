//! Several servers of one registry, each with a data folder of its own and a relay before it.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::relay::{Relay, Way};
use super::{Client, Server, store};

/// One server of a registry. Other servers reach it by its relay, clients directly.
pub struct Replica {
    pub server: Server,
    pub relay: Relay,
    pub folder: tempfile::TempDir,
    settings: Vec<(String, String)>,
}

impl Replica {
    /// Starts servers on one database and one blob store. `settings` are variables without their `QUIRE_`.
    pub async fn start(count: usize, settings: &[(&str, &str)]) -> Vec<Self> {
        let mut replicas: Vec<Self> = Vec::new();
        for _ in 0..count {
            let shared = replicas.first().map(|first| first.server.data.clone());
            replicas.push(Self::beside(shared.as_deref(), settings).await);
        }
        replicas
    }

    /// Starts one more server, on what is in the data folder of another.
    pub async fn beside(shared: Option<&Path>, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        if let Some(shared) = shared {
            share(shared, folder.path());
        }
        Self::start_in(folder, settings).await
    }

    /// Starts a server on a folder that is there.
    pub async fn start_in(folder: tempfile::TempDir, settings: &[(&str, &str)]) -> Self {
        let relay = Relay::start().await;
        let mut all = vec![("NODE_URL".to_owned(), relay.url())];
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let server = Server::start_logging_in(folder.path(), &borrowed(&all));
        relay.set(Way::To(server.address));
        Self { server, relay, folder, settings: all }
    }

    pub fn admin(&self) -> Client {
        self.server.admin()
    }

    /// Ends the server as a crash does; what stands before it refuses then.
    pub fn kill(&mut self) {
        self.server.kill();
        self.relay.set(Way::Closed);
    }

    /// Starts it again after its end, on the same folder, where others find it.
    pub fn restart(&mut self) {
        self.server = Server::start_logging_in(self.folder.path(), &borrowed(&self.settings));
        self.relay.set(Way::To(self.server.address));
    }

    /// Starts it again after its end, at another address.
    pub async fn restart_elsewhere(&mut self) {
        self.relay = Relay::start().await;
        self.settings[0].1 = self.relay.url();
        self.restart();
    }

    /// What the server has logged since its start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("a log")
    }
}

fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Lays the database and the blobs of one data folder into another.
fn share(from: &Path, folder: &Path) {
    let data = folder.join("data");
    std::fs::create_dir(&data).expect("a folder");
    symlink(from.join("blobs"), data.join("blobs")).expect("a link");
    store::share(from.parent().expect("a folder around it"), folder);
}
