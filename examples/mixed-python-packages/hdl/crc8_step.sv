// One byte of CRC-8 with the polynomial x^8 + x^2 + x + 1, combinational.

module crc8_step (
    input  wire  [7:0] crc,
    input  wire  [7:0] data,
    output logic [7:0] next
);

  function automatic logic [7:0] divide(input logic [7:0] start);
    divide = start;
    for (int place = 0; place < 8; place++) begin
      divide = {divide[6:0], 1'b0} ^ (divide[7] ? 8'h07 : 8'h00);
    end
  endfunction

  assign next = divide(crc ^ data);

endmodule
