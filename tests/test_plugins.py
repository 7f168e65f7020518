"""Plug-ins of methods, datasets and encoders: from files, from packages, in all commands."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import datasets
from benchmark import plugins, sources
from benchmark.commands import main as cli
from benchmark.errors import UserError
from benchmark.planning import code, protocol
from benchmark.planning.jobs import Job
from benchmark.planning.plan import plan
from benchmark.training import execute
from datasets.common.contract import ADAPTERS
from methods.common.encoders import BACKBONES
from methods.common.registry import REGISTRY
from tests import problems
from tests.layouts import prepare_with
from tests.survival import ROOT

TINY_ENCODER = """
import torch
from torch import nn
from methods.common.encoders import Backbone, register

class Mean(nn.Module):
    def __init__(self, spec, *, width: int = 4):
        super().__init__()
        self.linear = nn.Linear(spec.shape[-1], width)
        self.out_features = width

    def forward(self, x):
        return self.linear(x.flatten(1, -2).mean(dim=1))

register(Backbone("tiny_mean", ("series",), Mean, "Linear in the mean over time."))
"""


@pytest.fixture
def new(tmp_path):
    """What `new KIND NAME` writes; what was loaded of it is forgotten afterwards."""
    written = []

    def write(kind: str, name: str, *more: str) -> Path:
        assert cli.main(["new", kind, name, "--out", str(tmp_path / "own"), *more]) == 0
        written.append(tmp_path / "own" / f"{name}.py")
        return written[-1]

    yield write
    plugins.unload(written, REGISTRY, ADAPTERS, BACKBONES)


@pytest.fixture
def file(tmp_path):
    """A plug-in of one's own; forgotten afterwards."""
    path = tmp_path / "mine.py"

    def write(text: str) -> Path:
        path.write_text(text)
        return path

    yield write
    plugins.unload([path], REGISTRY, ADAPTERS, BACKBONES)


# --- Bad ones -----------------------------------------------------------------------------------

