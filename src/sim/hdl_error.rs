//! HDL errors in a simulator's output: what `$error` and `$fatal` print and cocotb does not see.

use crate::model::build::Simulator;

/// Says whether a line of a log is a simulator's report of `$error` or `$fatal`.
///
/// Icarus prints `ERROR: FILE:LINE: text` and `FATAL:` (version 11.0), Verilator
/// `[TIME] %Error: FILE:LINE: text` and `%Fatal:` (version 5.48). cocotb's own lines carry a time and a
/// logger's name before the level, Python's `logging` writes `ERROR:name:` without a space.
pub fn is_hdl_error(simulator: Simulator, line: &str) -> bool {
    match simulator {
        Simulator::Icarus => ["ERROR: ", "FATAL: "]
            .into_iter()
            .filter_map(|word| line.strip_prefix(word))
            .any(names_a_place),
        Simulator::Verilator => ["%Error: ", "%Fatal: "]
            .into_iter()
            .filter_map(|word| line.split_once(word))
            .any(|(before, after)| is_time(before) && names_a_place(after)),
    }
}

fn is_time(text: &str) -> bool {
    text.is_empty() || text.starts_with('[') && text.trim_end().ends_with(']')
}

/// Says whether text begins with `FILE:LINE:`.
fn names_a_place(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(':') {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && after.as_bytes().get(digits) == Some(&b':') {
            return true;
        }
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_simulators_own_error_lines_count() {
        let icarus = |line| is_hdl_error(Simulator::Icarus, line);
        assert!(icarus("ERROR: hdl/fifo.sv:41: overflow"));
        assert!(icarus("FATAL: hdl/fifo.sv:41: overflow"));
        assert!(!icarus("ERROR: no place here"));
        assert!(!icarus("ERROR:root:12: python logging"));
        assert!(!icarus("    10.00ns ERROR    cocotb.x  a.py:12: text"));
        let verilator = |line| is_hdl_error(Simulator::Verilator, line);
        assert!(verilator(
            "[100] %Error: fifo.sv:41: Assertion failed in top.fifo: overflow"
        ));
        assert!(verilator("%Error: fifo.sv:41: Verilog $stop"));
        assert!(verilator(
            "[100] %Fatal: fifo.sv:41: Assertion failed in top: overflow"
        ));
        assert!(!verilator("a test prints %Error: fifo.sv:41: text"));
    }
}
