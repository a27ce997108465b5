"""`crossearth completion bash | zsh`: a script that completes commands, actions and options."""

import argparse
from collections.abc import Iterator, Sequence

from crossearth.commands import training

__all__ = ['add_arguments', 'completion_script', 'run']

_SCRIPT = """\
# Completion of crossearth for bash and zsh, written by `crossearth completion`.
_crossearth() {{
    local words="${{COMP_WORDS[*]:1:COMP_CWORD-1}}" word="${{COMP_WORDS[COMP_CWORD]}}" known
    case "$words " in
{cases}
        *) known="" ;;
    esac
    local IFS=$'\\n'  # names of files may hold spaces
    known="${{known// /$IFS}}"
    COMPREPLY=( $(compgen -W "$known" -- "$word") $(compgen -f -- "$word") )
    if [[ -z "$words" ]]; then COMPREPLY=( $(compgen -W "$known" -- "$word") ); fi
}}
complete -o filenames -F _crossearth crossearth
"""
_FIT = ('--config', '--ckpt_path', '--print_config', '--seed_everything', '--help')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.description = 'Print a script that completes commands, actions and options.'
    parser.epilog = (
        'bash: eval "$(crossearth completion bash)" in ~/.bashrc; '
        'zsh: eval "$(crossearth completion zsh)" in ~/.zshrc'
    )
    parser.add_argument('shell', choices=['bash', 'zsh'])


def run(arguments: argparse.Namespace) -> str:
    """The script.

    Args:
        arguments: `shell`, and `parser`, which knows all commands.
    """
    script = completion_script(arguments.parser)
    if arguments.shell == 'zsh':
        script = f'autoload -U +X bashcompinit && bashcompinit\n{script}'
    return script


def completion_script(parser: argparse.ArgumentParser) -> str:
    """A bash function that completes what a parser takes, and names of files after it.

    Args:
        parser: With all its subparsers.
    """
    known = dict(_words(parser, ()))
    known |= {(name,): list(_FIT) for name in training.HELP}
    # the shell takes the first pattern that matches
    longest_first = sorted(known.items(), key=lambda item: (-len(item[0]), item[0]))
    cases = [
        f'        "{"".join(f"{word} " for word in path)}"*) known="{" ".join(words)}" ;;'
        for path, words in longest_first
    ]
    return _SCRIPT.format(cases='\n'.join(cases))


def _words(
    parser: argparse.ArgumentParser, path: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """What may follow the words of a path, for the parser and those below it."""
    following = []
    for action in parser._actions:  # argparse has no public list of them
        if isinstance(action, argparse._SubParsersAction):
            following += list(action.choices)
            for name, below in action.choices.items():
                yield from _words(below, (*path, name))
        following += [word for word in action.option_strings if word.startswith('--')]
    yield tuple(path), following
