"""Technology cards (TOML), shipped as package data, each number with its source."""
