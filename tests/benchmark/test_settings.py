import pytest

from crossearth.benchmark import ABLATIONS, DOMAINS, OTHER_PAPERS, SETTINGS
from crossearth.cli import main
from crossearth.errors import ConfigError, SceneNotFoundError

# Table 1, in its order; its three errata are those that the settings note.
TABLE_1 = {
    'P(i)2V': (3456, 398),
    'V2P(i)': (344, 2016),
    'U2R': (1156, 992),
    'R2U': (1366, 667),
    'D2M': (6226, 49),
    'P(r)2P(i)': (3456, 2016),
    'P(i)2P(r)': (3456, 2016),
    'P(r)2V': (3456, 398),
    'V2P(r)': (344, 2016),
    'P(i)2Res': (3456, 449),
    'A2S': (4736, 3726),
    'S2A': (13662, 1036),
    'Sub2Tem': (4900, 2075),
    'Sub2Tms': (4900, 1650),
    'Sub2Trf': (4900, 1550),
    'Tem2Sub': (5025, 2200),
    'Tem2Tms': (5025, 1650),
    'Tem2Trf': (5025, 1550),
    'Tms2Sub': (3400, 2200),
    'Tms2Tem': (3400, 2075),
    'Tms2Trf': (3400, 1550),
    'Trf2Sub': (3700, 2200),
    'Trf2Tem': (3700, 2075),
    'Trf2Tms': (3700, 1650),
}


def test_25_settings_cross_domains_and_4_do_not():
    across = [s for s in SETTINGS.values() if s.crosses_domains]
    assert len(across) == 25
    assert [s.name for s in SETTINGS.values() if not s.crosses_domains] == [
        'Sub2Sub', 'Tem2Tem', 'Tms2Tms', 'Trf2Trf',
    ]  # fmt: skip
    assert {s.name for s in across} - set(TABLE_1) == {'P(r)2Res'}


def test_counts_of_table_1_follow_from_the_archives():
    printed_wrongly = {'R2U': 677, 'P(i)2Res': 450}
    for name, (n_train, n_test) in TABLE_1.items():
        setting = SETTINGS[name]
        assert (setting.n_train, setting.n_test) == (n_train, printed_wrongly.get(name, n_test))
        if name in printed_wrongly:
            assert any(str(n_test) in note for note in setting.notes)
    assert DOMAINS['rescuenet_5c'].archive.part(split='val').images == 449


def test_source_and_target_have_the_same_classes_and_results_name_them():
    for setting in SETTINGS.values():
        assert setting.source.labels == setting.target.labels
        for result in setting.reported.values():
            if result.per_class:
                assert tuple(result.per_class) == setting.source.labels.classes
        assert (setting.metric == 'foreground IoU') == (setting.source.labels.scored == (1,))
        assert {'DAFormer', 'HRDA', 'MTP', 'Rein', 'CrossEarth'} <= set(setting.reported)


def test_printed_means_are_those_of_their_classes_except_where_noted():
    apart = {
        (setting.name, method)
        for setting in SETTINGS.values()
        for method, result in setting.reported.items()
        if result.mean_of_classes is not None and abs(result.mean_of_classes - result.miou) > 0.15
    }
    assert apart == {
        ('P(i)2V', 'MTP'),
        ('P(r)2P(i)', 'Rein'),
        ('V2P(r)', 'MTP'),
        ('Tms2Trf', 'MTP'),
    }
    for name, method in apart:
        assert any(note.startswith(f'{method}: the paper prints') for note in SETTINGS[name].notes)


def test_crossearth_leads_on_23_of_29_settings():
    losing = {
        setting.name
        for setting in SETTINGS.values()
        if setting.reported['CrossEarth'].miou
        < max(setting.reported[m].miou for m in ('DAFormer', 'HRDA', 'MTP', 'Rein'))
    }
    assert losing == {'S2A', 'D2M', 'Tem2Sub', 'Tem2Tms', 'Trf2Tem', 'Trf2Tms'}


def test_masking_follows_the_source_as_in_table_14():
    assert {
        (s.styled.tau, s.styled.patch_px) for s in SETTINGS.values() if s.name.startswith('Sub')
    } == {(0.1, 64)}
    assert SETTINGS['Tem2Trf'].masked.patch_px == 128
    assert SETTINGS['D2M'].masked.tau == 0.5
    assert {s.mim_loss for s in SETTINGS.values() if s.chip_px == 1024 and '2' in s.name} == {
        'mse',
        'l1',
    }
    for setting in SETTINGS.values():
        is_casid = setting.source.name.startswith('casid')
        assert setting.mim_loss == ('l1' if is_casid else 'mse')


