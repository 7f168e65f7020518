"""Published wholes that are known by their arrays: whether data are what was published.

``releases.yaml`` has, for each, the sha256 of every prepared array: as the protocol `standard`
looks at them, and as `quick` does. A test makes them anew from the published files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from datasets.common.contract import ADAPTERS
from datasets.common.prepared import combined

FILE = Path(__file__).with_name("releases.yaml")
UNKNOWN = "not a known release"


@dataclass(frozen=True)
class Release:
    """title: "LFMC as published". samples: of the whole. views: array → its sha256, by view."""

    title: str
    samples: int
    views: tuple[Mapping[str, str], ...]

    def has(self, modalities: Iterable[str], fingerprint: str) -> bool:
        """Whether ``fingerprint`` is that of some of its modalities in one of the views."""
        chosen = {f"x-{m}" for m in modalities}
        return any(
            fingerprint
            == combined(
                {
                    f"{name}.npy": bytes.fromhex(sha256)
                    for name, sha256 in view.items()
                    if name in chosen or not name.startswith("x-")
                }
            )
            for view in self.views
        )


@cache
def known() -> dict[str, Release]:
    """Those that are known, by the name of their dataset."""
    import yaml

    return {
        name: Release(values["title"], values["samples"], tuple(values["views"]))
        for name, values in yaml.safe_load(FILE.read_text()).items()
    }


def named(dataset: str, modalities: Iterable[str], fingerprint: str, samples: int) -> str | None:
    """What real data of a dataset are: "LFMC as published, 2,578 samples", or `UNKNOWN`.

    None where nothing can be known of them: the dataset is the user's own. Adapters are loaded.
    """
    adapter = ADAPTERS.get(dataset)
    if adapter is None or adapter.plugin:
        return None
    release = known().get(dataset)
    if release is None or not release.has(modalities, fingerprint):
        return UNKNOWN
    if samples < release.samples:
        return f"{release.title}, {samples:,} of its {release.samples:,} samples"
    return f"{release.title}, {samples:,} samples"
