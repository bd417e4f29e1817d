#!/usr/bin/env bash
# Exports the bundled checkpoint, lets openvino_genai use the result, and describes a picture without
# Python. Called by `make demo`.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
out=demo-out

echo "== export the text model of examples/kjv-tiny"
build/deltavino export --model examples/kjv-tiny "$out/text" --task text-generation-with-past --force

echo
echo "== openvino_genai continues a sentence"
"$python" tools/demo_text.py "$out/text" "And the LORD said unto"

echo
echo "== export the vision-language model"
build/deltavino export --model examples/kjv-tiny "$out/vision" --force

echo
echo "== deltavino itself describes examples/kjv-tiny/pictures/red-circle-on-blue.png"
build/deltavino generate "$out/vision" --prompt "What is in the picture?" \
  --image examples/kjv-tiny/pictures/red-circle-on-blue.png

echo
echo "== your own model: a Hugging Face directory with config.json, *.safetensors and the tokenizer"
echo "build/deltavino export --model PATH/TO/CHECKPOINT my-model --weight-format int4"
echo "build/deltavino generate my-model --prompt \"Why is the sky blue?\""
