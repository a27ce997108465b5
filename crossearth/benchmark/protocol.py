"""How scores are taken: in windows, chips or whole images, and at which size."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from crossearth.benchmark.settings import Setting
from crossearth.datasets import SceneDataset
from crossearth.errors import ConfigError
from crossearth.imagery import Imagery
from crossearth.inference.merging import Merge, checked_scales
from crossearth.inference.prepared_map import merging_of
from crossearth.inference.request import Windows
from crossearth.inference.seeing import Seeing, see_raster
from crossearth.rasters import Raster

__all__ = ['Half', 'Protocol', 'SeenAt']

type Half = Literal['bfloat16', 'float16']
type SeenAt = Literal['native', 'model'] | float | int


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a score is taken. Scores under different protocols are never compared.

    The model sees images, or the chips that they are cut into, in windows. Where windows overlap,
    their logits are averaged at the pixels of the image. One confusion matrix counts all pixels.

    Args:
        window_px: Side of the windows that the model sees. A smaller image is seen whole.
        stride_px: Pixels from one window to the next. The last one is moved to end at the border.
        chip_px: Side of the chips that images are cut into. The last chip of a row or column is
            shifted to end at the border. Pixels that it shares with its neighbour are counted in
            both, as in the published numbers. None for whole images, where every pixel counts once.
        fit_px: Images are resized to fit into a square of this side before the model sees them, and
            their logits are resized back; None for the image's own pixels.
        flip: Whether the logits of the image and of its mirror image are averaged.
        autocast: Half type that the model computes in, where it supports one; None for its own.
        seen_at: Pixel size on the ground at which the model sees images. `'native'` is that of the
            images, as in the published numbers. `'model'` is that of training, as `predict_scene`
            shows scenes. A number is in metres. Logits are brought back to the images' own pixels,
            where labels are counted. With `'model'`, images of unknown pixel size, and images of a
            dataset that is already resampled, are seen in their own pixels. Pixels without data are
            not counted.
        scales: As in `Windows`: factors of the size at which images would otherwise be seen. For
            images of unknown pixel size, only these change it.
        merge: As in `Windows`.
        merge_class: As in `Windows`.

    Raises:
        ConfigError: If a number does not make sense, or if chips are to be fitted, or chips or
            fitted images are to be resampled.

    Source:
        Windows of 512 px, 341 apart, or of 1024, 683 apart: the released test configurations.

    Example:
        >>> print(Protocol(window_px=512, stride_px=341, chip_px=512))
        chips of 512 px, windows of 512 px, 341 px apart, mean logits, no flip
    """

    window_px: int
    stride_px: int
    chip_px: int | None = None
    fit_px: int | None = None
    flip: bool = False
    autocast: Half | None = None
    seen_at: SeenAt = 'native'
    scales: Sequence[float | int] = (1,)
    merge: Merge = 'mean'
    merge_class: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, 'scales', checked_scales(self.scales))
        if not 1 <= self.stride_px <= self.window_px:
            raise ConfigError(
                f'got windows of {self.window_px} px, {self.stride_px} px apart: expected a stride '
                'from 1 to the window'
            )
        if self.fit_px is not None and self.chip_px is not None:
            raise ConfigError(
                'chip_px and fit_px are both set, but chips are never fitted: leave out one of them'
            )
        if min(self.fit_px or 1, self.chip_px or 1) < 1:
            raise ConfigError(f'{self}: expected sizes of at least 1 px')
        if self.seen_at not in ('native', 'model') and not (
            isinstance(self.seen_at, int | float)
            and math.isfinite(self.seen_at)
            and self.seen_at > 0
        ):
            raise ConfigError(
                f"seen_at is {self.seen_at!r}: expected 'native', 'model', or metres above 0"
            )
        if not self.sees_native and (self.fit_px or self.chip_px) is not None:
            raise ConfigError(
                'chips and fitted images are seen in their own pixels: leave out chip_px and '
                'fit_px, or seen_at and scales'
            )
        self.windows  # noqa: B018  # raises if they are wrong

    @classmethod
    def of(
        cls,
        setting: Setting,
        *,
        whole: bool = False,
        flip: bool = False,
        autocast: Half | None = None,
    ) -> 'Protocol':
        """The protocol of the published numbers.

        Args:
            setting: The setting.
            whole: See `varied`.
            flip: See `varied`. The published numbers do not flip.
            autocast: See `varied`.
        """
        side, target = setting.chip_px, setting.target
        published = cls(
            window_px=side,
            stride_px=round(side * 2 / 3),  # 341 of 512, 683 of 1024
            chip_px=None if target.tested_whole else side,
            fit_px=side if target.fitted else None,
        )
        return published.varied(whole=whole, flip=flip, autocast=autocast)

    def varied(
        self,
        *,
        whole: bool = False,
        flip: bool = False,
        autocast: Half | None = None,
        seen_at: SeenAt | None = None,
        scales: Sequence[float | int] | None = None,
    ) -> 'Protocol':
        """This protocol with the changes that a user asks for.

        Args:
            whole: Whether to see whole images in their own pixels, even if this protocol cuts
                chips or shrinks images.
            flip: Whether to average with the mirror image; False keeps the protocol's choice.
            autocast: Half type to score in; None keeps the protocol's choice.
            seen_at: Pixel size at which the model sees whole images; None keeps the protocol's
                choice.
            scales: Scale factors at which whole images are seen; None keeps the protocol's choice.
        """
        whole = whole or seen_at is not None or scales is not None
        return replace(
            self,
            chip_px=None if whole else self.chip_px,
            fit_px=None if whole else self.fit_px,
            flip=flip or self.flip,
            autocast=autocast or self.autocast,
            seen_at=self.seen_at if seen_at is None else seen_at,
            scales=self.scales if scales is None else scales,
        )

    @property
    def sees_native(self) -> bool:
        """Whether every image is only seen in its own pixels."""
        return self.seen_at == 'native' and self.scales == (1,)

    @property
    def windows(self) -> Windows:
        """The windows for images that are resampled."""
        return Windows(
            tile_px=self.window_px,
            stride_px=self.stride_px,
            blend='mean',
            combine='logits',
            scales=self.scales,
            merge=self.merge,
            merge_class=self.merge_class,
        )

    def seeing(self, raster: Raster, known: Imagery) -> Seeing:
        """How a model sees an image.

        Args:
            raster: The image.
            known: What the model was trained on.

        Raises:
            ConfigError: If the image cannot be resampled.
        """
        if raster.native is not None:
            asked = [f'scales {self.scales}'] if self.scales != (1,) else []
            if not isinstance(self.seen_at, str):
                asked.append(f'{self.seen_at:g} m')
            if asked:
                raise ConfigError(
                    f'{raster.path}: its dataset was opened with gsd_m, so it cannot be seen at '
                    f'{" and ".join(asked)}: leave out gsd_m'
                )
            seeing = see_raster(raster, known, 'native')
            return replace(seeing, own='after resampling', why='its dataset was opened with gsd_m')
        if self.seen_at != 'model':
            return see_raster(raster, known, self.seen_at, scales=self.scales)
        if raster.gsd_m() is None:
            seeing = see_raster(raster, known, 'native', scales=self.scales)
            return replace(seeing, why='what they measure is not known')
        return see_raster(raster, known, scales=self.scales)

    def check(self, dataset: SceneDataset) -> None:
        """Try what does not depend on a model.

        Args:
            dataset: The images to score.

        Raises:
            ConfigError: If images cannot be seen at the pixel size or scales, or `merge_class` is
                not one of their classes.
        """
        merging_of(self.windows, dataset.labels, are_logits=True)
        for scene in dataset.scenes:
            self.seeing(scene.raster, Imagery())

    def __str__(self) -> str:
        images = 'whole images' if self.chip_px is None else f'chips of {self.chip_px} px'
        if self.fit_px is not None:
            images += f' fitted into {self.fit_px} px'
        return (
            f'{images}, windows of {self.window_px} px, {self.stride_px} px apart, mean logits, '
            f'{"mean with the mirror image" if self.flip else "no flip"}'
            + ('' if self.autocast is None else f', in {self.autocast}')
            + self._sizes()
        )

    def _sizes(self) -> str:
        seen = {'native': '', 'model': ', seen at the pixel size of the training'}
        text = seen.get(str(self.seen_at), f', seen at {self.seen_at} m')
        if self.scales == (1,):
            return text
        several = f', {self.merge} of the scales' if len(self.scales) > 1 else ', at scale'
        at = f'{several} {", ".join(f"{scale:g}" for scale in self.scales)}'
        return text + at + (f' by {self.merge_class}' if self.merge_class else '')

    def to_json(self) -> dict[str, Any]:
        """Its values as JSON values."""
        return asdict(self)
