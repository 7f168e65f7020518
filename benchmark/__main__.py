"""`python -m benchmark`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; returns the exit code."""
    from benchmark.cli import main as cli

    return cli()


if __name__ == "__main__":
    sys.exit(main())
