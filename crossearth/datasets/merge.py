"""Several source domains as one dataset."""

import dataclasses
from collections.abc import Mapping

from crossearth.datasets.archive import ArchiveDataset, Coverage
from crossearth.datasets.scene_dataset import SceneDataset
from crossearth.errors import ConfigError, LabelError

__all__ = ['MergedDataset', 'merge_domains']


class MergedDataset(SceneDataset):
    """Scenes of several datasets, which remembers how many a complete archive has."""

    expected: int | None = None
    missing: tuple[str, ...] = ()

    @property
    def coverage(self) -> Coverage:
        """How many of the images of the complete archives are there."""
        return Coverage(len(self.scenes), self.expected, self.missing)


def merge_domains(
    datasets: Mapping[str, SceneDataset], *, weights: Mapping[str, float] | None = None
) -> SceneDataset:
    """Merge the scenes of several datasets; each dataset is a domain with its own name.

    Every scene keeps the encoding of its masks, so a dataset of colours and one of ids merge if
    they mean the same classes.

    Args:
        datasets: Domain name → its scenes.
        weights: How often random windows come from each, relative to the others (`{'potsdam': 2,
            'vaihingen': 1}`); None for in proportion to their areas.

    Returns:
        Scenes in the order of the mapping; `domain` of a sample is the position of its name.

    Raises:
        ConfigError: If there is nothing to merge, datasets read pixels in different ways, or
            weights do not match the domains.
        LabelError: If datasets have different classes.
        BandError: If they differ in their number of bands.
    """
    if not datasets:
        raise ConfigError('nothing to merge: expected {name: dataset}')
    first_name, first = next(iter(datasets.items()))
    for name, dataset in datasets.items():
        if dataset.labels != first.labels:
            raise LabelError(
                f'{name}: classes are {dataset.labels.classes}, those of {first_name} are '
                f'{first.labels.classes}: map both to one label space'
            )
        for setting in ('ignore_nodata', 'dtype', 'gsd_m'):
            if getattr(dataset, setting) != getattr(first, setting):
                raise ConfigError(
                    f'{name}: {setting}={getattr(dataset, setting)!r}, but {first_name} has '
                    f'{getattr(first, setting)!r}: open both in the same way'
                )
    scenes = [
        dataclasses.replace(scene, domain=name, codec=scene.codec or dataset.codec)
        for name, dataset in datasets.items()
        for scene in dataset.scenes
    ]
    merged = MergedDataset(
        scenes,
        first.labels,
        ignore_nodata=first.ignore_nodata,
        dtype=first.dtype,
        domain_weights=weights,
    )
    merged.gsd_m = first.gsd_m  # its scenes are already resampled
    coverages = [
        dataset.coverage
        for dataset in datasets.values()
        if isinstance(dataset, ArchiveDataset | MergedDataset)
    ]
    if any(coverage.expected is not None for coverage in coverages):
        lacking = sum((c.expected or c.found) - c.found for c in coverages)
        merged.expected = len(scenes) + lacking
    merged.missing = tuple(name for coverage in coverages for name in coverage.missing)
    return merged
