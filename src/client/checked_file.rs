//! A file of a package as it comes, which has to be the one that the list of files named.

use reqwest::Response;

use super::answers::read;
use super::connection::Connection;
use super::error::{ClientError, Problem};
use super::plugin_answers::ListedFile;
use crate::digest::{Digest, Hasher};
use crate::package::Limits;

/// A file under way. Its bytes are good when the last one has come, and not before.
pub struct CheckedFile<'a> {
    /// As the list of files has it.
    pub listed: ListedFile,
    connection: &'a Connection,
    answer: Response,
    expected: Digest,
    /// Computed over what came so far.
    hasher: Hasher,
    /// Bytes to come.
    left: u64,
}

impl<'a> CheckedFile<'a> {
    /// Asks for a file of the version whose files are below `path`.
    pub async fn open(
        connection: &'a Connection,
        path: &str,
        query: &[(&str, String)],
        wanted: &str,
    ) -> Result<Self, ClientError> {
        let files: Vec<ListedFile> = read(connection.registry(), &connection.get(path, query).await?)?;
        let Some(listed) = files.into_iter().find(|file| file.path == wanted) else {
            return Err(ClientError::Problem(Box::new(Problem::file_unknown(wanted))));
        };
        let expected: Digest = listed
            .digest
            .parse()
            .map_err(|_| connection.unexpected("its list of files has what is no digest"))?;
        if listed.size > Limits::default().unpacked {
            return Err(connection.unexpected("the file is larger than a package may be"));
        }
        let segments: Vec<&str> = wanted.split('/').collect();
        let answer = connection.open(connection.registry().below(path, &segments, query)).await?;
        let (hasher, left) = (Hasher::new(expected.algorithm()), listed.size);
        Ok(Self { listed, connection, answer, expected, hasher, left })
    }

    /// The next bytes. `None`: that was all, and it was what the list named.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        let part = self.answer.chunk().await.map_err(|error| self.connection.broke_off(&error))?;
        let Some(part) = part else { return self.check_end().map(|()| None) };
        let left = u64::try_from(part.len()).ok().and_then(|length| self.left.checked_sub(length));
        let Some(left) = left else { return Err(self.wrong()) };
        self.left = left;
        self.hasher.update(&part);
        Ok(Some(part.to_vec()))
    }

    fn check_end(&self) -> Result<(), ClientError> {
        let found = self.hasher.clone().finish().get(self.expected.algorithm());
        if self.left == 0 && found.as_ref() == Some(&self.expected) { Ok(()) } else { Err(self.wrong()) }
    }

    fn wrong(&self) -> ClientError {
        self.connection.unexpected(format!("what it sent is not the file that it listed, {}", self.expected))
    }
}
