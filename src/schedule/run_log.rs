//! Searches in a run's log.

use crate::edge::fs;
use crate::model::outcome::LogSpan;
use crate::sim::simulator::Simulator;

use camino::Utf8Path;

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

/// Searches a testcase's part of the log, a piece at a time: a log may be larger than memory.
pub(super) fn first_hdl_error(simulator: &dyn Simulator, log: &LogSpan) -> Option<String> {
    const PIECE: u64 = 4 << 20;
    const OVERLAP: u64 = 4 << 10;
    let end = log.end.min(log.start + LOG_SEARCHED_BYTES_MAX);
    let mut start = log.start;
    while start < end {
        let text = fs::read_range_lossy(&log.path, start, PIECE.min(end - start));
        if text.is_empty() {
            return None;
        }
        let found = text.lines().find(|line| simulator.is_hdl_error(line));
        if let Some(line) = found {
            return Some(line.trim().to_owned());
        }
        // A line that is cut at the border of two pieces is complete in the next one.
        start += PIECE - OVERLAP;
    }
    None
}
