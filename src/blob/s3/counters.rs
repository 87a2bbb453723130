//! What is counted of S3: calls by operation and outcome, retries, and the state of the breaker.

use metrics::{Counter, Gauge};

/// What a call does; one request, when nothing has to be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Put,
    Get,
    Head,
    List,
    Delete,
    CreateUpload,
    PutPart,
    CompleteUpload,
    AbortUpload,
    ListUploads,
}

impl Operation {
    pub const ALL: [Self; 10] = [
        Self::Put,
        Self::Get,
        Self::Head,
        Self::List,
        Self::Delete,
        Self::CreateUpload,
        Self::PutPart,
        Self::CompleteUpload,
        Self::AbortUpload,
        Self::ListUploads,
    ];

    /// Its name in metrics and messages.
    pub fn label(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
            Self::CreateUpload => "create_upload",
            Self::PutPart => "put_part",
            Self::CompleteUpload => "complete_upload",
            Self::AbortUpload => "abort_upload",
            Self::ListUploads => "list_uploads",
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// There is no such object.
    Absent,
    /// A condition did not hold.
    Conflict,
    /// The credentials are wrong, or may not do this.
    Denied,
    /// No answer, or one that says to come again.
    Unavailable,
    /// Not sent: the breaker was open.
    NotSent,
    /// Anything else that is wrong.
    Failed,
}

impl Outcome {
    pub const ALL: [Self; 7] = [
        Self::Done,
        Self::Absent,
        Self::Conflict,
        Self::Denied,
        Self::Unavailable,
        Self::NotSent,
        Self::Failed,
    ];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Absent => "absent",
            Self::Conflict => "conflict",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::NotSent => "not_sent",
            Self::Failed => "failed",
        }
    }
}

/// How often S3 was called, for `/metrics` and for tests that count.
#[derive(Clone)]
pub struct S3Counters {
    calls: [[Counter; Outcome::ALL.len()]; Operation::ALL.len()],
    pub(super) retries: Counter,
    pub(super) breaker: Gauge,
}

impl S3Counters {
    /// `call` makes the counter of an operation with an outcome; `breaker` is 0 closed, 1 open, 0.5 while one call tries.
    pub fn new(call: impl Fn(Operation, Outcome) -> Counter, retries: Counter, breaker: Gauge) -> Self {
        let calls = Operation::ALL.map(|operation| Outcome::ALL.map(|outcome| call(operation, outcome)));
        Self { calls, retries, breaker }
    }

    /// Counts nothing.
    pub fn noop() -> Self {
        Self::new(|_, _| Counter::noop(), Counter::noop(), Gauge::noop())
    }

    pub(super) fn count(&self, operation: Operation, outcome: Outcome) {
        self.calls[operation as usize][outcome as usize].increment(1);
    }
}
