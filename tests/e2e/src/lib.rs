//! End-to-end tests: the built binary, real publishers, real viewers.
