import io
import math
from dataclasses import replace

import pandas as pd
import pytest

from crossearth.reports import format_scores, report_data
from crossearth.reports.figures import score_figures
from crossearth.reports.table import Column, Table, escape_latex, table_csv, table_latex
from crossearth.reports.tables import costs_table, file_name, groups_of
from tests.reports import made_up


@pytest.fixture(scope='module')
def data():
    results = made_up.every_result()
    return report_data([*results, replace(results[0], selection='oracle', step=12_000)])


def table_of(frame, *columns):
    return Table(
        name='t',
        title='A title',
        notes=('A note_1.',),
        frame=pd.DataFrame(frame),
        columns=columns,
        quoted=(False,) * len(next(iter(frame.values()))),
    )


def test_cells_are_written_by_the_format_of_their_column():
    nan = math.nan
    table = table_of(
        {'m': ['a', 'b'], 'x': [55.25, nan], 'sd': [1.04, nan], 'lo': [50.0, nan],
         'hi': [60.0, nan], 'd': [-1.26, 0.01], 'f': [100, 0], 'l': [300, 0],
         's': [90.0, 7200.0], 'r': [False, True], 'b': [2**31, nan], 'p': [3.2e6, nan],
         'n': [1234, nan], 'q': ['', 'x']},
        Column('m', 'm', mark='q'),
        Column('x', 'x', 'score', ('sd', 'lo', 'hi')),
        Column('i', 'lo', 'interval', ('hi',)),
        Column('d', 'd', 'signed'),
        Column('f', 'f', 'steps', ('l',)),
        Column('s', 's', 'seconds', ('r',)),
        Column('b', 'b', 'size'),
        Column('p', 'p', 'millions'),
        Column('n', 'n', 'count'),
    )  # fmt: skip
    first, second = table.cells()
    assert [cell.text for cell in first] == [
        'a', '55.2 ± 1.0', '50.0 to 60.0', '−1.3', '100 – 300', '1.5 min', '2.0 GiB', '3.2 M',
        '1,234',
    ]  # fmt: skip
    assert first[1].below == '[50.0, 60.0]'
    assert [cell.text for cell in second] == [
        'b †', '–', '–', '+0.0', '–', '≥ 2.0 h', '–', '–', '–'
    ]  # fmt: skip
    assert (first[3].tone, second[3].tone) == ('down', '')
    assert second[1].value is None


def test_the_best_is_bold_unless_its_set_is_incomplete_or_quoted():
    frame = {'m': ['a', 'b', 'c'], 'x': [50.0, 70.0, 90.0], 'partial': ['', '', '']}
    column = Column('x', 'x', 'score', mark='partial', best=True)
    table = replace(table_of(frame, column), quoted=(False, False, True))
    assert [row[0].tone for row in table.cells()] == ['', 'best', '']
    marked = replace(table, frame=table.frame.assign(partial=['', 'x', '']))
    assert [row[0].tone for row in marked.cells()] == ['', '', '']
    as_printed = replace(table, frame=table.frame.assign(x=[50.0, 90.0, 90.0]))
    assert [row[0].tone for row in as_printed.cells()] == ['', 'best', '']
    run_here = replace(
        table,
        frame=table.frame.assign(x=[50.0, 45.0, 60.0], partial=['', '', 'x']),
        quoted=(False,) * 3,
    )
    assert [row[0].tone for row in run_here.cells()] == ['best', '', '']


