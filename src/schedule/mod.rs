//! Slots, order, limits and the life of each run.
