from pathlib import Path

from crossearth.inference import Windows, predict_scene
from tests.inference.test_predict import OneHot, Write, random_ids


def test_progress_counts_every_window_once(
    write_scene: Write, one_hot: OneHot, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    made = predict_scene(
        one_hot(6),
        write_scene(random_ids(100, 100)),
        tmp_path / 'map.tif',
        windows=Windows(tile_px=32),
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (made.windows, made.windows)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
