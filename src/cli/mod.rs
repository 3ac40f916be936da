//! Command-line types, and what is said of words that fit none of them: no I/O, no decisions.

#[cfg(feature = "lock-commands")]
mod lock;
mod refusal;

#[cfg(feature = "lock-commands")]
pub use lock::Limit;
#[cfg(feature = "lock-commands")]
pub use lock::LockArgs;
#[cfg(feature = "lock-commands")]
pub use lock::LocksAction;
#[cfg(feature = "lock-commands")]
pub use lock::LocksArgs;
#[cfg(feature = "lock-commands")]
pub use lock::OnceArgs;
pub use refusal::advised;

use crate::model::build::Simulator;

use camino::Utf8PathBuf;
use clap::Args;
use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;

/// Builds HDL once, runs cocotb testcases in parallel, and reports honestly.
#[derive(Debug, Parser)]
#[command(name = "cocorun", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Options of every subcommand.
    #[command(flatten)]
    pub global: Global,
}

/// Options of every subcommand.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Use this file instead of the `runner.toml` in this folder or above
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<Utf8PathBuf>,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
    /// Print failures and warnings only, and of tests the summary
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print run directories, tools and the reasons of builds as well
    #[arg(long, short, global = true)]
    pub verbose: bool,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
    Auto,
    /// Also into files and pipes.
    Always,
    /// Not at all.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build what is needed, run the testcases, report
    Test(TestArgs),
    /// Build the designs, or find them up to date
    Build(BuildArgs),
    /// List the testcases as cocotb itself finds them
    List(ListArgs),
    /// Hold a lock while a command runs, or make a file that others may be making
    #[cfg(feature = "lock-commands")]
    Lock(LockArgs),
    /// List who holds locks below a directory, or take a lock away
    #[cfg(feature = "lock-commands")]
    Locks(LocksArgs),
    /// Run a command exactly once per directory and name
    #[cfg(feature = "lock-commands")]
    Once(OnceArgs),
    /// Explain an error code such as `test::no-result`
    Explain(ExplainArgs),
    /// Compile one C++ file of a Verilator build; started by `make`
    #[command(hide = true, name = "__objcache")]
    Objcache(ObjcacheArgs),
}

/// Which testcases.
#[derive(Args, Clone, Debug, Default)]
pub struct SelectArgs {
    /// Text that occurs in `BUILD::MODULE::TESTCASE`, or a pattern (`*`, `?`, `[…]`) over all of it
    #[arg(value_name = "FILTER")]
    pub filters: Vec<String>,
    /// Only this build, all variants of that name, or those whose names fit a pattern
    #[arg(long, short, value_name = "NAME")]
    pub build: Vec<String>,
    /// Only this test module
    #[arg(long, short, value_name = "NAME")]
    pub module: Vec<String>,
    /// Only the testcase of exactly this name
    #[arg(long, short, value_name = "NAME")]
    pub testcase: Vec<String>,
    /// Only builds for this simulator
    #[arg(long, value_name = "NAME", value_parser = simulator)]
    pub simulator: Option<Simulator>,
}

/// How much at once, and what to do about builds that others hold.
#[derive(Args, Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own on the command line"
)]
pub struct WorkArgs {
    /// Compiles and runs at once; default: `$COCORUN_JOBS`, `jobs` of `runner.toml`, or the
    /// processors this process may use
    #[arg(long, short, value_name = "N", allow_negative_numbers = true, value_parser = jobs)]
    pub jobs: Option<usize>,
    /// Tell why each build was compiled
    #[arg(long)]
    pub explain: bool,
    /// Compile even what is up to date
    #[arg(long)]
    pub force: bool,
    /// Wait for nobody who was here before: you know that no other one uses the build directory
    #[arg(long)]
    pub no_lock: bool,
    /// Neither compile nor wait: take the builds that are there, or fail
    #[arg(long, conflicts_with = "force")]
    pub assume_built: bool,
}

/// The form of what is printed on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people.
    #[default]
    Human,
    /// One JSON object a line, see docs/json-events.md.
    Json,
}

/// `cocorun test`.
#[derive(Args, Debug)]
pub struct TestArgs {
    /// Which testcases.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How much at once.
    #[command(flatten)]
    pub work: WorkArgs,
    /// Seed of every run, whatever `runner.toml` says
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<u32>,
    /// Wall-clock limit of one testcase in seconds, whatever `runner.toml` says
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = seconds)]
    pub timeout: Option<f64>,
    /// Write waves of every run
    #[arg(long)]
    pub waves: bool,
    /// Start every simulator anew instead of forking it
    #[arg(long)]
    pub no_fork: bool,
    /// Write a JUnit report
    #[arg(long, value_name = "FILE")]
    pub junit: Option<Utf8PathBuf>,
    /// Print every event on standard output as well
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// `cocorun build`.
#[derive(Args, Debug)]
pub struct BuildArgs {
    /// Builds, all variants of a name, or a pattern (`*`, `?`, `[…]`) over it; default: all
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Only builds for this simulator
    #[arg(long, value_name = "NAME", value_parser = simulator)]
    pub simulator: Option<Simulator>,
    /// How much at once.
    #[command(flatten)]
    pub work: WorkArgs,
    /// Print every event on standard output as well
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// `cocorun list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Which testcases.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How much at once.
    #[command(flatten)]
    pub work: WorkArgs,
    /// Form of the list
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// `cocorun explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The code; without one, all are listed
    #[arg(value_name = "CODE")]
    pub code: Option<String>,
}

/// `cocorun objcache`.
#[derive(Args, Debug)]
pub struct ObjcacheArgs {
    /// The compiler and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub command: Vec<String>,
}

fn simulator(text: &str) -> Result<Simulator, String> {
    let known = Simulator::ALL
        .into_iter()
        .find(|simulator| simulator.name() == text);
    known.ok_or_else(|| "cocorun drives `icarus` and `verilator`".to_owned())
}

fn jobs(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| "must be a number, at least 1".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    if (0.001..=1e9).contains(&value) {
        Ok(value)
    } else {
        Err("must be from 0.001 to 1e9".to_owned())
    }
}
