"""Tables of text, for terminals."""

from collections.abc import Sequence

__all__ = ['align_columns']


def align_columns(rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Rows of cells as lines of aligned columns.

    Args:
        rows: Cells; every row has the same number.
        left: Number of leading columns that are aligned left; the others are aligned right.

    Example:
        >>> print(align_columns([['method', 'IoU'], ['ours', '7.5']]))
        method  IoU
        ours    7.5
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return '\n'.join(
        '  '.join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
