//! Several servers of one registry, each with a data folder of its own and a relay before it.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::relay::{Relay, Way};
use super::store::{self, Stores};
use super::{Client, Server};

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
            let folder = tempfile::tempdir().expect("a folder");
            if let Some(first) = replicas.first() {
                share(first.folder.path(), folder.path());
            }
            replicas.push(Self::start_in(folder, settings).await);
        }
        replicas
    }

    /// Starts one more server of the same registry.
    pub async fn beside(&self, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        share(self.folder.path(), folder.path());
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

    /// Runs a statement in the database, behind the back of the servers, and returns the number that it answers.
    pub fn sql(&self, statement: &str) -> String {
        match Stores::asked() {
            Stores::Near => {
                let path = self.folder.path().join("data/quire.db");
                let database = rusqlite::Connection::open(path).expect("a database");
                let mut statement = database.prepare(statement).expect("a statement");
                let mut rows = statement.query(()).expect("rows");
                let row = rows.next().expect("a row");
                row.map_or(String::new(), |row| row.get::<_, i64>(0).expect("a number").to_string())
            }
            Stores::Far => store::sql(self.folder.path(), statement),
        }
    }

    /// What the server has logged since its start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("a log")
    }
}

fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Lays the database and the blobs of one server before another, which starts in a folder of its own.
pub fn share(from: &Path, to: &Path) {
    std::fs::create_dir(to.join("data")).expect("a folder");
    symlink(from.join("data/blobs"), to.join("data/blobs")).expect("a link");
    store::share(from, to);
}
