"""Writes complete recipes of the published training runs, from the values of the settings."""

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from crossearth.benchmark.domains import DOMAINS, Domain
from crossearth.benchmark.methods import METHODS, Method, find_method
from crossearth.benchmark.settings import SETTINGS, Masking, MimLoss, Setting
from crossearth.errors import ConfigError
from crossearth.labels import LabelSpace

__all__ = [
    'Files',
    'Variation',
    'dataset_section',
    'format_recipe',
    'published_sampling',
    'published_task',
    'recipe_files',
    'settings_of',
    'training_recipe',
]

CasidLabels = Literal['colour', 'zero_based', 'one_based']

_DECAY = 40_000
_WARM_UP = 10_000
_EPOCH = 1000  # windows, for archives that do not tell how many images they have
_MASKING = Masking(tau=0.7, patch_px=64)  # of most settings in Table 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Paths of data and weights; in a recipe file, its reader edits them.

    Args:
        data: Folder with one subfolder per archive, named as in `Domain.folder`.
        style: Distribution of styles, from `crossearth style fit`.
        predictor: Style predictor; None for the published weights, downloaded once.
        transformer: Style transformer; None for the published weights, downloaded once.
        dinov2: DINOv2 weights; None for timm's, downloaded once.
        mtp: Weights of MTP's RVSA ViT-L.
        imagenet: CNN weights; None for timm's, downloaded once.
        casid_labels: How the copy of CASID encodes its labels.
    """

    data: str | os.PathLike[str] = 'data'
    style: str | os.PathLike[str] = 'weights/earth_style.safetensors'
    predictor: str | os.PathLike[str] | None = None
    transformer: str | os.PathLike[str] | None = None
    dinov2: str | os.PathLike[str] | None = None
    mtp: str | os.PathLike[str] = 'weights/rvsa-l-mtp.pth'
    imagenet: str | os.PathLike[str] | None = None
    casid_labels: CasidLabels = 'colour'

    def root(self, domain: Domain) -> str:
        """Folder of the archive of a domain."""
        return str(Path(self.data) / domain.folder)

    def options(self, domain: Domain) -> dict[str, str]:
        """Arguments of the archive's class that depend on the copy."""
        return {'label_encoding': self.casid_labels} if domain.folder == 'casid' else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """Differences from the published values; None keeps the published value.

    Args:
        styled: Masking of the styled image.
        masked: Masking of the masked image.
        steps: Training steps. Decay and warm-up shrink in proportion.
        batch_size: Windows per step; most published training runs use one.
    """

    styled: Masking | None = None
    masked: Masking | None = None
    steps: int | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if any(given is not None and given < 1 for given in (self.steps, self.batch_size)):
            raise ConfigError(
                f'steps={self.steps}, batch_size={self.batch_size}: expected at least 1'
            )


_FILES = Files()
_AS_PUBLISHED = Variation()


def settings_of(source: str) -> list[Setting]:
    """The settings whose models are trained on a domain. They share one training run.

    Raises:
        ConfigError: If no setting trains on the domain.

    Example:
        >>> [setting.name for setting in settings_of('potsdam_irrg')]
        ['P(i)2V', 'P(i)2P(r)']
    """
    found = [setting for setting in SETTINGS.values() if setting.source.name == source]
    if not found:
        sources = dict.fromkeys(setting.source.name for setting in SETTINGS.values())
        raise ConfigError(f'{source} is not a source domain: expected one of {", ".join(sources)}')
    return found


