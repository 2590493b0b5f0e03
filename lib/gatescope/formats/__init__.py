"""Formats: JSON, TOML, cards and arrays, read from files of any origin."""
