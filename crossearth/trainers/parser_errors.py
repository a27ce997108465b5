"""What the parser of recipes complains about, without what it repeats."""

import re

__all__ = ['complaint']

_LONGEST = 80  # characters of a value that is shown
_KEY = re.compile(r'Parser key "([^"]+)": ')
_OWNER = re.compile(r"Problem with given class_path '([^']+)': ")
_SIMPLE = re.compile(r'Expected an? (.+?)\. Got value: (.*?)(?= - Expected| Given |$)')
_CAUSE = re.compile(r"Problem with given class_path '([^']+)': (.*?)(?= - | Given value|$)")
_SEVERAL = re.compile(r'Does not validate .*? Subtypes: \[(.*?)\] Errors: ')
_VALUE = re.compile(r' Given value: (.*?)(?= - | Given |$)')


def complaint(error: BaseException) -> str:
    """An error of jsonargparse as one sentence: where, what was got, and what was expected.

    It wraps the first cause in one message for each level of the recipe, and repeats all values
    below it each time.

    Example:
        >>> complaint(ValueError('Parser key "trainer.max_steps": Expected a int. Got value: a'))
        'trainer.max_steps is a: expected int'
    """
    text = ' '.join(str(error).split())
    found = list(_KEY.finditer(text))
    if not found:
        return text
    keys, reason = '.'.join(key[1] for key in found), text[found[-1].end() :]
    owners = _OWNER.findall(text[: found[-1].start()])
    owner = f' (an argument of {owners[-1]})' if owners else ''
    if simple := _SIMPLE.match(reason):
        return f'{keys} is {_short(simple[2])}: expected {_type(simple[1])}{owner}'
    if causes := _CAUSE.findall(reason.partition(' Given value')[0]):
        # a value of the right type, whose class_path or arguments are wrong
        name, cause = causes[-1]
        return f'{keys}: {name}: {cause}'
    several, value = _SEVERAL.search(reason), _VALUE.search(reason)
    if several and value:
        return f'{keys} is {_short(value[1])}: expected {_choices(several[1])}{owner}'
    return f'{keys}: {reason.partition(" Given value")[0].partition(" - Expected a ")[0]}'


def _short(value: str) -> str:
    return value if len(value) <= _LONGEST else f'{value[:_LONGEST]} …'


def _type(name: str) -> str:
    """Types as annotations write them, without their modules."""
    name = re.sub(r"<class '([^']+)'>", r'\1', name)
    if choices := re.fullmatch(r'typing\.Literal\[(.*)\]', name):
        return f'one of {choices[1]}'
    return re.sub(r'[\w.]+\.(\w+)', r'\1', name).replace('NoneType', 'null')


def _choices(names: str) -> str:
    """Several types, of which one may be null."""
    types = _type(names)
    is_optional = types.endswith(', null') and types.count(', ') == 1
    return types.replace(', null', ' or null') if is_optional else f'one of {types}'
