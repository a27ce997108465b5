"""Every example of the gallery runs as a script, offline, and draws a picture."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / 'examples').glob('plot_*.py'))
MOST_CPU_S = 40  # about 20 on a quiet core

# Counts the figures of pyplot and those that objects of the library draw.
RUN = """
import runpy, sys
import matplotlib
matplotlib.use('agg')
from matplotlib.figure import Figure
names = runpy.run_path(sys.argv[1], run_name='__main__')
import matplotlib.pyplot as plt
figures = [v for v in names.values() if isinstance(v, Figure)] + plt.get_fignums()
assert figures, 'no picture'
"""


def test_there_is_an_example_of_each_thing():
    assert len(EXAMPLES) >= 14
    for example in EXAMPLES:
        title, line = example.read_text().splitlines()[1:3]
        assert line == '=' * len(title), f'{example.name}: the line below the title is not as long'


@pytest.mark.slow
@pytest.mark.parametrize('example', EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs_in_seconds_and_leaves_the_checkout_alone(example, tmp_path):
    before = sorted(path.name for path in example.parent.iterdir())
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, '-c', RUN, str(example)],
        cwd=tmp_path,
        env={
            **os.environ,
            'PYTHONPATH': str(ROOT),
            'OMP_NUM_THREADS': '1',
            'TMPDIR': str(tmp_path),
            'TQDM_DISABLE': '1',
            'HF_HUB_OFFLINE': '1',
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - used < MOST_CPU_S
    assert sorted(path.name for path in example.parent.iterdir()) == before
