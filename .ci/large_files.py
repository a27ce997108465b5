"""Refuse files above 200 kB: `large_files.py FILE...`. Pictures are drawn, not kept."""

import sys
from pathlib import Path

LIMIT = 200_000

large = [(path, size) for path in sys.argv[1:] if (size := Path(path).stat().st_size) > LIMIT]
for path, size in large:
    sys.stdout.write(f'{path}: {size:,} bytes, expected at most {LIMIT:,}\n')
sys.exit(bool(large))
