"""What a model is scored on: a domain, its protocol, and the domain it was trained on."""

import argparse
import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crossearth.benchmark.protocol import Protocol
from crossearth.benchmark.recipes import Files, dataset_section
from crossearth.benchmark.settings import Setting
from crossearth.datasets import ArchiveDataset, Coverage, SceneDataset
from crossearth.datasets.merge import MergedDataset
from crossearth.errors import ConfigError, CrossEarthError, SceneError
from crossearth.labels import LabelSpace
from crossearth.trainers.parser_errors import complaint

__all__ = ['Case', 'case_of', 'check_complete', 'coverage_of', 'open_dataset']


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One domain to score, for models trained on one source; also the source's own test images.

    Args:
        name: Name of the case; for a published setting, its abbreviation.
        source: Name of the training domain.
        target: Name of the scored domain.
        test: The images to score, written as a dataset in a recipe: `class_path` and `init_args`.
        protocol: How the score is taken.
        labels: Classes that the setting fixes; None for those of the images.
    """

    name: str
    source: str
    target: str
    test: Mapping[str, Any]
    protocol: Protocol
    labels: LabelSpace | None = None


def case_of(setting: Setting, files: Files) -> Case:
    """The case of a published setting, with the archives of a user."""
    return Case(
        name=setting.name,
        source=setting.source.name,
        target=setting.target.name,
        test=dataset_section(setting.target, 'test', files),
        protocol=Protocol.of(setting),
        labels=setting.target.labels,
    )


def open_dataset(section: Mapping[str, Any]) -> SceneDataset:
    """Open a dataset that is written as in a recipe.

    Args:
        section: `class_path` of a class or function, and `init_args`.

    Raises:
        ConfigError: If the class does not exist, or its arguments are wrong.
        CrossEarthError: Any error that the dataset itself raises.
    """
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument('--dataset', type=SceneDataset)
    try:
        with warnings.catch_warnings():
            # this name exists in every version from our lower bound on
            warnings.filterwarnings('ignore', category=DeprecationWarning)
            # the parser changes its input
            given = parser.parse_object({'dataset': copy.deepcopy(dict(section))})
            opened: SceneDataset = parser.instantiate_classes(given).dataset
    except (argparse.ArgumentError, TypeError, ValueError) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, CrossEarthError):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            raise cause from error
        raise ConfigError(
            f'{section.get("class_path")}: cannot be opened ({complaint(error)}): '
            'expected the class_path of a dataset and its init_args'
        ) from error
    return opened


def coverage_of(dataset: SceneDataset) -> Coverage:
    """How many images of the complete set exist, as far as that is known."""
    if isinstance(dataset, ArchiveDataset | MergedDataset):
        return dataset.coverage
    return Coverage(len(dataset.scenes))


def check_complete(name: str, dataset: SceneDataset) -> None:
    """Refuse a copy of an archive that lacks images.

    Raises:
        SceneError: If it does. The message names what is missing and what to do.
    """
    coverage = coverage_of(dataset)
    if coverage.complete:
        return
    some = ', '.join(coverage.missing[:5]) + (', …' if len(coverage.missing) > 5 else '')
    place, command = 'one of its archives', 'crossearth data check NAME FOLDER'
    if isinstance(dataset, ArchiveDataset):
        place = str(dataset.root)
        command = f'crossearth data check {dataset.archive.name} {place}'
    raise SceneError(
        f'{place}: holds {coverage} images of {name}'
        + (f' (missing: {some})' if some else '')
        + f': complete it ({command} lists what it lacks), or pass --partial, which marks the '
        'scores as partial and never compares them with published ones'
    )
