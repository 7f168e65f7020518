"""Arrays in files: what stored numbers mean, and what is said of files that are none."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from benchmark.errors import UserError, numpy_says
from datasets.common import arrays, prepared
from datasets.common.contract import View
from tests import own
from tests.layouts import ADAPTERS, copied


@pytest.fixture
def stored(tmp_path):
    """An array of a netCDF file with some attributes, as its header describes it."""

    def write(values: np.ndarray, **attributes) -> arrays.Stored:
        path = tmp_path / "a.nc"
        with h5py.File(path, "w") as file:
            file["a"] = values
            file["a"].attrs.update(attributes)
        arrays.forget()
        return arrays.look(str(path), "a")

    return write


def meant(stored: arrays.Stored, keep_bytes: bool = False) -> np.ndarray:
    return arrays.physical(stored.whole(), stored, (), keep_bytes)


@pytest.mark.parametrize("said", ["true", "True", np.bytes_(b"true")])
@pytest.mark.parametrize("kind", ["i1", "<i2", ">i2"])
def test_numbers_that_netcdf_calls_unsigned_are_so(said, kind, stored):
    """Stored -56 is 200 of 8 bits; the value for none is of the stored type, too."""
    wrap = 2 ** (8 * np.dtype(kind).itemsize)
    values = np.array([-1, 0, 5, -56], kind)
    found = stored(values, _Unsigned=said, _FillValue=np.array(-1, kind), scale_factor=0.5)
    assert meant(found).tolist() == [np.inf, 0, 2.5, (wrap - 56) / 2]
    assert found.row(3) == wrap - 56 and found.dtype.kind == "u"


def test_bytes_that_netcdf_calls_unsigned_are_kept_as_bytes(stored):
    found = stored(np.array([[-1, 3]], np.int8), _Unsigned="true")
    kept = meant(found, keep_bytes=True)
    assert kept.dtype == np.uint8 and kept.tolist() == [[255, 3]]


def test_numbers_that_netcdf_calls_signed_or_says_nothing_of(stored):
    assert meant(stored(np.array([200, 3], np.uint8), _Unsigned="false")).tolist() == [-56, 3]
    assert meant(stored(np.array([-56, 3], np.int8))).tolist() == [-56, 3]
    assert meant(stored(np.array([-56.5, 3]), _Unsigned="true")).tolist() == [-56.5, 3]


def test_described_bytes_of_netcdf_are_unsigned_in_the_dataset(tmp_path):
    description, x = own.write(tmp_path), np.arange(own.N * 4).reshape(own.N, 4)
    with h5py.File(tmp_path / "soil.nc", "w") as file:
        file["soil"] = x.astype(np.uint8).view(np.int8)
        file["soil"].attrs["_Unsigned"] = "true"
    description["modalities"]["soil"]["file"] = "soil.nc"
    data = own.prepare(own.save(description, tmp_path), tmp_path / "cache", "soil")
    assert (data.x["soil"][:] == x).all()


def damaged(tmp_path):
    """A prepared dataset one of whose arrays is none."""
    native = copied("fuel_moisture", 20, tmp_path)
    adapter = ADAPTERS["fuel_moisture"]
    _, folder = prepared.prepare(
        adapter, native, "real", adapter.default_modalities, View(), tmp_path / "cache"
    )
    array = folder / "y.npy"
    array.write_bytes(b"x" * array.stat().st_size)
    return prepared._load(folder)


def of_publisher(tmp_path):
    native = copied("fuel_moisture", 20, tmp_path)
    (native / "site.npy").write_bytes(b"no array" * 9)
    ADAPTERS["fuel_moisture"].open(native, ("S1",), View())


def generated(tmp_path):
    adapter = ADAPTERS["generated_privileged"]
    adapter.generate(tmp_path, seed=0, samples=20)
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"no arrays" * 9)
    adapter.open(tmp_path, adapter.modalities, View())


def described(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"no arrays" * 9)
    arrays.look(str(tmp_path / "a.npz"), None)


@pytest.mark.parametrize("read", [damaged, of_publisher, generated, described])
def test_what_is_no_file_of_numpys_is_never_advised_to_be_unpickled(read, tmp_path):
    with pytest.raises(UserError, match="has not the form of numpy's files") as error:
        read(tmp_path)
    assert "pickle" not in str(error.value) and "\n" not in str(error.value)


def test_what_numpy_says_of_objects_and_of_files_that_end_early():
    with pytest.raises(ValueError, match="allow_pickle") as error:
        np.save("/dev/null", np.array([{}]), allow_pickle=False)
    assert numpy_says(error.value).startswith("holds Python objects, which are never loaded")
    assert numpy_says(EOFError()) == "EOFError"


@pytest.mark.parametrize("there", [own.N - 2, own.N + 3])
def test_an_array_that_has_not_as_many_samples_as_ids_is_told_with_both(there, tmp_path):
    description = own.write(tmp_path)
    with h5py.File(tmp_path / "soil.h5", "w") as file:
        file["soil"] = np.zeros((there, 4))
        file["plot"] = [f"P{i:02d}" for i in range(own.N)]
    description["modalities"]["soil"] |= {"file": "soil.h5", "key": "soil"}
    with pytest.raises(UserError, match=f"soil.h5: soil has {there} samples there, and there are"):
        own.opened(own.save(description, tmp_path))
