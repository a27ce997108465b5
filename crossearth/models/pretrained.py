"""Weights of backbones: from timm's hub, from a local file, or none."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import Tensor, nn

from crossearth.errors import CheckpointError, ConfigError

__all__ = ['adapt_bands', 'check_pretrained', 'create_timm', 'load_weights', 'read_weights']


def create_timm(
    name: str,
    *,
    pretrained: bool | str | Path = False,
    in_channels: int = 3,
    **arguments: Any,
) -> nn.Module:
    """A timm model, with weights from the hub, from a file, or with random ones.

    Args:
        name: Name of a timm model, with or without a tag of its weights.
        pretrained: True for timm's own weights, which are downloaded once and kept in its cache;
            a path to a `.safetensors` or torch file; False for none.
        in_channels: Bands of the images. Other counts than 3 keep pretrained weights: those of the
            first convolution are repeated over the bands and scaled to the same response.
        **arguments: Arguments of timm's model, such as `img_size`.

    Returns:
        The model, its classifier included.

    Raises:
        ConfigError: If timm knows no model of this name, or `pretrained` is none of the three.
        CheckpointError: If the weights cannot be had, or do not fit.

    Example:
        >>> create_timm('resnet18', in_channels=4).conv1.in_channels
        4
    """
    check_pretrained(pretrained)
    if not timm.is_model(name):
        near = timm.list_models(f'*{name.split(".")[0][:6]}*')[:5]
        raise ConfigError(
            f'timm {timm.__version__} has no model {name!r}; near it: {", ".join(near) or "none"}'
        )
    if pretrained is True:
        try:
            model: nn.Module = timm.create_model(
                name, pretrained=True, in_chans=in_channels, **arguments
            )
        except OSError as error:  # huggingface_hub's errors of connection and cache are OSErrors
            raise CheckpointError(_unreachable(name)) from error
        return model
    model = timm.create_model(name, pretrained=False, in_chans=in_channels, **arguments)
    if pretrained is not False:
        load_weights(model, pretrained)
    return model


def check_pretrained(pretrained: object) -> None:
    """Refuse what says nothing of weights, such as None.

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
        f'model.safetensors from {where} on a machine with a network, and pass its path as '
        f"pretrained='…/model.safetensors'"
    )


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a weights file, without running any code that it may hold.

    Args:
        path: `.safetensors` file, or a torch file of tensors alone; a dictionary of them under
            `state_dict` or `model` is unwrapped.

    Returns:
        Name → tensor, in the order of the file.

    Raises:
        CheckpointError: If there is no such file, or it is neither.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save({'state_dict': {'weight': torch.ones(2)}}, f'{folder}/weights.pth')
        ...     read_weights(f'{folder}/weights.pth')
        {'weight': tensor([1., 1.])}
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'no weights file at {path}: expected a .safetensors or torch file')
    if path.suffix == '.safetensors':
        try:
            return load_file(path)
        except SafetensorError as error:
            raise CheckpointError(
                f'{path} is no whole safetensors file ({error}): fetch it again'
            ) from error
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # damaged bytes fail in every way that an unpickler can
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f'{path} is no torch file of tensors alone ({reason}): it is damaged, or holds objects '
            'that could run code; save its state_dict as .safetensors'
        ) from error
    for key in ('state_dict', 'model'):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(t, Tensor) for t in content.values()):
        raise CheckpointError(f'{path} holds no dictionary of tensors: save a state_dict')
    return dict(content)


def adapt_bands(kernel: Float[Tensor, 'd c h w'], in_channels: int) -> Float[Tensor, 'd bands h w']:
    """A first convolution of red, green and blue for images of other bands.

    Args:
        kernel: Its weights.
        in_channels: Bands of the images.

    Returns:
        For one band the sum over the three; for n others the three in turn, each times 3 / n. A
        kernel of other than three bands as it is, for nothing says which they are.

    Example:
        >>> adapt_bands(torch.ones(8, 3, 4, 4), 6).sum(1)[0, 0, 0].item()
        3.0
    """
    if kernel.shape[1] != 3 or in_channels == 3:
        return kernel
    adapted: Tensor = adapt_input_conv(in_channels, kernel)
    return adapted


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Put the weights of a file into a timm model, in place.

    By name where the names agree; otherwise by order, if both have the same number of tensors and
    every pair agrees in shape (files of other libraries that rebuilt the same network). A
    classifier of another size is left out. The first convolution is adapted to the model's bands.

    Args:
        model: Built by timm.
        path: `.safetensors` or torch file.

    Raises:
        CheckpointError: If neither fits; the message names the first difference.

    Example:
        >>> import tempfile
        >>> from safetensors.torch import save_file
        >>> source, target = create_timm('resnet10t'), create_timm('resnet10t')
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_file(source.state_dict(), f'{folder}/weights.safetensors')
        ...     load_weights(target, f'{folder}/weights.safetensors')
        >>> torch.equal(target.layer1[0].conv1.weight, source.layer1[0].conv1.weight)
        True
    """
    given = read_weights(path)
    wanted = model.state_dict()
    config: Mapping[str, Any] = getattr(model, 'pretrained_cfg', None) or {}
    heads = config.get('classifier') or ()
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    stems = config.get('first_conv') or ()
    stems = (stems,) if isinstance(stems, str) else tuple(stems)

    def is_head(name: str) -> bool:
        return any(name.startswith(f'{head}.') for head in heads)

    body = [name for name in wanted if not is_head(name)]
    by_name = sum(name in given for name in body)
    if by_name == 0 and len(given) == len(wanted):
        given = dict(zip(wanted, given.values(), strict=True))
    fitting = dict(wanted)
    for name in body:
        if name not in given:
            raise CheckpointError(
                f'{path} lacks {name!r} {tuple(wanted[name].shape)}: it holds {by_name} of the '
                f'{len(body)} tensors of {type(model).__name__}; choose the weights of this model'
            )
        tensor, shape = given[name], wanted[name].shape
        if name.removesuffix('.weight') in stems and tensor.ndim == 4 and len(shape) == 4:
            tensor = adapt_bands(tensor, shape[1])
        if tensor.shape != shape:
            raise CheckpointError(
                f'{path} has {name!r} of shape {tuple(tensor.shape)}, {type(model).__name__} '
                f'expects {tuple(shape)}: choose the weights of this model and size'
            )
        fitting[name] = tensor
    for name in wanted:
        if is_head(name) and name in given and given[name].shape == wanted[name].shape:
            fitting[name] = given[name]
    model.load_state_dict(fitting)
