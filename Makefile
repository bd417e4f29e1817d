# make demo    set up, build, export the bundled checkpoint, generate text, describe a picture
# make test    everything that needs no torch
# make parity  comparisons with transformers, tokenizers, nncf and optimum-intel (installs torch)
.PHONY: setup build demo test parity bench clean

PYTHON := .venv/bin/python
CMAKE := .venv/bin/cmake
CTEST := .venv/bin/ctest
JOBS ?= $(shell nproc)

setup:
	@tools/setup.sh

build: setup
	@$(CMAKE) --preset release -DOpenVINO_DIR="$$($(PYTHON) tools/openvino_dir.py)" -DCMAKE_MAKE_PROGRAM="$(CURDIR)/.venv/bin/ninja" > build-configure.log \
		|| (cat build-configure.log; exit 1)
	@$(CMAKE) --build --preset release --parallel $(JOBS)

demo: build
	@PYTHON=$(PYTHON) tools/demo.sh

test: build
	@$(CTEST) --preset release --parallel $(JOBS)
	@DELTAVINO=$(CURDIR)/build/deltavino $(PYTHON) -m pytest -q tests/e2e

parity: build
	@tools/setup.sh --parity
	@.venv-parity/bin/python tests/golden/generate.py --check
	@DELTAVINO=$(CURDIR)/build/deltavino .venv-parity/bin/python -m pytest -q tests/parity

clean:
	rm -rf build build-dev build-asan build-configure.log demo-out
