// A design that never comes to rest: its clock is made in HDL and runs for ever,
// as in many testbenches that were written before cocotb came.

`default_nettype none

module clocked (
    input  wire  [ 7:0] command,
    output logic        clk,
    output logic [31:0] count
);

  commands commands (.command(command));

  initial begin
    clk = 1'b0;
    forever #5 clk = !clk;
  end

  initial count = '0;
  always @(posedge clk) count <= count + 1'b1;

endmodule

`default_nettype wire
