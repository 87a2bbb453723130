//! To come: migrations of the server under test.
