"""Initial weights that depend on the seed and the part, not on what is built before it.

The parts of a recipe are built one after another, and all of them draw from torch's global
generator. If one method built a style network before the model, its model would get other weights
than with another method. So each class and function that a recipe names draws from its own stream.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

from crossearth.datasets.streams import derived_seed

if TYPE_CHECKING:
    from lightning.pytorch.cli import LightningArgumentParser

__all__ = ['seed_parts']


def seed_parts(parser: 'LightningArgumentParser', section: Mapping[str, Any]) -> None:
    """Make a parser build each part of a section under its own seed.

    The seed of a part is derived from torch's seed, from the import path of the part, and from how
    many parts of that path were built before it. The global generator is left unchanged.

    Args:
        parser: What builds the recipe.
        section: The model of a recipe: `class_path` and `init_args`, at any depth.
    """
    built: Counter[str] = Counter()

    def build(part: Any, *args: Any, **kwargs: Any) -> Any:
        name = f'{part.__module__}.{part.__qualname__}'
        built[name] += 1
        seed = torch.initial_seed()
        with torch.random.fork_rng(devices=[]):
            # not torch.manual_seed, which would also seed the GPUs, whose state is not restored
            torch.default_generator.manual_seed(derived_seed(seed, f'{name}/{built[name]}'))
            return part(*args, **kwargs)

    for path in dict.fromkeys(_class_paths(section)):
        part = _imported(path)
        if part is not None:
            parser.add_instantiator(build, part, subclasses=False)


def _class_paths(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(node.get('class_path'), str):
            yield node['class_path']
        for value in node.values():
            yield from _class_paths(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _class_paths(value)


def _imported(path: str) -> Any:
    """The object at an import path; None if the path is invalid, which the parser reports."""
    module, _, name = path.rpartition('.')
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        return None
