//! Interoperation with pytest-cocotb in one directory: its lock and its marker files.

pub(crate) mod lock;
mod markers;
