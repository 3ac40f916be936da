// UART transmitter: one start bit, DATA_BITS bits with the lowest first, no
// parity, one stop bit.
//
// Parameters
//   CLKS_PER_BIT  clocks of one bit, at least 2
//   DATA_BITS     bits of one frame, at least 1
//
// Contract
//   - A frame is accepted at a rising edge of `clk` where `valid` and `ready`
//     are high; `data` is captured then and may change afterwards.
//   - `txd` falls one clock later and the frame takes (DATA_BITS + 2) *
//     CLKS_PER_BIT clocks. `ready` rises when the stop bit is complete, so at
//     least one further clock of high level separates two frames.
//   - `txd` comes straight from a register and is high when idle.
//   - `rst` is synchronous and active high; a frame in progress is abandoned.

`include "checks.svh"

`default_nettype none

module uart_tx #(
    parameter int CLKS_PER_BIT = 16,
    parameter int DATA_BITS = 8
) (
    input  wire                  clk,
    input  wire                  rst,
    input  wire                  valid,
    output logic                 ready,
    input  wire  [DATA_BITS-1:0] data,
    output logic                 txd
);

  localparam int FrameBits = DATA_BITS + 2;
  localparam int TickWidth = $clog2(CLKS_PER_BIT);
  localparam int BitWidth = $clog2(FrameBits + 1);
  localparam logic [TickWidth-1:0] LastTick = TickWidth'(CLKS_PER_BIT - 1);

  // What follows the bit on the line, next bit lowest; ones move in from above.
  logic [DATA_BITS:0] shift;
  // Clocks of the bit on the line that are over; zero while idle.
  logic [TickWidth-1:0] tick;
  // Bits that are not complete yet, the one on the line included.
  logic [BitWidth-1:0] bits_left;

  assign ready = bits_left == '0;

  always_ff @(posedge clk) begin
    if (rst) begin
      txd <= 1'b1;
      shift <= '1;
      tick <= '0;
      bits_left <= '0;
    end else if (ready) begin
      if (valid) begin
        txd <= 1'b0;
        shift <= {1'b1, data};
        bits_left <= BitWidth'(FrameBits);
      end
    end else if (tick == LastTick) begin
      txd <= shift[0];
      shift <= {1'b1, shift[DATA_BITS:1]};
      tick <= '0;
      bits_left <= bits_left - 1'b1;
    end else begin
      tick <= tick + 1'b1;
    end
  end

  `HDL_REQUIRE(divider_is_legal, CLKS_PER_BIT >= 2, "CLKS_PER_BIT must be at least 2")
  `HDL_REQUIRE(size_is_legal, DATA_BITS >= 1, "DATA_BITS must be at least 1")
  `HDL_CHECK(idle_line_is_high, !ready || txd, "line low while idle")

endmodule

`default_nettype wire
