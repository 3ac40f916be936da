//! The composition root, one file per subcommand.
