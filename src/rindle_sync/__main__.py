"""`rindle-sync` and `python -m rindle_sync`."""

import gc
import sys


def main() -> None:
    """Run the command line, or say which extra it needs."""
    gc.disable()  # what is imported stays: to search it for garbage would be a sixth of the start
    try:
        from rindle_sync.cli import main as run
    except ModuleNotFoundError as error:
        sys.exit(
            f"rindle-sync: the command line needs {error.name}; pip install 'rindle-sync[cli]'"
        )
    gc.freeze()
    gc.enable()
    run()


if __name__ == "__main__":
    main()
