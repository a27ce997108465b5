"""Scenes on disk → windows → samples."""

__all__: list[str] = []
