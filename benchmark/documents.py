"""YAML files that users write: protocols and descriptions of datasets, read with suspicion."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError

if TYPE_CHECKING:
    import yaml

LARGEST = 100_000
"""Bytes of a file."""


def read_mapping(path: Path, expected: str) -> dict[Any, Any]:
    """The mapping that a YAML file holds; ``expected`` is told where it holds something else.

    Raises `UserError`, naming the file, also for what YAML allows and is a mistake or a trap: a key
    that stands twice (the last would count), references to other values.
    """
    import yaml

    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError(f"too large, more than {LARGEST:,} bytes")
        # A few lines of references to references stand for more values than any memory holds.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(content)):
            raise ValueError("write values out, in the place of references like *name")
        for twice in _repeated_keys(yaml.compose(content, yaml.SafeLoader)):
            raise ValueError(f"'{twice.value}' stands twice, again in line {_line(twice)}")
        document = yaml.safe_load(content)
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a YAML file ({_reason(error)})") from error
    except TypeError as error:  # a list or a mapping in the place of a key
        raise UserError(f"{path}: not a YAML file (a key must be a word)") from error
    if not isinstance(document, dict):
        raise UserError(f"{path}: {expected}")
    return document


def _reason(error: Exception) -> str:
    """What a parser says, in a sentence: where it is, and what to do."""
    import yaml

    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark):
        return (
            f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}; text with any of "
            "{}[]:,#&*% in it goes in quotes, and lines are indented with spaces"
        )
    if isinstance(error, yaml.reader.ReaderError):
        return f"the sign at position {error.position}, from 0: {error.reason}"
    return " ".join(str(error).split())


def _repeated_keys(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    import yaml

    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    yield key
                seen.add(key.value)
            yield from _repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated_keys(value)


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1
