"""``python -m nbkit`` is the command ``nbkit``."""

import sys

from nbkit.cli import run

if __name__ == "__main__":
    sys.exit(run())
