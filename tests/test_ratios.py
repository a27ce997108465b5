"""The guard in performance/ratios.py, which no change passes that doubles a cost."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / 'performance' / 'ratios.py'


@pytest.fixture
def ratios() -> ModuleType:
    spec = importlib.util.spec_from_file_location('ratios', SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_twice_the_stored_ratio_passes_and_more_is_named(ratios: ModuleType) -> None:
    found = {'at the margin': 1.0, 'above': 1.02, 'cheaper': 0.1, 'new': 9.0}
    stored = dict.fromkeys(['at the margin', 'above', 'cheaper'], 0.5)
    assert list(ratios.regressions(found, stored)) == ['above']
    line = ratios.regressions(found, stored)['above']
    assert 'above costs 1.02 times its yardstick, 2.0 times the stored 0.50' in line


def test_both_take_turns_and_the_ratio_is_the_median_of_the_rounds(
    ratios: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    clock = iter([0, 3, 4, 10, 12, 13, 20, 100, 110])  # 3 and 1 s, 2 and 1 s, 80 and 10 s
    monkeypatch.setattr(ratios, '_cpu_s', lambda: float(next(clock)))
    found = ratios.alternate(
        lambda: order.append('ours'), lambda: order.append('other'), rounds=3, warm=False
    )
    assert order == ['ours', 'other'] * 3
    assert (found.ours, found.yardstick, found.ratio) == (3.0, 1.0, 3.0)


def test_each_case_has_a_stored_ratio(ratios: ModuleType) -> None:
    assert json.loads(ratios.STORED.read_text())['ratios'].keys() == ratios.CASES.keys()


@pytest.mark.slow
def test_nothing_costs_twice_what_it_did() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
