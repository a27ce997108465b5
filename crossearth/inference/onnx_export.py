"""Exports models as ONNX files for the QGIS plugin Deepness, with the metadata that it needs.

The plugin cuts a raster into square tiles, divides their bytes by 255, and standardises them as the
file specifies. It runs the file on each tile and takes the class of greatest probability. The graph
therefore contains everything that `predict_scene` does with the values of a window, from the value
range to the probabilities. So the file computes the same in every version of the plugin, and
anywhere else.

Source:
    https://github.com/PUTvision/qgis-plugin-deepness, its documentation for creators of models and
    the readers of metadata in `processing/models`.
"""

import json
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossearth.errors import ConfigError, WriteError
from crossearth.imagery import imagery_of
from crossearth.inference.model_output import ModelOutput
from crossearth.inference.network import Network, model_device
from crossearth.inference.request import View, Windows
from crossearth.inference.writer import whole_file
from crossearth.labels import LabelSpace
from crossearth.modes import evaluating

__all__ = ['OnnxExport', 'export_onnx']

# The plugin installs onnxruntime 1.12 to 1.17. These support IR 8 and, since 1.14, opset 18.
_IR_VERSION: Final = 8
_OPSET: Final = 18
_MOST_BYTES: Final = 2**31 - 2**22  # of weights: a protocol buffer is limited to 2 GiB
_TOLERANCE: Final = 1e-3  # of probabilities, since sums are taken in another order


@dataclass(frozen=True, slots=True)
class OnnxExport:
    """What was written, and how the plugin will use it.

    Args:
        path: The file.
        bands: Bands in the order of the inputs: names, or numbers counted from 1.
        classes: Class names, in the order of the output channels.
        gsd_m: Ground sampling distance of its input, in metres.
        tile_px: Side of its tiles.
        overlap_percent: Share of a tile that the next one repeats.
        difference: Greatest difference between its probabilities and the model's, on noise.
    """

    path: Path
    bands: tuple[str, ...] | tuple[int, ...]
    classes: tuple[str, ...]
    gsd_m: float
    tile_px: int
    overlap_percent: int
    difference: float


def export_onnx(
    model: nn.Module,
    path: str | Path,
    *,
    labels: LabelSpace | None = None,
    windows: Windows = Windows(),
    view: View = View(),
    model_output: ModelOutput = ModelOutput(),
) -> OnnxExport:
    """Write a model as an ONNX file for the QGIS plugin Deepness.

    The file takes one float32 image (1, c, s, s), bytes divided by 255, and returns probabilities
    (1, k, s, s). Before it appears under its name, it is run with onnxruntime and compared with the
    model.

    Args:
        model: A model on the CPU; it is not changed.
        path: `.onnx` file to write; an existing one is replaced.
        labels: Class names; None for those of the model.
        windows: Their side and overlap. The plugin blends in its own way, and sees one scale.
        view: Bands, value range, mean, std, and the ground sampling distance that the model sees.
            What you leave out is taken from the model.
        model_output: What the model returns. One channel becomes two that cross at its threshold.

    Raises:
        ConfigError: If packages are missing, the ground sampling distance or the bands are unknown,
            the value range is not one of bytes, the plugin does not support an option, or the model
            cannot be expressed as one ONNX file or gives other results there.
        ShapeError: If the model does not return what `model_output` describes.
        WriteError: If the file cannot be written.
    """
    path = Path(path)
    _check_options(path, windows, model_output)
    _require_packages()
    device = model_device(model, 'cpu')
    _check_size(model, path)
    gsd_m = _gsd_of(model, view)
    bands = _bands_of(model, view)
    known = imagery_of(model)
    value_range = known.value_range if view.value_range is None else view.value_range
    _check_values(value_range)
    labels = known.labels if labels is None else labels
    network = Network(
        model,
        name=str(path),
        device=device,
        combine='softmax',
        autocast=None,
        labels=labels,
        model_output=model_output,
        mean=view.mean,
        std=view.std,
    )
    shape = len(bands), windows.tile_px, windows.tile_px
    image = torch.rand((1, *shape), generator=torch.Generator().manual_seed(0))
    with evaluating(model), torch.inference_mode():
        count = network.count_classes(shape)  # also checks what the model returns
    classes = labels.classes if labels is not None else tuple(f'class {i}' for i in range(count))
    percent = round(100 * (1 - windows.step_px / windows.tile_px))
    graph = _Graph(model, value_range, view, model_output)
    with evaluating(graph), torch.no_grad():
        expected = graph(image)
        program = _converted(graph, image, path)
    program.model.metadata_props.update(_metadata(classes, gsd_m, windows.tile_px, percent, bands))
    try:
        with whole_file(path) as temporary:
            program.save(temporary, external_data=False)
            difference = _difference(temporary, image, expected, path)
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(f'{path} cannot be written ({error.strerror or error})') from error
    return OnnxExport(path, bands, classes, gsd_m, windows.tile_px, percent, difference)


