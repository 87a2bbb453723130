//! To come: limits of the server under test.
