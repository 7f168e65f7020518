#!/usr/bin/env bash
# torchgeo: DOFA and Copernicus-FM without published weights do not know where a patch is, and cannot learn it.
#
# Versions: torchgeo 0.8.1, torch 2.14.1, Python 3.11 (November 2026).
# Behaviour: with weights=None `pos_embed` is zeros and takes no gradient ("fixed sin-cos embedding", says the source, but nothing fills it
#   in; the published weights do). A thing has the same features in any place of an image. ScaleMAE and timm's ViT start with positions.
# Expected: sine and cosine of the place, as the publications' code sets them.
# Seen: pos_embed at most 0.0, requires_grad False, in both; features of DOFA for a patch in one place and in another differ by
#   3e-6; those of timm's ViT, also untrained, by 0.02.
# For users: who trains these from scratch, as a baseline of what pre-training adds, fills in `pos_embed` first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  torchgeo==0.8.1 torch==2.14.1 torchvision timm==1.0.31 requests
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import timm
import torch
from torchgeo.models import copernicusfm_base, dofa_small_patch16_224

torch.manual_seed(0)
dofa, copernicus = dofa_small_patch16_224().eval(), copernicusfm_base()
vit = timm.create_model("vit_small_patch16_224", num_classes=0, in_chans=3).eval()
waves = [0.66, 0.56, 0.49]
thing = torch.randn(1, 3, 16, 16)


def seen_at(start: int) -> torch.Tensor:
    image = torch.zeros(1, 3, 224, 224)
    image[..., start : start + 16, start : start + 16] = thing
    return image


def change(features, first: int) -> float:
    with torch.no_grad():
        return (features(seen_at(first)) - features(seen_at(first + 96))).abs().max().item()


blind = change(lambda image: dofa.forward_features(image, waves), 31)  # a patch of DOFA begins one pixel before
usual = change(vit, 32)
positions = {net.__class__.__name__: (net.pos_embed.abs().max().item(), net.pos_embed.requires_grad) for net in (dofa, copernicus)}
print("largest position, trained:", positions, "- change of features: DOFA", f"{blind:.1e}", "ViT", f"{usual:.1e}")
assert set(positions.values()) == {(0.0, False)} and blind < 1e-5 < 1e-3 < usual, "the behaviour has changed"
PY
