`timescale 1ns/1ps
module top #(parameter W = 8) (input logic clk, input logic rst, output logic [31:0] count);
  integer file;
  initial count = 0;
  always @(posedge clk) if (rst) count <= 0; else count <= count + 1;
  always @(posedge clk) begin
    if (count == 40) $display("forty");
    if (count == 60 && $test$plusargs("finish")) $finish;
    if (count == 60 && $test$plusargs("error")) $error("sixty");
    if (count == 60 && $test$plusargs("opens")) file = $fopen("own.log");
  end
endmodule
