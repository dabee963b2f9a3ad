"""Starts the command line from a checkout: `python cli.py` is `analogdfc`."""

from analogdfc.cli import main

if __name__ == "__main__":
    main()
