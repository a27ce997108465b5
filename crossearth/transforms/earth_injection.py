"""Earth-Style Injection: images repainted in styles drawn from a distribution."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossearth.errors import ConfigError, ShapeError
from crossearth.transforms.earth_style import EarthStyle, module_fingerprint, require_covariance
from crossearth.transforms.injection import StyleInjection
from crossearth.transforms.patches import PatchGrid

__all__ = ['EarthStyleInjection']


class EarthStyleInjection(StyleInjection):
    """Styled images X_S: patches of an image, repainted in a style drawn from a distribution.

    Each sample that is drawn gets a style ε' from `style`. `predictor` gives the image's own style
    ε, and `transformer` repaints the image in α·ε' + (1 − α)·ε. If no sample of a batch is drawn,
    neither network runs.

    The networks run in float32, with or without autocast, without gradients and in eval mode. They
    move along with this module but are not its submodules, so optimisers, checkpoints and `train`
    do not affect them.

    Args:
        style: Distribution of styles, fitted with `predictor`.
        predictor: (b,3,h,w) in [0, 1] → (b,d). It is put into eval mode and its gradients are
            switched off.
        transformer: (image, embedding) → image of the same size, in [0, 1]. It is put into eval
            mode, too.
        patch_size: Side of a patch B in pixels; None styles the whole image.
        ratio: τ, the expected fraction of styled patches; see `StyleInjection`.
        alpha: α, the weight of the drawn style, in [0, 1]. The paper's training run used 0.1, the
            authors of the style networks 0.5.
        p: Probability of each sample.
        covariance: See `EarthStyle.sample`.
        polarity: `'release'` or `'paper'`, see `StyleInjection`.
        grid: `'paper'` or `'release'`, see `patch_grid`.
        bands: Positions of the bands to show the networks as red, green, blue. Infrared imagery is
            styled as it is displayed, (0, 1, 2). Further bands follow by `follow_statistics`.
            `to_unit` brings 16-bit imagery to [0, 1]. Choose its range as for display, because the
            networks were trained on photographs.
        nodata: See `SeededAugmentation`.
        generator: Source of the draws; None for torch's global one.
        draw_per: Whether each sample draws with probability `p`, or the batch once for all its
            samples, as the paper's iteration does.

    Raises:
        ConfigError: If an argument is out of range, or the style was fitted with another
            predictor.
        ShapeError: When called, if images are too small for the networks, or the embeddings of
            the style and the predictor differ in length.

    Source:
        §3.2, eqs. 1–5; B.2 for p. The release draws once per iteration, whose batch is one image.
        It also ran the networks with BatchNorm in train mode and did not normalise X_S. Both are
        accidents and are not repeated here.

    Example:
        >>> class Mean(nn.Module):
        ...     def forward(self, image):
        ...         return image.mean((2, 3))
        >>> class Flat(nn.Module):
        ...     def forward(self, image, style):
        ...         return style[:, :, None, None].expand_as(image)
        >>> style = EarthStyle(torch.full((3,), 0.9), torch.zeros(3, 3))
        >>> inject = EarthStyleInjection(
        ...     style, Mean(), Flat(), patch_size=4, ratio=1.0, alpha=0.5, p=1.0
        ... )
        >>> inject(torch.full((1, 3, 8, 8), 0.5))[0, :, 0, 0]
        tensor([0.7000, 0.7000, 0.7000])
    """

    # many arguments: networks, patches and draws, each of which the paper varies in a table
    def __init__(
        self,
        style: EarthStyle,
        predictor: nn.Module,
        transformer: nn.Module,
        *,
        patch_size: int | None,
        ratio: float,
        alpha: float = 0.1,
        p: float = 0.1,
        covariance: Literal['full', 'diagonal'] = 'full',
        polarity: Literal['release', 'paper'] = 'release',
        grid: PatchGrid = 'paper',
        bands: Sequence[int] = (0, 1, 2),
        nodata: float | None = 0.0,
        generator: torch.Generator | None = None,
        draw_per: Literal['sample', 'batch'] = 'sample',
    ) -> None:
        super().__init__(
            patch_size=patch_size,
            ratio=ratio,
            polarity=polarity,
            grid=grid,
            bands=bands,
            p=p,
            nodata=nodata,
            generator=generator,
            draw_per=draw_per,
        )
        require_covariance(covariance)
        if not 0 <= alpha <= 1:
            raise ConfigError(f'alpha={alpha}: expected a weight from 0 to 1')
        if len(self.bands) != 3:
            raise ConfigError(f'bands={self.bands}: expected three, for the style networks')
        fitted_with = style.provenance.get('predictor')
        given = f'{type(predictor).__name__}:{module_fingerprint(predictor)}'
        if fitted_with is not None and fitted_with != given:
            raise ConfigError(
                f'the style was fitted with {fitted_with}, but the predictor is {given}, whose '
                'embeddings mean different styles: fit the style again with this predictor'
            )
        self.style = style
        self.alpha = alpha
        self.covariance: Literal['full', 'diagonal'] = covariance
        # Inside a tuple they are not registered as submodules, see the class.
        self._networks = (
            predictor.eval().requires_grad_(False),
            transformer.eval().requires_grad_(False),
        )

    def _apply(
        self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any
    ) -> 'EarthStyleInjection':
        super()._apply(fn, *args, **kwargs)
        # Only the device follows: the networks stay in float32 if the module is cast.
        device = fn(torch.zeros(())).device
        for network in self._networks:
            network.to(device)
        return self

    def draw_styles(self, num_samples: int) -> dict[str, Tensor]:
        """ε' for each sample."""
        return {
            'style': self.style.sample(
                num_samples, generator=self.generator, covariance=self.covariance
            )
        }

    @torch.no_grad()
    def restyle(
        self,
        image: Float[Tensor, 'b c h w'],
        drawn: dict[str, Tensor],
        valid: Bool[Tensor, 'b 1 h w'],  # noqa: ARG002 -- of the base class; already filled in
    ) -> Float[Tensor, 'b c h w']:
        """Images repainted in the blended styles."""
        predictor, transformer = self._networks
        display = image.float()
        own = predictor(display)
        if own.shape != drawn['style'].shape:
            raise ShapeError(
                f'the predictor gives embeddings {tuple(own.shape)}, the style '
                f'{tuple(drawn["style"].shape)}: fit the style with this predictor'
            )
        embedding = torch.lerp(own, drawn['style'], self.alpha)
        painted: Tensor = transformer(display, embedding)
        return painted.to(image.dtype)
