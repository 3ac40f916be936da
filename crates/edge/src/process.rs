//! Children: compilers, installers, simulators. A child is described by data, so that a fake host
//! can replace the real one; processes it leaves behind are killed.
//!
//! Invariants of the real host:
//! - a child has its own process group, `/dev/null` as standard input, and one log for both
//!   output streams;
//! - a child is a subreaper, so that daemons it starts stay below it while it runs; when it is gone
//!   they become children of this process, which kills every child that it neither started itself
//!   nor had from the beginning (`server & exec cocorun test` in a shell);
//! - a child dies with the thread that started it (`PR_SET_PDEATHSIG`), so also when cocorun is
//!   killed.

mod capture;
mod complete;
mod contract;
mod foreground;
mod forked;
mod forked_end;
mod running;
mod service;
mod spawn;
mod system;
pub(super) mod tree;

pub use capture::Captured;
pub use capture::capture;
pub use complete::Completion;
pub use complete::complete;
pub use contract::CommandSpec;
pub use contract::Exit;
pub use contract::Listener;
pub use contract::Process;
pub use contract::ProcessEvent;
pub use contract::ProcessHost;
pub use contract::Service;
pub use contract::await_event;
pub use foreground::foreground;
pub use forked::ForkReport;
pub use forked::PendingFork;
pub use service::adopt_service;
pub use service::request_sockets;
pub use system::SystemHost;
pub use system::replace_this_process;
pub use tree::processors;
