"""`python -m crossearth` is the command `crossearth`, for where no folder of scripts is on PATH."""

import sys

from crossearth.cli import main

sys.exit(main())
