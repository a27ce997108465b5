"""Scene in → map out."""

__all__: list[str] = []
