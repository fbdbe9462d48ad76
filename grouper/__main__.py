"""Run the command line as ``python -m grouper``."""

from grouper.cli import main

main()
