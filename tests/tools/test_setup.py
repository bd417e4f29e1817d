"""tools/setup.sh and tools/configure.sh where something is missing, moved or deleted.

Each case has a folder with the real scripts and small requirements of its own, so that nothing is downloaded.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def run(command: list, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def clone(tmp_path) -> Path:
    """A folder with tools/ and an empty requirements.txt."""
    folder = tmp_path / "a clone"
    shutil.copytree(ROOT / "tools", folder / "tools")
    (folder / "requirements.txt").write_text("# nothing\n")
    return folder


@pytest.fixture
def bare_machine(tmp_path) -> str:
    """A PATH where no package is installed, the user is not root and there is no sudo."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "dirname", "env", "grep", "cat", "tail", "rm", "mktemp"):
        (folder / name).symlink_to(shutil.which(name))
    for name, body in (("dpkg-query", "exit 1"), ("id", "echo 1000"), ("python3", "exit 1")):
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def test_missing_packages_without_root_are_named(clone, bare_machine):
    result = run([shutil.which("bash"), "tools/setup.sh"], clone, PATH=bare_machine)
    assert result.returncode == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) <= 5, result.stderr
    assert lines[0].startswith("setup: Debian packages are missing: g++ ")
    assert "libgmock-dev" in lines[0] and "python3-venv" in lines[0]
    assert "sudo apt-get install --no-install-recommends g++ " in lines[-1]


def test_refused_sudo_is_the_same_message(clone, bare_machine):
    sudo = Path(bare_machine) / "sudo"
    sudo.write_text("#!/bin/bash\necho 'a password is required' >&2; exit 1\n")
    sudo.chmod(0o755)
    result = run([shutil.which("bash"), "tools/setup.sh"], clone, PATH=bare_machine)
    assert result.returncode == 1
    assert result.stderr.startswith("setup: Debian packages are missing: g++ ")
    assert "password is required" not in result.stderr


def test_sudo_gets_the_environment_of_apt(clone, bare_machine, tmp_path):
    """Passed through `sudo env`: sudo drops the variables of the caller."""
    sudo = Path(bare_machine) / "sudo"
    calls = tmp_path / "calls"
    sudo.write_text(f'#!/bin/bash\necho "$*" >> "{calls}"\n')
    sudo.chmod(0o755)
    run([shutil.which("bash"), "tools/setup.sh"], clone, PATH=bare_machine)
    asked = calls.read_text().splitlines()
    assert asked[0] == "-n true"
    assert asked[1].startswith("-n env DEBIAN_FRONTEND=noninteractive apt-get update")
    assert asked[2].startswith("-n env DEBIAN_FRONTEND=noninteractive apt-get install -y")


def test_gpu_tests_without_packages_are_not_run(clone, bare_machine):
    """Which is told by one line and the exit code that .ci/run knows, and is no failure."""
    result = run([shutil.which("bash"), "tools/gpu.sh"], clone, PATH=bare_machine)
    assert result.returncode == 75
    assert result.stdout == "NOT RUN: the packages of tests/gpu cannot be had here, see above\n"
    assert "Debian packages are missing: opencl-headers ocl-icd-libopencl1" in result.stderr


def test_an_unknown_option_is_refused(clone):
    result = run(["bash", "tools/setup.sh", "--everything"], clone)
    assert result.returncode == 1
    assert "unknown option --everything" in result.stderr


@pytest.fixture(scope="module")
def built_once(tmp_path_factory) -> Path:
    """A clone that has been set up; making an environment takes seconds, so each case mends it in place."""
    folder = tmp_path_factory.mktemp("setup") / "first place"
    shutil.copytree(ROOT / "tools", folder / "tools")
    (folder / "requirements.txt").write_text("# nothing\n")
    result = run(["bash", "tools/setup.sh"], folder)
    assert result.returncode == 0, result.stderr
    assert "setup: pip installs requirements.txt into .venv" in result.stdout
    return folder


