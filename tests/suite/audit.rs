//! To come: audit of the server under test.
