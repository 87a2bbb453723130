//! The stores that the servers under test use: SQLite and a folder, or PostgreSQL and S3 where `QUIRE_TEST_STORE` asks
//! for them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// The file beside the data folder that keeps the name of its database.
const NOTE: &str = "database";

/// What `QUIRE_TEST_STORE` asks for. It is for the harness, and not passed on to the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stores {
    /// SQLite, and blobs in a folder.
    Near,
    /// PostgreSQL, and blobs in an S3 bucket.
    Far,
}

impl Stores {
    pub fn asked() -> Self {
        match std::env::var("QUIRE_TEST_STORE").as_deref() {
            Err(_) | Ok("" | "near") => Self::Near,
            Ok("far") => Self::Far,
            Ok(other) => panic!("QUIRE_TEST_STORE is {other:?}, and not near or far"),
        }
    }
}

/// Whether this test, which is about the SQLite file, has to be left out. That is told.
pub fn has_no_file(reason: &str) -> bool {
    let far = Stores::asked() == Stores::Far;
    if far {
        let test = std::thread::current();
        // Not by a macro: what tests print that way is shown only when they fail.
        let told = writeln!(std::io::stderr(), "LEFT OUT {}: {reason}", test.name().unwrap_or_default());
        told.expect("standard error");
    }
    far
}

/// Lets a server in one folder use the metadata of a server in another.
pub fn share(from: &Path, to: &Path) {
    match Stores::asked() {
        Stores::Near => {
            let link = to.join("data/quire.db");
            std::os::unix::fs::symlink(from.join("data/quire.db"), link).expect("a link");
        }
        Stores::Far => drop(std::fs::copy(from.join(NOTE), to.join(NOTE)).expect("a note")),
    }
}

/// Runs a statement in the PostgreSQL database of a server with this folder, and returns what it prints.
#[cfg(feature = "postgres")]
pub fn sql(folder: &Path, statement: &str) -> String {
    let name = std::fs::read_to_string(folder.join(NOTE)).expect("a note");
    super::postgres::cluster().expect("PostgreSQL").sql(&name, &[statement]).trim().to_owned()
}

#[cfg(not(feature = "postgres"))]
pub fn sql(_: &Path, _: &str) -> String {
    panic!("QUIRE_TEST_STORE: these tests were built without PostgreSQL")
}

/// What belongs to a server besides its folder, until it is dropped.
#[derive(Default)]
pub struct Place {
    #[cfg(feature = "postgres")]
    database: Option<super::postgres::Database>,
    /// Settings, without their `QUIRE_`; and what the AWS SDK reads.
    pub settings: Vec<(&'static str, String)>,
}

impl Place {
    /// Where a server with this folder has its metadata. A folder that was used before leads to the same database.
    pub fn of(folder: &Path) -> Self {
        match Stores::asked() {
            Stores::Near => Self::default(),
            Stores::Far => far(folder),
        }
    }

    /// Runs statements in the database, in one transaction. `None`: there is none but the SQLite file.
    pub fn sql(&self, statements: &[&str]) -> Option<String> {
        #[cfg(feature = "postgres")]
        let answer = self.database.as_ref().map(|database| database.sql(&[&statements.join("; ")]));
        #[cfg(not(feature = "postgres"))]
        let answer = statements.iter().find_map(|_| None);
        answer
    }

    /// The variables that lead to the database, for a server in the process of a test. Its blobs stay in the folder,
    /// as that is where such a test makes faults.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let database = self.settings.iter().filter(|(name, _)| name.starts_with("DATABASE_"));
        database.map(|(name, value)| (format!("QUIRE_{name}"), value.clone())).collect()
    }

    /// Leaves the database to those who come to the folder later.
    pub fn keep(mut self) {
        #[cfg(feature = "postgres")]
        if let Some(database) = self.database.take() {
            database.keep();
        }
        self.settings.clear();
    }
}

#[cfg(feature = "postgres")]
fn far(folder: &Path) -> Place {
    let cluster = super::postgres::cluster().expect("PostgreSQL: apt-get install postgresql, or make tools");
    let note = folder.join(NOTE);
    let (database, name) = match std::fs::read_to_string(&note) {
        Ok(name) => (None, name),
        Err(_) => {
            let database = cluster.database();
            std::fs::write(&note, &database.name).expect("a note");
            let name = database.name.clone();
            (Some(database), name)
        }
    };
    // Nothing here is about time, and the machine may be busy.
    let mut settings = vec![("DATABASE_URL", cluster.url(&name)), ("DATABASE_TIMEOUT", "30000".to_owned())];
    settings.extend(bucket(&name));
    Place { database, settings }
}

/// What leads a server to its part of the bucket, which is named like its database.
#[cfg(all(feature = "postgres", feature = "s3"))]
fn bucket(name: &str) -> [(&'static str, String); 7] {
    use super::seaweed::{BUCKET, KEY_ID, SECRET, seaweed};
    let server = seaweed().expect("an S3 server: make tools");
    [
        ("S3_BUCKET", BUCKET.to_owned()),
        ("S3_ENDPOINT", format!("http://{}", server.address)),
        ("S3_PREFIX", format!("{name}/")),
        ("S3_MODE", "required".to_owned()),
        ("S3_TIMEOUT", "60".to_owned()),
        ("AWS_ACCESS_KEY_ID", KEY_ID.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
    ]
}

#[cfg(all(feature = "postgres", not(feature = "s3")))]
fn bucket(_: &str) -> [(&'static str, String); 0] {
    panic!("QUIRE_TEST_STORE: these tests were built without S3")
}

#[cfg(not(feature = "postgres"))]
fn far(_: &Path) -> Place {
    panic!("QUIRE_TEST_STORE: these tests were built without PostgreSQL")
}
