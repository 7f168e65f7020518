"""Datasets that are distributed in several forms, of which a folder holds one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.errors import UserError
from datasets.common.contract import Adapter, Catalogue, Download, MissingFilesError, View

FEW = 3
"""Files that are named one by one."""


@dataclass(frozen=True)
class Form:
    """One of the forms.

    title: what it is ("its publisher's table"), for the screen and records. files: names of its
    files, as `Adapter.source_files`. open: as `Adapter.open`, which is given these names, too.
    way: how to get it, for the screen, with ``{folder}`` for the dataset's folder; "" of the first
    form, which `Adapter.downloads` and ``url`` are of.
    """

    title: str
    files: Callable[[Path], list[str]]
    open: Callable[[Path, list[str], tuple[str, ...], View], Catalogue]
    way: str = ""


class SeveralForms(Adapter):
    """An adapter that reads whichever of its forms is there, and refuses two at a time."""

    @property
    def forms(self) -> tuple[Form, ...]:
        raise NotImplementedError

    @property
    def ways(self) -> Mapping[str, str]:
        return {form.title: form.way for form in self.forms if form.way}

    def form_of(self, root: Path) -> str:
        return self._form(root)[0].title

    def source_files(self, root: Path) -> list[str]:
        return self._form(root)[1]

    def open(self, root: Path, modalities: tuple[str, ...], view: View) -> Catalogue:
        form, files = self._form(root)
        return replace(form.open(root, files, modalities, view), form=_named(form, files))

    def to_fetch(self, root: Path) -> list[Download]:
        """As in `Adapter`; nothing where there is another form than the first, which these are."""
        missing = super().to_fetch(root)
        try:
            return missing if self._form(root)[0].title == self.forms[0].title else []
        except UserError:
            return missing

    def _form(self, root: Path) -> tuple[Form, list[str]]:
        """What is there, and the names of its files."""
        found, lacking = [], []
        for form in self.forms:
            try:
                found.append((form, form.files(root)))
            except MissingFilesError as error:
                lacking.append(str(error).removeprefix(f"{root} "))
        if not found:
            raise MissingFilesError(f"{root} {', and '.join(dict.fromkeys(lacking))}")
        if len(found) > 1:
            raise UserError(
                f"{root}: holds {self.name} in {len(found)} forms, "
                f"{' and '.join(_named(*each) for each in found)}; keep one of them there, so that "
                "it is known which is read"
            )
        return found[0]


def _named(form: Form, files: list[str]) -> str:
    names = ", ".join(files) if len(files) <= FEW else f"{len(files):,} files"
    return f"{form.title} ({names})"
