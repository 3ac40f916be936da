// Arithmetic and logic unit, combinational.
//
// SLL and SRL shift `a` by the lowest bits of `b`, as many as count up to
// WIDTH - 1; WIDTH is a power of two. SLT is 1 if `a` is less than `b` as signed
// numbers, else 0. `zero` is high when `result` is 0.

module alu
  import alu_pkg::*;
#(
    parameter int WIDTH = 32
) (
    input  wire  [      2:0] operation,
    input  wire  [WIDTH-1:0] a,
    input  wire  [WIDTH-1:0] b,
    output logic [WIDTH-1:0] result,
    output logic             zero
);

  localparam int ShiftWidth = $clog2(WIDTH);

  logic [ShiftWidth-1:0] distance;

  assign distance = b[ShiftWidth-1:0];
  assign zero = result == '0;

  always_comb begin
    case (operation)
      ADD: result = a + b;
      SUB: result = a - b;
      AND: result = a & b;
      OR:  result = a | b;
      XOR: result = a ^ b;
      SLL: result = a << distance;
      SRL: result = a >> distance;
      SLT: result = WIDTH'($signed(a) < $signed(b));
    endcase
  end

endmodule
