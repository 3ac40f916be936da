//! Tests of the whole lock, from callers' promises to storms of real processes.

mod callers;
mod chaos;
mod cleaning;
mod client;
mod crash;
mod fake;
mod interop;
mod interop_storm;
mod local_watcher;
mod races;
mod recreated;
mod server;
mod short_way;
mod storm;
mod sweeping;
mod tickets;
