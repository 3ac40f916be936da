// CRC-8 of a stream of bytes. `crc` covers all bytes that were valid at a rising
// edge since the last `rst`, which is synchronous and active high.

module crc8_stream (
    input  wire        clk,
    input  wire        rst,
    input  wire        valid,
    input  wire  [7:0] data,
    output logic [7:0] crc
);

  logic [7:0] next;

  crc8_step step (
      .crc (crc),
      .data(data),
      .next(next)
  );

  always_ff @(posedge clk) begin
    if (rst) crc <= '0;
    else if (valid) crc <= next;
  end

endmodule
