//! Command-line types and nothing else.
