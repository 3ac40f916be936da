//! The guard that makes a step happen exactly once per shared directory.
