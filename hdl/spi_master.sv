// SPI master for one peripheral, modes 0 to 3, most significant bit first.
//
// Parameters
//   WIDTH              bits of one word, at least 2
//   CLKS_PER_HALF_BIT  clocks of half a period of `sclk`, at least 1
//
// Contract
//   - A word is accepted at a rising edge of `clk` where `tx_valid` and
//     `tx_ready` are high; `tx_data`, `cpol` and `cpha` are captured then.
//   - `cs_n` falls one clock later. The first edge of `sclk` comes half a bit
//     after that, and `cs_n` rises half a bit after the last edge.
//   - With `cpha` low, bits are sampled at the first edge of each period of
//     `sclk` and change at the second; with `cpha` high the other way round.
//     `miso` is read at the clock that makes the sampling edge and must be
//     stable there.
//   - `rx_valid` is high for one clock when `cs_n` rises; `rx_data` keeps the
//     received word until the next word starts.
//   - While idle, `sclk` follows `cpol` one clock later: set `cpol` at least
//     one clock before the word that needs it, or the peripheral may see an
//     edge of `sclk` together with the falling edge of `cs_n`.
//   - `sclk`, `mosi` and `cs_n` come straight from registers.
//   - `rst` is synchronous and active high; a word in progress is abandoned.

`include "checks.svh"

`default_nettype none

module spi_master #(
    parameter int WIDTH = 8,
    parameter int CLKS_PER_HALF_BIT = 2
) (
    input  wire              clk,
    input  wire              rst,
    input  wire              cpol,
    input  wire              cpha,
    input  wire              tx_valid,
    output logic             tx_ready,
    input  wire  [WIDTH-1:0] tx_data,
    output logic             rx_valid,
    output logic [WIDTH-1:0] rx_data,
    output logic             sclk,
    output logic             mosi,
    input  wire              miso,
    output logic             cs_n
);

  localparam int Edges = 2 * WIDTH;
  localparam int EdgeWidth = $clog2(Edges + 1);
  localparam int TickWidth = $clog2(CLKS_PER_HALF_BIT + 1);
  localparam logic [TickWidth-1:0] LastTick = TickWidth'(CLKS_PER_HALF_BIT - 1);

  logic [WIDTH-1:0] tx_shift;
  logic [TickWidth-1:0] tick;
  // Edges of `sclk` made so far in this word; even: the next one is leading.
  logic [EdgeWidth-1:0] edges;
  logic cpha_held;
  logic samples;

  assign tx_ready = cs_n;
  assign mosi = tx_shift[WIDTH-1];
  // Mode 0 and 2 sample at leading edges, mode 1 and 3 at trailing ones.
  assign samples = edges[0] == cpha_held;

  always_ff @(posedge clk) begin
    rx_valid <= 1'b0;
    if (rst) begin
      cs_n <= 1'b1;
      sclk <= 1'b0;
      tx_shift <= '0;
      rx_data <= '0;
      tick <= '0;
      edges <= '0;
      cpha_held <= 1'b0;
    end else if (cs_n) begin
      sclk  <= cpol;
      tick  <= '0;
      edges <= '0;
      if (tx_valid) begin
        cs_n <= 1'b0;
        tx_shift <= tx_data;
        cpha_held <= cpha;
      end
    end else if (tick != LastTick) begin
      tick <= tick + 1'b1;
    end else if (edges == EdgeWidth'(Edges)) begin
      cs_n <= 1'b1;
      rx_valid <= 1'b1;
    end else begin
      tick  <= '0;
      edges <= edges + 1'b1;
      sclk  <= !sclk;
      if (samples) rx_data <= {rx_data[WIDTH-2:0], miso};
      // The first bit is on the line since `cs_n` fell: keep it over the first
      // edge where `cpha` makes that a driving one.
      else if (edges != '0) tx_shift <= {tx_shift[WIDTH-2:0], 1'b0};
    end
  end

  `HDL_REQUIRE(width_is_legal, WIDTH >= 2, "WIDTH must be at least 2")
  `HDL_REQUIRE(divider_is_legal, CLKS_PER_HALF_BIT >= 1, "CLKS_PER_HALF_BIT must be at least 1")
  `HDL_CHECK(edges_in_range, int'(edges) <= Edges, "too many clock edges in a word")
  `HDL_CHECK(word_ends_with_select, !rx_valid || cs_n, "word reported while selected")

endmodule

`default_nettype wire
