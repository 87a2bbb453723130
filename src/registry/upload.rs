//! Pushing blobs: at once, or in an upload session that survives a restart.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::sessions::Claim;
use super::{Refusal, Registry, RegistryError};
use crate::access::{Actor, Requester};
use crate::digest::{Algorithm, Digest};
use crate::meta::{BlobRecord, Node, Upload};
use crate::name::RepositoryName;
use crate::staging::{Checkpoint, Intake, Source, Staged, StagingError};

/// While a long chunk comes in, what has arrived is made durable after every so many bytes.
const CHECKPOINT_BYTES: u64 = 64 * 1024 * 1024;
/// And after so long, so that other nodes see that somebody goes on with the session.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(600);

/// The place of a chunk in its blob, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRange {
    pub first: u64,
    pub last: u64,
}

impl ChunkRange {
    pub fn length(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// An upload session as a caller names it; whether it is theirs is decided by each use.
#[derive(Debug, Clone, Copy)]
pub struct SessionOf<'a> {
    pub requester: &'a Requester,
    pub repository: &'a RepositoryName,
    pub id: Uuid,
}

impl Registry {
    /// Pushes a whole blob in one request.
    pub async fn push_blob(
        &self,
        requester: &Requester,
        repository: &RepositoryName,
        digest: &Digest,
        source: &mut dyn Source,
    ) -> Result<(), RegistryError> {
        let room = self.room_for(repository, digest).await?;
        let mut intake = self.staging.begin(digest.algorithm(), room.bytes).await?;
        intake.drain(source).await.map_err(|error| room.told(error.into()))?;
        let staged = intake.finish(digest.algorithm()).await?;
        check_digest(&staged, digest)?;
        self.admit(&requester.actor(), repository, &staged, None).await
    }

    /// Opens an upload session.
    pub async fn start_upload(
        &self,
        requester: &Requester,
        repository: &RepositoryName,
        algorithm: Algorithm,
    ) -> Result<Uuid, RegistryError> {
        self.room_in_session(repository, 0, false).await?;
        let id = Uuid::now_v7();
        let upload = Upload {
            id,
            repository: repository.clone(),
            subject: requester.caller.subject().to_owned(),
            checkpoint: Checkpoint::start(algorithm),
            home: Some(self.node.clone()),
        };
        self.meta.create_upload(upload).await?;
        Ok(id)
    }

    /// How many bytes of a session are durable.
    pub async fn upload_offset(&self, session: &SessionOf<'_>) -> Result<u64, RegistryError> {
        Ok(self.own_upload(session).await?.checkpoint.offset)
    }

    /// Adds a chunk to a session and returns how many bytes it has then. They are durable.
    pub async fn append(
        &self,
        session: &SessionOf<'_>,
        range: Option<ChunkRange>,
        source: &mut dyn Source,
    ) -> Result<u64, RegistryError> {
        let _claim = self.claim(session).await?;
        let mut intake = self.receive(session, range, source, false).await?;
        let checkpoint = intake.checkpoint().await?;
        self.record(session.id, checkpoint).await?;
        Ok(intake.received())
    }

    /// Adds the last chunk, which may be empty, and turns the session into a blob.
    pub async fn finish_upload(
        &self,
        session: &SessionOf<'_>,
        range: Option<ChunkRange>,
        digest: &Digest,
        source: &mut dyn Source,
    ) -> Result<(), RegistryError> {
        let _claim = self.claim(session).await?;
        let intake = self.receive(session, range, source, true).await?;
        let staged = intake.finish(digest.algorithm()).await?;
        if let Err(mismatch) = check_digest(&staged, digest) {
            // More bytes can't mend it, so the session ends here.
            self.end_upload(session.id).await?;
            return Err(mismatch.into());
        }
        let actor = session.requester.actor();
        let admitted = self.admit(&actor, session.repository, &staged, Some(session.id)).await;
        if let Err(RegistryError::Refused(Refusal::Catalog(_))) = &admitted {
            // There will be no room for it later either: its bytes would wait for nothing.
            self.end_upload(session.id).await?;
        }
        admitted?;
        self.discard(session.id).await;
        Ok(())
    }

    /// Ends a session and drops its bytes.
    pub async fn cancel_upload(&self, session: &SessionOf<'_>) -> Result<(), RegistryError> {
        let _claim = self.claim(session).await?;
        self.own_upload(session).await?;
        self.end_upload(session.id).await
    }

    /// Bytes first, then the row (P2).
    pub(super) async fn admit(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        staged: &Staged,
        upload: Option<Uuid>,
    ) -> Result<(), RegistryError> {
        // Asked before the bytes are stored; the transaction below asks again, and its answer counts.
        self.check_blocked(&staged.digests().sha256).await?;
        self.check_room(repository, staged.size(), Some(&staged.digests().sha256)).await?;
        self.blobs.put(staged).await?;
        // Had the file been damaged, the store has replaced it.
        self.cache.files.invalidate(&staged.digests().sha256).await;
        let record = BlobRecord { digests: *staged.digests(), size: staged.size() };
        let linked = self.meta.link_blob(repository, record, upload, actor).await?;
        Ok(linked.map_err(Refusal::Catalog)?)
    }

    /// Waits for the session's other writers. Who does not own it learns nothing, not even by waiting.
    async fn claim(&self, session: &SessionOf<'_>) -> Result<Claim, RegistryError> {
        if self.sessions.is_claimed(session.id) {
            self.own_upload(session).await?;
        }
        Ok(self.sessions.claim(session.id).await?)
    }

