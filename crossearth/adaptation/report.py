"""The report on an adapted model, as a table and as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from crossearth.adaptation.advice import Advice
from crossearth.adaptation.change import Change
from crossearth.adaptation.gap import Gap

__all__ = ['Report']

_FARTHEST = 3  # number of batch norms to list
_NOT_RECORDED = 'not recorded'


@dataclass(frozen=True, slots=True)
class Report:
    """How far scenes are from a model's source, and what adapting the model has changed.

    Nothing here needs a label, and no number is an accuracy.

    Args:
        method: Name of the method.
        options: Its options.
        windows: Number of windows read from the scenes.
        classes: Class names.
        gap: From the source to the scenes.
        change: From the original model to the adapted one.
        advice: Whether to use the adapted model.
    """

    method: str
    options: Mapping[str, float | int]
    windows: int
    classes: tuple[str, ...]
    gap: Gap
    change: Change
    advice: Advice

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        """The report as a table to print."""
        return '\n'.join([*self._gap_lines(), '', *self._change_lines(), '', str(self.advice)])

    def _gap_lines(self) -> list[str]:
        gap, source = self.gap, self.gap.source
        seen = sorted({scene.seen_gsd_m for scene in gap.scenes if scene.seen_gsd_m is not None})
        lines = [
            f'{"":<22} {"source":>14} {"scenes":>14} {"distance":>10}',
            _row('windows', source.windows if source else _NOT_RECORDED, self.windows),
            _row(
                'GSD as seen, m',
                _NOT_RECORDED if gap.source_gsd_m is None else f'{gap.source_gsd_m:g}',
                ' to '.join(f'{gsd:.3g}' for gsd in dict.fromkeys((*seen[:1], *seen[-1:])))
                or 'not known',
                _gsd_ratio(gap.source_gsd_m, seen),
            ),
        ]
        for index, (mean, std) in enumerate(zip(gap.looks.mean, gap.looks.std, strict=True)):
            known = (
                f'{source.mean[index]:.3f} ± {source.std[index]:.3f}' if source else _NOT_RECORDED
            )
            distance = '' if gap.bands is None else f'{gap.bands[index]:.2f}'
            lines.append(_row(f'band {index + 1}', known, f'{mean:.3f} ± {std:.3f}', distance))
        ratio = gap.sharpness_ratio
        lines.append(
            _row(
                'sharpness',
                _number(source.sharpness) if source else _NOT_RECORDED,
                _number(gap.looks.sharpness),
                '' if ratio is None else f'× {ratio:.2f}',
            )
        )
        lines += [
            _row(f'features, stride {4 << index}', '', '', f'{apart:.2f}')
            for index, apart in enumerate(gap.features or ())
        ]
        if gap.norm_distance is not None:
            lines.append(_row('batch norms, mean', '', '', f'{gap.norm_distance:.2f}'))
        farthest = sorted(gap.norms.items(), key=lambda item: -item[1])[:_FARTHEST]
        lines += [f'  farthest: {name} {apart:.2f}' for name, apart in farthest]
        return lines

    def _change_lines(self) -> list[str]:
        before, after = self.change.before, self.change.after
        return [
            f'{"":<22} {"before":>14} {"after":>14}',
            *(
                _row(name[:22], f'{100 * old:.2f} %', f'{100 * new:.2f} %')
                for name, old, new in zip(self.classes, before.areas, after.areas, strict=True)
            ),
            _row('mean confidence', f'{before.confidence:.3f}', f'{after.confidence:.3f}'),
            _row('mean entropy', f'{before.entropy:.3f}', f'{after.entropy:.3f}'),
            f'{100 * self.change.changed:.2f} % of the pixels get another class',
        ]


def _row(name: str, source: object, scenes: object, distance: str = '') -> str:
    return f'{name:<22} {source!s:>14} {scenes!s:>14} {distance:>10}'.rstrip()


def _number(value: float | None) -> str:
    return 'no contrast' if value is None else f'{value:.3f}'


def _gsd_ratio(source: float | None, seen: list[float]) -> str:
    if source is None or not seen:
        return ''
    return f'× {max((gsd / source for gsd in seen), key=lambda r: max(r, 1 / r)):.2f}'
