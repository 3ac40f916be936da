// Counter whose output changes in one bit per step. `rst` is synchronous and
// active high.

module gray_counter #(
    parameter int WIDTH = 4
) (
    input  wire              clk,
    input  wire              rst,
    output logic [WIDTH-1:0] gray
);

  logic [WIDTH-1:0] binary;

  always_ff @(posedge clk) begin
    if (rst) binary <= '0;
    else binary <= binary + 1'b1;
  end

  binary_to_gray #(
      .WIDTH(WIDTH)
  ) convert (
      .binary(binary),
      .gray(gray)
  );

endmodule
