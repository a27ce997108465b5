import re
from pathlib import Path

import torch

PAGE = Path(__file__).parents[2] / 'docs' / 'transforms.md'


def test_the_examples_of_the_page_run_in_order() -> None:
    torch.manual_seed(0)
    blocks = re.findall(r'^```python\n(.*?)^```', PAGE.read_text(encoding='utf-8'), re.S | re.M)
    assert len(blocks) == 5
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), 'exec'), names)
