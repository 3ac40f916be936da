// Read-only memory of 64 words, filled from a file when simulation starts.
//
// CONTENTS is that file, relative to the working directory. With REVERSED the
// address is taken with its lowest bit first. Combinational, or with one clock
// of latency if OUTPUT_REGISTER is defined. With the plusarg +trace every rising
// edge is printed.

module rom #(
    parameter CONTENTS = "rom.hex",
    parameter int DATA_WIDTH = 8,
    parameter bit REVERSED = 1'b0
) (
    input  wire                   clk,
    input  wire  [           5:0] address,
    output logic [DATA_WIDTH-1:0] data
);

  logic [DATA_WIDTH-1:0] words[64];
  logic [5:0] index;

  initial $readmemh(CONTENTS, words);

  assign index = REVERSED
      ? {address[0], address[1], address[2], address[3], address[4], address[5]}
      : address;

`ifdef OUTPUT_REGISTER
  always_ff @(posedge clk) data <= words[index];
`else
  assign data = words[index];
`endif

  logic trace;
  initial trace = $test$plusargs("trace") != 0;
  always @(posedge clk) if (trace) $display("rom: %0d -> %0h", address, data);

endmodule