def training_recipe(
    source: str,
    method: Method | str = 'crossearth',
    *,
    files: Files = _FILES,
    variation: Variation = _AS_PUBLISHED,
    seed: int = 0,
    settings: Sequence[Setting] | None = None,
) -> dict[str, Any]:
    """The recipe of a training run on a source domain, for `crossearth fit --config`.

    It is complete: it refers to no other files of values, and writes out every value that the paper
    or the release gives.

    Args:
        source: Name of the domain, a key of `DOMAINS`.
        method: What to train, as a method or its name.
        files: Paths of data and weights.
        variation: Differences from the published values.
        seed: Random seed of everything.
        settings: Your own settings with this source; None for the published ones.

    Raises:
        ConfigError: If no setting trains on the domain, or the method does not exist.

    Source:
        Section 5.1, Tables 13 and 14. From the release: AdamW with a weight decay of 0.05; windows
        of 512 px with a learning rate of 1e-4, or of 1024 px with 6e-5 and 10,000 steps of linear
        warm-up; decay with power 0.9 to 0 at step 40,000, stopped at 30,000; one window per step.
        The release draws windows from fixed chips. Here they are drawn at random places.

    Example:
        >>> recipe = training_recipe('potsdam_irrg')
        >>> method = recipe['model']['init_args']['method']['init_args']
        >>> style = method['style']['init_args']
        >>> style['ratio'], style['patch_size'], recipe['trainer']['max_steps']
        (0.7, 64, 30000)
    """
    chosen = find_method(method) if isinstance(method, str) else method
    shared = settings_of(source) if settings is None else settings
    setting = shared[0]
    name = f'{source}-{chosen.name}'
    steps = chosen.stop if variation.steps is None else variation.steps
    task = published_task(
        chosen,
        labels=setting.source.labels,
        size_px=setting.chip_px,
        steps=variation.steps,
        files=files,
        styled=variation.styled or setting.styled,
        masked=variation.masked or setting.masked,
        mim_loss=setting.mim_loss,
    )
    recipe = {
        'seed_everything': seed,
        'model': task,
        'data': {
            'class_path': 'crossearth.datasets.ShiftDataModule',
            'init_args': {
                **_data(setting, shared, files, variation.batch_size or chosen.batch_size, seed),
                **published_sampling(chosen),
            },
        },
        'trainer': {
            'accelerator': 'auto',
            'devices': 1,
            'precision': '32-true',
            'max_steps': steps,
            'use_distributed_sampler': False,
            'logger': {
                'class_path': 'lightning.pytorch.loggers.CSVLogger',
                'init_args': {'save_dir': f'runs/{name}'},
            },
            'callbacks': [
                {
                    'class_path': 'lightning.pytorch.callbacks.ModelCheckpoint',
                    'init_args': {
                        'dirpath': f'runs/{name}',
                        'filename': 'last',
                        'every_n_train_steps': 1000,
                        'enable_version_counter': False,
                    },
                },
                {
                    'class_path': 'crossearth.trainers.SaveModel',
                    'init_args': {'path': f'runs/{name}/model.safetensors'},
                },
            ],
        },
    }
    return copy.deepcopy(recipe)  # shared parts would become anchors in YAML


def published_task(
    method: Method,
    *,
    labels: LabelSpace,
    size_px: int,
    files: Files,
    steps: int | None = None,
    styled: Masking = _MASKING,
    masked: Masking = _MASKING,
    mim_loss: MimLoss = 'mse',
) -> dict[str, Any]:
    """The `model` section of a recipe: a published method, for any classes.

    Args:
        method: What to train.
        labels: The classes.
        size_px: Side of the training windows; above 512, the schedule is that of 1024.
        files: Paths of weights.
        steps: Training steps, with the schedule in proportion; None for the published number.
        styled: Masking of the styled image.
        masked: Masking of the masked image.
        mim_loss: Loss of the masked flow, if the method does not have its own.
    """
    share = 1.0 if steps is None else steps / method.stop
    large = size_px > 512
    training: dict[str, Any] = {
        'model': _model(method, labels, size_px, files),
        'labels': _labels(labels),
    }
    if method.styled:
        training['style'] = _style(styled, files)
    if method.masked:
        training['mask'] = _mask(masked)
        training |= {
            'mim_norm': method.mim_loss or mim_loss,
            'mim_target': 'clean',
            'mim_weight': 1.0,
            'delta_weight': 1.0,
        }
    kind = 'CrossEarthTraining' if method.masked else 'SourceOnly'
    learnt = {'class_path': f'crossearth.trainers.{kind}', 'init_args': training}
    if method.feature_distance is not None:
        wrapped = {'method': learnt, 'weight': method.feature_distance}
        learnt = {'class_path': 'crossearth.trainers.FeatureDistance', 'init_args': wrapped}
    task = {
        'method': learnt,
        'lr': 6e-5 if large else 1e-4,
        'weight_decay': 0.05,
        'decay_biases': True,
        'power': 0.9,
        'warmup_steps': round(_WARM_UP * share) if large else 0,
        # The rate must not reach 0 before the last step.
        'decay_steps': max(round(_DECAY * share), method.stop if steps is None else steps),
    }
    if 'warmup_steps' in method.schedule:
        task['warmup_steps'] = round(int(method.schedule['warmup_steps'] or 0) * share)
    task |= {key: value for key, value in method.schedule.items() if key != 'warmup_steps'}
    return {'class_path': 'crossearth.trainers.TrainingTask', 'init_args': task}


def published_sampling(method: Method) -> dict[str, float]:
    """Arguments of `ShiftDataModule` for how a published method draws its windows."""
    temperature = method.rare_class_temperature
    return {} if temperature is None else {'rare_class_temperature': temperature}


def recipe_files() -> dict[str, str]:
    """Name → text of every recipe in the folder `recipes/`.

    These are the paper's method, Rein, the frozen backbone and the CNN on each source, and the rows
    of the ablations on their sources.
    """
    sources = dict.fromkeys(setting.source.name for setting in SETTINGS.values())
    general = ('crossearth', 'rein', 'frozen', 'cnn')
    made = {}
    for method in METHODS.values():
        for source in sources if method.name in general else method.sources or ('deepglobe_road',):
            made[f'{source}-{method.name}.yaml'] = format_recipe(source, method)
    return made


