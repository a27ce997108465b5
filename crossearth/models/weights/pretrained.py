"""Weights of backbones: from timm's hub, from a local file, or random."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import timm
from jaxtyping import Float
from timm.models import adapt_input_conv
from torch import Tensor, nn

from crossearth.errors import CheckpointError, ConfigError
from crossearth.models.weights.fitting import fit_weights, misfit
from crossearth.models.weights.installed import INSTALLED, installed_weights
from crossearth.models.weights.reading import read_entries, strip_prefix
from crossearth.models.weights.torchgeo_weights import (
    fetch_weights,
    find_weights,
    is_weights_name,
)

__all__ = ['adapt_bands', 'check_pretrained', 'check_timm_name', 'create_timm', 'load_weights']


def create_timm(
    name: str,
    *,
    pretrained: bool | str | Path = False,
    in_channels: int = 3,
    **arguments: Any,
) -> nn.Module:
    """A timm model with weights from the hub or from a file, or with random ones.

    Args:
        name: Name of a timm model, with or without the tag of its weights.
        pretrained: True for timm's own weights, which are downloaded once and kept in its cache;
            a path to a `.safetensors` or torch file; the name of weights that torchgeo publishes
            for this model, such as `'ViTSmall16_Weights.SENTINEL2_ALL_DINO'`, for the same bands;
            `'installed'` for those of `installed_weights`; False for random ones.
        in_channels: Bands of the images. For other numbers than 3, the pretrained weights of the
            first convolution are repeated over the bands and scaled to the same response.
        **arguments: Arguments of timm's model, such as `img_size`.

    Returns:
        The model, including its classifier.

    Raises:
        ConfigError: If timm has no model of this name, or `pretrained` is none of these.
        CheckpointError: If the weights cannot be loaded, or do not fit.

    Example:
        >>> create_timm('resnet18', in_channels=4).conv1.in_channels
        4
    """
    check_pretrained(pretrained)
    check_timm_name(name)
    if pretrained is True:
        try:
            model: nn.Module = timm.create_model(
                name, pretrained=True, in_chans=in_channels, **arguments
            )
        except OSError as error:  # huggingface_hub's connection and cache errors are OSErrors
            raise CheckpointError(_unreachable(name)) from error
        return model
    if pretrained == INSTALLED:
        pretrained = installed_weights(name)
    if is_weights_name(pretrained):
        weights = find_weights(str(pretrained), bands=in_channels)
        model = timm.create_model(name, pretrained=False, in_chans=in_channels, **arguments)
        # self-supervised weights may lack the norm before the classifier, or have an extra one
        _fit_timm(model, fetch_weights(weights), source=str(weights), optional=('norm.',))
        return model
    model = timm.create_model(name, pretrained=False, in_chans=in_channels, **arguments)
    if pretrained is not False:
        load_weights(model, pretrained)
    return model


def check_timm_name(name: str, *, others: Iterable[str] = ()) -> None:
    """Refuse a name that timm does not know.

    Args:
        name: Name of a network.
        others: Names that would do as well, for the message.

    Raises:
        ConfigError: With similar names.
    """
    if timm.is_model(name):
        return
    known = [*others, *timm.list_models()]
    near = (
        get_close_matches(name.partition('.')[0], known, n=5)
        or [one for one in known if name[:6] in one][:5]
    )
    raise ConfigError(
        f'timm {timm.__version__} has no model {name!r}; similar names: {", ".join(near) or "none"}'
    )


def check_pretrained(pretrained: object) -> None:
    """Raise if a value does not specify weights, such as None.

    Raises:
        ConfigError: If it is neither True nor False nor a path.
    """
    if not isinstance(pretrained, (bool, str, Path)):
        raise ConfigError(
            f'pretrained={pretrained!r}: expected True for published weights, a path to a file, or '
            'False for random ones'
        )


def _unreachable(name: str) -> str:
    config = timm.get_pretrained_cfg(name)
    hub = getattr(config, 'hf_hub_id', None)
    where = f'https://huggingface.co/{hub}' if hub else str(getattr(config, 'url', ''))
    return (
        f'the weights of {name!r} are not in the local cache and cannot be downloaded: fetch '
        f'model.safetensors from {where} on a machine with network access, and pass its path as '
        f"pretrained='…/model.safetensors'"
    )


def adapt_bands(kernel: Float[Tensor, 'd c h w'], in_channels: int) -> Float[Tensor, 'd bands h w']:
    """Adapt a first convolution for red, green and blue to images of other bands.

    Args:
        kernel: Its weights.
        in_channels: Bands of the images.

    Returns:
        For one band, the sum over the three. For n others, the three in turn, each times 3 / n. A
        kernel that is not for three bands is returned as it is, because its bands are unknown.

    Example:
        >>> import torch
        >>> adapt_bands(torch.ones(8, 3, 4, 4), 6).sum(1)[0, 0, 0].item()
        3.0
    """
    if kernel.shape[1] != 3 or in_channels == 3:
        return kernel
    adapted: Tensor = adapt_input_conv(in_channels, kernel)
    return adapted


def load_weights(model: nn.Module, path: str | Path, *, strict: bool = True) -> list[str]:
    """Put the weights of a file into a model, in place.

    Weights are matched by name if names agree, either directly or as timm renames and resizes
    published files of the model's family. Otherwise they are matched by order, if both have the
    same number of tensors and every pair agrees in shape, as in files of other libraries that
    rebuilt the same network. A classifier of another size is left out. The first convolution is
    adapted to the model's bands.

    Args:
        model: Built by timm.
        path: File that `read_weights` takes.
        strict: False allows missing and left-over tensors, such as those of the blocks of a deeper
            model. Without a common name, or with another shape, nothing is loaded.

    Returns:
        Names in the file that were not used.

    Raises:
        CheckpointError: If the file cannot be read or does not fit; the message lists what is
            missing, unknown and of another shape.

    Example:
        >>> import tempfile, torch
        >>> from safetensors.torch import save_file
        >>> source, target = create_timm('resnet10t'), create_timm('resnet10t')
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_file(source.state_dict(), f'{folder}/weights.safetensors')
        ...     load_weights(target, f'{folder}/weights.safetensors')
        []
        >>> torch.equal(target.layer1[0].conv1.weight, source.layer1[0].conv1.weight)
        True
    """
    return _fit_timm(model, read_entries(path)[0], source=path, strict=strict)


def _fit_timm(
    model: nn.Module,
    entries: Mapping[str, Tensor],
    *,
    source: str | Path,
    strict: bool = True,
    optional: tuple[str, ...] = (),
) -> list[str]:
    """`load_weights` for tensors by name; those whose names are in `optional` may be missing."""
    wanted = model.state_dict()
    heads = tuple(f'{head}.' for head in _configured(model, 'classifier'))
    stems = [f'{stem}.weight' for stem in _configured(model, 'first_conv')]

    def is_head(name: str) -> bool:
        return name.startswith(heads)

    def is_optional(name: str) -> bool:
        return name.startswith(heads + optional)

    def fitted(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Adapt weights to the model's bands, and leave out classifiers of another size."""
        kept = {
            name: tensor
            for name, tensor in given.items()
            if not is_head(name) or (name in wanted and wanted[name].shape == tensor.shape)
        }
        for stem in stems:
            if stem in kept and stem in wanted and kept[stem].ndim == wanted[stem].ndim == 4:
                kept[stem] = adapt_bands(kept[stem], wanted[stem].shape[1])
        return kept

    given = strip_prefix(entries, wanted, source=source)
    # If none fits, fit_weights reports what is wrong with the last.
    for reading in _readings(model, given, wanted):
        ready = fitted(reading)
        if not misfit(ready, wanted, optional=is_optional):
            break
    unused = fit_weights(
        model,
        ready,
        source=source,
        optional=is_optional,
        strict=strict,
        advice='Choose the weights of this model and size, or load_weights(…, strict=False) for '
        'those that it shares with another model',
    )
    return unused + [name for name in given if is_head(name) and name not in ready]


def _configured(model: nn.Module, part: str) -> tuple[str, ...]:
    """Names of modules that timm's configuration of a model lists for a part."""
    config: Mapping[str, Any] = getattr(model, 'pretrained_cfg', None) or {}
    names = config.get(part) or ()
    return (names,) if isinstance(names, str) else tuple(names)


def _readings(
    model: nn.Module, given: dict[str, Tensor], wanted: Mapping[str, Tensor]
) -> Iterator[dict[str, Tensor]]:
    """Ways to read a file: by name, by order, and as timm reads what it publishes."""
    yield given
    # By order only without any common name; with one, a difference is a mistake to report.
    if len(given) == len(wanted) and not any(name in given for name in wanted):
        yield dict(zip(wanted, given.values(), strict=True))
    convert = getattr(sys.modules.get(type(model).__module__), 'checkpoint_filter_fn', None)
    try:
        yield given if convert is None else convert(dict(given), model)
    except Exception:  # noqa: BLE001 - timm's filters assume names and shapes
        yield given
