//! Makes sure that a build exists: fingerprints, manifests, and compiling under the guard.
//!
//! Invariant: a design is returned only if its fingerprint and every file the compiler has read
//! are what they were when it was compiled.

mod compile;
mod compile_error;
pub mod context;
mod dependencies;
pub mod ensure;
pub mod fingerprint;
mod intermediates;
mod links;
pub mod manifest;
mod progress;
mod shadowed_includes;
