"""A linter for the English of the pages, docstrings and comments: `python .ci/prose.py`.

Code is blanked first, so that line numbers stay and only sentences are read. They are checked by
proselint, and for habits of this code base that a native reader stumbles over (`HABITS`).
"""

import ast
import io
import itertools
import json
import re
import subprocess
import sys
import tempfile
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ('crossearth', 'examples', 'performance')
# What proselint finds and this project means. Keys are the beginnings of its checks' names.
IGNORED = {
    'typography': 'quotes are typed straight, (c) is an item of a list, and files resume',
    'misc.preferred_forms': 'reads a symbol of a formula as French',
    'misc.phrasal_adjectives.ly': 'a multiply-add is an operation',
}
HABITS = {
    r'\ba training\b(?! (?:image|loop|run|script|set|step|window|pass|task|scene|batch|domain|sampl'
    r'|place|recipe|data|mask|tile|objective|loss|method|strateg|stage|program|phase|label))': (
        'a training run'
    ),
    r'\btrainings\b': 'training runs',
    r'\banew\b': 'again',
    r'\bbesides? (?:the|a|an|it|its)\b': 'next to, alongside',
    r'\bin place of\b': 'instead of',
    r'\bsuch an? one\b': 'one',
    r'\b(?:has|have) learnt nothing\b': 'untrained',
    r'\bwhich so\b': 'so that it',
    r'\bthe affair of\b': 'a property of',
    r'\bso many\b(?! (?:that|as))': 'this many',
    r'\b(?:is|are) no (?:raster|number|file|folder|image|mask|norm|path|name)\b': 'is not a',
}


def sentences_of_page(text: str) -> str:
    """A Markdown page without its code, formulas, addresses and front matter."""
    blank = re.compile(r'[^\n]')
    for code in (
        r'\A---\n.*?\n---\n',
        r'^(?P<f>`{3,}|~{3,})(?!\{(?:note|tip|warning|admonition)).*?^(?P=f)',
        r'<[^>\n]+>',
        r'(?<=\])\([^)\s]*\)',
        r'\$[^$\n]+\$',
    ):
        text = re.sub(code, lambda found: blank.sub(' ', found[0]), text, flags=re.S | re.M)
    return words_for_code(text)


def sentences_of_module(text: str) -> str:
    """The docstrings and comments of a module, on the lines where they stand."""
    lines = [''] * (text.count('\n') + 2)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        directive = re.match(r'#\s*(?:noqa|type:|ruff:|mypy:|!)', token.string)
        if token.type == tokenize.COMMENT and not directive:
            lines[token.start[0]] += token.string.lstrip('#: ')
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (
            ast.get_docstring(node) is not None
        ):
            written = ast.get_source_segment(text, node.body[0]) or ''
            for at, line in enumerate(written.splitlines(), node.body[0].lineno):
                lines[at] = re.sub(r'^\s*>>>.*|^\s*\.\.\. .*', '', line.replace('"""', ''))
    return words_for_code('\n'.join(lines[1:]))


def words_for_code(text: str) -> str:
    """Replaces each piece of code by another word, so that `a` and `a` are not a repetition."""
    word = (''.join(letters) for letters in itertools.product('bcdfg', repeat=8))
    text = re.sub(r'`+[^`\n]+`+', lambda _: next(word), text)
    text = re.sub(r'(?m)^(#+ .*[^.:?!])$', r'\1.', text)  # a title ends before its first sentence
    return re.sub(r'(?<![\w.])[-+]?\d[\d.]*(?: \d{3})*(?![\w.])', lambda _: next(word), text)


def tracked_files() -> list[Path]:
    """The pages and modules that git knows."""
    listed = subprocess.run(
        ['git', 'ls-files', '*.md', '*.py'], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    return [ROOT / name for name in listed if name.endswith('.md') or name.split('/')[0] in FOLDERS]


def findings(paths: list[Path]) -> list[str]:
    """One line for each finding: file, line, what it is."""
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        names = {}
        for number, path in enumerate(paths):
            text = path.read_text(encoding='utf-8')
            prose = sentences_of_page(text) if path.suffix == '.md' else sentences_of_module(text)
            page = Path(scratch, f'{number}.md')
            page.write_text(prose, encoding='utf-8')
            names[page.name] = name = path.relative_to(ROOT)
            for habit, better in HABITS.items():
                for match in re.finditer(habit, prose, re.IGNORECASE):
                    line = prose.count('\n', 0, match.start()) + 1
                    found.append(f'{name}:{line}: write "{better}" instead of "{match[0]}"')
        proselint = Path(sys.executable).with_name('proselint')
        run = subprocess.run(
            [proselint, 'check', '-o', 'json', scratch], capture_output=True, text=True, check=False
        )
    if run.returncode not in (0, 1):
        raise RuntimeError(run.stderr)
    for page, result in json.loads(run.stdout)['result'].items():
        name = names[page.rpartition('/')[2]]
        found += [
            f'{name}:{hit["pos"][0]}: {hit["message"]} [{hit["check_path"]}]'
            for hit in result.get('diagnostics', ())
            if not hit['check_path'].startswith(tuple(IGNORED)) and '\n\n' not in hit['message']
        ]
    return sorted(found)


if __name__ == '__main__':
    lines = findings(tracked_files())
    sys.stdout.write(''.join(f'{line}\n' for line in lines))
    sys.exit(bool(lines))
