"""Closing lines of several pytest runs as one: `closing_line.py ERRORS REPORT...`.

ERRORS is the number of other checks that failed. A report without a closing line is an error too:
pytest did not come to its end.
"""

import re
import sys
from collections import Counter
from pathlib import Path

ORDER = ('failed', 'passed', 'skipped', 'xfailed', 'xpassed', 'warning', 'error')
CLOSING = re.compile(r'^=*\s?(\d+ (?:failed|passed|skipped|deselected|error).*) in ([\d.]+)s\b')

counts, seconds = Counter(error=int(sys.argv[1])), 0.0
for report in sys.argv[2:]:
    found = [CLOSING.match(line) for line in Path(report).read_text().splitlines()]
    if not (closing := [match for match in found if match]):
        counts['error'] += 1
        continue
    seconds += float(closing[-1][2])
    for part in closing[-1][1].split(', '):
        number, kind = part.split()
        counts[re.sub(r'(warning|error)s$', r'\1', kind)] += int(number)
words = [
    f'{counts[kind]} {kind}{"s" * (kind in ("warning", "error") and counts[kind] > 1)}'
    for kind in ORDER
    if counts[kind]
]
sys.stdout.write(f'{", ".join(words)} in {seconds:.2f}s\n')
