"""Arrays of devices: mapping, converters, layers of a network on them, pulsed updates."""
