"""The training method of the CrossEarth paper, equations 5 to 10."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.labels import LabelSpace
from crossearth.models import CrossEarth
from crossearth.models.features import Features
from crossearth.trainers.methods.method import Batch, Method, check_classes
from crossearth.trainers.restoration import (
    Norm,
    Target,
    check_restoration,
    restoration_losses,
)

__all__ = ['CrossEarthTraining']


class CrossEarthTraining(Method):
    """Multi-task training: segment styled images, and restore styled and masked ones.

    Loss = L_Seg + L_MIM + L_Δ. Each batch X goes through these steps:

    1. Earth-Style Injection makes X_S from X for the samples that drew a style (eq. 5), and
       masking makes X_M from X (eq. 6).
    2. The segmentation flow predicts the classes of X_S, or of X where a sample drew no style, with
       the geospatial parts of the model (eq. 7): L_Seg.
    3. The flow of masked image modelling restores X_M always, and X_S where a style was drawn,
       without the geospatial parts (eqs. 8, 9): L_MIM, and L_Δ between the two restorations.

    Args:
        model: A `CrossEarth` with a restorer.
        labels: The classes; the model has one output for each.
        mask: Hides patches of images in [0, 1], such as `patch_mask` or `PatchMask`: X → X_M.
        style: Injects styles of other domains into images in [0, 1], such as `earth_style` or
            `FourierStyle`: X → X_S. It draws which samples it changes. None trains without styles
            and without L_Δ.
        mim_norm: Distance of L_MIM, see `restoration_losses`.
        mim_target: What is to be restored, see `restoration_losses`.
        mim_weight: Weight of L_MIM.
        delta_weight: Weight of L_Δ.
        delta_norm: Distance of L_Δ, see `restoration_losses`.
        seg_weight: Weight of L_Seg.
        reuse_styled: Restore X_S from the features of the segmentation flow, with the geospatial
            parts, as in the released training run. This is faster. The paper leaves the geospatial
            parts out of all restoration, which takes another pass.

    Raises:
        ConfigError: If the model cannot restore, or a weight is negative.

    Source:
        Paper §3.2 and §3.3, eqs. 5 to 10.
    """

    model: CrossEarth

    # many arguments: each loss of eq. 10 can be switched, so that rows of its tables are recipes
    def __init__(
        self,
        model: nn.Module,
        labels: LabelSpace,
        *,
        mask: nn.Module,
        style: nn.Module | None = None,
        mim_norm: Norm = 'mse',
        mim_target: Target = 'clean',
        mim_weight: float = 1.0,
        delta_weight: float = 1.0,
        delta_norm: Norm = 'l1',
        seg_weight: float = 1.0,
        reuse_styled: bool = False,
    ) -> None:
        if not isinstance(model, CrossEarth) or model.restorer is None:
            raise ConfigError(
                f'{type(model).__name__} cannot restore images, which masked image modelling '
                'needs: build a CrossEarth model with a restorer, or train with SourceOnly'
            )
        if min(mim_weight, delta_weight, seg_weight) < 0:
            raise ConfigError(
                f'seg_weight={seg_weight}, mim_weight={mim_weight}, delta_weight={delta_weight}: '
                'expected weights of at least 0'
            )
        check_restoration(mim_norm, mim_target, delta_norm)
        super().__init__(model, labels)
        self.mask = mask
        self.style = style
        self.mim_norm: Norm = mim_norm
        self.mim_target: Target = mim_target
        self.mim_weight = mim_weight
        self.delta_weight = delta_weight
        self.delta_norm: Norm = delta_norm
        self.seg_weight = seg_weight
        self.reuse_styled = reuse_styled

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, '']]:
        """The weighted terms of eq. 10: those of L_Seg, `loss_mim` and, with a style, `loss_delta`.

        `loss_delta` is 0 if no sample of the batch drew a style.
        """
        check_classes(self.model.num_classes, self.labels)
        image = batch['image']
        styled = image if self.style is None else self.style(image)  # eq. 5
        masked: Tensor = self.mask(image)  # eq. 6
        # The style module returns only images, so the draws are read off them.
        drawn = (styled != image).flatten(1).any(dim=1)
        to_segment, to_restore = self._encode(styled, masked, drawn)
        segmentation = self.model.losses_of(to_segment, batch['mask'])  # eq. 7
        restored = self.model.restorations(to_restore, (image.shape[-2], image.shape[-1]))
        modelling = restoration_losses(
            restored[0],
            restored[1] if len(restored) > 1 else None,
            clean=self.model.normalize(image),
            masked=self.model.normalize(masked),
            styled=self.model.normalize(styled),
            changed=drawn,
            norm=self.mim_norm,
            target=self.mim_target,
            delta_norm=self.delta_norm,
        )
        terms = {name: self.seg_weight * value for name, value in segmentation.items()}
        terms['loss_mim'] = self.mim_weight * modelling['loss_mim']
        if self.style is not None:
            # The terms have to be the same at every step, so that logs and processes agree.
            delta = modelling.get('loss_delta', torch.zeros_like(modelling['loss_mim']))
            terms['loss_delta'] = self.delta_weight * delta
        return terms  # eq. 10

    def _encode(
        self,
        styled: Float[Tensor, 'b c h w'],
        masked: Float[Tensor, 'b c h w'],
        drawn: Bool[Tensor, ' b'],
    ) -> tuple[Features, list[Features]]:
        """Features to segment, and to restore: of X_M and, if a style was drawn, of X_S."""
        if not drawn.any():
            return self.model.encode_flows(styled, [masked])
        if not self.reuse_styled:
            return self.model.encode_flows(styled, [masked, styled[drawn]])
        to_segment, to_restore = self.model.encode_flows(styled, [masked])
        fine, second, third, coarse = (level[drawn] for level in to_segment.maps)
        return to_segment, [*to_restore, Features((fine, second, third, coarse))]