    /// A session of somebody else, or of another repository, is unknown.
    async fn own_upload(&self, session: &SessionOf<'_>) -> Result<Upload, RegistryError> {
        let upload = self.meta.upload(session.id).await?;
        let own = |upload: &Upload| {
            upload.subject == session.requester.caller.subject() && upload.repository == *session.repository
        };
        let own = upload.filter(own).ok_or(Refusal::UploadUnknown)?;
        match &own.home {
            Some(home) if !self.is_here(home) => Err(Refusal::UploadElsewhere(Box::new(home.clone())).into()),
            Some(_) | None => Ok(own),
        }
    }

    /// Whether a session's bytes are on this node. Of two processes on copies of one data folder, which have one id,
    /// only the one that came last goes on with sessions: bytes of both never meet.
    fn is_here(&self, home: &Node) -> bool {
        if home.id == self.node.id && home.run != self.node.run {
            tracing::error!(
                node = %home.id, url = home.url,
                "another process serves as this node: one data folder is a copy, remove the file `node` from it"
            );
        }
        home.id == self.node.id && home.run == self.node.run
    }

    /// Takes the body of a chunk into the session's file.
    async fn receive(
        &self,
        session: &SessionOf<'_>,
        range: Option<ChunkRange>,
        source: &mut dyn Source,
        ends: bool,
    ) -> Result<Intake, RegistryError> {
        let upload = self.own_upload(session).await?;
        let offset = upload.checkpoint.offset;
        if range.is_some_and(|range| range.first != offset) {
            return Err(Refusal::ChunkOutOfOrder { offset }.into());
        }
        let room = self.room_in_session(session.repository, offset, ends).await?;
        if range.is_some_and(|range| range.last >= room.bytes) {
            return Err(room.told(Refusal::BlobTooLarge { limit: room.bytes }.into()));
        }
        let mut intake = self.open_intake(&upload, room.bytes).await?;
        let taken = self.take(session.id, &mut intake, range, source).await;
        let Err(error) = taken else { return Ok(intake) };
        match &error {
            // What came before the connection broke is kept: the client can ask and go on from there.
            RegistryError::Refused(Refusal::Body(_)) => {
                let checkpoint = intake.checkpoint().await?;
                self.record(session.id, checkpoint).await?;
            }
            RegistryError::Refused(Refusal::BlobTooLarge { .. }) => {
                intake.abandon().await;
                self.end_upload(session.id).await?;
            }
            RegistryError::Refused(_) | RegistryError::Broken(_) => intake.abandon().await,
        }
        Err(room.told(error))
    }

    async fn open_intake(&self, upload: &Upload, limit: u64) -> Result<Intake, RegistryError> {
        if upload.checkpoint.offset == 0 {
            let algorithm = algorithm_of(&upload.checkpoint);
            return Ok(self.staging.begin_session(upload.id, algorithm, limit).await?);
        }
        match self.staging.resume(upload.id, &upload.checkpoint, limit).await? {
            Some(intake) => Ok(intake),
            None => {
                tracing::warn!(id = %upload.id, "the bytes of an upload session are gone");
                self.end_upload(upload.id).await?;
                Err(Refusal::UploadUnknown.into())
            }
        }
    }

    /// A chunk that turns out to have another length than announced is refused, but what a checkpoint has made
    /// durable by then stays: the next request is told the offset, as after a broken connection.
    async fn take(
        &self,
        id: Uuid,
        intake: &mut Intake,
        range: Option<ChunkRange>,
        source: &mut dyn Source,
    ) -> Result<(), RegistryError> {
        let (mut durable, mut since) = (intake.received(), Instant::now());
        while let Some(piece) = source.next().await.map_err(StagingError::Source)? {
            if let Some(range) = range
                && intake.received() + piece.len() as u64 > range.last + 1
            {
                return Err(Refusal::ChunkLength { announced: range.length() }.into());
            }
            intake.write(piece).await?;
            if intake.received() - durable >= CHECKPOINT_BYTES || since.elapsed() >= CHECKPOINT_EVERY {
                let checkpoint = intake.checkpoint().await?;
                self.record(id, checkpoint).await?;
                (durable, since) = (intake.received(), Instant::now());
            }
        }
        match range {
            Some(range) if intake.received() != range.last + 1 => {
                Err(Refusal::ChunkLength { announced: range.length() }.into())
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn record(&self, id: Uuid, checkpoint: Checkpoint) -> Result<(), RegistryError> {
        match self.meta.checkpoint_upload(id, checkpoint).await? {
            true => Ok(()),
            false => Err(Refusal::UploadUnknown.into()),
        }
    }

    /// The row goes before its bytes do.
    pub(super) async fn end_upload(&self, id: Uuid) -> Result<(), RegistryError> {
        self.meta.drop_upload(id).await?;
        self.discard(id).await;
        Ok(())
    }

    /// Bytes without a session are harmless; the next start removes what stays here.
    pub(super) async fn discard(&self, id: Uuid) {
        if let Err(error) = self.staging.discard(id).await {
            tracing::warn!(%id, %error, "the bytes of an ended upload session could not be removed");
        }
    }
}

pub(super) fn check_digest(staged: &Staged, asked: &Digest) -> Result<(), Refusal> {
    let computed = staged.digests().get(asked.algorithm());
    match computed {
        Some(computed) if computed == *asked => Ok(()),
        other => Err(Refusal::DigestMismatch {
            computed: other.unwrap_or(Digest::Sha256(staged.digests().sha256)),
        }),
    }
}

/// Which algorithm a session without bytes was opened for.
fn algorithm_of(checkpoint: &Checkpoint) -> Algorithm {
    match crate::digest::Hasher::restore(&checkpoint.hash_state) {
        Some(hasher) if hasher.computes(Algorithm::Sha512) => Algorithm::Sha512,
        Some(_) | None => Algorithm::Sha256,
    }
}