REGISTERED = """
from datasets.common.contract import ADAPTERS, register
register(ADAPTERS["lfmc"])
"""
BAD = {
    "syntax": ("x = = 1", "cannot be loaded (SyntaxError: invalid syntax (mine.py, line 1))"),
    "nothing": ("x = 1", "registers nothing; a plug-in calls `register` of methods.common.reg"),
    "raises": ("1 / 0", "cannot be loaded (ZeroDivisionError: division by zero)"),
    "exits": ("raise SystemExit(3)", "cannot be loaded (SystemExit: 3)"),
    "lacks": ("import no_such_thing", "(ModuleNotFoundError: No module named 'no_such_thing')"),
    "a taken dataset": (REGISTERED, "a dataset named 'lfmc' is registered already: choose another"),
    "a taken encoder": (
        TINY_ENCODER.replace("tiny_mean", "tempcnn"),
        "an encoder named 'tempcnn' is registered already",
    ),
    "no kind": (TINY_ENCODER.replace('("series",)', '("serie",)'), "kinds cannot be ('serie',)"),
    "kinds as text": (
        TINY_ENCODER.replace('("series",)', '"series"'),
        "give a tuple of one or mor",
    ),
    "no name": (TINY_ENCODER.replace("tiny_mean", "../up"), "cannot have the name '../up'"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_plugin_is_one_sentence_and_leaves_nothing_behind(case, file, capsys):
    text, message = BAD[case]
    path = file(text)
    before = [dict(registry) for registry in (REGISTRY, ADAPTERS, BACKBONES)]
    for command in (("list", "datasets"), ("describe", "lfmc"), ("data", "clear")):
        assert cli.main([*command, "--plugin", str(path)]) == 2
        said = capsys.readouterr().err.strip()
        assert message in said and str(path) in said and "\n" not in said
    assert before == [dict(registry) for registry in (REGISTRY, ADAPTERS, BACKBONES)]
    assert all(adapter.plugin is None for adapter in ADAPTERS.values())


def test_what_is_no_python_file_is_told(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("x = 1")
    for name, message in {
        "notes.txt": "is no Python file, whose name ends with .py",
        "absent.py": "there is no such file",
        ".": "is a folder; --plugin takes a Python file",
    }.items():
        assert cli.main(["list", "encoders", "--plugin", str(tmp_path / name)]) == 2
        assert message in capsys.readouterr().err


def test_what_a_failing_plugin_has_registered_is_taken_back(file, capsys):
    path = file(TINY_ENCODER + "\nraise ValueError('late')")
    assert cli.main(["list", "encoders", "--plugin", str(path)]) == 2
    assert "cannot be loaded (ValueError: late)" in capsys.readouterr().err
    assert "tiny_mean" not in BACKBONES
    path.write_text(TINY_ENCODER)
    assert cli.main(["list", "encoders", "--plugin", str(path)]) == 0
    assert "Linear in the mean over time." in capsys.readouterr().out


def test_a_plugin_that_was_there_before_the_projects_own_file_is_at_fault():
    registry = plugins.Registry("method")
    with plugins._loading(plugins.Plugin("mine.py", None)):
        registry.add("kd", 1)
    with pytest.raises(UserError, match="^mine.py: a method named 'kd' is registered"):
        registry.add("kd", 2)


# --- Installed packages -------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a module of a package `sensors 1.2` with an entry point, anew at each call."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(kind: str, code: str, module: str = "sensors_mine", file: str = "") -> Path:
        forget()
        info = tmp_path / "sensors-1.2.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sensors\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[eo_colearning.{kind}]\nmine = {module}\n")
        path = tmp_path / (file or "sensors_mine.py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
        return path

    def forget() -> None:
        plugins.load_installed.cache_clear()
        code._loaded.cache_clear()
        importlib.invalidate_caches()
        for module in [m for m in sys.modules if m.startswith("sensors_")]:
            del sys.modules[module]
        for registry in (REGISTRY, ADAPTERS, BACKBONES):
            for name in [name for name, whose in registry.plugins.items() if "sensors" in whose]:
                del registry[name], registry.plugins[name]

    yield install
    forget()


def test_an_installed_package_is_found_by_itself(package, capsys):
    path = package("encoders", TINY_ENCODER)
    assert cli.main(["list", "encoders"]) == 0
    assert "tiny_mean" in capsys.readouterr().out
    assert BACKBONES["tiny_mean"].plugin == path


CHANGES = {"own.py": "# other", "helper.py": "X = 2", "found_later.py": "Y = 1"}
"""File of a package → its new last line: the module of the entry point and two beside it."""


@pytest.mark.parametrize("top", ["sensors_all/__init__.py", "sensors_all/plain/__init__.py"])
def test_a_dataset_of_a_package_is_read_anew_when_any_file_of_it_is_edited(
    top, package, new, tmp_path, capsys
):
    """Also where the outermost folder has no ``__init__.py`` (a namespace package)."""
    folder = Path(top).parent
    module = ".".join([*folder.parts, "own"])
    text = (
        new("dataset", "meadow")
        .read_text()
        .replace("import numpy", f"from {module[:-4]}.helper import X\nimport numpy")
    )
    files = {"own.py": text, "helper.py": "X = 1\n", "found_later.py": ""}
    for part in (tmp_path / folder).parents:
        part.mkdir(exist_ok=True)
    package("datasets", "", module, top)
    seen = []
    for change in (None, *CHANGES):
        if change:
            files[change] += f"\n{CHANGES[change]}\n"
        for name, content in files.items():
            package("datasets", content, module, f"{folder}/{name}")
        seen.append(datasets.load()["meadow"].plugin)
    assert {plugin["file"] for plugin in seen} == {f"{folder.name}/own.py"}
    assert len({plugin["sha256"] for plugin in seen}) == 4


def test_code_of_an_encoder_of_a_package_is_that_of_all_its_files(package):
    """Comments do not count, nor who imports what: a package may find its modules by itself."""
    module, options = "sensors_all.own", {"model": "tiny_mean"}
    files = {"__init__.py": "", "own.py": TINY_ENCODER, "helper.py": "X = 1\n"}
    seen = []
    for name, text in {
        "own.py": "# a comment",
        "helper.py": "X = 2",
        "__init__.py": "Y = 1",
    }.items():
        files[name] += f"{text}\n"
        for file, content in files.items():
            package("encoders", content, module, f"sensors_all/{file}")
        plugins.load_installed("encoders")
        seen.append(ids(options))
        assert list(code.code_of(BACKBONES["tiny_mean"])) == ["sensors_all/own.py"]
    assert len({tuple(each) for each in seen}) == 3


def test_a_module_beside_others_takes_none_of_them_for_its_own(tmp_path):
    """`site-packages` has torch, too."""
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "mine.py").write_text("import torch")
    (site / "torch.py").write_text("X = 1")
    assert list(sources.own_files(site / "mine.py", None)) == ["mine.py"]
    (tmp_path / "mine.py").write_text("import torch, numpy")
    (tmp_path / "torch.py").write_text("import helper")
    (tmp_path / "helper.py").write_text("")
    assert list(sources.own_files(tmp_path / "mine.py", None)) == ["mine.py", "torch", "helper"]


@pytest.mark.parametrize(
    ("kind", "code", "module", "message"),
    [
        ("encoders", "1 / 0", "sensors_mine", "cannot be loaded (ZeroDivisionError"),
        ("methods", TINY_ENCODER, "sensors_lost", "No module named 'sensors_lost'"),
        ("datasets", "x = 1", "sensors_mine", "registers nothing"),
    ],
)
def test_a_broken_package_is_named(kind, code, module, message, package, capsys):
    package(kind, code, module)
    assert cli.main(["list", kind]) == 2
    said = capsys.readouterr().err
    assert f"installed package sensors 1.2, entry point eo_colearning.{kind}: mine" in said
    assert message in said and said.count("\n") == 1


# --- Runs ---------------------------------------------------------------------------------------


def with_series(options: str, to: Path) -> Path:
    """Protocol quick with other options of series, and one epoch."""
    quick = (protocol.FOLDER / "quick.yaml").read_text().replace("epochs: 15 ", "epochs: 1 ")
    text, n = re.subn(r"(?m)^  series: .*$", f"  series: {options}", quick)
    assert n == 1
    to.write_text(text)
    return to


@pytest.mark.parametrize(
    "executor",
    ["processes", *(pytest.param(e, marks=pytest.mark.soak) for e in ("serial", "dask"))],
)
def test_a_dataset_and_an_encoder_of_ones_own_run_in_every_executor(executor, new, tmp_path):
    """In fresh processes, as a user has them; the encoder's hash stands in the record."""
    dataset, encoder = new("dataset", "meadow"), new("encoder", "dilated")
    mine = with_series("{model: dilated, width: 8}", tmp_path / "mine.yaml")
    command = [sys.executable, "-m", "benchmark", "run", "--datasets", "meadow"]
    command += ["--methods", "single", "--folds", "0", "--protocol", mine, "--device", "cpu"]
    command += ["--executor", executor, "--workers", 1 if executor == "serial" else 2]
    command += ["--plugin", dataset, "--plugin", encoder]
    command += ["--cache", tmp_path / "cache", "--results", tmp_path / "results"]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "meadow: GENERATED data, 300 samples, radar, optical" in done.stdout
    found = [json.loads(p.read_text()) for p in (tmp_path / "results").rglob("records/*/*/*.json")]
    assert len(found) == 3
    for record in found:
        assert record["status"] == "done", record["reason"]
        assert record["data"]["group_kind"] == "place"
        sha256 = hashlib.sha256(dataset.read_bytes()).hexdigest()
        assert record["data"]["plugin"] == {"file": "meadow.py", "sha256": sha256}
        (options,) = record["spec"]["encoders"]["options"].values()
        assert (options["model"], options["width"]) == ("dilated", 8)
        assert record["code"]["dilated.py"] == options["plugin"]
        assert re.fullmatch("[0-9a-f]{64}", options["plugin"])


def test_many_samples_of_an_adapter_of_ones_own_are_read_in_parallel(new, tmp_path, monkeypatch):
    """Workers, which have not loaded the file, read what it says."""
    from datasets.common import filling

    monkeypatch.setattr(filling, "LARGE", 200)
    monkeypatch.setattr(filling, "cores", lambda: 2)
    plugins.load([new("dataset", "meadow")])
    adapter = datasets.load()["meadow"]
    adapter.generate(tmp_path, seed=0, samples=300)
    data, _ = prepare_with(adapter, tmp_path, tmp_path / "cache")
    assert np.array_equal(data.x["radar"], np.load(tmp_path / "radar.npy"))


def test_an_edited_adapter_is_read_anew(new, tmp_path, capsys):
    """Nobody raises a version while writing one; and `data clear` knows what it has left."""
    path = new("dataset", "meadow")
    cache = ["--cache", str(tmp_path / "cache"), "--plugin", str(path)]
    first = path.read_text()
    other = first.replace("+= latents.shared", "-= latents.shared")
    prints = []
    for text in (first, other, f"{other}\n# a comment\n"):
        path.write_text(text)
        assert cli.main(["data", "prepare", "--datasets", "meadow", *cache]) == 0
        prints += re.findall(r"fingerprint (\w{12})", capsys.readouterr().out)
        plugins.unload([path], ADAPTERS)
    assert prints[0] != prints[1] == prints[2]
    assert cli.main(["data", "clear", "--datasets", "meadow", *cache]) == 0
    assert "6 folders" in capsys.readouterr().out


# --- Encoders -----------------------------------------------------------------------------------


def ids(series: dict) -> list[str]:
    quick = protocol.load("quick")
    changed = replace(quick, encoders={**quick.encoders, "series": series})
    where = {"results": Path("results"), "device": "cpu", "plugins": ()}
    chosen = {"chosen_folds": [0], "seeds": None}
    data = [(problems.dataset(kinds=("series", "series")), Path("prepared"))]
    return [
        item.job.spec.id for item in plan(data, [REGISTRY["single"]], changed, **chosen, **where)
    ]


def test_the_built_in_encoder_has_the_same_ids_whether_it_is_named_or_not():
    built_in = dict(protocol.load("quick").encoders["series"])
    assert ids(built_in) == ids({"model": "tempcnn", **built_in})
    assert ids(built_in) != ids({**built_in, "width": 16})


def test_other_code_of_an_encoder_is_another_id(file):
    path = file(TINY_ENCODER)
    seen = []
    for change in ("", "# a comment", "x = 1"):
        path.write_text(f"{TINY_ENCODER}\n{change}\n")
        code._loaded.cache_clear()
        plugins.load([path])
        seen.append(ids({"model": "tiny_mean"}))
        plugins.unload([path], BACKBONES)
    assert seen[0] == seen[1] != seen[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "tiny_maen"}, "unknown encoder of series 'tiny_maen': did you mean tiny_mean"),
        ({"model": "tiny_mean", "widht": 3}, "unknown setting 'widht': did you mean width"),
        ({"model": "mlp"}, "'mlp' encodes vector, not series; encoders of series: .*tempcnn, tiny"),
        ({"model": ["tiny_mean"]}, "unknown encoder of series"),
        ({"model": "tiny_mean", "width": "wide"}, "cannot be encoded so"),
    ],
)
def test_what_a_protocol_says_wrongly_of_encoders_is_told(options, message, file):
    plugins.load([file(TINY_ENCODER)])
    with pytest.raises(UserError, match=f"protocol 'quick', encoders.series: .*{message}"):
        ids(options)


