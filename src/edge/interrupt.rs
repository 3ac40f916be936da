//! Signals to cocorun itself.
