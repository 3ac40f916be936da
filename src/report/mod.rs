//! Consumers of the event stream: terminal, JUnit, NDJSON.
