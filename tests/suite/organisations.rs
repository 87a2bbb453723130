//! To come: organisations of the server under test.
