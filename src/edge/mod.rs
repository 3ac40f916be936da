//! The outside world, behind small traits and functions whose errors name what was touched.
//!
//! Floor 1. Everything that asks the operating system for something stands here; `clippy.toml`
//! bans the calls elsewhere. Tests replace the clock and the process host by fakes; files are
//! real in tests, because a temporary directory is cheap and a fake one lies.

pub mod clock;
pub mod env;
pub mod file_lock;
pub mod fs;
pub mod host;
pub mod interrupt;
pub mod jobs;
pub mod kernel_locks;
pub mod mounts;
pub mod pinned;
pub mod process;
pub mod publish;
mod rename;
pub mod storage;
pub mod sync;
pub mod terminal;
