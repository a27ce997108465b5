import re
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[2] / 'docs' / 'transforms.md'


def test_the_examples_of_the_page_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(0)
    blocks = re.findall(r'^```python\n(.*?)^```', PAGE.read_text(encoding='utf-8'), re.S | re.M)
    assert len(blocks) == 6
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), 'exec'), names)
