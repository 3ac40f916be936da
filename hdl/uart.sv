// UART: a transmitter and a receiver with one divider, 8N1 by default.
//
// Parameters
//   CLKS_PER_BIT  clocks of one bit, at least 4
//   DATA_BITS     bits of one frame, at least 2
//
// Contract
//   - The contracts of uart_tx and uart_rx hold for their halves.
//   - While `loopback` is high the receiver listens to the transmitter and not
//     to `rxd`; `txd` is unaffected. Change it only while both lines are idle.
//   - `rst` is synchronous and active high and resets both halves.

`default_nettype none

module uart #(
    parameter int CLKS_PER_BIT = 16,
    parameter int DATA_BITS = 8
) (
    input  wire                  clk,
    input  wire                  rst,
    input  wire                  loopback,
    // Transmitter
    input  wire                  tx_valid,
    output logic                 tx_ready,
    input  wire  [DATA_BITS-1:0] tx_data,
    output logic                 txd,
    // Receiver
    input  wire                  rxd,
    output logic                 rx_valid,
    output logic [DATA_BITS-1:0] rx_data,
    output logic                 rx_frame_error
);

  uart_tx #(
      .CLKS_PER_BIT(CLKS_PER_BIT),
      .DATA_BITS(DATA_BITS)
  ) transmitter (
      .clk(clk),
      .rst(rst),
      .valid(tx_valid),
      .ready(tx_ready),
      .data(tx_data),
      .txd(txd)
  );

  uart_rx #(
      .CLKS_PER_BIT(CLKS_PER_BIT),
      .DATA_BITS(DATA_BITS)
  ) receiver (
      .clk(clk),
      .rst(rst),
      .rxd(loopback ? txd : rxd),
      .valid(rx_valid),
      .data(rx_data),
      .frame_error(rx_frame_error)
  );

endmodule

`default_nettype wire
