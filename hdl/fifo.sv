// Synchronous first-in first-out buffer, first-word fall-through.
//
// Parameters
//   WIDTH  bits of a word, at least 1
//   DEPTH  words it holds, at least 1, not necessarily a power of two
//
// Contract
//   - `wr_data` is stored at a rising edge of `clk` where `wr_en` is high and
//     `full` is low.
//   - While `empty` is low, `rd_data` is the oldest word; a rising edge where
//     `rd_en` is high takes it out. While `empty` is high, `rd_data` means
//     nothing.
//   - A word that enters an empty buffer shows at `rd_data` after one clock.
//   - `level` counts the stored words. `full`, `empty` and `level` are
//     functions of registers only: no path leads from `wr_en` or `rd_en` to
//     them. So a write into a full buffer is ignored even if a word is read at
//     the same edge.
//   - A write while full and a read while empty change nothing. In simulation
//     each is reported by $error, unless the plusarg +fifo_allow_misuse is
//     given.
//   - `rst` is synchronous and active high; it empties the buffer and leaves
//     the stored words undefined.

`include "checks.svh"

`default_nettype none

module fifo #(
    parameter int WIDTH = 8,
    parameter int DEPTH = 16
) (
    input  wire                        clk,
    input  wire                        rst,
    input  wire                        wr_en,
    input  wire  [          WIDTH-1:0] wr_data,
    output logic                       full,
    input  wire                        rd_en,
    output logic [          WIDTH-1:0] rd_data,
    output logic                       empty,
    output logic [$clog2(DEPTH+1)-1:0] level
);

  localparam int PointerWidth = (DEPTH > 1) ? $clog2(DEPTH) : 1;
  localparam int LevelWidth = $clog2(DEPTH + 1);
  localparam logic [PointerWidth-1:0] LastSlot = PointerWidth'(DEPTH - 1);

  logic [WIDTH-1:0] memory[DEPTH];
  logic [PointerWidth-1:0] wr_slot;
  logic [PointerWidth-1:0] rd_slot;
  logic writes;
  logic reads;

  assign full = level == LevelWidth'(DEPTH);
  assign empty = level == '0;
  assign rd_data = memory[rd_slot];
  assign writes = wr_en && !full;
  assign reads = rd_en && !empty;

  always_ff @(posedge clk) begin
    if (writes) memory[wr_slot] <= wr_data;
  end

  always_ff @(posedge clk) begin
    if (rst) begin
      wr_slot <= '0;
      rd_slot <= '0;
      level   <= '0;
    end else begin
      if (writes) wr_slot <= (wr_slot == LastSlot) ? '0 : wr_slot + 1'b1;
      if (reads) rd_slot <= (rd_slot == LastSlot) ? '0 : rd_slot + 1'b1;
      if (writes && !reads) level <= level + 1'b1;
      if (reads && !writes) level <= level - 1'b1;
    end
  end

`ifndef SYNTHESIS
  logic misuse_allowed;
  initial misuse_allowed = $test$plusargs("fifo_allow_misuse") != 0;

  `HDL_REQUIRE(width_is_legal, WIDTH >= 1, "WIDTH must be at least 1")
  `HDL_REQUIRE(depth_is_legal, DEPTH >= 1, "DEPTH must be at least 1")
  `HDL_CHECK(no_overflow, misuse_allowed || !(wr_en && full), "write while full")
  `HDL_CHECK(no_underflow, misuse_allowed || !(rd_en && empty), "read while empty")
  `HDL_CHECK(level_in_range, int'(level) <= DEPTH, "level above DEPTH")
  `HDL_CHECK(slots_agree_with_level,
             (int'(rd_slot) + int'(level)) % DEPTH == int'(wr_slot),
             "pointers and level disagree")
`endif

endmodule

`default_nettype wire
