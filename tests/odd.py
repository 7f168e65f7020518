"""Odd content for property tests: JSON of any shape, files that were cut or overwritten."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6),
    st.sampled_from(["maize", "../../x", "\x00", "\ud800", "Abies", 1e400, 10**400, -0.0]),
)  # fmt: skip

ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner)
)


def mutated(content: bytes) -> st.SearchStrategy[bytes]:
    """``content`` cut, or with some bytes replaced; or a few bytes of anything."""
    cut = st.integers(0, len(content)).map(lambda n: content[:n])
    place = st.tuples(st.integers(0, len(content) - 1), st.binary(min_size=1, max_size=4))
    splice = place.map(lambda p: content[: p[0]] + p[1] + content[p[0] + len(p[1]) :])
    return cut | splice | st.binary(max_size=40)


@st.composite
def altered(draw: st.DrawFn, document: Any, keep: tuple[str, ...] = ()) -> Any:
    """A JSON document with up to three of its values, at any depth, replaced or taken away.

    keep: keys of the outermost mapping that stay as they are.
    """
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        places = [p for p in _places(document) if not (p[0] is document and p[1] in keep)]
        if not places:
            break
        container, key = draw(st.sampled_from(places))
        if draw(st.integers(0, 3)):
            container[key] = draw(ANYTHING)
        else:
            del container[key]
    return document


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything inside a document."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])
