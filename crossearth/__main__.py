"""`python -m crossearth` is the command `crossearth`, for where no folder of scripts is on PATH."""

import sys

from crossearth.cli import main

if __name__ == '__main__':
    sys.exit(main())
