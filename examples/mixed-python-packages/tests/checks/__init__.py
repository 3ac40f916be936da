"""The test modules and what they share."""
