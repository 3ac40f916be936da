// Counts from 0 to LIMIT - 1 and starts again. `wraps` is high with the last
// value. `rst` is synchronous and active high.

module counter #(
    parameter int LIMIT = 16
) (
    input  wire                      clk,
    input  wire                      rst,
    input  wire                      enable,
    output logic [$clog2(LIMIT)-1:0] value,
    output logic                     wraps
);

  localparam int Width = $clog2(LIMIT);

  assign wraps = value == Width'(LIMIT - 1);

  always_ff @(posedge clk) begin
    if (rst) value <= '0;
    else if (enable) value <= wraps ? '0 : value + 1'b1;
  end

endmodule
