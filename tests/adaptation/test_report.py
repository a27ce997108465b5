import json

from crossearth.adaptation.adapt import adapt_to_windows
from crossearth.adaptation.norms import Norms


def test_the_table_names_what_is_not_recorded_and_json_holds_the_numbers(model, windows):
    report = adapt_to_windows(model, windows, Norms(1.0)).report
    text = str(report)
    assert text.count('not recorded') == 4  # windows, GSD, band 1, sharpness
    assert 'batch norms, mean' in text
    assert 'farthest: 1 ' in text
    assert f'{100 * report.change.changed:.2f} % of the pixels get another class' in text
    value = json.loads(json.dumps(report.to_json()))
    assert value['method'] == 'norms'
    assert value['options'] == {'alpha': 1.0}
    assert value['change']['after']['areas'] == list(report.change.after.areas)
    assert value['gap']['norms'] == report.gap.norms
    assert value['advice']['use'] is report.advice.use
