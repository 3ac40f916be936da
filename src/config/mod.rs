//! `runner.toml` with spans, turned into values of the model.
