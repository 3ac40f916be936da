// Round-robin arbiter.
//
// Parameters
//   PORTS  number of requesters, at least 2
//
// Contract
//   - `grant` is combinational in `request`: one-hot, and a subset of it;
//     all zero and `grant_valid` low if there is no request. `grant_index` is the
//     number of the granted requester, 0 if there is none.
//   - A rising edge of `clk` where `grant_valid` and `accept` are high uses the
//     grant up: the requester after the granted one now comes first. Without
//     `accept` priorities stay as they are.
//   - Fairness: a requester that keeps asking is granted before any other one
//     is granted twice, so it waits for at most PORTS - 1 accepted grants.
//   - `rst` is synchronous and active high; requester 0 comes first after it.

`include "checks.svh"

`default_nettype none

module round_robin_arbiter #(
    parameter int PORTS = 4
) (
    input  wire                      clk,
    input  wire                      rst,
    input  wire  [        PORTS-1:0] request,
    input  wire                      accept,
    output logic [        PORTS-1:0] grant,
    output logic                     grant_valid,
    output logic [$clog2(PORTS)-1:0] grant_index
);

  localparam int IndexWidth = (PORTS > 1) ? $clog2(PORTS) : 1;

  // Ones from the requester that comes first up to the highest one.
  logic [PORTS-1:0] first_mask;
  logic [PORTS-1:0] ahead;
  logic [PORTS-1:0] candidates;

  // Those from the first requester upwards, or, if none of them asks, all.
  assign ahead = request & first_mask;
  assign candidates = (ahead != '0) ? ahead : request;
  // The lowest bit that is set.
  assign grant = candidates & (~candidates + PORTS'(1));
  assign grant_valid = request != '0;

  always_comb begin
    grant_index = '0;
    for (int port = 0; port < PORTS; port++) begin
      if (grant[port]) grant_index = IndexWidth'(port);
    end
  end

  always_ff @(posedge clk) begin
    if (rst) first_mask <= '1;
    // Everything above the granted bit; zero after the highest one, and then
    // `candidates` starts from the lowest again.
    else if (accept && grant_valid) first_mask <= ~(grant | (grant - PORTS'(1)));
  end

  `HDL_REQUIRE(ports_are_legal, PORTS >= 2, "PORTS must be at least 2")
  `HDL_CHECK(grant_is_one_hot, (grant & (grant - PORTS'(1))) == '0, "more than one grant")
  `HDL_CHECK(grant_was_requested, (grant & ~request) == '0, "grant without request")
  `HDL_CHECK(grant_if_requested, grant_valid == (grant != '0), "grant and grant_valid disagree")

endmodule

`default_nettype wire
