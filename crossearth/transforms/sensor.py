"""Images as another sensor would have seen them: blur, sampling, noise, bit depth, compression.

The steps follow the path of light and data. Blur and sampling are linear and separable, so one
matrix per axis does both.
"""

import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from crossearth.errors import ConfigError
from crossearth.transforms.injection import valid_mean
from crossearth.transforms.seeded import SeededAugmentation

__all__ = ['SensorSimulation', 'add_noise', 'blur_matrix', 'compress', 'sampling_matrix']

_NUM_SEEDS = 2**24  # float32 draws cannot distinguish more numbers


class SensorSimulation(SeededAugmentation):
    """Images as a softer, coarser, noisier sensor would have seen them, stored by a provider.

    The steps are in the order of the physical chain. For each sample, each step is drawn with its
    own probability:

    1. *Optics.* A blur with the Gaussian modulation transfer function `exp(−2π²σ²f²)`, f in cycles
       per pixel. At Nyquist, f = 1/2, it is `exp(−π²σ²/2)`, so `σ = √(2·ln(1/MTF)) / π`: an MTF of
       0.4, 0.2, 0.1 and 0.01 is a σ of 0.43, 0.57, 0.68 and 0.97 px.
    2. *Sampling.* Detectors of `coarsening` times the pixel, each the average over its area.
    3. *Noise.* Gaussian, of variance `shot·x + read²` at a value x: shot and read noise. After it,
       coarse pixels are enlarged bilinearly to the image's own grid. The size, and so the labels,
       do not change: the image becomes less sharp, not smaller.
    4. *Quantisation* to `2^bits` levels of [0, 1].
    5. *Compression* as JPEG. An image of three bands is compressed in colour, with chroma at half
       the resolution; otherwise each band is compressed as a separate grey image.

    A step that is not drawn changes nothing, and neither do σ = 0, a coarsening of 1 or no noise.
    The blur adds to that of the image's own sensor: variances σ² add, MTFs multiply. It can only
    make an image softer. Files hold values after a tone curve, and noise is added to those.

    Args:
        sigma: Range of σ, uniform, in pixels of the simulated sensor. With a coarsening of 2, a σ
            of 0.5 is 1 pixel of the image. None switches the step off, as with all ranges here.
        gsd_m: Ground sampling distance of the images as they come here, one for all. If given,
            `sigma` is in metres on the ground, whatever the coarsening. `ShiftDataModule` refuses
            another one than its windows have; for windows at drawn sizes, leave it out.
        coarsening: Range of the pixel's side compared with the image's, at least 1, log-uniform.
        shot: Range of the shot noise's variance at full scale, uniform. 1e-4 is a standard
            deviation of 0.01 at 1, and a signal-to-noise ratio of 71 at 0.5.
        read: Range of the read noise's standard deviation, uniform, in units of [0, 1].
        bits: Range of the number of bits, 1 to 16, each equally likely.
        quality: Range of JPEG qualities in libjpeg's scale, 1 to 100, each equally likely.
        p_blur: Probability of step 1 in a sample that is drawn.
        p_sampling: Probability of step 2.
        p_noise: Probability of step 3.
        p_bits: Probability of step 4.
        p_jpeg: Probability of step 5.
        p: Probability that a sample is drawn at all.
        nodata: See `SeededAugmentation`. Pixels without data count as the mean of their band where
            a blur or a block of JPEG reaches them.
        generator: Source of the draws; None for torch's global one.

    Raises:
        ConfigError: If a range is reversed or outside its limits, or a probability or `gsd_m`
            is out of range.

    Source:
        Gaussian MTF and the order of the chain: Fiete, Modeling the Imaging Chain of Digital
        Cameras, SPIE 2010. Noise: Foi et al., Practical Poissonian-Gaussian noise modeling and
        fitting for single-image raw-data, IEEE TIP 17(10), 2008, `var = a·x + b`. Default ranges:
        aerial and satellite sensors have an MTF at Nyquist of about 0.1 to 0.4. A σ of 0.53 px is
        the step from 0.4 to 0.1; a mosaic that was resampled once loses about 1 px. JPEG runs in
        libjpeg on the CPU, whatever the device of the images.

    Example:
        >>> soft = SensorSimulation(
        ...     sigma=(0.5, 0.5), coarsening=None, shot=None, read=None, bits=None, quality=None,
        ...     p_blur=1.0, p=1.0,
        ... )
        >>> row = 0.5 + 0.4 * torch.cos(math.pi / 4 * (torch.arange(64) + 0.5))  # 1/8 cycle a px
        >>> wave = row.expand(1, 1, 64, 64)
        >>> contrast = float(soft(wave).std() / wave.std())
        >>> round(contrast, 4), round(math.exp(-2 * (math.pi * 0.5 / 8) ** 2), 4)
        (0.9258, 0.9258)
    """

    # many arguments: a range and a probability for each step of the chain
    def __init__(
        self,
        *,
        sigma: tuple[float, float] | None = (0.3, 1.0),
        gsd_m: float | None = None,
        coarsening: tuple[float, float] | None = (1.0, 2.0),
        shot: tuple[float, float] | None = (0.0, 2e-4),
        read: tuple[float, float] | None = (0.0, 0.01),
        bits: tuple[int, int] | None = (6, 8),
        quality: tuple[int, int] | None = (50, 95),
        p_blur: float = 0.5,
        p_sampling: float = 0.5,
        p_noise: float = 0.5,
        p_bits: float = 0.5,
        p_jpeg: float = 0.5,
        p: float = 0.5,
        nodata: float | None = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(p=p, nodata=nodata, generator=generator)
        if gsd_m is not None and not (isinstance(gsd_m, int | float) and 0 < gsd_m < math.inf):
            raise ConfigError(f'gsd_m={gsd_m!r}: expected metres per pixel, or None')
        if gsd_m is not None and sigma is None:
            raise ConfigError(
                f'gsd_m={gsd_m}, but sigma is None: gsd_m is for the blur alone, leave it out'
            )
        self.sigma = _checked('sigma', sigma, 0)
        self.gsd_m = gsd_m
        self.coarsening = _checked('coarsening', coarsening, 1)
        self.shot = _checked('shot', shot, 0, 1)
        self.read = _checked('read', read, 0, 1)
        self.bits = _checked('bits', bits, 1, 16, whole=True)
        self.quality = _checked('quality', quality, 1, 100, whole=True)
        for name, probability in (
            ('p_blur', p_blur),
            ('p_sampling', p_sampling),
            ('p_noise', p_noise),
            ('p_bits', p_bits),
            ('p_jpeg', p_jpeg),
        ):
            if not isinstance(probability, int | float) or not 0 <= probability <= 1:
                raise ConfigError(f'{name}={probability!r}: expected a number from 0 to 1')
        self.p_blur = p_blur
        self.p_sampling = p_sampling
        self.p_noise = p_noise
        self.p_bits = p_bits
        self.p_jpeg = p_jpeg

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """The amounts of each sample, neutral where a step is not drawn: bits and quality are 0."""
        b = batch_shape[0]

        def drawn(limits: tuple[float, float] | None, used: Tensor, neutral: float) -> Tensor:
            low, high = limits or (neutral, neutral)
            return torch.where(used, low + (high - low) * self.uniform(b), neutral)

        def counted(limits: tuple[int, int] | None, used: Tensor) -> Tensor:
            low, high = limits or (0, 0)
            number = low + ((high - low + 1) * self.uniform(b)).long()
            return torch.where(used & (limits is not None), number.clamp(max=high), 0)

        low, high = self.coarsening or (1, 1)
        noisy = self.uniform(b) < self.p_noise
        return {
            'sigma': drawn(self.sigma, self.uniform(b) < self.p_blur, 0.0),
            'coarsening': drawn(
                (math.log(low), math.log(high)), self.uniform(b) < self.p_sampling, 0.0
            ).exp(),
            'shot': drawn(self.shot, noisy, 0.0),
            'read': drawn(self.read, noisy, 0.0),
            # Noise is drawn from this seed later, so samples without noise cost nothing.
            'noise_seed': (self.uniform(b) * _NUM_SEEDS).long(),
            'bits': counted(self.bits, self.uniform(b) < self.p_bits),
            'quality': counted(self.quality, self.uniform(b) < self.p_jpeg),
        }

    def change(
        self,
        image: Float[Tensor, 'b c h w'],
        drawn: dict[str, Tensor],
        valid: Bool[Tensor, 'b 1 h w'],
    ) -> Float[Tensor, 'b c h w']:
        """The chain, sample by sample, because each has its own coarse size."""
        filled = torch.where(valid, image, valid_mean(image, valid))
        names = ('sigma', 'coarsening', 'shot', 'read', 'noise_seed', 'bits', 'quality')
        amounts = zip(*(drawn[name].tolist() for name in names), strict=True)
        return torch.stack(
            [self._seen(sample, *amount) for sample, amount in zip(filled, amounts, strict=True)]
        )

    def _seen(
        self,
        image: Float[Tensor, 'c h w'],
        sigma: float,
        coarsening: float,
        shot: float,
        read: float,
        noise_seed: int,
        bits: int,
        quality: int,
    ) -> Float[Tensor, 'c h w']:
        height, width = image.shape[-2:]
        sigma_px = sigma * coarsening if self.gsd_m is None else sigma / self.gsd_m
        seen = image
        if sigma_px or coarsening > 1:
            along = {
                length: _optics_matrix(length, sigma_px, coarsening, like=image)
                for length in {height, width}
            }
            seen = along[height] @ seen @ along[width].T
        if shot or read:
            generator = torch.Generator(image.device).manual_seed(noise_seed)
            seen = add_noise(seen, shot=shot, read=read, generator=generator)
        if seen.shape != image.shape:
            seen = F.interpolate(seen[None], (height, width), mode='bilinear')[0]
        if bits:
            levels = 2**bits - 1
            seen = (seen.clamp(0, 1) * levels).round() / levels
        return compress(seen, quality) if quality else seen


def _optics_matrix(
    length: int, sigma_px: float, coarsening: float, *, like: Tensor
) -> Float[Tensor, 'm n']:
    """Blur and sampling of a line of pixels, in one matrix."""
    blur = blur_matrix(length, sigma_px, like=like)
    if coarsening == 1:
        return blur
    return sampling_matrix(length, max(1, round(length / coarsening)), like=like) @ blur


def blur_matrix(length: int, sigma_px: float, *, like: Tensor) -> Float[Tensor, 'n n']:
    """The blur of a line of pixels by a Gaussian MTF, mirrored at its ends.

    The mirrored line repeats after twice its length, and its point spread is the Fourier transform
    of the MTF at the frequencies of that period. Each cosine that fits between the mirrors is thus
    multiplied by the MTF at its frequency and otherwise unchanged. A sampled Gaussian kernel would
    not follow the MTF for a σ below a pixel: at 0.5 px it passes twice as much at Nyquist.

    Args:
        length: Pixels of the line.
        sigma_px: Standard deviation of the point spread function.
        like: Tensor whose type and device to use.

    Returns:
        Matrix (output, input); its rows sum to 1.

    Example:
        >>> blur = blur_matrix(8, 0.7, like=torch.zeros(1, dtype=torch.float64))
        >>> wave = torch.cos(math.pi * 3 * (torch.arange(8) + 0.5) / 8).double()  # 3/16 cycles a px
        >>> torch.allclose(blur @ wave, math.exp(-2 * (math.pi * 0.7 * 3 / 16) ** 2) * wave)
        True
    """
    # The even extension of a line has period 2n. Its spectrum is real, so one inverse transform of
    # the MTF gives the point spread at all distances; the mirror images of a pixel are added.
    cycles_per_px = torch.arange(length + 1, dtype=torch.float64) / (2 * length)
    mtf = torch.exp(-2 * (math.pi * sigma_px * cycles_per_px) ** 2)
    spread: Tensor = torch.fft.irfft(mtf, n=2 * length)
    pixel = torch.arange(length)
    direct = spread[(pixel[:, None] - pixel) % (2 * length)]
    # The mirror is the outer edge of the line, so the image of pixel j lies at −j − 1.
    mirrored = spread[pixel[:, None] + pixel + 1]
    return (direct + mirrored).to(like)


def sampling_matrix(length: int, num_samples: int, *, like: Tensor) -> Float[Tensor, 'm n']:
    """Averages over equal parts of a line of pixels.

    Args:
        length: Pixels of the line.
        num_samples: Parts, at most as many as pixels; their edges need not lie on pixel edges.
        like: Tensor whose type and device to use.

    Returns:
        Matrix (part, pixel); its rows sum to 1.

    Example:
        >>> sampling_matrix(3, 2, like=torch.zeros(1))
        tensor([[0.6667, 0.3333, 0.0000],
                [0.0000, 0.3333, 0.6667]])
    """
    edges = torch.arange(num_samples + 1, dtype=torch.float64) * (length / num_samples)
    pixel = torch.arange(length, dtype=torch.float64)
    start = torch.maximum(edges[:-1, None], pixel)
    end = torch.minimum(edges[1:, None], pixel + 1)
    return ((end - start).clamp(min=0) * (num_samples / length)).to(like)


def add_noise(
    image: Float[Tensor, '*b c h w'], *, shot: float, read: float, generator: torch.Generator
) -> Float[Tensor, '*b c h w']:
    """Shot and read noise: Gaussian, of variance `shot·x + read²`, independent in each value.

    Args:
        image: Values in [0, 1]; a value below 0 has no shot noise.
        shot: Variance of the shot noise at a value of 1.
        read: Standard deviation of the read noise.
        generator: Source of the draws, on the image's device.

    Returns:
        Noisy values, clamped to [0, 1].
    """
    noise = torch.randn(image.shape, generator=generator, device=image.device, dtype=image.dtype)
    return (image + noise * (shot * image.clamp(min=0) + read**2).sqrt()).clamp(0, 1)


def compress(image: Float[Tensor, 'c h w'], quality: int) -> Float[Tensor, 'c h w']:
    """An image in 8 bits after JPEG, by libjpeg on the CPU.

    Args:
        image: Values in [0, 1]; three bands are compressed as red, green and blue with chroma at
            half the resolution, otherwise each band as a grey image.
        quality: Quality in libjpeg's scale, 1 to 100.

    Returns:
        Multiples of 1/255, on the image's device.
    """
    levels = (image.clamp(0, 1) * 255).round().to('cpu', torch.uint8)
    if len(levels) == 3:
        colour = _through_jpeg(rearrange(levels, 'c h w -> h w c').numpy(), quality)
        stored = rearrange(torch.from_numpy(colour), 'h w c -> c h w')
    else:
        grey = [_through_jpeg(band.numpy(), quality) for band in levels]
        stored = torch.from_numpy(np.stack(grey))
    return stored.to(image) / 255


def _through_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'JPEG', quality=quality, subsampling='4:2:0')
    return np.array(Image.open(file))


def _checked[Limits: (tuple[int, int], tuple[float, float])](
    name: str,
    limits: Limits | None,
    lowest: float,
    highest: float = math.inf,
    *,
    whole: bool = False,
) -> Limits | None:
    """The range, checked."""
    if limits is None:
        return None
    if (
        not isinstance(limits, tuple | list)
        or len(limits) != 2
        or not all(isinstance(end, int) or (not whole and isinstance(end, float)) for end in limits)
        or not lowest <= limits[0] <= limits[1] <= highest
        or limits[1] == math.inf
    ):
        numbers = 'whole numbers ' if whole else ''
        bound = f' ≤ {highest}' if highest < math.inf else ''
        raise ConfigError(
            f'{name}={limits!r}: expected {numbers}(low, high) with {lowest} ≤ low ≤ high{bound}'
        )
    return limits
