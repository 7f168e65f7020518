#!/usr/bin/env bash
# timm: a net without classifier is often not `num_features` wide, and one that takes small images as built may fail once it is told their size.
#
# Versions: timm 1.0.31, torch 2.14.1, torchvision 0.29.1, Python 3.11 (November 2026).
# Behaviour: `create_model(name, num_classes=0)` of ten families gives vectors of another length than `num_features`, which for most others is
#   their width: mobilenetv3_small_050 has 288 and gives 1024, vgg11 512 and 4096. (`head_hidden_size` is right for these.)
#   `crossvit_tiny_240` encodes images of 40 pixels as built; with `img_size=40` the same images raise an error of shapes.
# Expected: one attribute that is the width of what comes out; a size that is stated is a size that works.
# Seen: the table below; RuntimeError: "The size of tensor a (10) must match the size of tensor b (11) ...".
# For users: take the width from a forward pass, and give `img_size` only to nets that do not work without.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check timm==1.0.31 torch==2.14.1 torchvision==0.29.1
"$folder/venv/bin/python" - <<'PY'
import timm
import torch

torch.set_num_threads(1)
EXPECTED = {
    "mobilenetv3_small_050": (288, 1024),
    "mobilenetv4_conv_small_035": (336, 1280),
    "lcnet_035": (176, 1280),
    "ghostnet_050": (480, 1280),
    "hgnetv2_b0": (1024, 2048),
    "fasternet_t0": (320, 1280),
    "vgg11": (512, 4096),
    "efficientvit_b0": (128, 1280),
    "mambaout_femto": (288, 1152),
    "inception_next_atto": (320, 960),
    "resnet10t": (512, 512),
    "convnext_atto": (320, 320),
}


def encode(name, pixels, **options):
    net = timm.create_model(name, num_classes=0, in_chans=4, **options).eval()
    with torch.no_grad():
        return net.num_features, net(torch.zeros(1, 4, pixels, pixels)).shape[1]


for name, expected in EXPECTED.items():
    found = encode(name, 64)
    print(f"{name:28} num_features {found[0]:5} width {found[1]:5}")
    assert found == expected, "the behaviour has changed"

print("crossvit_tiny_240 at 40 pixels, as built:", encode("crossvit_tiny_240", 40)[1])
try:
    encode("crossvit_tiny_240", 40, img_size=40)
except RuntimeError as error:
    print("with img_size=40:", str(error).splitlines()[0])
else:
    raise SystemExit("the behaviour has changed: img_size=40 works")
PY
