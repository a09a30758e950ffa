"""`python -m rindle_sync`."""

from rindle_sync.cli import main

main()
