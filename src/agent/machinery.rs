//! Which files of Python run a testcase and say nothing about what it did.

/// Parts of their paths.
const MACHINERY: [&str; 5] = [
    "<cocorun_agent",
    "<frozen importlib",
    "/importlib/__init__.py",
    "-packages/cocotb/",
    "-packages/pygpi/",
];

/// Says whether a file belongs to what runs the testcase.
pub fn is_machinery(path: &str) -> bool {
    MACHINERY.iter().any(|place| path.contains(place))
}
