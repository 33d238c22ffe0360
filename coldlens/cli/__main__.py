"""`python -m coldlens.cli`."""

import sys

from coldlens.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