class _Graph(nn.Module):
    """Turns bytes divided by 255 into probabilities, as `predict_scene` does with bytes."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        value_range: tuple[float, float] | None,
        view: View,
        model_output: ModelOutput,
    ) -> None:
        super().__init__()
        self.model = model
        self.value_range = value_range
        self.output = model_output
        self.is_standardised = view.mean is not None or view.std is not None
        self.register_buffer('mean', torch.tensor(view.mean or [0.0])[:, None, None])
        self.register_buffer('std', torch.tensor(view.std or [1.0])[:, None, None])
        self.dtype = next((p.dtype for p in model.parameters()), torch.float32)

    def forward(self, image: Float[Tensor, '1 c s s']) -> Float[Tensor, '1 k s s']:
        if self.value_range is not None:
            low, high = self.value_range
            image = ((image * 255 - low) / (high - low)).clamp(0, 1)
        if self.is_standardised:
            image = (image - self.mean) / self.std
        given = self.output.tensor_of(self.model(image.to(self.dtype))).float()
        if not self.output.is_binary:
            return given if self.output.gives_probabilities else given.softmax(1)
        one = given[:, None] if given.ndim == 3 else given
        threshold = 0.5 if self.output.threshold is None else self.output.threshold
        if self.output.kind == 'probability':
            # the logits of 0 and 1 are infinite
            one = torch.logit(one, eps=1e-6)
        # The plugin takes the greater of two channels, so they must cross at the threshold.
        one = (one - math.log(threshold / (1 - threshold))).sigmoid()
        return torch.cat([1 - one, one], dim=1)


def _check_options(path: Path, windows: Windows, model_output: ModelOutput) -> None:
    if path.suffix.lower() != '.onnx':
        raise ConfigError(f'{path} is not an ONNX file: choose a name that ends in .onnx')
    if model_output.kind == 'ids':
        raise ConfigError(
            'the model gives class ids, but the plugin needs probabilities: export the model '
            'without the step that chooses the class'
        )
    if windows.augment != 'none' or tuple(windows.scales) != (1,):
        raise ConfigError(
            f'augment is {windows.augment!r} and scales are {tuple(windows.scales)}, but the '
            'plugin sees every tile once: leave both out, or map with crossearth predict'
        )


def _check_values(value_range: tuple[float, float] | None) -> None:
    low, high = value_range or (0, 255)
    # a model of reflectances from 0 to 10,000 would see bytes as black, one of 0 to 1 as white
    if low >= 255 or not 1 < high <= 2 * 255:
        raise ConfigError(
            f'the model sees values from {low:g} to {high:g}, but the plugin takes 8-bit layers: '
            f'stretch layers to bytes (gdal_translate -ot Byte -scale {low:g} {high:g} 0 255), and '
            'pass View(value_range=(0, 255)) (--value-range 0 255)'
        )


def _require_packages() -> None:
    for package in ('onnx', 'onnxscript', 'onnxruntime'):
        try:
            __import__(package)
        except ImportError as error:
            raise ConfigError(
                f"writing ONNX files needs {package}: pip install 'crossearth[onnx]'"
            ) from error


def _check_size(model: nn.Module, path: Path) -> None:
    size = sum(tensor.nbytes for tensor in model.state_dict().values())
    if size > _MOST_BYTES:
        raise ConfigError(
            f'{path}: the weights take {size / 2**30:.1f} GiB, but an ONNX file holds at most 2: '
            'export a smaller model, or this one in half precision'
        )


def _gsd_of(model: nn.Module, view: View) -> float:
    """Pixel size in metres that the file expects; for a range, its middle."""
    chosen_m = imagery_of(model).middle_gsd_m if view.gsd_m is None else view.gsd_m
    if chosen_m is None or isinstance(chosen_m, str):
        raise ConfigError(
            'the ground sampling distance at which the model sees scenes is unknown, but the '
            'plugin resamples every raster to it: pass View(gsd_m=0.3) '
            '(--seen-at 0.3)'
        )
    return float(chosen_m)


def _bands_of(model: nn.Module, view: View) -> tuple[str, ...] | tuple[int, ...]:
    chosen = imagery_of(model).bands if view.bands is None else view.bands
    if chosen is not None:
        return tuple(chosen)  # type: ignore[return-value]  # all names or all numbers
    count = getattr(model, 'in_channels', None)
    if not isinstance(count, int):
        raise ConfigError(
            'the number of bands that the model takes is unknown: pass View(bands=(1, 2, 3)) '
            '(--bands 1 2 3)'
        )
    return tuple(range(1, count + 1))


def _metadata(
    classes: tuple[str, ...],
    gsd_m: float,
    tile_px: int,
    overlap_percent: int,
    bands: tuple[str, ...] | tuple[int, ...],
) -> dict[str, str]:
    """The metadata that the plugin reads; each value is JSON."""
    values: dict[str, Any] = {
        'model_type': 'Segmentor',
        'class_names': dict(enumerate(classes)),
        'resolution': round(100 * gsd_m, 6),  # centimetres
        'tile_size': tile_px,  # the key that the plugin reads
        'tiles_size': tile_px,  # the key in its documentation
        'tiles_overlap': overlap_percent,
        'standardization_mean': [0.0] * len(bands),  # the graph standardises, see the module
        'standardization_std': [1.0] * len(bands),
        # Without these two, the plugin keeps what the user chose for the previous model.
        'seg_thresh': 0.0,  # take the most likely class, however unlikely
        'seg_small_segment': 0,  # no median filter
        'crossearth_bands': list(bands),  # the plugin ignores it
    }
    return {key: json.dumps(value) for key, value in values.items()}


def _converted(graph: nn.Module, image: Float[Tensor, '1 c s s'], path: Path) -> Any:
    """The graph as `torch.onnx.ONNXProgram`."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the exporter's own deprecations
        try:
            program = torch.onnx.export(
                torch.export.export(graph, (image,), strict=False),
                dynamo=True,
                opset_version=_OPSET,
                verbose=False,
                input_names=['image'],
                output_names=['probabilities'],
            )
        except Exception as error:  # operators without a counterpart may raise anything
            reason = (str(error.__cause__ or error).splitlines() or [''])[0][:200]
            raise ConfigError(
                f'{path}: the model cannot be expressed as ONNX ({type(error).__name__}: '
                f'{reason}); map with crossearth predict'
            ) from error
    assert program is not None  # it is returned because no file name was given
    program.model.ir_version = _IR_VERSION
    for node in program.model.graph:  # remove where in this machine's code each operator came from
        node.metadata_props.clear()
        node.doc_string = None
    return program


