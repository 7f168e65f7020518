"""`python -m benchmark`."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the command line; returns the exit code."""
    from benchmark.commands.main import main as cli

    for stream in (sys.stdout, sys.stderr):  # a name may have what they cannot show
        stream.reconfigure(errors="backslashreplace")
    try:
        code = cli()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
