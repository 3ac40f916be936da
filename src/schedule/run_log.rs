//! Searches in a run's log.

use crate::edge::fs;
use crate::model::outcome::LogSpan;
use crate::sim::simulator::Simulator;

use camino::Utf8Path;
use std::ops::Range;

/// How much of what a simulator prints while it is killed is searched.
const FAREWELL_BYTES_MAX: u64 = 1 << 20;
/// How much of a testcase's log is searched for HDL errors.
const LOG_SEARCHED_BYTES_MAX: u64 = 256 << 20;

/// Returns a log's size in bytes; 0 if there is none.
pub(super) fn size(log: &Utf8Path) -> u64 {
    let stamp = fs::stamp(log).ok().flatten();
    stamp.map_or(0, |stamp| stamp.size)
}

/// Returns where cocotb began to judge a testcase that was being killed: its message that the
/// simulation "ended prematurely" would then mislead.
pub(super) fn end_of_own_words(log: &Utf8Path, killed_at: u64) -> Option<u64> {
    let after = fs::read_range_lossy(log, killed_at, FAREWELL_BYTES_MAX);
    let judged = after.find("cocotb.regression")?;
    let line = after[..judged].rfind('\n').map_or(0, |at| at + 1);
    Some(killed_at + line as u64)
}

/// Returns the first HDL error in a testcase's part of the log.
pub(super) fn first_hdl_error(simulator: &dyn Simulator, log: &LogSpan) -> Option<String> {
    let end = log.end.min(log.start + LOG_SEARCHED_BYTES_MAX);
    let is_wanted = |line: &str| simulator.is_hdl_error(line);
    first_line(&log.path, log.start..end, is_wanted)
}

/// Says whether the log of a process that has ended shows, from `start` on, that the HDL ended the
/// simulation as a failure. Such a line is among the last ones.
pub(super) fn has_hdl_failure(simulator: &dyn Simulator, log: &Utf8Path, start: u64) -> bool {
    let end = size(log);
    let start = start.max(end.saturating_sub(LOG_SEARCHED_BYTES_MAX));
    first_line(log, start..end, |line| simulator.is_hdl_failure(line)).is_some()
}

/// Searches a part of a log, a piece at a time: a log may be larger than memory.
fn first_line(
    log: &Utf8Path,
    part: Range<u64>,
    is_wanted: impl Fn(&str) -> bool,
) -> Option<String> {
    const PIECE: u64 = 4 << 20;
    const OVERLAP: u64 = 4 << 10;
    let mut start = part.start;
    while start < part.end {
        let text = fs::read_range_lossy(log, start, PIECE.min(part.end - start));
        if text.is_empty() {
            return None;
        }
        let found = text.lines().find(|line| is_wanted(line));
        if let Some(line) = found {
            return Some(line.trim().to_owned());
        }
        // A line that is cut at the border of two pieces is complete in the next one.
        start += PIECE - OVERLAP;
    }
    None
}
