from crossearth.columns import align_columns


def test_columns_are_aligned_and_lines_do_not_end_in_spaces():
    rows = [['a', 'bb', 'c'], ['aaa', 'b', '']]
    assert align_columns(rows) == 'a    bb  c\naaa   b'
    assert align_columns(rows, left=3) == 'a    bb  c\naaa  b'
