#!/usr/bin/env python3
"""Gathers the licences of the Debian packages that files of this system belong to.

    licences.py FOLDER FILE...         writes them into a folder
    licences.py --wheel BUILT WHEEL    puts those of everything that a wheel has from Debian into it: the libraries
                                       that auditwheel copied, found by what BUILT is linked with, and headers

A package's text gets beside it the licences of /usr/share/common-licenses that it refers to; versions.txt names the
packages and the versions of their sources. A file without a package, or a package without a text, is an error.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

COMMON = Path("/usr/share/common-licenses")
# Compiled into the program from headers alone.
HEADERS = ["/usr/include/nlohmann/json.hpp", "/usr/include/CLI/CLI.hpp", "/usr/include/eigen3/Eigen/Core"]


class Missing(Exception):
    pass


def package_of(file: Path) -> str:
    """The Debian package of a file, which it may know below /lib where that is /usr/lib."""
    real = str(file.resolve(strict=True))
    for name in (real, real.removeprefix("/usr")):
        found = subprocess.run(["dpkg-query", "-S", name], capture_output=True, text=True, check=False)
        if found.returncode == 0:
            return found.stdout.split(":")[0]
    raise Missing(f"no Debian package has {real}, so its licence is not known")


def gather(folder: Path, files: list[Path]) -> None:
    """Writes the licences of the packages of `files`, of what is compiled in from headers, and versions.txt."""
    packages = sorted({package_of(file) for file in [*files, *map(Path, HEADERS)]})
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        text = Path("/usr/share/doc") / package / "copyright"
        if not text.is_file():
            raise Missing(f"{text}, the licence of the package {package}, is missing; reinstall the package, in a "
                          "system whose dpkg does not leave out /usr/share/doc")  # fmt: skip
        content = text.read_text(encoding="utf-8")
        (folder / package).write_text(content, encoding="utf-8")
        for name in set(re.findall(rf"{COMMON}/([\w.+-]*\w)", content)):
            if not (COMMON / name).is_file():
                raise Missing(f"{text} refers to {COMMON / name}, which is missing")
            shutil.copyfile(COMMON / name, folder / f"common-{name}")
    versions = subprocess.run(
        ["dpkg-query", "-W", "-f=${Package} ${Version}, source ${source:Package} ${source:Version}\\n", *packages],
        capture_output=True, text=True, check=True).stdout  # fmt: skip
    (folder / "versions.txt").write_text(versions)


def linked(files: list[Path]) -> dict[str, Path]:
    """The libraries that files are linked with, by their own name and by that of the file."""
    found = {}
    for file in files:
        for line in subprocess.run(["ldd", file], capture_output=True, text=True, check=True).stdout.splitlines():
            soname, _, place = line.strip().partition(" => ")
            if place.startswith("/"):
                path = Path(place.split(" (")[0])
                found[soname] = found[path.resolve().name] = path
    return found


def bundled(built: Path, wheel: Path) -> list[Path]:
    """The libraries of this system that auditwheel copied into `wheel`. It puts a digest into their names."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(built) as archive:
        own = [Path(archive.extract(name, folder)) for name in archive.namelist()
               if name.endswith((".so", "/bin/deltavino"))]  # fmt: skip
        candidates = linked(own)
    with zipfile.ZipFile(wheel) as archive:
        names = [Path(name).name for name in archive.namelist() if re.match(r"[\w.]+\.libs/.", name)]
    sources = []
    for name in names:
        original = re.sub(r"^([^.]+)-[0-9a-f]{8}\.", r"\1.", name)
        if original not in candidates:
            raise Missing(f"it is not known where {name} of {wheel.name} comes from: nothing of {built.name} is "
                          f"linked with {original}")  # fmt: skip
        sources.append(candidates[original])
    return sources


def add_to_wheel(built: Path, wheel: Path) -> int:
    from auditwheel.wheeltools import InWheel  # rewrites RECORD, too
    import nanobind

    sources = bundled(built, wheel)
    with InWheel(wheel, wheel) as root:
        [metadata] = Path(root).glob("*.dist-info/METADATA")
        licences = metadata.parent / "licenses"
        folder = licences / "bundled"
        gather(folder, sources)
        package = Path(nanobind.__file__).parent
        [own] = package.parent.glob("nanobind-*.dist-info/licenses/LICENSE")
        shutil.copyfile(own, folder / "nanobind")
        map_header = package / "ext" / "robin_map" / "include" / "tsl" / "robin_map.h"  # begins with its licence
        (folder / "robin_map").write_text(map_header.read_text().split("*/")[0] + "*/\n")
        lines = "".join(f"License-File: bundled/{path.name}\n" for path in sorted(folder.iterdir()))
        text = metadata.read_text(encoding="utf-8")
        metadata.write_text(re.sub(r"(?m)^License-File: LICENSE\n", lambda own: own[0] + lines, text, count=1),
                            encoding="utf-8")  # fmt: skip
    return len(sources)


def main(arguments: list[str]) -> int:
    try:
        if len(arguments) == 3 and arguments[0] == "--wheel":
            count = add_to_wheel(Path(arguments[1]), Path(arguments[2]))
            print(f"licences: {count} libraries of this system are in {arguments[2]}, with their licences")
        elif len(arguments) > 1 and not arguments[0].startswith("-"):
            gather(Path(arguments[0]), [Path(name) for name in arguments[1:]])
        else:
            print(__doc__, file=sys.stderr)
            return 2
    except (Missing, OSError) as error:
        print(f"licences: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
