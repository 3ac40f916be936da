"""Reference models that know nothing of cocotb and can be used without it."""
