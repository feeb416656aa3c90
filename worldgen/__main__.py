"""`python -m worldgen`: the `worldgen` command."""

import sys

from worldgen.cli import main

if __name__ == "__main__":
    sys.exit(main())
