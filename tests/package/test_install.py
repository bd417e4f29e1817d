"""`cmake --install`: another folder's program runs, and another project finds, links and uses the library."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

BUILD = Path(os.environ.get("DELTAVINO", str(ROOT / "build" / "deltavino"))).parent
CHECKPOINT = ROOT / "examples" / "kjv-tiny"
CMAKE = Path(sys.executable).parent / "cmake"
NINJA = Path(sys.executable).parent / "ninja"
# Nothing of this environment may help what was installed.
PLAIN = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8"}


def run(*command: object, **options: object) -> subprocess.CompletedProcess:
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
    return result


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed prefix that was moved afterwards, so that it cannot depend on its place."""
    first = tmp_path_factory.mktemp("install")
    run(CMAKE, "--install", BUILD, "--prefix", first / "prefix")
    moved = first / "moved"
    (first / "prefix").rename(moved)
    return moved


def test_program_runs_from_prefix(prefix: Path, tmp_path: Path) -> None:
    program = prefix / "bin" / "deltavino"
    run(program, "export", "-m", CHECKPOINT, tmp_path / "out", "--task", "text-generation-with-past", env=PLAIN)
    answer = run(program, "generate", tmp_path / "out", "--raw", "--prompt", "And the LORD said unto",
                 "--max-new-tokens", "5", env=PLAIN)
    assert answer.stdout.strip()


def test_headers_stand_alone(prefix: Path) -> None:
    """No header needs another package, and each includes what it uses."""
    headers = sorted((prefix / "include" / "deltavino").glob("*.hpp"))
    assert {path.name for path in headers} == {path.name for path in (ROOT / "include" / "deltavino").glob("*.hpp")}
    text = "".join(f'#include <deltavino/{path.name}>\n' for path in headers)
    run("g++", "-std=c++20", "-fsyntax-only", "-I", prefix / "include", "-x", "c++", "-", input=text)
    for path in headers:
        run("g++", "-std=c++20", "-fsyntax-only", "-I", prefix / "include", "-x", "c++", "-",
            input=f"#include <deltavino/{path.name}>\n")


def test_example_builds_and_runs(prefix: Path, tmp_path: Path) -> None:
    build = tmp_path / "build"
    openvino = next(line for line in (BUILD / "CMakeCache.txt").read_text().splitlines()
                    if line.startswith("OpenVINO_DIR:")).split("=", 1)[1]
    run(CMAKE, "-S", ROOT / "examples" / "cpp", "-B", build, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={NINJA}",
        f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_BUILD_TYPE=Release", f"-DOpenVINO_DIR={openvino}")
    run(CMAKE, "--build", build)
    ran = run(build / "export_and_run", CHECKPOINT, tmp_path / "out", "And the LORD said unto")
    assert (tmp_path / "out" / "openvino_language_model.xml").exists()
    assert ran.stdout.strip(), ran.stderr


def test_config_finds_openvino_by_itself(prefix: Path, tmp_path: Path) -> None:
    """Without OpenVINO_DIR, the OpenVINO that it was installed with is taken."""
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(finds LANGUAGES CXX)\n"
        "find_package(deltavino 0.2 REQUIRED)\nget_target_property(links deltavino::deltavino INTERFACE_LINK_LIBRARIES)\n"
        'if(NOT links MATCHES "openvino::runtime" OR links MATCHES "nlohmann|Eigen|options")\n'
        '  message(FATAL_ERROR "${links}")\nendif()\n')
    run(CMAKE, "-S", tmp_path, "-B", tmp_path / "build", "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={NINJA}",
        f"-DCMAKE_PREFIX_PATH={prefix}")


def test_other_minor_version_is_not_taken(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(refuses LANGUAGES CXX)\nfind_package(deltavino 0.1 REQUIRED)\n")
    result = subprocess.run([str(CMAKE), "-S", str(tmp_path), "-B", str(tmp_path / "build"), "-G", "Ninja",
                             f"-DCMAKE_MAKE_PROGRAM={NINJA}", f"-DCMAKE_PREFIX_PATH={prefix}"],
                            capture_output=True, text=True)
    assert result.returncode != 0 and "0.1" in result.stderr
