//! Finding and making the tools a session uses.
