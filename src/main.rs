//! Entry point; all work is in the library.

fn main() {}
