// One source per line, relative to the folder of runner.toml.
hdl/crc8_step.sv
hdl/crc8_stream.sv
