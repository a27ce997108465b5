"""Writes a survey as a recipe for `crossearth fit`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from crossearth.rasters.scaled_grid import FINEST
from crossearth.survey.encoding import Encoding
from crossearth.survey.scenes import SceneSet
from crossearth.survey.split import Split
from crossearth.survey.view import View

__all__ = ['Backbone', 'Plan', 'drawn_sizes', 'has_synthetic_style', 'line_of', 'write_recipe']

_BATCH = 4
_PASSES = 40  # number of passes over the source
_STEPS = (400, 10_000)  # fewest and most training steps
_VALIDATIONS = 10
_SYNTHETIC_BANDS = 3
_SPREAD = 1.5  # windows are shown up to this many times finer and coarser than the source's pixels

_HEAD = """\
# Written by crossearth start. Paths are relative to the folder in which you run crossearth.
#   crossearth fit --config {recipe}
#   crossearth test --config {recipe} --ckpt_path last.ckpt
#   crossearth predict scene.tif map.tif --weights model.safetensors
"""


@dataclass(frozen=True, slots=True)
class Backbone:
    """The encoder of the model.

    Args:
        name: Its name in timm.
        pretrained: Path of a weights file, or `'installed'`.
        why: Where the weights come from, in words.
    """

    name: str
    pretrained: str
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a recipe needs.

    Args:
        source: The labelled images.
        unseen: Labelled images of other domains, and how their masks are encoded.
        encoding: How masks of the source are encoded.
        view: How the model sees images.
        split: What is held out for validation.
        backbone: The encoder.
        num_workers: Worker processes that read images.
    """

    source: SceneSet
    unseen: Sequence[tuple[SceneSet, Encoding]]
    encoding: Encoding
    view: View
    split: Split
    backbone: Backbone
    num_workers: int = 0

    @property
    def steps(self) -> int:
        """Training steps: a number of passes over the source, within limits."""
        wanted = _PASSES * self.view.windows // _BATCH
        return min(max(wanted // _VALIDATIONS * _VALIDATIONS, _STEPS[0]), _STEPS[1])


def write_recipe(plan: Plan, *, recipe: str) -> str:
    """The text of a recipe.

    Args:
        plan: What was found and chosen.
        recipe: Name of the file, for the commands in its first lines.
    """
    lines = [_HEAD.format(recipe=recipe), 'seed_everything: 0']
    lines += ['model:', *_indent(_training(plan), 2)]
    lines += ['data:', *_indent(_data(plan), 2)]
    lines += ['trainer:', *_indent(_trainer(plan), 2)]
    return '\n'.join(lines) + '\n'


def line_of(text: str, key: str) -> int:
    """Number of the first line of a recipe that begins with a key, counted from 1."""
    starts = (i for i, line in enumerate(text.splitlines(), 1) if line.lstrip(' -').startswith(key))
    return next(starts, 1)


def _training(plan: Plan) -> list[str]:
    """The `model` section: the only place that knows how to write a training task."""
    space = plan.encoding.labels
    model = {
        'name': plan.backbone.name,
        'adapter': 'lora',
        'num_classes': space.num_classes,
        'in_channels': len(plan.view.bands),
        'width': 64,
        'pretrained': plan.backbone.pretrained,
    }
    labels: dict[str, Any] = {
        'name': space.name,
        'classes': list(space.classes),
        'palette': [list(colour) for colour in space.palette],
    }
    if space.scored is not None:
        labels['scored'] = list(space.scored)
    return [
        'class_path: crossearth.trainers.TrainingTask',
        'init_args:',
        '  method:',
        '    class_path: crossearth.trainers.SourceOnly',
        '    init_args:',
        '      model:  # ' + plan.backbone.why,
        '        class_path: crossearth.models.adapted_fpn',
        f'        init_args: {_flow(model)}',
        '      labels: &labels',
        *(f'        {name}: {_flow(value)}' for name, value in labels.items()),
        *_indent(_style(plan), 6),
        '  lr: 3.0e-3  # chosen for LoRA on this network; all weights together need less',
    ]


def _style(plan: Plan) -> list[str]:
    """The `style` section. Synthetic images have three bands; for others, use the source itself."""
    if has_synthetic_style(plan.view):
        return [
            'style:  # low frequencies of synthetic images; no unseen image is used',
            '  class_path: crossearth.trainers.fourier_style_of_earth',
        ]
    return [
        'style:  # low frequencies of other images of the source; no unseen image is used',
        '  class_path: crossearth.trainers.fourier_style_of',
        '  init_args:',
        '    scenes:',
        *_indent(_training_set(plan), 6),
    ]


def has_synthetic_style(view: View) -> bool:
    """Whether styles come from the synthetic Earth, or else from the source."""
    return len(view.bands) == _SYNTHETIC_BANDS


def _training_set(plan: Plan) -> list[str]:
    return [
        'class_path: crossearth.datasets.FolderDataset',
        'init_args: &train',
        *_indent(_source(plan), 2),
        '  portion: rest',
    ]


def _data(plan: Plan) -> list[str]:
    steps = plan.steps
    train = ['train: {class_path: crossearth.datasets.FolderDataset, init_args: *train}']
    if has_synthetic_style(plan.view):  # the training set was not anchored above as &train
        train = ['train:', *_indent(_training_set(plan), 2)]
    lines = [
        'class_path: crossearth.datasets.ShiftDataModule',
        'init_args:',
        *_indent(train, 2),
        '  val:',
        '    class_path: crossearth.datasets.FolderDataset',
        '    init_args:',
        '      <<: *train',
        '      portion: held_out',
    ]
    if plan.unseen:
        lines.append('  unseen:  # tested on, never trained on')
    for found, encoding in plan.unseen:
        lines += [
            f'    {_flow(found.name)}:',
            '      class_path: crossearth.datasets.FolderDataset',
            '      init_args:',
            *_indent(_folder(found, encoding, plan.view), 8),
        ]
    return [
        *lines,
        f'  size_px: {plan.view.window_px}',
        f'  {_pixels(plan.view)}',
        '  pad: true',
        f'  windows_per_epoch: {steps // _VALIDATIONS * _BATCH}',
        f'  batch_size: {_BATCH}',
        f'  num_workers: {plan.num_workers}',
        '  augment:',
        *(f'    - {_flow(step)}' for step in _augmentations(len(plan.view.bands))),
    ]


def _source(plan: Plan) -> list[str]:
    lines = _folder(plan.source, plan.encoding, plan.view)
    rule = plan.split.hold_out
    lines.append('hold_out:  # what is validated on')
    if rule.boxes:
        lines += [f'  crs: {_flow(rule.crs)}', f'  whole: {_flow(rule.whole)}', '  boxes:']
        lines += [f'    - {_flow(list(box))}' for box in rule.boxes]
    if rule.names:
        lines += ['  names:', *(f'    - {_flow(list(both))}' for both in rule.names)]
    if rule.bottom:
        lines.append(f'  bottom: {rule.bottom}')
    return lines


def _folder(found: SceneSet, encoding: Encoding, view: View) -> list[str]:
    """Arguments of the dataset for a set of scenes."""
    values: dict[str, Any] = {'images': found.images}
    if found.vectors is not None:
        vectors: dict[str, Any] = {'path': str(found.vectors.path), 'class_id': 1}
        if found.vectors.line_width_m is not None:
            vectors['line_width_m'] = found.vectors.line_width_m
        values['masks'] = vectors
    else:
        values['masks'] = found.masks
    if found.image_names != '*':
        values['image_names'] = found.image_names
    if found.mask_names != '*':
        values['mask_names'] = found.mask_names
    # among the images, the masks of images that are left out would count as images
    if found.unpaired or found.spare or found.faults:
        values['unpaired'] = 'skip'
    if found.faults:
        values['leave_out'] = [_literal(fault.name) for fault in found.faults]
    lines = [f'{name}: {_flow(value)}' for name, value in values.items()]
    lines.append('labels: *labels')
    if encoding.codec is not None:
        lines.append(f'codec: {_flow(encoding.codec)}')
    lines += [f'bands: {_flow(list(view.bands))}', 'dtype: unit']
    if found.alpha != 'auto':
        lines.append(f'alpha: {found.alpha}')
    types = {look.raster.dtype for look in found.looks}
    ranges = {kind: list(pair) for kind, pair in view.value_range.items() if kind in types}
    if ranges:
        lines.append(f'value_range: {_flow(ranges)}')
    return lines


def drawn_sizes(view: View) -> tuple[float, float]:
    """The range from which the pixel size of each training window is drawn.

    It is in metres on the ground. If the pixel size is unknown, it is a factor of the image's size.
    Training refuses pixels that are far finer than those of an image, so none are drawn.
    """
    low, high = view.gsd_range_m or (1.0, 1.0)
    finest = max(low / _SPREAD, 1.01 * high / FINEST)
    return float(f'{finest:.3g}'), float(f'{high * _SPREAD:.3g}')


def _pixels(view: View) -> str:
    sizes = _flow(list(drawn_sizes(view)))
    if view.gsd_range_m is None:
        return f'scale: {sizes}  # factor of its size that each training window is shown at'
    return f'gsd_m: {sizes}  # metres per pixel that each training window is read at'


def _augmentations(bands: int) -> list[dict[str, Any]]:
    flips: list[dict[str, Any]] = [
        {'class_path': f'kornia.augmentation.Random{way}Flip'} for way in ('Horizontal', 'Vertical')
    ]
    if bands >= 3:
        return [*flips, {'class_path': 'crossearth.transforms.PhotometricDistortion'}]
    return [
        *flips,
        {
            'class_path': 'kornia.augmentation.RandomBrightness',
            'init_args': {'brightness': [0.8, 1.2]},
        },
        {'class_path': 'kornia.augmentation.RandomContrast', 'init_args': {'contrast': [0.5, 1.5]}},
    ]


def _trainer(plan: Plan) -> list[str]:
    return [
        'accelerator: auto',
        'devices: 1',
        f'max_steps: {plan.steps}',
        'log_every_n_steps: 10',
        'callbacks:',
        '  - class_path: lightning.pytorch.callbacks.ModelCheckpoint',
        '    init_args: {dirpath: ., filename: last, enable_version_counter: false}',
        '  - class_path: crossearth.trainers.SaveModel',
        '    init_args: {path: model.safetensors}',
    ]


def _literal(name: str) -> str:
    """A file name as a glob pattern that matches nothing else."""
    return ''.join(f'[{letter}]' if letter in '*?[' else letter for letter in name)


def _flow(value: Any) -> str:
    """A value in YAML, on one line."""
    if isinstance(value, Mapping):
        value = dict(value)
    text = yaml.safe_dump(value, default_flow_style=True, width=1 << 20, sort_keys=False)
    # PyYAML ends a single scalar with the mark of the document's end
    return text.removesuffix('\n').removesuffix('\n...')


def _indent(lines: Sequence[str], by: int) -> list[str]:
    return [' ' * by + line for line in lines]
