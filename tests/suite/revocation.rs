//! To come: revocation of the server under test.
