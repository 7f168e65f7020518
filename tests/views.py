"""What the scripts of MDiCo make of the publishers' files: their views, as xarray writes them.

The order of samples, channels and classes, the types, and how series are padded are those of
fmenat/MDiCo, data/data_lfmc.py, data_cropharvest.py and data_treesat.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import rasterio

LENGTHS = {"sen-1-asc": 151, "sen-1-des": 257, "sen-2": 146}
STEPS = ("t-3", "t-2", "t-1", "t")


def views_file(path, ids, targets, names="", **views):
    """As xarray with h5netcdf writes the views of MDiCo's authors."""
    with h5py.File(path, "w") as file:
        file.attrs["view_names"] = np.array(list(views), dtype=object)
        file.attrs["target_names"] = names if isinstance(names, str) else np.array(names, object)
        text = isinstance(ids[0], str)
        axis = np.array(ids, dtype=h5py.string_dtype() if text else np.int64)
        file.create_dataset("identifier", data=axis).make_scale("identifier")
        for name, values in views.items():
            view = file.create_dataset(name, data=values)
            view.dims[0].attach_scale(file["identifier"])
            if values.dtype.kind == "f":
                view.attrs["_FillValue"] = values.dtype.type(np.nan)
            for axis in range(1, values.ndim):
                size = file.create_dataset(f"{name}-D{axis}", (values.shape[axis],), ">f4")
                size.make_scale("This is a netCDF dimension but not a netCDF variable.")
                view.dims[axis].attach_scale(size)
        mask = file.create_dataset("train_mask", data=np.ones(len(ids), np.int8))
        mask.attrs["dtype"] = "bool"
        file.create_dataset("target", data=targets)


def lfmc(table: pd.DataFrame, to: Path) -> None:
    """``to``/lfmc_train.nc of the published table, which has coordinates."""
    table = table[~table.index.duplicated(keep="last")]

    def steps(*channels: str) -> np.ndarray:
        columns = [f"{channel}({step})" for channel in channels for step in STEPS]
        return table[columns].to_numpy().reshape(len(table), -1, 4).transpose(0, 2, 1)

    def one_hot(channel: str) -> np.ndarray:
        values = table[[f"{channel}({step})" for step in STEPS]].to_numpy()
        return (values[..., None] == np.unique(values)).astype(np.uint8)[:, -1]

    def now(*channels: str) -> np.ndarray:
        return table[[f"{channel}(t)" for channel in channels]].to_numpy()

    to.mkdir(parents=True)
    views_file(
        to / "lfmc_train.nc",
        table.index.tolist(),
        table["percent(t)"].to_numpy(np.float32)[:, None],
        "lfmc",
        soil=now("silt", "sand", "clay").astype(np.int16),
        DEM=now("slope", "elevation").astype(np.float32),
        LIDAR=one_hot("canopy_height"),
        landcover=one_hot("forest_cover"),
        S1=steps("vv", "vh").astype(np.float32),
        S1Ind=steps("vh_vv").astype(np.float32),
        S2=steps("red", "green", "blue", "swir", "nir").astype(np.float32),
        S2Ind=steps("ndvi", "ndwi", "nirv").astype(np.float32),
        coords=table[["longitude", "latitude"]].to_numpy(np.float32),
        year=pd.to_datetime(table["date"]).dt.year.to_numpy(np.uint16),
    )


def cropharvest(native: Path, to: Path) -> None:
    """``to``/cropharvest_binary.nc and cropharvest_multi_train.nc of the publisher's archive."""
    to.mkdir(parents=True)
    features = json.loads((native / "labels.geojson").read_bytes())["features"]
    rows = [f["properties"] for f in features if not f["properties"]["is_test"]]
    rows = [row for crop in (True, False) for row in rows if bool(row["is_crop"]) == crop]
    archive = native / "features" / "arrays"
    rows = [row for row in rows if (archive / f"{row['index']}_{row['dataset']}.h5").is_file()]
    _crops(archive, rows, np.array([row["is_crop"] for row in rows]), "target crop",
           to / "cropharvest_binary.nc")  # fmt: skip
    rows = [row for row in rows if row["classification_label"] is not None]
    kinds = list(dict.fromkeys(row["classification_label"] for row in rows))
    y = np.array([kinds.index(row["classification_label"]) for row in rows])
    _crops(archive, rows, y, kinds, to / "cropharvest_multi_train.nc")


def _crops(archive: Path, rows: list[dict], y: np.ndarray, names, path: Path) -> None:
    ids = [f"{row['index']}_{row['dataset']}" for row in rows]
    arrays = []
    for name in ids:
        with h5py.File(archive / f"{name}.h5") as file:
            arrays.append(file["array"][()])
    x = np.array(arrays).astype(np.float32)  # VV, VH, 11 of S2, weather, terrain, "NDVI"
    views_file(
        path, ids, y.astype(np.int8)[:, None], names,
        S2=x[..., 2:13], S1=x[..., :2], weather=x[..., 13:15], DEM=x[:, 0, 15:17],
        S2VI=x[..., 17:], S1Ind=x[..., 1] - x[..., 0],
        coords=np.array([(row["lon"], row["lat"]) for row in rows], np.float32),
        year=np.full(len(rows), 2020, np.uint16),
    )  # fmt: skip


def treesat(native: Path, to: Path, genera: tuple[str, ...]) -> None:
    """``to``/treesat_{train,val,test}.nc of the publisher's archive."""
    to.mkdir(parents=True)
    (labels,) = (native / "labels").iterdir()
    shares = json.loads(labels.read_bytes())
    for part in ("train", "val", "test"):
        listed = (native / "split" / f"{part}_filenames.lst").read_text().split()
        present = {n: [genus for genus, share in shares[n] if share > 0.07] for n in listed}
        present = {name.removesuffix(".tif"): found for name, found in present.items() if found}
        y = [[genus in found for genus in genera] for found in present.values()]
        views: dict[str, list[np.ndarray]] = {}
        for tile in present:
            for name, array in _tile(native, tile).items():
                views.setdefault(name, []).append(array)
        stacked = {name: np.stack(arrays) for name, arrays in views.items()}
        views_file(to / f"treesat_{part}.nc", list(present), np.uint8(y), genera, **stacked)


def _tile(native: Path, tile: str) -> dict[str, np.ndarray]:
    with rasterio.open(native / "aerial" / f"{tile}.tif") as file:
        views = {"aerial": np.moveaxis(file.read(), 0, -1)}
    (path,) = (native / "sentinel-ts").glob(f"{tile}_????.h5")
    with h5py.File(path) as file:
        for name, key, kind, pad in (
            ("S1asc", "sen-1-asc-data", np.float32, np.nan),
            ("S1desc", "sen-1-des-data", np.float32, np.nan),
            ("S2", "sen-2-data", np.float32, np.nan),
            ("S2mask", "sen-2-masks", np.uint8, 0),
        ):
            series = np.moveaxis(file[key][()].astype(kind), 1, -1)
            before = LENGTHS[key.rpartition("-")[0]] - len(series)
            widths = ((before, 0), *[(0, 0)] * 3)
            views[name] = np.pad(series, widths, constant_values=pad)
    return views
