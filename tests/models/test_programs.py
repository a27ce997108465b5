"""Models of other libraries in files that hold their code."""

import json
import re
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from crossearth.errors import BandError, CheckpointError, ConfigError, ShapeError
from crossearth.models import load_program, program_digest
from crossearth.models.programs import program_kind

SYMBOL = r"Symbol\('s\d+', positive=True, integer=True\)"
FREE = torch.export.Dim.DYNAMIC


class Net(nn.Module):
    """Pads, scales and returns a dictionary, as models for segmentation do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 4, 3, padding=1, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        small = self.drop(self.norm(self.first(images)))
        size = images.shape[-2:]
        return {'out': nn.functional.interpolate(small, size=size, mode='bilinear')}


def exported(path: Path, model: nn.Module, *, free: bool = True, batch: int = 2) -> Path:
    shapes = ({0: FREE, 2: FREE, 3: FREE},) if free else None
    example = (torch.rand(batch, 3, 16, 24),)
    torch.export.save(torch.export.export(model, example, dynamic_shapes=shapes), path)
    return path


def rewritten(source: Path, target: Path, pattern: str, new: str) -> Path:
    """A copy of an archive, with a pattern in its JSON files replaced."""
    changed = False
    with zipfile.ZipFile(source) as former, zipfile.ZipFile(target, 'w') as archive:
        for name in former.namelist():
            content = former.read(name)
            if name.endswith('.json'):
                text, count = re.subn(pattern, lambda _: new, content.decode())
                changed |= count > 0
                content = text.encode()
                json.loads(content)
            archive.writestr(name, content)
    assert changed
    return target


@pytest.mark.usefixtures('unchecked')  # the exporter cannot see through the checks of shapes
def test_exported_programs_give_what_the_model_gives_at_any_size(tmp_path: Path) -> None:
    model = Net().eval()
    path = exported(tmp_path / 'model.pt2', model)
    assert program_kind(path) == 'exported'
    program = load_program(path)
    for shape in ((1, 3, 16, 24), (3, 3, 33, 61)):
        images = torch.rand(shape)
        torch.testing.assert_close(program(images)['out'], model(images)['out'])
    with pytest.raises(BandError, match=r'images have 4 bands, the model takes 3'):
        program(torch.rand(1, 4, 16, 16))


@pytest.mark.usefixtures('unchecked')
def test_programs_of_one_size_say_which_and_take_any_number_of_images(tmp_path: Path) -> None:
    model = Net().eval()
    program = load_program(exported(tmp_path / 'model.pt2', model, free=False))
    images = torch.rand(3, 3, 16, 24)  # made for two at a time
    torch.testing.assert_close(program(images)['out'], model(images)['out'])
    with pytest.raises(ShapeError, match=r'windows are 16 × 16 px, .* for 16 × 24 px only'):
        program(torch.rand(1, 3, 16, 16))


@pytest.mark.usefixtures('unchecked')
def test_programs_in_training_mode_are_refused(tmp_path: Path) -> None:
    path = exported(tmp_path / 'model.pt2', Net().train())
    with pytest.raises(CheckpointError, match=r'training mode .*call model.eval\(\) before'):
        load_program(path)


@pytest.mark.usefixtures('unchecked')
def test_exported_programs_that_would_run_code_are_refused_and_run_none(tmp_path: Path) -> None:
    path = exported(tmp_path / 'model.pt2', Net().eval())
    trace = tmp_path / 'ran'
    code = f"__import__('pathlib').Path('{trace}').touch()"
    for index, (pattern, new) in enumerate(
        [
            ('"use_pickle": false', '"use_pickle": true'),
            (SYMBOL, code),
            (SYMBOL, "Add('1+1', 2)"),
            (r'torch\.ops\.aten\.conv2d\.default', 'torch.load'),
            (r'torch\.ops\.aten\.conv2d\.default', 'torch.ops.aten.__class__.mro'),
            (r'torch\.ops\.aten\.conv2d\.default', '_operator.call'),
            (r'torch\.ops\.aten\.conv2d\.default', '_operator.attrgetter'),
            ('"name": "conv2d"', '"name": "conv2d):\\n import os"'),
        ]
    ):
        with pytest.raises(CheckpointError, match=r'is refused: its .* would make torch unpickle'):
            load_program(rewritten(path, tmp_path / f'{index}.pt2', pattern, new))
    assert not trace.exists()


@pytest.mark.filterwarnings('ignore:.torch.jit:FutureWarning')  # deprecated, and in wide use
@pytest.mark.usefixtures('unchecked')
def test_torchscript_is_loaded_frozen_or_not(tmp_path: Path) -> None:
    model = Net().eval()
    images = torch.rand(2, 3, 20, 28)
    frozen = torch.jit.freeze(torch.jit.script(model))
    for name, made in (('a.pt', torch.jit.script(model)), ('b.pt', frozen)):
        torch.jit.save(made, tmp_path / name)
        assert program_kind(tmp_path / name) == 'torchscript'
        program = load_program(tmp_path / name)
        torch.testing.assert_close(program(images)['out'], model(images)['out'])


@pytest.mark.filterwarnings('ignore')  # the exporter's own deprecations
@pytest.mark.usefixtures('unchecked')
def test_onnx_runs_and_its_digest_is_that_of_all_of_its_files(tmp_path: Path) -> None:
    pytest.importorskip('onnxscript', reason='the ONNX exporter needs onnxscript')
    pytest.importorskip('onnxruntime', reason='no ONNX runtime')
    torch.manual_seed(0)
    model = nn.Conv2d(3, 4, 3, padding=1).eval()
    path = tmp_path / 'model.onnx'
    torch.onnx.export(
        model, (torch.rand(1, 3, 16, 16),), path, dynamo=True, external_data=True, verbose=False
    )
    program = load_program(path)
    images = torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(program(images), model(images), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        program(images.double()), model(images), rtol=1e-4, atol=1e-5, check_dtype=False
    )
    with pytest.raises(ShapeError, match=r'exported for 16 px only: choose Windows\(tile_px=16\)'):
        program(torch.rand(1, 3, 20, 20))
    with pytest.raises(BandError, match='images have 2 bands, the model takes 3'):
        program(torch.rand(1, 2, 16, 16))
    before = program_digest(path)
    data = path.with_name('model.onnx.data')
    content = bytearray(data.read_bytes())
    content[0] ^= 1
    data.write_bytes(content)
    assert program_digest(path) != before
    with pytest.raises(ConfigError, match=r'cannot run on mps with .*: choose cpu'):
        load_program(path, device='mps')


def test_other_files_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r'no model file at .*none\.pt'):
        load_program(tmp_path / 'none.pt')
    torch.save(nn.Conv2d(3, 2, 1).state_dict(), tmp_path / 'weights.pt')
    with pytest.raises(CheckpointError, match=r'weights\.pt is not a model: .*weights alone'):
        load_program(tmp_path / 'weights.pt')
    (tmp_path / 'text.pt').write_text('junk')
    with pytest.raises(CheckpointError, match=r'text\.pt is not a model'):
        load_program(tmp_path / 'text.pt')
    pytest.importorskip('onnxruntime', reason='no ONNX runtime')
    (tmp_path / 'junk.onnx').write_bytes(b'junk')
    with pytest.raises(CheckpointError, match=r'junk\.onnx cannot be run by onnxruntime'):
        load_program(tmp_path / 'junk.onnx')
