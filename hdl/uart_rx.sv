// UART receiver: one start bit, DATA_BITS bits with the lowest first, no
// parity, one stop bit.
//
// Parameters
//   CLKS_PER_BIT  clocks of one bit, at least 4
//   DATA_BITS     bits of one frame, at least 2
//
// Contract
//   - `rxd` may be asynchronous; two flip-flops bring it into the clock domain.
//   - Every bit is sampled once, in its middle. A low level that is gone by the
//     middle of the start bit is ignored as a glitch.
//   - A good frame gives one clock of `valid` with `data`, in the middle of its
//     stop bit. There is no back-pressure.
//   - A frame whose stop bit is low gives one clock of `frame_error` instead;
//     the receiver then waits for a high line before it looks for a start bit.
//     A break (line held low) therefore gives exactly one `frame_error`.
//   - `rst` is synchronous and active high; a frame in progress is forgotten.

`include "checks.svh"

`default_nettype none

module uart_rx #(
    parameter int CLKS_PER_BIT = 16,
    parameter int DATA_BITS = 8
) (
    input  wire                  clk,
    input  wire                  rst,
    input  wire                  rxd,
    output logic                 valid,
    output logic [DATA_BITS-1:0] data,
    output logic                 frame_error
);

  localparam int TickWidth = $clog2(CLKS_PER_BIT);
  localparam int BitWidth = $clog2(DATA_BITS + 1);
  localparam logic [TickWidth-1:0] LastTick = TickWidth'(CLKS_PER_BIT - 1);
  // From the clock that sees the start bit to the middle of it.
  localparam logic [TickWidth-1:0] HalfTick = TickWidth'(CLKS_PER_BIT / 2 - 1);

  typedef enum logic [2:0] {
    IDLE,
    START,
    DATA,
    STOP,
    RECOVER
  } state_t;

  state_t state;
  logic [1:0] sync;
  logic line;
  logic [TickWidth-1:0] tick;
  logic [BitWidth-1:0] bits_left;

  assign line = sync[1];

  always_ff @(posedge clk) begin
    if (rst) sync <= '1;
    else sync <= {sync[0], rxd};
  end

  always_ff @(posedge clk) begin
    valid <= 1'b0;
    frame_error <= 1'b0;
    tick <= (tick == LastTick) ? '0 : tick + 1'b1;
    case (state)
      IDLE: begin
        tick <= '0;
        if (!line) state <= START;
      end
      START: begin
        if (tick == HalfTick) begin
          tick <= '0;
          bits_left <= BitWidth'(DATA_BITS);
          state <= line ? IDLE : DATA;
        end
      end
      DATA: begin
        if (tick == LastTick) begin
          data <= {line, data[DATA_BITS-1:1]};
          bits_left <= bits_left - 1'b1;
          if (bits_left == BitWidth'(1)) state <= STOP;
        end
      end
      STOP: begin
        if (tick == LastTick) begin
          valid <= line;
          frame_error <= !line;
          state <= line ? IDLE : RECOVER;
        end
      end
      default: if (line) state <= IDLE;
    endcase
    if (rst) begin
      state <= IDLE;
      valid <= 1'b0;
      frame_error <= 1'b0;
      tick <= '0;
      bits_left <= '0;
    end
  end

  `HDL_REQUIRE(divider_is_legal, CLKS_PER_BIT >= 4, "CLKS_PER_BIT must be at least 4")
  `HDL_REQUIRE(size_is_legal, DATA_BITS >= 2, "DATA_BITS must be at least 2")
  `HDL_CHECK(one_verdict_per_frame, !(valid && frame_error), "valid and frame_error together")

endmodule

`default_nettype wire
