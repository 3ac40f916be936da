// A design without a clock: when Python waits for nothing more, no event is left
// and the simulation is over.

`default_nettype none

module plain (
    input  wire  [7:0] command,
    input  wire  [7:0] value,
    output logic [7:0] inverted
);

  commands commands (.command(command));

  assign inverted = ~value;

endmodule

`default_nettype wire
