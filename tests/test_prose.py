"""The check of the English finds what it should in sentences, and reads no code."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = """# Maps

We begin anew with `a training`. It is very unique.

```python
trainings = 'anew'
```

Two words words.
"""
MODULE = '''"""A mean.

>>> anew = 1
"""


def f(anew):
    """Gives back the the number."""
    return anew  # in place of a mean
'''


def check(project: Path) -> subprocess.CompletedProcess[str]:
    """Runs the check in a repository that git knows."""
    (project / '.ci').mkdir(exist_ok=True)
    shutil.copy(ROOT / '.ci/prose.py', project / '.ci')
    subprocess.run(['git', 'init', '-q', project], check=True)
    subprocess.run(['git', 'add', '.'], cwd=project, check=True)
    return subprocess.run(
        [sys.executable, '.ci/prose.py'], cwd=project, capture_output=True, text=True, check=False
    )


def test_findings_fail_the_check_and_name_their_lines(tmp_path: Path) -> None:
    (tmp_path / 'crossearth').mkdir()
    (tmp_path / 'page.md').write_text(PAGE)
    (tmp_path / 'crossearth/module.py').write_text(MODULE)
    run = check(tmp_path)
    assert run.returncode == 1
    found = run.stdout.splitlines()
    assert [line.split(': ')[0] for line in found] == [
        'crossearth/module.py:8',
        'crossearth/module.py:9',
        *('page.md:3',) * 3,
        'page.md:9',
    ]
    assert 'write "instead of" instead of "in place of"' in found[1]


def test_plain_sentences_pass(tmp_path: Path) -> None:
    (tmp_path / 'page.md').write_text('# Maps\n\nA map has one class per pixel.\n')
    run = check(tmp_path)
    assert (run.returncode, run.stdout) == (0, '')