def test_latex_has_the_rules_of_booktabs_and_as_many_cells_in_each_row():
    table = table_of(
        {'m': ['a_b & {c}', '[d] * $e$'], 'x': [50.0, 70.0], 'sd': [1.0, 1.0], 'lo': [45.0, 60.0],
         'hi': [55.0, 80.0]},
        Column('{100} %', 'm'),
        Column('x', 'x', 'score', ('sd', 'lo', 'hi'), best=True),
    )  # fmt: skip
    text = table_latex(table)
    for part in (r'\toprule', r'\midrule', r'\bottomrule', r'\caption{A title. A note\_1.}'):
        assert part in text
    assert r'\{100\} \% & x \\' in text
    assert r'a\_b \& \{c\} & 50.0 $\pm$ 1.0 \\' in text
    assert r'{[}d] {*} \$e\$ & \textbf{70.0 $\pm$ 1.0} \\' in text
    assert r' & {\scriptsize {[}60.0, 80.0]} \\' in text
    rows = [line for line in text.splitlines() if line.endswith(r'\\')]
    assert {line.replace(r'\&', '').count('&') for line in rows} == {1}
    assert text.count('{') == text.count('}')  # escaped ones come in pairs here


def test_letters_that_mean_something_to_latex_are_escaped():
    assert escape_latex('\\') == r'\textbackslash{}'
    assert escape_latex('a~^#') == r'a\textasciitilde{}\textasciicircum{}\#'


def test_csv_has_every_digit(data):
    group = groups_of(data)[0]
    back = pd.read_csv(io.StringIO(table_csv(group.table)))
    assert back['mean'].tolist() == pytest.approx(group.scores['mean'].tolist(), rel=1e-15)
    assert back['low'].notna().all()
    assert back['images'].tolist() == group.scores['images'].tolist()


def test_oracle_and_last_step_have_tables_of_their_own(data):
    last, oracle = groups_of(data)
    assert (last.name, oracle.name) == ('last', 'oracle')
    assert len(last.table.frame) == 9
    assert len(oracle.table.frame) == 1
    assert oracle.overview is None
    assert '(paper)' not in ' '.join(oracle.table.frame.method)


def test_adaptation_has_tables_of_its_own(data):
    scores = data.scores.copy()
    scores.loc[scores.method == 'rein', 'kind'] = 'adaptation'
    groups = {group.kind: group for group in groups_of(replace(data, scores=scores))}
    assert set(groups['adaptation'].scores.method) == {'rein'}
    assert 'rein' not in set(groups['last'].scores.method)
    overview = groups['adaptation'].overview
    quoted = {
        row[0].text
        for row, of_paper in zip(overview.cells(), overview.quoted, strict=True)
        if of_paper
    }
    printed = data.quoted[data.quoted.kind == 'adaptation'].method
    assert quoted == set(printed)
    assert 'CrossEarth (paper)' not in quoted


def test_protocols_never_share_a_table(data):
    scores = data.scores.copy()
    scores.loc[scores.method == 'rein', 'protocol'] = 'another'
    names = [group.name for group in groups_of(replace(data, scores=scores))]
    assert names == ['last', 'last-2', 'oracle']


def test_the_overview_sets_methods_against_domains_and_the_paper(data):
    overview = groups_of(data)[0].overview
    frame = overview.frame.set_index('method')
    scores = data.scores[data.scores.kind == 'last'].set_index(['method', 'domain'])
    assert frame.loc['rein', 'A2S mean'] == scores.loc[('rein', 'A2S'), 'mean']
    assert frame.loc['CrossEarth (paper)', 'A2S mean'] == 44.3
    ours = [scores.loc[('rein', domain), 'mean'] for domain in made_up.SETTING_NAMES]
    assert frame.loc['rein', 'all domains'] == pytest.approx(sum(ours) / 3)


def test_the_mean_is_over_places_that_were_not_trained_on(data):
    scores = data.scores.copy()
    scores.loc[scores.domain == 'A2S', 'seen'] = True
    overview = groups_of(replace(data, scores=scores))[0].overview
    row = overview.frame.set_index('method').loc['rein']
    others = [row[f'{name} mean'] for name in made_up.SETTING_NAMES if name != 'A2S']
    assert row['all domains'] == pytest.approx(sum(others) / 2)
    assert 'The mean leaves out A2S: places that were trained on.' in overview.notes


