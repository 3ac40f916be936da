//! Command-line types, and the advice on arguments that do not parse: no I/O, no decisions.

#[cfg(feature = "lock-commands")]
mod lock;
mod usage_error;

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
pub use usage_error::advised;

use crate::model::build::SimulatorName;
use crate::model::test::Isolation;

use camino::Utf8PathBuf;
use clap::Args;
use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;

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
    /// Configuration file, from whose folder its paths start; default: `runner.toml` in this folder
    /// or the nearest one above
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<Utf8PathBuf>,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
    /// Print only failures, warnings and the summary
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Also print run directories, tools, and why builds were compiled
    #[arg(long, short, global = true)]
    pub verbose: bool,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`
    Auto,
    /// Always, also in files and pipes
    Always,
    /// Without colour
    Never,
}

/// Where the report goes, as `--help` says it.
const STREAMS: &str = "The report goes to standard output, or to standard error where standard output \
has another use: with `--format json` or `--junit /dev/stdout`. Errors that end a session before it \
begins go to standard error.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build what is needed, run the selected testcases, and report
    #[command(after_help = STREAMS)]
    Test(TestArgs),
    /// Bring builds up to date
    #[command(after_help = STREAMS)]
    Build(BuildArgs),
    /// List testcases as cocotb finds them
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
    /// Compile one C++ file of a build; called by `make`
    #[command(hide = true, name = "__objcache")]
    Objcache(ObjcacheArgs),
}

/// Which testcases to select.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Selection")]
pub struct SelectArgs {
    /// Substring of `BUILD::MODULE::TESTCASE`, or a pattern (`*`, `?`, `[…]`) that matches all of
    /// it; of several, one has to match, and each has to select something. The name of a build
    /// selects what `--build` does
    #[arg(value_name = "FILTER", help_heading = "Arguments")]
    pub filters: Vec<String>,
    /// Only this build with all its variants, or builds that match a pattern; repeat to select
    /// several
    #[arg(long, short, value_name = "NAME")]
    pub build: Vec<String>,
    /// Only this test module; repeat to select several
    #[arg(long, short, value_name = "NAME")]
    pub module: Vec<String>,
    /// Only the testcase with this name, with all its parameters; repeat to select several
    #[arg(long, short, value_name = "NAME")]
    pub testcase: Vec<String>,
    /// Only builds for this simulator
    #[arg(long, value_name = "NAME", value_parser = simulator)]
    pub simulator: Option<SimulatorName>,
}

/// How builds and runs are carried out.
#[derive(Args, Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own on the command line"
)]
#[command(next_help_heading = "Building and scheduling")]
pub struct WorkArgs {
    /// Maximum number of compilers and simulators running at the same time; default:
    /// `$COCORUN_JOBS`, `jobs` in `runner.toml`, or the number of available processors
    #[arg(long, short, value_name = "N", allow_negative_numbers = true, value_parser = jobs)]
    pub jobs: Option<usize>,
    /// Show why each build was compiled
    #[arg(long)]
    pub explain: bool,
    /// Compile builds even if they are up to date
    #[arg(long)]
    pub force: bool,
    /// Ignore existing lock holders; safe only if no other process uses this build directory
    #[arg(long)]
    pub no_lock: bool,
    /// Use existing builds without compiling or waiting; fail if one is missing
    #[arg(long, conflicts_with = "force")]
    pub assume_built: bool,
}

/// Output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people
    #[default]
    Human,
    /// One JSON object per line, see docs/json-events.md
    Json,
}

/// `cocorun test`.
#[derive(Args, Debug)]
#[command(next_help_heading = "Runs and reports")]
pub struct TestArgs {
    /// Which testcases to select.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How builds and runs are carried out.
    #[command(flatten)]
    pub work: WorkArgs,
    /// Random seed of every run; overrides `runner.toml`
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = seed)]
    pub seed: Option<u32>,
    /// Wall-clock limit per testcase in seconds; overrides `runner.toml`
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = seconds)]
    pub timeout: Option<f64>,
    /// Pass `+NAME` or `+NAME=VALUE` to every run; takes precedence over `plusargs`; repeatable
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub plusarg: Vec<String>,
    /// Set an environment variable of every run; takes precedence over `env`; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Dump waves for every run
    #[arg(long)]
    pub waves: bool,
    /// Start a fresh simulator for each run instead of forking
    #[arg(long)]
    pub no_fork: bool,
    /// Which testcases share a simulator process: none (`testcase`), those of a module, or those of
    /// a `[[test]]` on one build; overrides `runner.toml`
    #[arg(long, value_name = "WHICH", value_parser = isolation())]
    pub isolation: Option<Isolation>,
    /// Show at most this many of the last lines that a failed testcase printed
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub output_lines: usize,
    /// Write a JUnit XML report to this file
    #[arg(long, value_name = "FILE")]
    pub junit: Option<Utf8PathBuf>,
    /// Output format; `json` prints every event to standard output, and the report to standard error
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// `cocorun build`.
#[derive(Args, Debug)]
pub struct BuildArgs {
    /// Builds with all their variants, or patterns (`*`, `?`, `[…]`); default: all builds
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Only builds for this simulator
    #[arg(long, value_name = "NAME", value_parser = simulator)]
    pub simulator: Option<SimulatorName>,
    /// How builds and runs are carried out.
    #[command(flatten)]
    pub work: WorkArgs,
    /// Output format; `json` prints every event to standard output, and the report to standard error
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// `cocorun list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Which testcases to select.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How builds and runs are carried out.
    #[command(flatten)]
    pub work: WorkArgs,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// `cocorun explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// Error code to explain; omit to list all
    #[arg(value_name = "CODE")]
    pub code: Option<String>,
}

/// `cocorun objcache`.
#[derive(Args, Debug)]
pub struct ObjcacheArgs {
    /// Compiler and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub command: Vec<String>,
}

/// Takes any name; which ones there are is known to the registry alone.
#[expect(
    clippy::unnecessary_wraps,
    reason = "it is what clap calls to read a value"
)]
fn simulator(text: &str) -> Result<SimulatorName, String> {
    Ok(SimulatorName(text.to_owned()))
}

fn isolation() -> impl TypedValueParser<Value = Isolation> {
    let names = PossibleValuesParser::new(Isolation::ALL.map(Isolation::name));
    names.try_map(|name| Isolation::from_name(&name).ok_or("unknown isolation"))
}

fn jobs(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| "must be a number, at least 1".to_owned())
}

fn seed(text: &str) -> Result<u32, String> {
    let range = || format!("must be a whole number from 0 to {}", u32::MAX);
    text.parse().map_err(|_| range())
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text
        .parse()
        .map_err(|_| "must be a number of seconds".to_owned())?;
    if (0.001..=1e9).contains(&value) {
        Ok(value)
    } else {
        Err("must be from 0.001 to 1e9".to_owned())
    }
}
