// AXI-Stream register slice: cuts all timing paths of a stream, with two
// entries so that it carries one transfer per clock without a pause.
//
// Parameters
//   DATA_WIDTH  bits of `tdata`, a multiple of 8
//
// Contract
//   - Both sides follow AXI4-Stream: a transfer happens at a rising edge of
//     `clk` where `tvalid` and `tready` are high; once `tvalid` is high it and
//     its payload stay until the transfer. In simulation a source that breaks
//     this on the input side is reported by $error.
//   - A transfer reaches the output after one clock. Order is kept, nothing is
//     lost, nothing is doubled.
//   - Every output is a function of registers only: in particular
//     `s_axis_tready` does not depend on `m_axis_tready` in the same clock.
//   - `rst` is synchronous and active high; transfers inside are dropped.
//     `s_axis_tready` is low while it lasts and rises one clock after it.

`include "checks.svh"

`default_nettype none

module axis_register_slice #(
    parameter int DATA_WIDTH = 32
) (
    input  wire                     clk,
    input  wire                     rst,
    // Input
    input  wire                     s_axis_tvalid,
    output logic                    s_axis_tready,
    input  wire  [  DATA_WIDTH-1:0] s_axis_tdata,
    input  wire  [DATA_WIDTH/8-1:0] s_axis_tkeep,
    input  wire                     s_axis_tlast,
    // Output
    output logic                    m_axis_tvalid,
    input  wire                     m_axis_tready,
    output logic [  DATA_WIDTH-1:0] m_axis_tdata,
    output logic [DATA_WIDTH/8-1:0] m_axis_tkeep,
    output logic                    m_axis_tlast
);

  localparam int PayloadWidth = DATA_WIDTH + DATA_WIDTH / 8 + 1;

  logic [PayloadWidth-1:0] s_payload;
  logic [PayloadWidth-1:0] m_payload;
  logic [PayloadWidth-1:0] skid_payload;
  logic skid_valid;
  logic takes;
  logic moves;

  assign s_payload = {s_axis_tlast, s_axis_tkeep, s_axis_tdata};
  assign {m_axis_tlast, m_axis_tkeep, m_axis_tdata} = m_payload;
  assign takes = s_axis_tvalid && s_axis_tready;
  assign moves = m_axis_tready || !m_axis_tvalid;

  // The skid entry catches the one transfer that is already under way when the
  // output stalls; `s_axis_tready` is low exactly while it may be in use.
  always_ff @(posedge clk) begin
    if (rst) begin
      s_axis_tready <= 1'b0;
      m_axis_tvalid <= 1'b0;
      skid_valid <= 1'b0;
    end else if (moves) begin
      s_axis_tready <= 1'b1;
      m_axis_tvalid <= skid_valid || takes;
      skid_valid <= 1'b0;
    end else if (takes) begin
      s_axis_tready <= 1'b0;
      skid_valid <= 1'b1;
    end else begin
      s_axis_tready <= !skid_valid;
    end
  end

  always_ff @(posedge clk) begin
    if (moves) m_payload <= skid_valid ? skid_payload : s_payload;
    if (takes) skid_payload <= s_payload;
  end

`ifndef SYNTHESIS
  logic s_waits;
  logic m_waits;
  logic [PayloadWidth-1:0] s_payload_before;
  logic [PayloadWidth-1:0] m_payload_before;

  always @(posedge clk) begin
    s_waits <= !rst && s_axis_tvalid && !s_axis_tready;
    m_waits <= !rst && m_axis_tvalid && !m_axis_tready;
    s_payload_before <= s_payload;
    m_payload_before <= m_payload;
  end

  `HDL_REQUIRE(width_is_legal, DATA_WIDTH >= 8 && DATA_WIDTH % 8 == 0,
               "DATA_WIDTH must be a multiple of 8")
  `HDL_CHECK(input_is_stable,
             !s_waits || (s_axis_tvalid && s_payload == s_payload_before),
             "input changed before its transfer")
  `HDL_CHECK(output_is_stable,
             !m_waits || (m_axis_tvalid && m_payload == m_payload_before),
             "output changed before its transfer")
  `HDL_CHECK(skid_entry_is_covered, !(skid_valid && s_axis_tready), "ready without a free entry")
`endif

endmodule

`default_nettype wire