def test_an_incomplete_set_has_no_mean_and_nothing_published_in_its_column():
    results = [
        made_up.few(r) if (r.setting, r.method) == ('A2S', 'rein') else r
        for r in made_up.every_result()
    ]
    overview = groups_of(report_data(results))[0].overview
    frame = overview.frame.set_index('method')
    assert math.isnan(frame.loc['rein', 'all domains'])
    assert frame.loc[[n for n in frame.index if '(paper)' in n], 'A2S mean'].isna().all()
    assert any('A2S, rein: tested on 8 of 3726 images' in note for note in overview.notes)
    marked = {
        (row[0].text, column.heading)
        for row in overview.cells()
        for column, cell in zip(overview.columns, row, strict=True)
        if cell.text.endswith('†')
    }
    assert marked == {('rein', 'A2S')}


def test_classes_have_a_row_for_what_is_printed_below_what_was_run(data):
    table = groups_of(data)[0].per_class['P(i)2V']
    here, paper = table.cells()[:2]
    assert [cell.text for cell in paper[3:]] == ['83.6', '91.7', '63.8', '70.2', '59.5', '36.3']
    assert all(cell.below for cell in here[3:])
    assert table.quoted[:3] == (False, True, False)


def test_classes_of_an_incomplete_set_are_marked_and_never_bold():
    results = [
        made_up.few(r) if (r.setting, r.method) == ('A2S', 'rein') else r
        for r in made_up.every_result()
    ]
    table = groups_of(report_data(results))[0].per_class['A2S']
    cells = {row[0].text: row[3:] for row in table.cells()}
    assert all(cell.text.endswith(' †') and cell.tone == '' for cell in cells['rein †'])
    complete = [row for name, row in cells.items() if name in made_up.METHODS]
    assert all(
        any(cell.tone == 'best' for cell in column) for column in zip(*complete, strict=True)
    )


def test_a_domain_may_be_called_as_a_column(data):
    scores = data.scores.replace({'domain': {'A2S': 'method', 'P(i)2V': 'from'}})
    classes = data.classes.replace({'domain': {'A2S': 'method', 'P(i)2V': 'from'}})
    overview = groups_of(replace(data, scores=scores, classes=classes))[0].overview
    assert [row[0].text for row in overview.cells()][:3] == list(made_up.METHODS)


def test_costs_say_what_is_not_recorded(data):
    unknown = costs_table(replace(data, costs=data.costs.assign(memory_bytes=math.nan)))
    assert 'Not recorded in these results: peak memory.' in unknown.notes
    assert len(unknown.frame) == 9
    known = costs_table(data)
    assert not any('Not recorded' in note for note in known.notes)
    texts = [cell.text for cell in known.cells()[0]]
    assert '3.0 GiB' in texts
    assert '4.0 M' in texts


def test_file_names_are_plain_and_never_the_same():
    taken = set()
    names = [file_name(text, taken) for text in ('../../etc', 'ETC', '<script>', '', '…')]
    assert names == ['etc', 'ETC-2', 'script', 'domain', 'domain-2']


def test_a_terminal_gets_the_scores_of_each_kind(data):
    text = format_scores(data)
    assert text.count('Scores by domain:') == 2
    assert 'Oracle: the checkpoint that is best' in text


def test_a_single_score_is_not_drawn(data):
    last, oracle = groups_of(data)
    assert [drawn.name for drawn in score_figures(last, data.quoted)] == [
        'radar-last',
        'intervals-last',
    ]
    assert score_figures(oracle, data.quoted) == []


def test_the_radar_marks_incomplete_sets_and_quotes_nothing_there():
    results = [
        made_up.few(r) if (r.setting, r.method) == ('A2S', 'rein') else r
        for r in made_up.every_result()
    ]
    data = report_data(results)
    radar = score_figures(groups_of(data)[0], data.quoted)[0]
    axes = radar.figure.axes[0]
    labels = [tick.get_text() for tick in axes.get_xticklabels()]
    assert labels == ['P(i)2V', 'P(i)2P(r)', 'A2S †']
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert math.isnan(lines['CrossEarth (paper)'][2])
    assert lines['CrossEarth (paper)'][0] == 67.5
    assert not math.isnan(lines['rein'][2])
