#!/bin/sh
# What tests/browser needs on Debian: Chromium, and playwright in the environment at hand.
# From the root of the project:  sh tests/browser/setup.sh .venv/bin/python
set -eu
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium
"${1:-python3}" -m pip install --quiet --constraint constraints.txt 'playwright'
