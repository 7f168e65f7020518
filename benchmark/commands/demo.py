"""`demo`: two small maps from generated data: of a net that learnt alone, and of co-learning."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import not_writable

if TYPE_CHECKING:
    import numpy as np

    from benchmark.deployment.model import Model

DATASET, MODALITY, PROTOCOL = "cropharvest_binary", "S1", "quick"
METHODS = {"single": "radar alone", "mdico": "radar, trained with optics"}
"""The reference and a co-learning method, and what a picture calls them."""

SIDE, FIELDS, SEED = 256, 260, 7
PICTURE = "demo.png"


def demo(options: argparse.Namespace) -> int:
    """Train both on generated samples, map a generated scene with each, and draw the maps."""
    from benchmark.deployment.maps import predict_map
    from benchmark.deployment.model import packed, write
    from datasets.cropharvest import generate_scene

    started, out = time.perf_counter(), options.out
    try:
        (out / "scene").mkdir(parents=True, exist_ok=True)
        truth = generate_scene(out / "scene", seed=SEED, side=SIDE, fields=FIELDS)
    except OSError as error:
        raise not_writable(out, error, "choose another --out") from error
    print(f"wrote {out / 'scene'}: a GENERATED scene of {SIDE} × {SIDE} pixels, fields with crops")
    maps = {}
    for method, model in _models(options).items():
        write(packed(model), out / "models" / method / MODALITY)
        mapped = predict_map(model, [out / "scene" / f"{MODALITY}.tif"], out / f"{method}.tif")
        maps[method] = mapped.paths[0]
        print(f"wrote {maps[method]}: {METHODS[method]}")
    shares = _draw(truth, maps, out / PICTURE)
    print(f"wrote {out / PICTURE}, after {time.perf_counter() - started:.0f} s\n")
    print(_what_to_look_at(out, shares))
    return 0


def _models(options: argparse.Namespace) -> dict[str, Model]:
    """What is deployed for the modality of each method, trained as a smoke run does."""
    import datasets
    import methods
    from benchmark.planning import protocol as protocols
    from benchmark.planning.data import prepare
    from benchmark.planning.plan import plan_one
    from benchmark.planning.settings import Settings
    from benchmark.planning.split import whole
    from benchmark.training import direct

    protocol, registry = protocols.load(PROTOCOL), methods.load()
    (adapter,) = datasets.choose([DATASET])
    view = protocol.view_for(DATASET)
    dataset, _ = prepare(adapter, None, view, None, options.cache, named=True, say=print)
    found = {}
    for method, what in METHODS.items():
        spec = plan_one(dataset, registry[method], protocol, Settings({}))
        print(
            f"training {method} ({what}), at most {protocol.values_for(DATASET)['epochs']} epochs"
        )
        fold = whole(dataset, spec.protocol)
        given = {"seeds": (0,), "device": "cpu", "cache": options.cache, "view": view}
        found[method] = direct.train(spec, dataset, fold, **given).models[MODALITY]
    return found


def _draw(truth: np.ndarray, maps: dict[str, Path], picture: Path) -> dict[str, float]:
    """Draw truth, maps and where they are wrong; returns the share of pixels that is right."""
    import matplotlib

    matplotlib.use("Agg")
    import numpy as np
    import rasterio
    from matplotlib import pyplot as plt
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    from benchmark.writers import atomic

    classes = ListedColormap(["#d8c7a0", "#3b7d3a"]).with_extremes(bad="#ffffff")
    errors = ListedColormap(["#e8e8e8", "#c0392b"]).with_extremes(bad="#ffffff")
    shares = {}
    figure, axes = plt.subplots(2, 3, figsize=(10.5, 7.4), layout="constrained")
    axes[0, 0].imshow(truth, cmap=classes, vmin=0, vmax=1, interpolation="nearest")
    axes[0, 0].set_title("what is there (generated)")
    for column, (method, path) in enumerate(maps.items(), start=1):
        with rasterio.open(path) as file:
            found = np.ma.masked_equal(file.read(1), file.nodata)
        wrong = np.ma.masked_array(found != truth, found.mask)
        shares[method] = float(1 - wrong.mean())
        axes[0, column].imshow(found, cmap=classes, vmin=0, vmax=1, interpolation="nearest")
        axes[0, column].set_title(f"{method}: {METHODS[method]}")
        axes[1, column].imshow(wrong, cmap=errors, vmin=0, vmax=1, interpolation="nearest")
        axes[1, column].set_title(f"its errors: {shares[method]:.1%} of pixels are right")
    for each in axes.flat:
        each.set_xticks([])
        each.set_yticks([])
    names = ["no crop", "crop", "right", "wrong", "no data"]
    colours = [*classes.colors, *errors.colors, "#ffffff"]
    patches = [Patch(facecolor=c, edgecolor="#888888") for c in colours]
    axes[1, 0].axis("off")
    axes[1, 0].legend(patches, names, loc="center", frameon=False, fontsize=12)
    figure.suptitle("GENERATED data, a smoke run: it shows how maps are made, and no evidence")
    with atomic(picture) as file:
        figure.savefig(file, format="png", dpi=120)
    plt.close(figure)
    return shares


def _what_to_look_at(out: Path, shares: dict[str, float]) -> str:
    single, other = shares
    gain = 100 * (shares[other] - shares[single])
    model = out / "models" / other / MODALITY
    return (
        f"Look at {out / PICTURE}: both maps are made from {MODALITY} (radar) alone. {single} has "
        f"learnt from it alone,\n{other} together with S2 (optics), which is not there any more. "
        f"Of the pixels {shares[single]:.1%} and {shares[other]:.1%} are right: {gain:+.1f}\n"
        "points on one generated scene, with one seed and a few epochs. Whether a method helps is "
        "what `run` is for.\n"
        f"{single}.tif and {other}.tif open in QGIS: band 1 is the class (0 no crop, 1 crop, 255 "
        "no data).\n"
        "The same map by hand:\n"
        f"  python -m benchmark predict {model} {out / 'scene' / f'{MODALITY}.tif'} --out again.tif"
    )
