//! What goes wrong on purpose in the wrappers that tests put around stores.

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails before it does anything.
    Before,
    /// The call does its work and fails all the same, as when the answer is lost.
    After,
    /// The call fails at once, as when nobody listens where the store should be.
    Unavailable,
    /// The call does not end while the fault is there, as when packets are lost or a process stands still.
    Hangs,
}
