import sys

from crossearth.progress import counting, progress_bar


def test_a_bar_in_a_file_is_its_beginning_and_its_end(capsys):
    for _ in progress_bar(range(50), desc='images'):
        pass
    err = capsys.readouterr().err
    assert err.count('\r') == 2
    assert '50/50' in err.split('\r')[-1]
    with counting(True, 50, 'a.tif') as advance:
        for _ in range(50):
            advance(1)
    assert capsys.readouterr().err.count('\r') == 2


def test_a_bar_in_a_file_moves_once_a_minute(capsys, monkeypatch):
    monkeypatch.setattr('crossearth.progress._FILE_S', 0.0)
    for _ in progress_bar(range(50), miniters=1):
        pass
    assert capsys.readouterr().err.count('\r') == 52


def test_a_bar_that_leaves_nothing_behind_is_not_in_a_file(capsys):
    for _ in progress_bar(range(50), leave=False):
        pass
    assert list(progress_bar([1, 2], shown=False)) == [1, 2]
    assert capsys.readouterr().err == ''


def test_on_a_terminal_bars_move_as_they_do_in_tqdm(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
    with progress_bar(range(50), leave=False) as bar:
        assert bar.mininterval == 0.1
    assert capsys.readouterr().err
