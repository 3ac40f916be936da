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
pub mod news;
mod progress;
mod records;
mod shadowed_includes;
mod step;
mod step_files;
mod step_key;
pub mod step_program;
mod step_run;
pub mod step_runs;
