"""Run the command line: `python -m vedit` is the same as `vedit`."""

from vedit.cli import run

if __name__ == "__main__":
    run()
