#!/usr/bin/env bash
# Exports the bundled checkpoint and lets openvino_genai use the result. Called by `make demo`.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
out=demo-out

echo "== export the text model of examples/kjv-tiny"
build/deltavino export --model examples/kjv-tiny "$out/text" --task text-generation-with-past --force

echo
echo "== openvino_genai continues a sentence"
"$python" tools/demo_text.py "$out/text" "And the LORD said unto"
