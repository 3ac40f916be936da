// Simulation-time checks that the cores share.
//
// `HDL_CHECK(NAME, CONDITION, TEXT) looks at CONDITION on every rising edge of
// `clk` while `rst` is low, and reports a violation with $error. The module
// that uses it must have signals of these two names. An unknown CONDITION (X)
// is a violation too, so everything checked must be defined once reset is over.
//
//
// `HDL_REQUIRE(NAME, CONDITION, TEXT) ends the simulation with $fatal at its
// start unless CONDITION, a constant expression over parameters, holds. (An
// elaboration-time $fatal would be the natural way, but Icarus Verilog 11 does
// not parse one.)
//
// Synthesis tools define SYNTHESIS, and the checks vanish.

`ifndef HDL_CHECKS_SVH
`define HDL_CHECKS_SVH

`ifdef SYNTHESIS
`define HDL_CHECK(NAME, CONDITION, TEXT)
`define HDL_REQUIRE(NAME, CONDITION, TEXT)
`else
`define HDL_CHECK(NAME, CONDITION, TEXT) \
  always @(posedge clk) begin : NAME \
    if (rst === 1'b0 && (CONDITION) !== 1'b1) $error("%m: %s", TEXT); \
  end
`define HDL_REQUIRE(NAME, CONDITION, TEXT) \
  initial begin : NAME \
    if (!(CONDITION)) $fatal(1, "%m: %s", TEXT); \
  end
`endif

`endif
