"""Geospatial queries from the image itself, and how they enter the features of a backbone.

Source: CrossEarth (arXiv 2410.22629), section 3.3 and eq. 7. The paper names the parts and gives no
sizes. The parts are five convolutions with ReLU, and cross-attention with queries from the
extractor and keys and values from the backbone. This library chose the strides, widths and heads,
the zero-initialised output layer, and sharing by all layers.
"""

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from crossearth.errors import ConfigError

__all__ = ['GeospatialSemanticExtractor', 'Injector']

_STRIDES = (2, 2, 2, 2, 1)


class GeospatialSemanticExtractor(nn.Module):
    """Five 3×3 convolutions with ReLU: one geospatial query for every 16 px of the image.

    Args:
        in_channels: Bands of the image.
        widths: Width after each convolution; the last one is the width of the queries.

    Attributes:
        dim: Width of the queries.

    Raises:
        ConfigError: If there are not five widths.

    Source:
        CrossEarth, section 3.3: "five convolutional layers with ReLU". 1.55 M parameters.

    Example:
        >>> import torch
        >>> extractor = GeospatialSemanticExtractor()
        >>> extractor(torch.rand(1, 3, 64, 96)).shape
        torch.Size([1, 256, 4, 6])
        >>> sum(p.numel() for p in extractor.parameters())
        1550976
    """

    def __init__(
        self,
        in_channels: int = 3,
        *,
        widths: tuple[int, int, int, int, int] = (64, 128, 256, 256, 256),
    ) -> None:
        super().__init__()
        if len(widths) != len(_STRIDES) or min(widths) < 1 or in_channels < 1:
            raise ConfigError(
                f'widths {widths} of {in_channels} band(s): expected five positive widths'
            )
        self.dim = widths[-1]
        layers: list[nn.Module] = []
        for before, width, stride in zip((in_channels, *widths), widths, _STRIDES, strict=False):
            layers += [nn.Conv2d(before, width, 3, stride=stride, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Float[Tensor, 'b c h w']) -> Float[Tensor, 'b d rows cols']:
        """Queries of normalised images, one for each 16 px or part of them."""
        queries: Tensor = self.layers(image)
        return queries


class Injector(nn.Module):
    """Cross-attention from geospatial queries to the features of a backbone.

    Its last layer starts at zero. An untrained injector thus changes nothing, and weights that were
    trained without one keep giving the same output.

    Args:
        dim: Width of the backbone's features.
        query_dim: Width of the geospatial queries, a multiple of `heads`.
        heads: Number of heads.

    Raises:
        ConfigError: If the heads do not divide the width of the queries.

    Source:
        CrossEarth, section 3.3 and eq. 7. 0.85 M parameters for 1024 channels.

    Example:
        >>> import torch
        >>> injector = Injector(dim=32)
        >>> queries, features = torch.rand(1, 16, 256), torch.rand(1, 16, 32)
        >>> injector(queries, features).abs().max().item()
        0.0
    """

    def __init__(self, dim: int, *, query_dim: int = 256, heads: int = 8) -> None:
        super().__init__()
        if query_dim % heads:
            raise ConfigError(
                f'query_dim is {query_dim}, which {heads} heads cannot share: choose a multiple'
            )
        self.heads = heads
        self.query = nn.Linear(query_dim, query_dim)
        self.key_value = nn.Linear(dim, 2 * query_dim)
        self.out = nn.Linear(query_dim, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self, queries: Float[Tensor, 'b n d'], features: Float[Tensor, 'b n c']
    ) -> Float[Tensor, 'b n c']:
        """What is added to the features, one vector for each query."""
        query = rearrange(self.query(queries), 'b n (h d) -> b h n d', h=self.heads)
        both = self.key_value(features)
        key, value = rearrange(both, 'b n (two h d) -> two b h n d', two=2, h=self.heads)
        found = F.scaled_dot_product_attention(query, key, value)
        delta: Tensor = self.out(rearrange(found, 'b h n d -> b n (h d)'))
        return delta


def queries_on_grid(
    extractor: nn.Module, image: Float[Tensor, 'b c h w'], grid: tuple[int, int]
) -> Float[Tensor, 'b n d']:
    """One query for each patch, row-major; resized (bilinear) where patches are not 16 px."""
    queries: Tensor = extractor(image)
    # Always resized: a comparison of sizes would specialise an exported model to some of them.
    # Where the grids agree, resizing changes nothing.
    queries = F.interpolate(queries, grid, mode='bilinear', align_corners=False)
    return rearrange(queries, 'b d rows cols -> b (rows cols) d')
