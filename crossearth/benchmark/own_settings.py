"""Reads settings that a user adds to those of the benchmark, from a TOML file."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from crossearth.benchmark.domains import DOMAINS, Domain
from crossearth.benchmark.settings import SETTINGS, Masking, Setting
from crossearth.datasets import ArchiveDataset
from crossearth.errors import ConfigError
from crossearth.imports import import_named
from crossearth.labels import LabelSpace

__all__ = ['read_settings']

_DOMAIN = {'name', 'dataset', 'labels', 'options', 'folder', 'test_split', 'tested_whole', 'fitted'}
_SETTING = {'name', 'gap', 'source', 'target', 'chip_px', 'styled', 'masked', 'mim_loss', 'notes'}


def read_settings(path: str | os.PathLike[str]) -> dict[str, Setting]:
    """Read the settings of a TOML file, by name.

    `[[setting]]` needs `name`, `source`, `target` and `chip_px`, and may have `gap`, `styled`,
    `masked`, `mim_loss` and `notes`, as in `Setting`. Sources and targets are published domains, or
    those of `[[domain]]` tables in the same file. A domain needs `name`, `dataset` (`module:Class`
    of an `ArchiveDataset`) and `labels` (`module:NAME` of the `LabelSpace` that it reads). As in
    `Domain`, it may have `options`, `folder` (default: the name), `test_split` (default: `'test'`),
    `tested_whole` and `fitted`.

    Args:
        path: The file. Trust it: modules that it names are imported and run.

    Raises:
        ConfigError: If the file does not exist, is not TOML, or has wrong keys or values.
    """
    file = Path(path)
    try:
        values = tomllib.loads(file.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise ConfigError(f'{file} does not exist: check the path of the settings') from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f'{file} is not TOML ({error}): expected [[setting]] tables') from error
    if not values.get('setting') or not set(values) <= {'domain', 'setting'}:
        raise ConfigError(
            f'{file} holds {sorted(values)}: expected [[setting]] and optionally [[domain]] tables'
        )
    try:
        own = {entry['name']: _domain(entry) for entry in values.get('domain', [])}
        made = [_setting(entry, {**DOMAINS, **own}) for entry in values['setting']]
    except KeyError as error:
        raise ConfigError(f'{file}: a table lacks {error}: add it') from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f'{file}: {error}') from error
    return {setting.name: setting for setting in made}


def _domain(entry: Mapping[str, Any]) -> Domain:
    _check_keys(entry, _DOMAIN)
    reader, labels = import_named(entry['dataset']), import_named(entry['labels'])
    if not isinstance(reader, type) or not issubclass(reader, ArchiveDataset):
        raise ConfigError(
            f'{entry["dataset"]} is not a dataset: expected a class that inherits ArchiveDataset'
        )
    if not isinstance(labels, LabelSpace):
        raise ConfigError(f'{entry["labels"]} is not a label space: expected a LabelSpace')
    return Domain(
        name=entry['name'],
        archive=reader.archive,
        labels=labels,
        options=MappingProxyType(dict(entry.get('options', {}))),
        folder=entry.get('folder', entry['name']),
        test_split=entry.get('test_split', 'test'),
        tested_whole=entry.get('tested_whole', False),
        fitted=entry.get('fitted', False),
        reader=reader,
    )


def _setting(entry: Mapping[str, Any], domains: Mapping[str, Domain]) -> Setting:
    _check_keys(entry, _SETTING)
    name, masking = entry['name'], {'tau': 0.7, 'patch_px': 64}
    if name in SETTINGS or '/' in name or name.startswith('.'):
        raise ConfigError(
            f'setting {name!r} is a published one or cannot be a folder name: choose another name'
        )
    for role in ('source', 'target'):
        if entry[role] not in domains:
            raise ConfigError(
                f'setting {name}: its {role} {entry[role]!r} is not a domain: expected '
                f'one of {", ".join(domains)}'
            )
    source, target = domains[entry['source']], domains[entry['target']]
    if source.labels != target.labels:
        raise ConfigError(
            f'setting {name}: {source.name} has the classes {source.labels.classes}, but '
            f'{target.name} has {target.labels.classes}: read both with one label space'
        )
    return Setting(
        name=name,
        gap=entry.get('gap', 'region'),
        source=source,
        target=target,
        chip_px=entry['chip_px'],
        styled=Masking(**{**masking, **entry.get('styled', {})}),
        masked=Masking(**{**masking, **entry.get('masked', {})}),
        mim_loss=entry.get('mim_loss', 'mse'),
        checkpoints=(),
        notes=tuple(entry.get('notes', ())),
        reported=MappingProxyType({}),
    )


def _check_keys(entry: Mapping[str, Any], known: set[str]) -> None:
    surplus = sorted(set(entry) - known)
    if surplus:
        raise ConfigError(
            f'{entry.get("name")} has unknown keys {", ".join(surplus)}: expected some of '
            f'{", ".join(sorted(known))}'
        )
