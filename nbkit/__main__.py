"""``python -m nbkit`` is the command ``nbkit``."""

import sys

from nbkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
