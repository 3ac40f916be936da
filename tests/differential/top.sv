`timescale 1ns / 1ps

// Shows through `$display` and files everything that a simulation draws, reads or is told.
module top (
    input wire clk,
    output reg [31:0] drawn
);

  parameter int DEPTH = 4;

  reg [7:0] memory[0:3];
  integer file;
  integer depth;
  integer count = 0;

`ifndef VERILATOR
  // Verilator opens waves before the fork, and is then not forked.
  initial begin
    $dumpfile("own.vcd");
    $dumpvars(0, top);
  end
`endif

  initial begin
    $display("initial at %0t draws %h", $time, $random);
    $readmemh("contents.hex", memory);
    $display("memory %h %h %h %h", memory[0], memory[1], memory[2], memory[3]);
    if ($test$plusargs("loud")) $display("loud");
    if ($value$plusargs("depth=%d", depth)) $display("depth %0d of %0d", depth, DEPTH);
    file = $fopen("out.txt", "w");
    $fwrite(file, "opened at %0t\n", $time);
  end

  always @(posedge clk) begin
    count = count + 1;
    drawn = $random;
    $display("%0t edge %0d draws %h and %h", $time, count, drawn, $urandom);
    $fwrite(file, "%0t %h\n", $time, drawn);
    $fflush(file);
    if (count == 3) $write("no line feed");
  end

endmodule
