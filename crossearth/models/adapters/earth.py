"""Earth-Adapter: features split by spatial frequency, three small adapters, and a router.

Source: Hu et al., Earth-Adapter: Bridge the Geospatial Domain Gaps with a Frequency-Guided Mixture
of Adapters, AAAI 2026, arXiv 2504.06220. Written from the formulas of a published summary of the
paper, not from its code. Each class names what the summary leaves open.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossearth.describing import arguments_of
from crossearth.errors import ConfigError

__all__ = ['Bottleneck', 'EarthAdapter', 'low_frequencies', 'split_frequencies']


class Bottleneck(nn.Module):
    """`W_up act(W_down x)`, with W_up = 0 at the start, so that it adds nothing at first.

    Args:
        dim: Width of the features.
        width: Width between the two layers.
        gelu: Whether the activation is GELU, as in `Gate`, instead of ReLU.
    """

    def __init__(self, dim: int, width: int, *, gelu: bool = False) -> None:
        super().__init__()
        self.down = nn.Linear(dim, width)
        self.up = nn.Linear(width, dim)
        self.gelu = gelu
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, features: Float[Tensor, '*b c']) -> Float[Tensor, '*b c']:
        """What is added to the features."""
        hidden = self.down(features)
        added: Tensor = self.up(F.gelu(hidden) if self.gelu else F.relu(hidden))
        return added


class EarthAdapter(nn.Module):
    """After each block, `f ← f + α Σ_k w_k Δf_k` over features and their low and high frequencies.

    The features f of a block are split by a discrete Fourier transform into low and high spatial
    frequencies. Each of the three has its own `Bottleneck`, Δf_k. The router weighs them,
    `w = softmax(R f)` with a linear layer R, and α is trained, one number for each block.

    Args:
        depth: Number of blocks.
        dim: Width C of their features.
        width: Width of the bottlenecks. 64 makes the 9.6 M parameters that the paper counts for
            DINOv2-L.
        cutoff: ρ, the share of the spectrum's half width below which a frequency is low.

    Raises:
        ConfigError: If a size is not positive, or the cutoff is outside 0 to 1.

    Source:
        Earth-Adapter, section "Method". The summary does not settle three points: whether the
        router averages over the image (here every place has its own weights), the value of ρ, and
        the initial α, "a small value" (here 1, since W_up = 0 makes the start exact).

    Example:
        >>> adapter = EarthAdapter(depth=2, dim=8, width=4)
        >>> features = torch.rand(1, 12, 8)
        >>> torch.equal(adapter(features, 0, (3, 4)), features)
        True
        >>> sum(p.numel() for p in EarthAdapter(24, 1024).parameters()) / 1e6
        9.589344
    """

    def __init__(self, depth: int, dim: int, *, width: int = 64, cutoff: float = 0.3) -> None:
        super().__init__()
        if min(depth, dim, width) < 1:
            raise ConfigError(f'depth={depth}, dim={dim}, width={width}: expected at least 1')
        if not 0 < cutoff < 1:
            raise ConfigError(f'cutoff is {cutoff}: expected a share between 0 and 1')
        self.depth = depth
        self.cutoff = cutoff
        self.spatial = nn.ModuleList(Bottleneck(dim, width) for _ in range(depth))
        self.low = nn.ModuleList(Bottleneck(dim, width) for _ in range(depth))
        self.high = nn.ModuleList(Bottleneck(dim, width) for _ in range(depth))
        self.router = nn.ModuleList(nn.Linear(dim, 3) for _ in range(depth))
        self.alpha = nn.Parameter(torch.ones(depth))

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        return arguments_of(self, dim=self.router[0].in_features)

    def forward(
        self, features: Float[Tensor, 'b n c'], layer: int, grid: tuple[int, int]
    ) -> Float[Tensor, 'b n c']:
        """Refine the features of one block.

        Args:
            features: Patch features of the block, row by row.
            layer: Index of the block, from 0.
            grid: Rows and columns of the patches.
        """
        return features + self.added(features, layer, grid)

    def added(
        self, features: Float[Tensor, 'b n c'], layer: int, grid: tuple[int, int]
    ) -> Float[Tensor, 'b n c']:
        """What the adapter adds to the features of one block."""
        rows, cols = grid
        maps = rearrange(features, 'b (rows cols) c -> b c rows cols', rows=rows, cols=cols)
        low, high = (
            rearrange(part, 'b c rows cols -> b (rows cols) c')
            for part in split_frequencies(maps, self.cutoff)
        )
        experts = torch.stack(
            [self.spatial[layer](features), self.low[layer](low), self.high[layer](high)], dim=-1
        )
        weights = self.router[layer](features).softmax(-1)
        added: Tensor = self.alpha[layer] * (experts * weights[..., None, :]).sum(-1)
        return added

    def queries(self) -> None:
        """No object queries."""
        return


def low_frequencies(rows: int, cols: int, cutoff: float) -> Bool[Tensor, 'rows cols']:
    """Which entries of a two-dimensional DFT, as torch orders it, are low frequencies.

    A frequency is low if its distance to the frequency 0, with each axis measured in half of its
    width, is at most the cutoff.
    On a square grid that is the circle of radius `cutoff · rows / 2` of the paper.

    Example:
        >>> low_frequencies(1, 8, 0.3).int().tolist()
        [[1, 1, 0, 0, 0, 0, 0, 1]]
    """
    down, across = (_frequencies(size) for size in (rows, cols))
    low: Tensor = down[:, None] ** 2 + across[None] ** 2 <= cutoff**2
    return low


def _frequencies(size: int) -> Float[Tensor, ' size']:
    """Twice `torch.fft.fftfreq`, in operations that ONNX has and exports of any size trace."""
    index = torch.arange(size)
    return torch.where(index < (size + 1) // 2, index, index - size) / size * 2


def split_frequencies(
    features: Float[Tensor, 'b c h w'], cutoff: float
) -> tuple[Float[Tensor, 'b c h w'], Float[Tensor, 'b c h w']]:
    """Low and high spatial frequencies of feature maps; they sum to the maps.

    Computed in 32 bits, where the transform works for every size and on every device.

    Example:
        >>> low, high = split_frequencies(torch.ones(1, 1, 4, 4), 0.3)
        >>> low.mean().item(), high.abs().max().item()
        (1.0, 0.0)
    """
    rows, cols = features.shape[-2:]
    mask = low_frequencies(rows, cols, cutoff).to(features.device)
    with torch.autocast(features.device.type, enabled=False):
        spectrum = torch.fft.fft2(features.float())
        low = torch.fft.ifft2(spectrum * mask).real.to(features.dtype)
    # A difference instead of a second transform: cheaper, and both parts sum to the features.
    return low, features - low