def _difference(
    file: Path, image: Float[Tensor, '1 c s s'], expected: Float[Tensor, '1 k s s'], path: Path
) -> float:
    """Greatest difference between the probabilities of onnxruntime and those of the model.

    Raises:
        ConfigError: If they differ in shape or by more than the tolerance.
    """
    found = _run(file, image.numpy(), path)
    if found.shape != tuple(expected.shape):
        raise ConfigError(
            f'{path}: the exported model gives shape {found.shape}, but the model itself gives '
            f'{tuple(expected.shape)}: map with crossearth predict'
        )
    difference = float(np.abs(found - expected.numpy()).max())
    if not difference <= _TOLERANCE:  # also true for NaN
        raise ConfigError(
            f'{path}: probabilities of the exported model differ from those of the model by up to '
            f'{difference:.3g}, expected at most {_TOLERANCE:g}: map with crossearth predict'
        )
    return difference


def _run(file: Path, image: np.ndarray, path: Path) -> np.ndarray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(file), options, providers=['CPUExecutionProvider']
        )
        found: np.ndarray = session.run(None, {'image': image})[0]
    except Exception as error:  # its exceptions share no base class
        reason = (str(error).splitlines() or [''])[0][:200]
        raise ConfigError(
            f'{path}: onnxruntime cannot run the exported model ({reason}): map with crossearth '
            'predict'
        ) from error
    return found