def test_ablations_and_other_papers_speak_of_known_settings():
    assert [table.title.split(':')[0] for table in ABLATIONS] == [
        'Table 8', 'Table 9', 'Table 10', 'Table 13',
    ]  # fmt: skip
    for table in (*ABLATIONS, *OTHER_PAPERS):
        for row in table.rows.values():
            assert set(row) <= set(SETTINGS)
    assert ABLATIONS[3].rows['L1']['Sub2Tem'] == SETTINGS['Sub2Tem'].reported['CrossEarth'].miou


def test_values_cannot_be_changed():
    with pytest.raises(AttributeError):
        SETTINGS['U2R'].chip_px = 512
    with pytest.raises(TypeError):
        SETTINGS['U2R'].reported['CrossEarth'] = None


def test_a_domain_opens_its_part_of_an_archive(tmp_path):
    from tests.datasets import archive_trees as trees

    trees.loveda(tmp_path)
    target = SETTINGS['R2U'].target.open(tmp_path, 'test')
    assert [scene.split for scene in target.scenes] == ['val']
    assert target.domains == ('loveda_urban',)
    trees.potsdam(tmp_path, ['2_10'], kinds=('RGBIR',))
    source = SETTINGS['P(i)2Res'].source.open(tmp_path, 'train', low_vegetation='ignore')
    assert source.labels == SETTINGS['P(i)2Res'].source.labels
    with pytest.raises(ConfigError, match=r'casid_subms: .*label_encoding'):
        DOMAINS['casid_subms'].open(tmp_path, 'train')
    with pytest.raises(SceneNotFoundError, match='holds no images of CASID'):
        DOMAINS['casid_subms'].open(tmp_path, 'train', label_encoding='colour')


def test_the_command_line_lists_and_shows(capsys):
    assert main(['benchmark', 'list']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 30
    assert lines[1].split() == [
        'P(i)2V', 'region', 'potsdam_irrg', 'vaihingen_irrg', '3456', '398', '67.5', 'mIoU',
    ]  # fmt: skip
    assert main(['benchmark', 'show', 'P(i)2V']) == 0
    shown = capsys.readouterr().out
    assert 'styled image: tau 0.7, patches of 64 px' in shown
    assert 'clutter 36.3' in shown
    assert 'note: MTP: the paper prints mIoU 62.6' in shown
    assert main(['benchmark', 'show', 'X2Y']) == 2
    assert "no setting is named 'X2Y'" in capsys.readouterr().err


def test_sweeps_hold_the_scores_of_table_7_up_to_a_swap_of_two_columns():
    """At the values of Table 14, Tables 11 and 12 print Sub2Tms and Sub2Trf the other way round."""
    from crossearth.benchmark import SWEEPS

    for which in ('styled', 'masked'):
        sweep = SWEEPS[which]
        assert all(len(scores) == 25 for scores in sweep.scores.values())
        printed = {
            name: sweep.scores[name][getattr(SETTINGS[name], which)] for name in sweep.scores
        }
        assert printed == {'Sub2Tem': 48.1, 'Sub2Tms': 64.2, 'Sub2Trf': 64.6}
        reported = {name: SETTINGS[name].reported['CrossEarth'].miou for name in printed}
        assert reported == {'Sub2Tem': 48.1, 'Sub2Tms': 64.6, 'Sub2Trf': 64.2}
        assert 'the other way round' in sweep.note


def test_published_adaptation_is_kept_apart_from_generalisation():
    """Tables 3 and 6; CrossEarth's margins that they print are against the best of them."""
    best = {
        name: max(result.miou for result in setting.adapted.values())
        for name, setting in SETTINGS.items()
        if setting.adapted
    }
    assert best == {
        'P(i)2V': 64.6, 'V2P(i)': 57.0, 'P(r)2V': 50.8, 'V2P(r)': 47.6, 'P(r)2Res': 40.9,
        'P(i)2Res': 36.5,
    }  # fmt: skip
    ours = {name: SETTINGS[name].reported['CrossEarth'].miou for name in best}
    assert {name: ours[name] - top for name, top in best.items()} == pytest.approx({
        'P(i)2V': 2.9, 'V2P(i)': 1.2, 'P(r)2V': 11.1, 'V2P(r)': 5.1, 'P(r)2Res': 5.9,
        'P(i)2Res': 9.0,
    })  # fmt: skip
    pfst = SETTINGS['P(i)2V'].adapted['PFST']
    assert pfst.mean_of_classes == pytest.approx(pfst.miou, abs=0.06)
    assert 'PFST' not in SETTINGS['P(i)2V'].reported
