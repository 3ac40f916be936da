//! Tests of the whole program: the release build, real simulators, real cocotb.
//!
//! They fail, rather than skip, if a simulator or an environment is missing: `tests/run` installs
//! both.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise, and touches files and processes itself"
)]

mod advice;
mod agent;
mod bad_input;
mod checkpoint_failures;
mod checkpoints;
mod cleaning;
mod cleaning_storm;
mod cocotbext_axi;
mod cocotbext_eth;
mod command_line;
mod daily;
mod definitions;
mod differential;
mod examples;
mod explained;
mod fake_agent;
mod flat;
mod foreign;
mod guard;
mod hangs;
mod hostile;
mod imports;
mod include;
mod isolation;
mod jobs;
mod junit;
mod kills;
mod live;
mod lock_breaking;
mod lock_commands;
mod messages;
mod module_server;
mod nfs;
mod order;
mod outputs;
mod parameters;
mod permissions;
mod prerequisites;
mod processes;
mod program_storm;
mod rebuilds;
mod rebuilt;
mod reference;
mod reports;
mod scale;
mod seeds;
mod seen;
mod shared_objects;
mod simulator_names;
mod smoke;
mod stale;
mod steps;
mod support;
mod test_variants;
mod threads;
mod traps;
mod traps_table;
mod unkillable;
mod user_code;
mod waiting;
