"""`rindle-sync` and `python -m rindle_sync`."""

import gc
import sys


def main() -> None:
    """Run the command line, or say which extra it needs."""
    try:
        from rindle_sync.cli import main as run
    except ModuleNotFoundError as error:
        hint = "pip install 'rindle-sync[cli]'"
        sys.exit(f"rindle-sync: the command line needs {error.name}; {hint}")
    try:
        run()
    finally:
        # else the interpreter looks through all objects, for 0.1 s, only to free them at its end
        gc.freeze()


if __name__ == "__main__":
    main()
