import shutil
import subprocess

import pytest

from crossearth.cli import main


@pytest.fixture
def script(capsys):
    assert main(['completion', 'bash']) == 0
    return capsys.readouterr().out


def complete(script, *words):
    """What bash offers for the last word."""
    line = ' '.join(f"'{word}'" for word in words)
    code = (
        f'{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _crossearth\n'
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    bash = shutil.which('bash')
    if bash is None:
        pytest.skip('there is no bash')
    done = subprocess.run([bash, '-c', code], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if line]


def test_commands_actions_and_options_are_completed(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert complete(script, 'crossearth', 'pre') == ['predict']
    assert {'fit', 'predict', 'vectorize', 'completion'} <= set(complete(script, 'crossearth', ''))
    assert complete(script, 'crossearth', 'predict', '--wei') == ['--weights']
    assert complete(script, 'crossearth', 'benchmark', 'me') == ['methods']
    assert complete(script, 'crossearth', 'fit', '--conf') == ['--config']
    options = ('predict', 'a.tif', 'b.tif', '--over')
    assert complete(script, 'crossearth', *options) == ['--overlap']


def test_names_of_files_are_completed_after_the_command_only(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'scene.tif').touch()
    assert complete(script, 'crossearth', 'predict', 'sc') == ['scene.tif']
    assert complete(script, 'crossearth', 'sc') == []


def test_names_with_spaces_stay_whole(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'my scene.tif').touch()
    assert complete(script, 'crossearth', 'predict', 'my') == ['my scene.tif']
    assert complete(script, 'crossearth', 'predict', 'my scene.tif', '--wei') == ['--weights']


def test_the_script_for_zsh_turns_bash_completion_on_first(capsys):
    assert main(['completion', 'zsh']) == 0
    assert capsys.readouterr().out.startswith('autoload -U +X bashcompinit && bashcompinit\n')
