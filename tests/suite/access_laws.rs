//! To come: access_laws of the server under test.
