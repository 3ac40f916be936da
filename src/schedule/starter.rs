//! Forks the server of a build from a simulator that has started Python and read no design.
//!
//! Starting Python and importing cocotb and pytest takes most of the time of a server's start, and is
//! the same for every build that is started alike. Invariant: whatever fails here, the server is
//! started on its own.

use crate::agent::fork_server::ForkServer;
use crate::agent::fork_server::ModuleFork;
use crate::agent::package::STARTER_SITE;
use crate::agent::request::ForkEnv;
use crate::agent::request::ForkRequest;
use crate::agent::request::Mode;
use crate::agent::request::REQUEST_ENV;
use crate::diagnostic::Result;
use crate::edge::env as variables;
use crate::edge::fs;
use crate::edge::process::CommandSpec;
use crate::model::build::BuiltDesign;
use crate::model::test::RunSettings;
use crate::schedule::context::TaskContext;
use crate::schedule::folder::RunFolder;
use crate::schedule::simulation::base_request;
use crate::schedule::simulation::server_command;
use crate::schedule::simulation::to_json;

use camino::Utf8Path;
use std::time::Duration;

/// The descriptor by which the command of a starter names the design: nothing else has it.
const DESIGN_FD: u32 = 200;
/// Variables that name what differs between servers that are started alike.
const OF_ONE_BUILD: [&str; 3] = [REQUEST_ENV, "COCOTB_TOPLEVEL", "TOPLEVEL"];

/// Starts the server of a build, and waits at most `limit` until it serves.
///
/// # Errors
/// The disk failed, the simulator was not found, or the server says why it cannot serve.
pub(super) fn start_server(
    context: &TaskContext<'_>,
    design: &BuiltDesign,
    settings: &RunSettings,
    limit: Duration,
) -> Result<ForkServer> {
    let spec = server_command(context, design, settings)?;
    let waits = context.waits();
    let simulator = &context.tools.simulator(&design.simulator)?.simulator;
    let forked = simulator
        .starts_without_design()
        .then(|| fork(context, (design, settings), &spec, limit))
        .flatten()
        .and_then(|fork| ForkServer::of_starting(fork, waits, limit).ok());
    match forked {
        Some(server) => Ok(server),
        None => ForkServer::start(context.host(), &spec, waits, limit),
    }
}

/// Forks a process that becomes the server which `spec` would start; `None` if that is not possible.
fn fork(
    context: &TaskContext<'_>,
    (design, settings): (&BuiltDesign, &RunSettings),
    spec: &CommandSpec,
    limit: Duration,
) -> Option<ModuleFork> {
    let common = common_spec(spec, &design.artifact)?;
    let key = format!("{:?} {:?} {:?}", common.program, common.args, common.env);
    let differing = spec
        .env
        .iter()
        .filter(|it| common.env.get(it.0) != Some(it.1));
    let set = differing.map(|(name, value)| (name.clone(), value.clone()));
    let run = context.next_run();
    let request = to_json(&ForkRequest {
        run,
        cwd: &spec.cwd,
        log: &spec.log,
        env: ForkEnv {
            set: set.collect(),
            unset: Vec::new(),
        },
        request_file: Some(Utf8Path::new(spec.env.get(REQUEST_ENV)?)),
        design: Some(&design.artifact),
        design_fd: Some(DESIGN_FD),
    });
    context.starters.with(
        &key,
        &design.key,
        || start(context, (design, settings), &common, limit).ok(),
        |starter| starter.fork_module(context.waits(), run, &request).ok(),
    )
}

/// Returns what servers of builds have in common that are started alike.
fn common_spec(spec: &CommandSpec, artifact: &Utf8Path) -> Option<CommandSpec> {
    let mut common = spec.clone();
    let place = common.args.iter_mut().find(|arg| *arg == artifact)?;
    *place = format!("/proc/self/fd/{DESIGN_FD}");
    for name in OF_ONE_BUILD {
        common.env.remove(name);
    }
    Some(common)
}

fn start(
    context: &TaskContext<'_>,
    (design, settings): (&BuiltDesign, &RunSettings),
    common: &CommandSpec,
    limit: Duration,
) -> Result<ForkServer> {
    let run = context.next_run();
    let folder = RunFolder::make(&context.session_dir, &design.name, "starter", run, &[])?;
    let request = base_request(context, design, settings, &folder, Mode::Start);
    fs::write(&folder.request, to_json(&request))?;
    let site = folder.dir.join("site");
    fs::create_dirs(&site)?;
    fs::write(&site.join("sitecustomize.py"), STARTER_SITE)?;
    let mut spec = CommandSpec {
        cwd: folder.dir.clone(),
        log: folder.log.clone(),
        ..common.clone()
    };
    let inherited = common.env.get(variables::PYTHONPATH);
    let path = inherited.map_or_else(|| site.to_string(), |path| format!("{site}:{path}"));
    spec.env.insert(variables::PYTHONPATH.to_owned(), path);
    let request = folder.request.to_string();
    spec.env.insert(REQUEST_ENV.to_owned(), request);
    ForkServer::start(context.host(), &spec, context.waits(), limit)
}
