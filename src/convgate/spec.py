"""Strict dataclasses from TOML."""