def test_a_misspelt_encoder_of_images_is_told_with_the_nearest_name(file):
    plugins.load([file(TINY_ENCODER.replace('("series",)', '("image",)'))])
    quick = protocol.load("quick")
    changed = replace(quick, encoders={**quick.encoders, "image": {"model": "tiny_maen"}})
    where = {"results": Path("results"), "device": "cpu", "plugins": ()}
    data = [(problems.dataset(kinds=("series", "image")), Path("prepared"))]
    with pytest.raises(UserError, match="unknown timm model 'tiny_maen': did you mean tiny_mean"):
        plan(data, [REGISTRY["single"]], changed, chosen_folds=[0], seeds=None, **where)


def test_an_encoder_that_was_edited_since_a_run_was_planned_is_not_run(file, tmp_path):
    """In a queue, perhaps, or by a worker that had loaded it before."""
    plugins.load([file(TINY_ENCODER)])
    data = problems.dataset(kinds=("series", "series"))
    options = {"series": {"model": "tiny_mean", "plugin": "0" * 64}}
    encoders = {"dim": 4, "layer_norm": False, "options": options}
    spec = problems.run_spec("single", data, encoders=encoders)
    job = Job(spec, tmp_path, tmp_path)
    assert "the code of tiny_mean is not what this run was planned with" in execute._edited(job)
    options["series"]["plugin"] = code.plugin_code(BACKBONES["tiny_mean"])
    assert execute._edited(job) is None
