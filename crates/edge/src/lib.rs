//! The outside world, behind small traits and functions whose errors name what was touched.
//!
//! All calls to the operating system are here; `clippy.toml` bans the calls elsewhere. Tests
//! replace the clock and the process host by fakes; files are real in tests, because a temporary
//! directory is cheap and a fake one is not faithful.

pub mod cache_dir;
pub mod clock;
pub mod edges;
pub mod env;
pub mod error;
#[cfg(feature = "locks")]
pub mod file_lock;
pub mod fs;
pub mod interrupt;
pub mod jobs;
#[cfg(feature = "locks")]
pub mod kernel_locks;
pub mod machine;
pub mod memory;
#[cfg(feature = "locks")]
pub mod mounts;
pub mod output_file;
mod permissions;
#[cfg(feature = "locks")]
pub mod pinned;
pub mod process;
pub mod programs;
#[cfg(feature = "locks")]
pub mod publish;
#[cfg(feature = "locks")]
mod rename;
pub mod storage;
pub mod terminal;
pub mod yieldable_job;

pub use error::Error;
pub use error::ErrorKind;
pub use error::Result;
