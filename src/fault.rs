//! What goes wrong on purpose in the wrappers that tests put around stores.

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails before it does anything.
    Before,
    /// The call does its work and fails all the same, as when the answer is lost.
    After,
}
