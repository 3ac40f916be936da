// What a testcase can ask the HDL to do, by writing a number to `command`. The
// numbers are repeated in hdl_commands.py.

`default_nettype none

module commands (
    input wire [7:0] command
);

  int spins;

  always @(command) begin
    case (command)
      8'd1: $finish;
      8'd2: $fatal(1, "the HDL gives up");
      8'd3: $stop;
      8'd4: $error("the HDL found a mistake");
      // Takes no simulated time, so the simulator never gives Python a turn.
      8'd5: while (command == 8'd5) spins = spins + 1;
      default: ;
    endcase
  end

endmodule

`default_nettype wire
