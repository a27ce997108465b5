"""What the file of an adapted model records about the adaptation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ['AdaptationRecord']


@dataclass(frozen=True, slots=True)
class AdaptationRecord:
    """How a model was adapted.

    Args:
        method: Name of the method.
        options: Options of the method.
        scenes: Names of the scenes, without their folders.
        windows: Number of windows of the scenes that it was adapted on.
        model_sha256: Digest of the file of the model that was adapted.
        calibrated: Whether the calibration in the file was measured after the adaptation.
    """

    method: str
    options: Mapping[str, float | int]
    scenes: tuple[str, ...]
    windows: int
    model_sha256: str
    calibrated: bool = False

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> 'AdaptationRecord':
        """The record from which `dataclasses.asdict` and JSON made `value`."""
        return cls(
            method=str(value['method']),
            options={str(name): float(option) for name, option in value['options'].items()},
            scenes=tuple(map(str, value['scenes'])),
            windows=int(value['windows']),
            model_sha256=str(value['model_sha256']),
            calibrated=bool(value.get('calibrated', False)),
        )
