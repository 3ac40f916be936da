//! What is to be run: matrices, selections, partitions; pure.
