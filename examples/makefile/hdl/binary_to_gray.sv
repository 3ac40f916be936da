// Turns a binary number into its Gray code, combinationally.

module binary_to_gray #(
    parameter int WIDTH = 4
) (
    input  wire  [WIDTH-1:0] binary,
    output logic [WIDTH-1:0] gray
);

  assign gray = binary ^ (binary >> 1);

endmodule
