# `make` prints what there is; README.md says what it needs.
.PHONY: help setup build build-tests demo test unit parity fresh gpu dev format tidy \
  sanitize assertions clang fuzz clean
.PHONY: wheel dist packages docs

.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
CMAKE := .venv/bin/cmake
CTEST := .venv/bin/ctest
JOBS ?= $(shell nproc)
# Once the tests are configured they stay: CMake deletes what it no longer builds.
NO_TESTS = $(if $(wildcard build/CMakeCache.txt),,-DDELTAVINO_TESTS=OFF)

help:
	@echo 'make demo     installs what is missing (apt-get with sudo, pip into .venv), builds the program, exports the'
	@echo '              bundled checkpoint, generates text, describes a picture'
	@echo 'make build    the program alone: build/deltavino'
	@echo 'make test     builds and runs all tests that need no torch'
	@echo 'make parity   comparisons with transformers, tokenizers, nncf and optimum-intel (installs torch)'
	@echo 'make gpu      the exports on the GPU plugin of OpenVINO, without a GPU (FULL=1: every family, model and format;'
	@echo '              DEVICE=GPU: on the GPU of this machine)'
	@echo 'make wheel    the Python package of this Python, in dist/'
	@echo 'make dist     the program with the libraries of OpenVINO as one archive, in dist/'
	@echo 'make packages both, and their tests in environments of their own'
	@echo 'make docs     the documents as a site, in build-docs/site'
	@echo 'make fresh    make demo and make test in a new minimal Debian (needs root; DISTRO=bookworm or trixie)'
	@echo 'make format, tidy, clang, assertions, sanitize, fuzz    the other gates of .ci/run'
	@echo 'make clean    removes what was built'

setup:
	@tools/setup.sh

build: setup
	@tools/configure.sh release $(NO_TESTS)
	@$(CMAKE) --build --preset release --target deltavino --parallel $(JOBS)

demo: build
	@PYTHON=$(PYTHON) tools/demo.sh

build-tests: setup
	@tools/configure.sh release -DDELTAVINO_TESTS=ON
	@$(CMAKE) --build --preset release --parallel $(JOBS)

test: build-tests
	@$(CTEST) --preset release --parallel $(JOBS)
	@DELTAVINO=$(CURDIR)/build/deltavino $(PYTHON) -m pytest -q -n $(JOBS) --dist loadfile \
	  tests/e2e tests/tools tests/package

parity: build-tests
	@tools/setup.sh --parity
	@.venv-parity/bin/python tests/golden/generate.py --check
	@DELTAVINO=$(CURDIR)/build/deltavino .venv-parity/bin/python -m pytest -q tests/parity

fresh:
	@tools/setup.sh --fresh
	@tools/fresh.sh $(DISTRO)

gpu: setup
	@FULL=$(FULL) DEVICE=$(DEVICE) JOBS=$(JOBS) tools/gpu.sh

wheel: setup
	@tools/setup.sh --wheel
	@tools/wheel.sh

dist: build
	@tools/setup.sh --wheel
	@tools/dist.sh

packages: wheel dist
	@.venv-wheel/bin/python -m pytest -q tests/wheel

docs: build
	@tools/setup.sh --docs
	@$(PYTHON) tools/docs.py build/deltavino build-docs/pages
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build
	@echo 'docs: build-docs/site/index.html'

dev: setup
	@tools/setup.sh --dev

format: dev
	@tools/check_format.sh

tidy: dev
	@tools/configure.sh tidy
	@tools/check_tidy.sh build-tidy

clang: dev
	@tools/configure.sh clang
	@$(CMAKE) --build --preset clang --parallel $(JOBS)

assertions: setup
	@tools/configure.sh assertions
	@$(CMAKE) --build --preset assertions --target deltavino_unit_tests --parallel $(JOBS)
	@build-assertions/deltavino_unit_tests --gtest_brief=1

sanitize: setup
	@tools/configure.sh asan
	@$(CMAKE) --build --preset asan --target deltavino_unit_tests --parallel $(JOBS)
	@UBSAN_OPTIONS=print_stacktrace=1 build-asan/deltavino_unit_tests --gtest_brief=1
	@echo 'NOT RUN: numeric tests (too slow under the sanitizers)'

SECONDS_EACH := $(or $(SECONDS),20)
fuzz: setup
	@tools/setup.sh --fuzz || { echo 'NOT RUN: clang or its runtime for libFuzzer cannot be had'; exit 75; }
	@tools/configure.sh fuzz
	@$(CMAKE) --build --preset fuzz --target deltavino_fuzz --parallel $(JOBS)
	@$(PYTHON) tests/fuzz/run.py build-fuzz --seconds $(SECONDS_EACH) $(TARGETS)

clean:
	rm -rf build build-* dist demo-out
