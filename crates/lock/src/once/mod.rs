//! Running a step once per directory and name.

pub(crate) mod call_once;
pub(crate) mod leader;
pub(crate) mod step;