def pip_runs(folder: Path) -> bool:
    pip = folder / ".venv/bin/pip"
    interpreter = folder / ".venv/bin/python"
    return str(interpreter) in "".join(pip.read_text().splitlines()[:2]) and interpreter.exists()


def test_nothing_happens_the_second_time(built_once):
    result = run(["bash", "tools/setup.sh"], built_once)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_moved_clone_gets_a_new_environment(built_once, tmp_path):
    moved = tmp_path / "second place"
    shutil.copytree(built_once, moved, symlinks=True)
    assert not pip_runs(moved)
    result = run(["bash", "tools/setup.sh"], moved)
    assert result.returncode == 0, result.stderr
    assert "setup: .venv was made in another folder or by another Python; making it anew" in result.stdout
    assert pip_runs(moved)


@pytest.mark.parametrize("lost", [".venv", ".venv/bin/python", ".venv/installed.txt"])
def test_what_was_deleted_comes_back(built_once, lost):
    path = built_once / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    result = run(["bash", "tools/setup.sh"], built_once)
    assert result.returncode == 0, result.stderr
    assert pip_runs(built_once)
    assert (built_once / ".venv/installed.txt").read_text() == "# nothing\n"


def test_a_failure_of_pip_is_told_and_tried_again(built_once):
    requirements = built_once / "requirements.txt"
    requirements.write_text("./there-is-no-such-package\n")
    for _ in range(2):
        result = run(["bash", "tools/setup.sh"], built_once)
        assert result.returncode == 1
        assert "there-is-no-such-package" in result.stderr
        assert "setup: pip failed; all that it said is in " in result.stderr
    requirements.write_text("# nothing else\n")
    assert run(["bash", "tools/setup.sh"], built_once).returncode == 0
    assert (built_once / ".venv/installed.txt").read_text() == "# nothing else\n"


PRESETS = """{"version": 6, "configurePresets": [
  {"name": "release", "generator": "Ninja", "binaryDir": "${sourceDir}/build"}]}"""


@pytest.fixture
def project(tmp_path) -> Path:
    """A CMake project of one target, with the tools of the environment that runs this test."""
    folder = tmp_path / "first place"
    (folder / ".venv/bin").mkdir(parents=True)
    shutil.copytree(ROOT / "tools", folder / "tools")
    for name in ("cmake", "ninja"):
        (folder / ".venv/bin" / name).symlink_to(Path(sys.executable).parent / name)
    python = folder / ".venv/bin/python"
    python.write_text(f'#!/bin/bash\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (folder / "CMakePresets.json").write_text(PRESETS)
    (folder / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(small NONE)\n"
        "add_custom_target(place ALL COMMAND ${CMAKE_COMMAND} -E touch ${PROJECT_SOURCE_DIR}/made)\n"
    )
    return folder


def configure_and_build(folder: Path) -> str:
    configured = run(["bash", "tools/configure.sh", "release"], folder)
    assert configured.returncode == 0, configured.stderr
    built = run([folder / ".venv/bin/cmake", "--build", folder / "build"], folder)
    assert built.returncode == 0, built.stdout + built.stderr
    return configured.stdout


def test_a_build_folder_moves_with_its_clone(project, tmp_path):
    assert configure_and_build(project) == ""
    assert configure_and_build(project) == ""
    moved = project.rename(tmp_path / "second place")
    (moved / "made").unlink()
    assert "configured in another folder" in configure_and_build(moved)
    assert (moved / "made").exists()
    assert configure_and_build(moved) == ""


def test_what_cmake_says_is_shown_when_it_fails(project):
    with (project / "CMakeLists.txt").open("a") as file:
        file.write('message(FATAL_ERROR "libsomething-dev is missing")\n')
    result = run(["bash", "tools/configure.sh", "release"], project)
    assert result.returncode == 1
    assert "libsomething-dev is missing" in result.stderr
