//! The agent's Python package, as text.

/// The package's files: name below `cocorun_agent/`, and text.
pub const PACKAGE: &[(&str, &str)] = &[
    ("__init__.py", include_str!("cocorun_agent/__init__.py")),
    ("boot.py", include_str!("cocorun_agent/boot.py")),
    ("channel.py", include_str!("cocorun_agent/channel.py")),
    ("checkpoint.py", include_str!("cocorun_agent/checkpoint.py")),
    (
        "checkpoint_server.py",
        include_str!("cocorun_agent/checkpoint_server.py"),
    ),
    ("child.py", include_str!("cocorun_agent/child.py")),
    (
        "definitions.py",
        include_str!("cocorun_agent/definitions.py"),
    ),
    ("events.py", include_str!("cocorun_agent/events.py")),
    ("forks.py", include_str!("cocorun_agent/forks.py")),
    ("hello.py", include_str!("cocorun_agent/hello.py")),
    (
        "import_effects.py",
        include_str!("cocorun_agent/import_effects.py"),
    ),
    ("imports.py", include_str!("cocorun_agent/imports.py")),
    (
        "interpreter.py",
        include_str!("cocorun_agent/interpreter.py"),
    ),
    ("linker.py", include_str!("cocorun_agent/linker.py")),
    ("listing.py", include_str!("cocorun_agent/listing.py")),
    (
        "mapped_code.py",
        include_str!("cocorun_agent/mapped_code.py"),
    ),
    (
        "module_server.py",
        include_str!("cocorun_agent/module_server.py"),
    ),
    ("output.py", include_str!("cocorun_agent/output.py")),
    ("processes.py", include_str!("cocorun_agent/processes.py")),
    (
        "pytest_config.py",
        include_str!("cocorun_agent/pytest_config.py"),
    ),
    (
        "python_state.py",
        include_str!("cocorun_agent/python_state.py"),
    ),
    ("quick_end.py", include_str!("cocorun_agent/quick_end.py")),
    ("quick_exit.py", include_str!("cocorun_agent/quick_exit.py")),
    ("reporter.py", include_str!("cocorun_agent/reporter.py")),
    ("request.py", include_str!("cocorun_agent/request.py")),
    ("seeds.py", include_str!("cocorun_agent/seeds.py")),
    ("selection.py", include_str!("cocorun_agent/selection.py")),
    ("serve.py", include_str!("cocorun_agent/serve.py")),
    ("starter.py", include_str!("cocorun_agent/starter.py")),
    ("text.py", include_str!("cocorun_agent/text.py")),
    ("user_code.py", include_str!("cocorun_agent/user_code.py")),
    ("v1.py", include_str!("cocorun_agent/v1.py")),
    (
        "v1_checkpoint.py",
        include_str!("cocorun_agent/v1_checkpoint.py"),
    ),
    ("v2.py", include_str!("cocorun_agent/v2.py")),
    (
        "v2_checkpoint.py",
        include_str!("cocorun_agent/v2_checkpoint.py"),
    ),
    ("waiting.py", include_str!("cocorun_agent/waiting.py")),
];

/// The text of a module `sitecustomize` that makes a simulator serve before it reads a design.
pub const STARTER_SITE: &str = "\
from cocorun_agent import starter

starter.start(__file__)
";

/// The package's name, which is also the name of its folder.
pub const PACKAGE_NAME: &str = "cocorun_agent";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the test looks at the sources themselves"
    )]
    fn every_file_of_the_package_is_part_of_the_program() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/agent/cocorun_agent");
        let mut names: Vec<String> = std::fs::read_dir(dir)
            .expect("the package is there")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| {
                std::path::Path::new(name)
                    .extension()
                    .is_some_and(|end| end == "py")
            })
            .collect();
        names.sort_unstable();
        let packed: Vec<&str> = PACKAGE.iter().map(|(name, _)| *name).collect();
        assert_eq!(packed, names);
    }
}
