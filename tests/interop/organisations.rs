//! To come: organisations through real clients.
