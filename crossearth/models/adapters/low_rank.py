"""Low-rank changes of frozen layers, which merge into the layers' own weights.

Both methods change a weight matrix W by a product B A of two thin matrices and train only B and A.
A convolution counts as the matrix of its kernels, (out, in · rows · columns). The change is a
parametrisation of the layer (`torch.nn.utils.parametrize`). The layer remains the one that timm
built, even where timm's code reads `layer.weight` directly, and W stays in the state under the name
`parametrizations.weight.original`.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from crossearth.describing import arguments_of
from crossearth.errors import ConfigError

__all__ = ['LoRA', 'SoMA', 'add_lora', 'add_soma', 'fitting_rank', 'merge', 'minor_components']


class LoRA(nn.Module):
    """`W + (α / r) B A`, with A drawn from a normal distribution and B = 0 at the start.

    Args:
        weight: The frozen weight W, (out, in) or (out, in, rows, columns).
        rank: r.
        alpha: Size α of the change; None for r, so that the factor is 1.

    Source:
        Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022, arXiv 2106.09685,
        §4.1. The standard deviation of A is 1 / √in here; the paper says "a random Gaussian".

    Example:
        >>> layer = nn.Linear(8, 6)
        >>> change = LoRA(layer.weight, 2)
        >>> torch.equal(change(layer.weight), layer.weight)
        True
    """

    mergeable: ClassVar[bool] = True

    def __init__(self, weight: Tensor, rank: int, *, alpha: float | None = None) -> None:
        super().__init__()
        rows, columns = _as_matrix(weight).shape
        self.scale = 1.0 if alpha is None else alpha / rank
        self.a = nn.Parameter(weight.new_empty(rank, columns).normal_(std=columns**-0.5))
        self.b = nn.Parameter(weight.new_zeros(rows, rank))

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        return arguments_of(self, rank=len(self.a), scale=self.scale)

    def forward(self, weight: Float[Tensor, 'out *rest']) -> Float[Tensor, 'out *rest']:
        """The changed weight."""
        return weight + (self.scale * self.b @ self.a).view_as(weight)


class SoMA(nn.Module):
    """The r smallest singular components of W train; the others stay.

    With `W = U Σ Vᵀ` and the r smallest singular values, `B A = U_r Σ_r V_rᵀ` at the start, and the
    layer computes with `(W − B₀ A₀) + B A`, where B₀ A₀ is that start. This class writes it as
    `W + (B A − B₀ A₀)`. The matrix is the same, equals W exactly at the start, and leaves the
    pretrained weight in place, so that a file need not hold it.

    Args:
        weight: The frozen weight W, (out, in) or (out, in, rows, columns).
        rank: r.

    Source:
        Yun et al., SoMA: Singular Value Decomposed Minor Components Adaptation for Domain
        Generalizable Representation Learning, CVPR 2025, arXiv 2412.04077: "selectively tunes
        minor singular components while keeping the residual parts frozen". Only the abstract and
        summaries of the paper were available. The even split, `A = √Σ_r V_rᵀ` and `B = U_r √Σ_r`,
        is that of MiLoRA (arXiv 2406.09044), which has the same formula. The paper also freezes the
        first blocks (`first` of `dense_layers`) and anneals the weight decay (not implemented).

    Example:
        >>> layer = nn.Linear(8, 6)
        >>> change = SoMA(layer.weight, 2)
        >>> torch.equal(change(layer.weight), layer.weight)
        True
    """

    mergeable: ClassVar[bool] = True
    b_start: Tensor
    a_start: Tensor

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        b, a = minor_components(_as_matrix(weight.detach()), rank)
        self.b = nn.Parameter(b.clone())
        self.a = nn.Parameter(a.clone())
        self.register_buffer('b_start', b.clone())
        self.register_buffer('a_start', a.clone())

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        return arguments_of(self, rank=len(self.a))

    def forward(self, weight: Float[Tensor, 'out *rest']) -> Float[Tensor, 'out *rest']:
        """The changed weight."""
        return weight + (self.b @ self.a - self.b_start @ self.a_start).view_as(weight)


def add_lora(
    layers: Iterable[nn.Module], *, rank: int = 16, alpha: float | None = None
) -> list[nn.Module]:
    """Put a `LoRA` on the weight of each layer, in place.

    Args:
        layers: Linear layers and convolutions without groups, such as those of `dense_layers`.
            Their weights are frozen.
        rank: Rank of the change. It is lowered where the factors would hold as many numbers as the
            layer, and layers for which no rank is left are skipped.
        alpha: Size of the change, see `LoRA`.

    Returns:
        The layers that have one now.

    Raises:
        ConfigError: If the rank is not positive, a layer is of another kind or already has a
            change, or no layer is left.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(16, 32, 3), nn.Linear(32, 32))
        >>> len(add_lora(network, rank=4))
        2
        >>> [name for name, p in network.named_parameters() if p.requires_grad][:2]
        ['0.bias', '0.parametrizations.weight.0.a']
    """
    return _add(layers, rank, lambda weight, fitted: LoRA(weight, fitted, alpha=alpha))


def add_soma(layers: Iterable[nn.Module], *, rank: int = 16) -> list[nn.Module]:
    """Put a `SoMA` on the weight of each layer, in place.

    Args:
        layers: See `add_lora`.
        rank: How many singular components train; fewer where their factors would hold as many
            numbers as the layer.

    Returns:
        The layers that have one now.

    Raises:
        ConfigError: As `add_lora` does.

    Example:
        >>> layer = nn.Linear(32, 32)
        >>> before = layer.weight.detach().clone()
        >>> _ = add_soma([layer], rank=4)
        >>> torch.equal(layer.weight, before)
        True
    """
    return _add(layers, rank, SoMA)


def merge(module: nn.Module) -> nn.Module:
    """Fold low-rank changes into the weights that they change, so that they cost nothing more.

    Args:
        module: Changed in place. Its layers are plain again.

    Returns:
        The module.

    Raises:
        ConfigError: If there is nothing to fold in, or a change belongs to an adapter that has
            other parts, such as `Gate`.

    Example:
        >>> layer = nn.Linear(8, 6)
        >>> _ = add_lora([layer], rank=2)
        >>> sorted(merge(layer).state_dict())
        ['bias', 'weight']
    """
    changed = [layer for layer in module.modules() if _changes(layer)]
    if not changed:
        raise ConfigError(
            f'{type(module).__name__} has no layer with LoRA or SoMA, which alone can be merged '
            'into weights: Rein, EarthAdapter and Gate act on features and stay as they are'
        )
    # All are checked before the first is merged, so that an error leaves the model as it was.
    for layer in changed:
        others = [type(c).__name__ for c in _changes(layer) if not getattr(c, 'mergeable', False)]
        if others:
            raise ConfigError(
                f'a {type(layer).__name__} has a {others[0]}, which cannot be merged: expected '
                'layers with only LoRA or SoMA'
            )
    for layer in changed:
        # Copies of a layer share the class that torch made for it. Removing a parametrisation
        # takes the weight away from that class, so each layer gets its own first.
        shared = type(layer)
        layer.__class__ = type(shared.__name__, shared.__bases__, dict(vars(shared)))
        parametrize.remove_parametrizations(layer, 'weight', leave_parametrized=True)
    return module


def minor_components(
    matrix: Float[Tensor, 'out in'], rank: int
) -> tuple[Float[Tensor, 'out r'], Float[Tensor, 'r in']]:
    """Factors `U_r √Σ_r` and `√Σ_r V_rᵀ` of the smallest singular values of a matrix.

    Computed from the eigenvectors of the smaller of `W Wᵀ` and `Wᵀ W`, in 64 bits. For kernels and
    MLPs, which are far from square, this is several times as fast as a singular value
    decomposition.

    Example:
        >>> b, a = minor_components(torch.diag(torch.tensor([4.0, 9.0, 1.0])), 1)
        >>> (b @ a).diagonal()
        tensor([0., 0., 1.])
    """
    wide = matrix.shape[0] < matrix.shape[1]
    # The product squares the singular values, and 32 bits would lose the small ones sought here.
    tall = (matrix.T if wide else matrix).double()
    vectors = torch.linalg.eigh(tall.T @ tall).eigenvectors[:, :rank]  # smallest first
    # ‖W v‖ is a singular value. Where it is 0, so is W v, and 0 / tiny leaves 0.
    left = tall @ vectors
    root = left.norm(dim=0).sqrt()
    b = (left / root.clamp(min=torch.finfo(root.dtype).tiny)).to(matrix.dtype)
    a = (root * vectors).T.to(matrix.dtype)
    return (a.T.contiguous(), b.T.contiguous()) if wide else (b, a.contiguous())


def fitting_rank(weight: Tensor, rank: int) -> int:
    """The rank, or the largest whose two factors hold fewer numbers than the weight.

    Example:
        >>> fitting_rank(torch.empty(96, 16, 1, 1), 16), fitting_rank(torch.empty(64, 64), 16)
        (13, 16)
    """
    rows, columns = _as_matrix(weight).shape
    return min(rank, (rows * columns - 1) // (rows + columns))


def _add(layers: Iterable[nn.Module], rank: int, make: Any) -> list[nn.Module]:
    if rank < 1:
        raise ConfigError(f'rank is {rank}: expected at least 1')
    chosen = list(layers)
    for layer in chosen:
        _check_layer(layer)
    changed = []
    for layer in chosen:
        weight: Tensor = layer.weight  # type: ignore[assignment]  # checked above
        fitted = fitting_rank(weight, rank)
        if fitted:
            weight.requires_grad_(False)
            parametrize.register_parametrization(layer, 'weight', make(weight, fitted))
            changed.append(layer)
    if not changed:
        raise ConfigError(
            f'none of {len(chosen)} layer(s) is large enough for a low-rank change: expected '
            'linear layers or convolutions without groups'
        )
    return changed


def _check_layer(layer: nn.Module) -> None:
    name = type(layer).__name__
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        raise ConfigError(
            f'{name} has no matrix of weights: expected linear layers or convolutions'
        )
    if isinstance(layer, nn.Conv2d) and layer.groups > 1:
        raise ConfigError(
            f'a convolution of {layer.groups} groups is not one matrix, so it has no low-rank '
            'change: leave it out, as dense_layers does'
        )
    if parametrize.is_parametrized(layer, 'weight'):
        raise ConfigError(f'a {name} already has a low-rank change: build the backbone again')


def _changes(layer: nn.Module) -> list[nn.Module]:
    """Changes of the weight of a layer."""
    if not parametrize.is_parametrized(layer, 'weight'):
        return []
    return [change for change in layer.parametrizations.weight if hasattr(change, 'mergeable')]  # type: ignore[union-attr]  # torch's own list


def _as_matrix(weight: Tensor) -> Tensor:
    return weight.flatten(1)
