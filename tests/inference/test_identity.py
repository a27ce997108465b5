"""Two models are told apart by anything that changes what they compute, and by nothing else."""

import copy
import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.inference import Running, Windows, identity_of, predict_scene, predict_scenes
from crossearth.inference.scene_sources import tasks_of
from tests.inference.test_predict import Write

SCRIPT = """
import torch, warnings
warnings.simplefilter('ignore')
from torch import nn
from crossearth.inference import identity_of
from tests.inference.test_identity import make, scripted
{first}
print(identity_of(make()), identity_of(scripted(make())))
"""


class Sharpened(nn.Module):
    """With a temperature, words that stand in a set, a function, and a cache."""

    def __init__(
        self, temperature: float = 2.0, scale: Callable[[Tensor], Tensor] = torch.tanh
    ) -> None:
        super().__init__()
        self.inner = nn.Conv2d(3, 2, 1)
        self.temperature = temperature
        self.words = {'road', 'roof', 'tree', 'water'}
        self.scale = scale
        self._gain = 1.0
        self._cache: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        self._cache = images.mean()
        return self.scale(self.inner(images)) / self.temperature


class Blunt(Sharpened):
    """The same weights, another computation."""

    def forward(self, images: Tensor) -> Tensor:
        return self.scale(self.inner(images)) * self.temperature


def make(**options: object) -> Sharpened:
    torch.manual_seed(0)
    return Sharpened(**options)  # type: ignore[arg-type]


def scripted(model: nn.Module) -> nn.Module:
    made: nn.Module = torch.jit.trace(model.inner.eval(), torch.zeros(1, 3, 4, 4))
    return made


def test_what_changes_the_computation_changes_the_identity() -> None:
    base = make()
    torch.manual_seed(0)
    blunt = Blunt()
    weights, option, private, module, hooked, moved = (copy.deepcopy(base) for _ in range(6))
    with torch.no_grad():
        weights.inner.bias[0] += 1e-6
    option.temperature = 2.5
    private._gain = 1.5
    module.inner.stride = (2, 2)
    hooked.register_forward_hook(lambda _m, _i, output: output * 2)
    moved.extra = torch.ones(2)
    functions = [
        make(scale=lambda x: x * 2),
        make(scale=lambda x: x * 3),
        make(scale=functools.partial(torch.clamp, min=0)),
        make(scale=functools.partial(torch.clamp, min=1)),
    ]
    others = [blunt, weights, option, private, module, hooked, moved, base.half(), *functions]
    identities = [identity_of(model) for model in [make(), *others]]
    assert len(set(identities)) == len(identities)


def test_running_copying_and_freezing_leave_the_identity() -> None:
    model = make()
    before = identity_of(model)
    assert identity_of(copy.deepcopy(model)) == before
    model(torch.zeros(1, 3, 4, 4))
    model.eval().requires_grad_(False)
    assert identity_of(model) == before


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:.torch.jit:FutureWarning')  # deprecated, and in wide use
def test_identities_are_the_same_in_every_process() -> None:
    own = f'{identity_of(make())} {identity_of(scripted(make()))}'
    for seed, first in (('1', ''), ('2', 'scripted(make()); scripted(make())')):
        done = subprocess.run(
            [sys.executable, '-c', SCRIPT.format(first=first)],
            env=os.environ | {'PYTHONPATH': str(Path(__file__).parents[2]), 'PYTHONHASHSEED': seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == own


@pytest.mark.filterwarnings('ignore:.torch.jit:FutureWarning')  # deprecated, and in wide use
def test_scripted_and_exported_models_are_told_by_weights_and_graph(tmp_path: Path) -> None:
    class Scaled(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.inner, self.factor = nn.Conv2d(3, 2, 1), factor

        def forward(self, images: Tensor) -> Tensor:
            return self.inner(images) * self.factor

    example = torch.zeros(1, 3, 4, 4)
    kinds: list[Callable[[nn.Module], nn.Module]] = [
        torch.jit.script,
        lambda model: torch.jit.freeze(torch.jit.script(model)),
        lambda model: torch.jit.trace(model, example),
        lambda model: torch.export.export(model, (example,)).module(),
    ]
    for kind in kinds:
        other = Scaled(2.0)
        with torch.no_grad():
            other.inner.weight[0, 0] += 1
        made = [kind(model.eval()) for model in (Scaled(2.0), Scaled(2.0), Scaled(3.0), other)]
        one, again, factor, weight = (identity_of(model) for model in made)
        assert one == again
        assert len({one, factor, weight}) == 3


def test_functions_need_a_name_where_parts_are_kept(write_scene: Write, tmp_path: Path) -> None:
    scene = write_scene(np.zeros((3, 20, 20), np.uint8))
    kept = Running(shard=(1, 2), shard_px=512)
    for model in (lambda x: x, functools.partial(torch.clamp, min=0), torch.sin):
        with pytest.raises(
            ConfigError, match=r'cannot be compared with another model: pass model_id'
        ):
            predict_scene(model, scene, tmp_path / 'map.tif', running=kept)
    predict_scene(lambda x: x, scene, tmp_path / 'map.tif')  # nothing is kept
    predict_scene(lambda x: x, scene, tmp_path / 'map.tif', running=kept, model_id='one')
    with pytest.raises(ConfigError, match=r'another run .model was one, is two'):
        predict_scene(lambda x: -x, scene, tmp_path / 'map.tif', running=kept, model_id='two')


def test_parts_of_a_model_with_another_option_are_refused(
    write_scene: Write, tmp_path: Path
) -> None:
    scene = write_scene(np.zeros((3, 20, 20), np.uint8))
    kept = Running(shard=(1, 2), shard_px=512)
    predict_scene(make(), scene, tmp_path / 'map.tif', running=kept)
    predict_scene(make(), scene, tmp_path / 'map.tif', running=kept)
    with pytest.raises(ConfigError, match=r'another run .model was'):
        predict_scene(make(temperature=3.0), scene, tmp_path / 'map.tif', running=kept)


def test_many_scenes_are_made_again_by_another_model_and_need_a_name_for_functions(
    write_scene: Write, tmp_path: Path
) -> None:
    (tmp_path / 'in').mkdir()
    write_scene(np.zeros((3, 20, 20), np.uint8), 'in/a.tif')
    tasks = tasks_of([tmp_path / 'in'], tmp_path / 'out')
    small = Windows(tile_px=32)

    def count(load: Callable[[], object], status: str, model_id: str | None = None) -> int:
        summary = predict_scenes(load, tasks, windows=small, model_id=model_id)  # type: ignore[arg-type]
        return summary.count(status)

    assert count(make, 'done') == 1
    assert count(make, 'present') == 1
    assert count(functools.partial(make, temperature=4.0), 'done') == 1
    with pytest.raises(ConfigError, match='pass model_id'):
        count(lambda: lambda x: x, 'done')
    with pytest.raises(ConfigError, match=r"model_id is '', which does not identify a model"):
        count(make, 'done', '')
    assert count(lambda: lambda x: x, 'done', 'identity') == 1
