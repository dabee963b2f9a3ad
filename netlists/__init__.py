"""Reference netlists of small networks with the waveforms that they must give (package data)."""
