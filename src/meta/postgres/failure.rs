//! What goes wrong with PostgreSQL: what passes when it is tried again, and what is out of reach or broken.

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

use crate::meta::MetaError;

pub(super) type Result<T> = std::result::Result<T, Failure>;

/// Why a statement or a transaction did not do its work.
#[derive(Debug)]
pub(super) enum Failure {
    Database(tokio_postgres::Error),
    /// The server did not answer in time, nor end the statement as it should have.
    Silence,
    /// There was no connection to be had.
    Pool(PoolError),
    /// A row holds what no write of ours puts there.
    Damaged(&'static str),
    /// A quota was set while the transaction waited: it has to begin again.
    QuotaSet,
    /// The server says that the transaction is not there, though it was asked to commit it.
    Aborted,
    /// Nobody could tell in time whether the transaction is there.
    OutcomeUnknown,
}

/// The server has no time or no place for this, or is not what writes any more: another moment may be better.
const PASSING: [SqlState; 14] = [
    SqlState::ADMIN_SHUTDOWN,
    SqlState::CRASH_SHUTDOWN,
    SqlState::CANNOT_CONNECT_NOW,
    SqlState::IDLE_SESSION_TIMEOUT,
    SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    SqlState::QUERY_CANCELED,
    SqlState::LOCK_NOT_AVAILABLE,
    SqlState::TOO_MANY_CONNECTIONS,
    SqlState::OUT_OF_MEMORY,
    SqlState::READ_ONLY_SQL_TRANSACTION,
    SqlState::T_R_SERIALIZATION_FAILURE,
    SqlState::T_R_DEADLOCK_DETECTED,
    SqlState::CONNECTION_FAILURE,
    SqlState::CONNECTION_EXCEPTION,
];

/// The server ended the connection with these.
const ENDED: [SqlState; 5] = [
    SqlState::ADMIN_SHUTDOWN,
    SqlState::CRASH_SHUTDOWN,
    SqlState::CANNOT_CONNECT_NOW,
    SqlState::IDLE_SESSION_TIMEOUT,
    SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
];

/// Whether the connection is gone, and with it the answers to what was sent.
pub(super) fn lost(error: &tokio_postgres::Error) -> bool {
    use std::error::Error as _;
    match error.code() {
        Some(code) => ENDED.contains(code),
        None => error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>()),
    }
}

/// Whether the server only reads: it was the first one until another took over.
pub(super) fn only_reads(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
}

fn unavailable(error: &tokio_postgres::Error) -> bool {
    lost(error) || error.code().is_some_and(|code| PASSING.contains(code))
}

impl Failure {
    /// Whether the same may succeed when it is tried again at once. Nothing of it is there.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Database(error) => {
                [Some(&SqlState::T_R_SERIALIZATION_FAILURE), Some(&SqlState::T_R_DEADLOCK_DETECTED)]
                    .contains(&error.code())
                    || lost(error)
            }
            Self::QuotaSet | Self::Aborted => true,
            Self::Silence | Self::Pool(_) | Self::Damaged(_) | Self::OutcomeUnknown => false,
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        Self::Pool(error)
    }
}

impl From<Failure> for MetaError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Database(error) if unavailable(&error) => Self::Unavailable(said(&error)),
            Failure::Database(error) => Self::Broken(said(&error)),
            Failure::Silence => Self::Unavailable("PostgreSQL does not answer".into()),
            Failure::Pool(PoolError::Backend(error)) if refused(&error) => Self::Broken(said(&error)),
            Failure::Pool(PoolError::Backend(error)) => Self::Unavailable(said(&error)),
            Failure::Pool(error) => Self::Unavailable(format!("PostgreSQL: {error}")),
            Failure::Damaged(what) => Self::Broken(format!("a row holds {what} that is not valid")),
            Failure::QuotaSet => Self::Unavailable("the quota changes all the time".into()),
            Failure::Aborted => Self::Unavailable("PostgreSQL did not keep the transaction".into()),
            Failure::OutcomeUnknown => {
                Self::Unavailable("PostgreSQL does not tell whether the transaction was committed".into())
            }
        }
    }
}

/// Whether the server answered that it does not know us, or the database: only an administrator can help.
fn refused(error: &tokio_postgres::Error) -> bool {
    let known = [
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        SqlState::INVALID_PASSWORD,
        SqlState::INVALID_CATALOG_NAME,
        SqlState::INSUFFICIENT_PRIVILEGE,
    ];
    error.code().is_some_and(|code| known.contains(code))
}

/// The message of the server, or what happened to the connection. Neither has the password in it.
pub(super) fn said(error: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    match (error.as_db_error(), error.source()) {
        (Some(answer), _) => format!("PostgreSQL: {} ({})", answer.message(), answer.code().code()),
        (None, Some(source)) => format!("PostgreSQL: {error}: {source}"),
        (None, None) => format!("PostgreSQL: {error}"),
    }
}
