//! What is reported on the way to a build.

use crate::lock::WaitProgress;

use camino::Utf8Path;
use std::time::Duration;

/// Something that happens on the way to a build.
#[derive(Clone, Copy, Debug)]
pub enum BuildNews<'a> {
    /// Another process makes the build, or runs one of its steps; several times a second.
    Waiting(&'a WaitProgress<'a>),
    /// A step begins to run here.
    StepStarted {
        /// Its name.
        step: &'a str,
    },
    /// A step that began here has ended.
    StepFinished {
        /// Its name.
        step: &'a str,
        /// Whether it wrote what it must.
        is_done: bool,
        /// Why it ran, one line each.
        reasons: &'a [String],
        /// How long it took.
        duration: Duration,
        /// What its commands have printed.
        log: &'a Utf8Path,
    },
}

/// Receives what is reported.
pub type OnNews<'a> = dyn Fn(&BuildNews<'_>) + 'a;
