"""Converts the released checkpoints, which are pickles of mmengine, to files of this library."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from crossearth.errors import CheckpointError, ConfigError
from crossearth.labels import LabelSpace
from crossearth.models import builders
from crossearth.models.backbones.dinov2 import convert_dinov2
from crossearth.models.meta import without_weights
from crossearth.models.weights.checkpoint import save_model
from crossearth.models.weights.fitting import fit_weights
from crossearth.models.weights.reading import read_entries, strip_prefix
from crossearth.models.weights.released import CrossEarth_Weights

__all__ = ['Conversion', 'convert_release', 'match_release']


def match_release(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Translate released names to this library's, and list what has no counterpart.

    Args:
        state: Weights as released.

    Returns:
        Weights under the names of `crossearth_vit_large`, and the unused ones under their own.

    Example:
        >>> import torch
        >>> used, unused = match_release({
        ...     'backbone.reins.scale': torch.ones(()), 'augmentor.x': torch.ones(1)})
        >>> list(used), list(unused)
        (['backbone.adapter.scale'], ['augmentor.x'])
    """
    # Only names are compared, which do not depend on the number of classes.
    with without_weights():
        model = builders.rein_vit_large(1)
    known = set(model.state_dict())
    used: dict[str, Tensor] = {}
    unused: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith('backbone.reins.'):
            ours = name.replace('backbone.reins.', 'backbone.adapter.', 1)
        elif name.startswith('backbone.'):
            ours = name.replace('backbone.', 'backbone.vit.', 1)
        elif name.startswith('decode_head.'):
            ours = name.replace('decode_head.', 'decoder.', 1)
        else:
            ours = ''  # matches no part of the model
        (used if ours in known else unused)[ours if ours in known else name] = tensor
    return used, unused


@dataclass(frozen=True, slots=True)
class Conversion:
    """The result of converting a released file.

    Args:
        path: File that was written.
        used: Number of tensors that were converted.
        unused: Name → shape of every other tensor, of both files; None for entries among the
            weights that are not tensors or cannot be read.
    """

    path: Path
    used: int
    unused: dict[str, tuple[int, ...] | None]


_BY_WIDTH = {384: 'crossearth_vit_small', 768: 'crossearth_vit_base', 1024: 'crossearth_vit_large'}


def convert_release(
    checkpoint: str | Path, output: str | Path, *, backbone: str | Path | None = None
) -> Conversion:
    """Convert a released checkpoint and its backbone to a file of this library.

    Args:
        checkpoint: Released `.pth`.
        output: `.safetensors` file to write; `load_model` reads it.
        backbone: Separately converted backbone (`dinov2_converted.pth`), or official DINOv2
            weights, which are then converted for 512 px. Not needed if the checkpoint holds one.

    Returns:
        Where it was written, and every key that was not used.

    Raises:
        CheckpointError: If a file is damaged, weights are missing, or they do not fit each other.
        ConfigError: If the output is the checkpoint itself.
    """
    if Path(output).resolve() == Path(checkpoint).resolve():
        raise ConfigError(f'{output} is both the input and the output: choose another output')
    tensors, others = read_entries(checkpoint)
    used, unused = match_release(tensors)
    if backbone is not None:
        tensors, strays = read_entries(backbone)
        file = Path(backbone).name
        others += [f'{file}: {name}' for name in strays]
        used, more = _with_backbone(used, tensors, Path(backbone))
        unused |= {f'{file}: {name}': tensor for name, tensor in more.items()}
    for name, axes, what in (
        ('decoder.cls_embed.weight', 2, 'a Mask2Former head'),
        ('backbone.adapter.learnable_tokens_b', 3, 'LoRA-Rein tokens'),
        ('backbone.vit.pos_embed', 3, 'a backbone: pass the one that belongs to it (--backbone)'),
    ):
        if name not in used or used[name].ndim != axes:
            raise CheckpointError(f'{checkpoint} does not hold {what}')
    width = used['backbone.adapter.learnable_tokens_b'].shape[-1]
    if width not in _BY_WIDTH:
        raise CheckpointError(f'{checkpoint} is {width} wide, expected one of {sorted(_BY_WIDTH)}')
    builder = _BY_WIDTH[width]
    num_classes = used['decoder.cls_embed.weight'].shape[0] - 1
    side = round((used['backbone.vit.pos_embed'].shape[1] - 1) ** 0.5)
    model = vars(builders)[builder](
        num_classes, img_size=16 * side, geospatial=False, restorer=None
    )
    fit_weights(model, used, source=checkpoint, optional=lambda name: name in ('mean', 'std'))
    labels, bands = _known(Path(checkpoint).name, num_classes)
    written = save_model(model, output, labels=labels, bands=bands)
    shapes = {name: tuple(tensor.shape) for name, tensor in unused.items()}
    return Conversion(written, len(used), {**shapes, **dict.fromkeys(others)})


def _with_backbone(
    used: dict[str, Tensor], state: dict[str, Tensor], path: Path
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights including those of a backbone file, and what else the file holds."""
    state = strip_prefix(state, ('patch_embed.proj.weight', 'pos_embed'), source=path)
    kernel, positions = state.get('patch_embed.proj.weight'), state.get('pos_embed')
    if kernel is not None and positions is not None:
        # converted backbones keep their positions; official ones are resized for 512 px
        side = round((positions.shape[1] - 1) ** 0.5) if kernel.shape[-1] == 16 else 32
        # The conversion drops this token; kept here, it is reported as unused.
        token = {name: t for name, t in state.items() if name == 'mask_token'}
        state = {**convert_dinov2(state, img_size=16 * side), **token}
    more, unused = match_release({f'backbone.{name}': t for name, t in state.items()})
    return {**used, **more}, unused


def _known(file: str, num_classes: int) -> tuple[LabelSpace | None, tuple[str, ...] | None]:
    """Classes and bands of a file, if its name is in the list of released files."""
    for weights in CrossEarth_Weights:
        released = weights.value
        if released.file == file and released.labels.num_classes == num_classes:
            return released.labels, released.bands
    return None, None
