//! To come: quotas of the server under test.