def format_recipe(
    source: str,
    method: Method | str = 'crossearth',
    *,
    files: Files = _FILES,
    variation: Variation = _AS_PUBLISHED,
    seed: int = 0,
) -> str:
    """The recipe as YAML, with a header that says what it is and what it needs.

    The arguments are those of `training_recipe`.
    """
    chosen = find_method(method) if isinstance(method, str) else method
    recipe = training_recipe(source, chosen, files=files, variation=variation, seed=seed)
    names = ', '.join(setting.name for setting in settings_of(source))
    needed = [f'data below {files.root(DOMAINS[source])}']
    if chosen.styled:
        needed.append(f'styles in {files.style} (crossearth style fit)')
    if chosen.weights == 'mtp':
        needed.append(f"MTP's encoder in {files.mtp}")
    head = (
        f'# {chosen.title}.\n'
        f'# Trained on {source}, for {names}. Written by: crossearth benchmark recipe '
        f'{source} --method {chosen.name}\n'
        f'# Needs {", ".join(needed)}; edit the paths.\n'
    )
    return head + yaml.dump(recipe, Dumper=_Flat, sort_keys=False, width=110, allow_unicode=True)


def _model(method: Method, labels: LabelSpace, size_px: int, files: Files) -> dict[str, Any]:
    pretrained = {'dinov2': files.dinov2, 'mtp': files.mtp, 'imagenet': files.imagenet}
    weights = pretrained[method.weights]
    arguments: dict[str, Any] = {
        'num_classes': labels.num_classes,
        'pretrained': True if weights is None else os.fspath(weights),
    }
    if method.takes_img_size:
        arguments['img_size'] = size_px
    return {
        'class_path': f'crossearth.models.{method.builder}',
        'init_args': arguments | dict(method.arguments),
    }


def _labels(labels: LabelSpace) -> dict[str, Any]:
    return {
        'name': labels.name,
        'classes': list(labels.classes),
        'palette': [list(colour) for colour in labels.palette],
        'scored': None if labels.scored is None else list(labels.scored),
    }


def _style(masking: Masking, files: Files) -> dict[str, Any]:
    networks = {'predictor': files.predictor, 'transformer': files.transformer}
    return {
        'class_path': 'crossearth.trainers.earth_style',
        'init_args': {
            'style': os.fspath(files.style),
            'patch_size': masking.patch_px,
            'ratio': masking.tau,
            **{name: None if path is None else os.fspath(path) for name, path in networks.items()},
            'alpha': 0.1,
            'p': 0.1,
            'covariance': 'full',
            'polarity': 'release',
            'grid': 'paper',
        },
    }


def _mask(masking: Masking) -> dict[str, Any]:
    return {
        'class_path': 'crossearth.trainers.patch_mask',
        'init_args': {
            'patch_size': masking.patch_px,
            'ratio': masking.tau,
            'prompt': [0.485, 0.456, 0.406],
            'learnt': True,
            'grid': 'paper',
        },
    }


def _data(
    setting: Setting, settings: Sequence[Setting], files: Files, batch_size: int, seed: int
) -> dict[str, Any]:
    side = setting.chip_px
    own_test = setting.source.part('test').labelled
    unseen = [other for other in settings if other.crosses_domains]
    return {
        'train': dataset_section(setting.source, 'train', files),
        'unseen': {
            other.target.name: dataset_section(other.target, 'test', files) for other in unseen
        },
        'val': None,
        'source_test': dataset_section(setting.source, 'test', files) if own_test else None,
        'size_px': side,
        'test_size_px': side,
        'windows_per_epoch': max(setting.n_train or _EPOCH, batch_size),
        'batch_size': batch_size,
        'augment': [
            {
                'class_path': 'crossearth.transforms.RandomScaleCrop',
                'init_args': {
                    'size_px': side,
                    'scale_range': [0.5, 2.0],
                    'max_class_fraction': 0.75,
                },
            },
            {'class_path': 'kornia.augmentation.RandomHorizontalFlip', 'init_args': {'p': 0.5}},
            {'class_path': 'crossearth.transforms.PhotometricDistortion'},
        ],
        'border': 'shift',
        'pad': True,
        'num_workers': 4,
        'seed': seed,
    }


def dataset_section(domain: Domain, role: Literal['train', 'test'], files: Files) -> dict[str, Any]:
    """The images of a domain for training or testing, written as a dataset in a recipe."""
    return {
        'class_path': domain.class_path,
        'init_args': {
            'root': files.root(domain),
            **domain.arguments(role),
            **files.options(domain),
        },
    }


class _Flat(yaml.SafeDumper):
    """Writes lists of plain values on one line, and numbers so that YAML 1.1 reads numbers."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # yaml's signature
        return True


def _list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.Node:
    plain = not any(isinstance(value, dict) for value in values)
    return dumper.represent_sequence('tag:yaml.org,2002:seq', values, flow_style=plain)


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.Node:
    text = repr(value)
    mantissa, sign, exponent = text.partition('e')
    if sign and '.' not in mantissa:  # YAML 1.1 reads 6e-05 as a string
        text = f'{mantissa}.0e{exponent}'
    return dumper.represent_scalar('tag:yaml.org,2002:float', text)


_Flat.add_representer(list, _list)
_Flat.add_representer(float, _float)
