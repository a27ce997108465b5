"""
Style injection, step by step
=============================

What the augmentation of CrossEarth does to an image: the look of other places, in random patches.
"""

# %%
# One scene, and looks from elsewhere
# -----------------------------------
# A style source is a folder of unlabelled images of the field. Here the synthetic Earth draws
# both.

import matplotlib.pyplot as plt
import torch

from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

earth = SyntheticEarth(seed=0)
scene = earth.draw(EARTH_DOMAINS['source'], index=0, height=256, width=256)
image = torch.from_numpy(scene.image)[None] / 255
field = torch.stack([torch.from_numpy(one) for one in earth.draw_style(images=6, size_px=256)])


def show(pictures, *, columns, inches=2.3):
    rows = -(-len(pictures) // columns)
    _, panels = plt.subplots(
        rows, columns, figsize=(inches * columns, (inches + 0.3) * rows), layout='constrained'
    )
    for axes, (title, picture) in zip(panels.flat, pictures.items(), strict=True):
        axes.imshow(picture.permute(1, 2, 0).clamp(0, 1), cmap='gray')
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()


show({f'style {i}': one / 255 for i, one in enumerate(field)}, columns=6, inches=1.6)

# %%
# Light and colour are the lowest frequencies
# -------------------------------------------
# The amplitudes of the lowest frequencies hold light, colour cast and contrast over large
# distances. The phases hold what is where. ``mix_amplitudes`` moves the amplitudes towards those
# of a style by a share λ.

from crossearth.transforms.fourier import low_frequencies, mix_amplitudes

cutoff = 2  # cycles per image
wanted = low_frequencies(field[2:3] / 255, cutoff).abs()
steps = {'image': image[0]}
for share in (0.3, 0.6, 1.0):
    steps[f'λ = {share}'] = mix_amplitudes(image, wanted, torch.tensor([share]))[0]
show(steps, columns=4)

# %%
# Only in patches
# ---------------
# The paper styles a random share τ of square patches, so that a window holds both looks. The mask
# is constant over patches of B pixels.

from crossearth.transforms import kept_patches

draws = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
mask = kept_patches(draws, 0.5, image_hw=(256, 256), patch_size=32)
styled = steps['λ = 1.0']
show(
    {
        'mask (white is kept)': mask[0].float().expand(3, -1, -1),
        'styled': styled,
        'styled in patches': torch.where(mask[0], image[0], styled),
    },
    columns=3,
)

# %%
# The same as one transform
# -------------------------
# ``FourierStyle`` draws the style, the share and the patches for each sample. It composes with
# kornia's augmentations and repeats with its generator. It prints its settings.

from crossearth.transforms import FourierStyle

style = FourierStyle(
    field, p=1.0, beta=0.01, patch_size=32, generator=torch.Generator().manual_seed(1)
)
print(style)
batch = style(image.repeat(4, 1, 1, 1))
show({f'draw {i}': one for i, one in enumerate(batch)}, columns=4)

# %%
# Masked images
# -------------
# The second half of the method hides patches, and a decoder learns to restore them.

from crossearth.transforms import PatchMask

hide = PatchMask(32, 0.7, prompt=0.5, generator=torch.Generator().manual_seed(0))
print(hide)
show({'masked': hide(image)[0], 'styled, then masked': hide(batch[2:3])[0]}, columns=2)

# %%
# ``EarthStyleInjection`` is the same with the paper's style networks instead of amplitudes; it
# needs their weights. :doc:`Transforms </transforms>` has all arguments.
