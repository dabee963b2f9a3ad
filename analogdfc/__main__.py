"""`python -m analogdfc` is the command line."""

from analogdfc.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
