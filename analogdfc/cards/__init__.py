"""Cards: TOML files of technologies, devices and digital machines, with unit and source."""
