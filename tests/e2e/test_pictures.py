"""Picture files are read as Pillow reads them for the Hugging Face processors, and resized as its bicubic filter does."""

import os
import random
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image, ImageOps

TOOL = Path(os.environ.get("DELTAVINO", ROOT / "build" / "deltavino")).parent / "deltavino_test_tool"


def run_tool(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([TOOL, *map(str, arguments)], capture_output=True, check=False)


def pixels(*arguments: object) -> np.ndarray:
    result = run_tool(*arguments)
    assert result.returncode == 0, result.stderr.decode()
    header, data = result.stdout.split(b"\n", 1)
    width, height = map(int, header.split()[1:3])
    return np.frombuffer(data, np.uint8).reshape(height, width, 3).astype(int)


def drawing(height: int, width: int) -> Image.Image:
    """Gradients with hard edges and noise."""
    rows, columns = np.mgrid[0:height, 0:width]
    checks = (rows // 9 + columns // 7) % 2 * 60
    planes = np.stack([columns * 130 // width + rows * 50 // height + checks + 20 * channel for channel in range(3)], axis=-1)
    noise = np.random.default_rng(height * 1000 + width).integers(0, 16, planes.shape)
    return Image.fromarray(np.clip(planes + noise, 0, 255).astype(np.uint8))


def reference(path: Path) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")).astype(int)


def orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


PNG_MODES = ["RGB", "RGBA", "L", "LA", "P", "1"]
JPEG_KINDS = {
    "low": ("RGB", {"quality": 30}),
    "high": ("RGB", {"quality": 95, "subsampling": 0}),
    "half": ("RGB", {"quality": 80, "subsampling": 1}),
    "quarter": ("RGB", {"quality": 80, "subsampling": 2}),
    "progressive": ("RGB", {"progressive": True}),
    "gray": ("L", {}),
    "cmyk": ("CMYK", {"quality": 95}),
}


@pytest.mark.parametrize("mode", PNG_MODES)
def test_png_is_read_as_pillow_reads_it(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "picture.png"
    drawing(67, 91).convert(mode).save(path)
    assert np.array_equal(pixels("picture", path), reference(path))


@pytest.mark.parametrize("kind", JPEG_KINDS)
def test_jpeg_is_read_as_pillow_reads_it(tmp_path: Path, kind: str) -> None:
    mode, options = JPEG_KINDS[kind]
    path = tmp_path / "picture.jpg"
    drawing(67, 91).convert(mode).save(path, **options)
    # Another build of libjpeg may round another way.
    assert np.abs(pixels("picture", path) - reference(path)).max() <= 1


def test_transparent_colours_are_dropped(tmp_path: Path) -> None:
    for mode, transparency in {"RGB": (1, 2, 3), "P": 3, "L": 20}.items():
        path = tmp_path / f"{mode}.png"
        drawing(20, 30).convert(mode).save(path, transparency=transparency)
        assert np.array_equal(pixels("picture", path), reference(path))


@pytest.mark.parametrize("value", range(1, 9))
def test_exif_turns(tmp_path: Path, value: int) -> None:
    for name in ("picture.png", "picture.jpg"):
        path = tmp_path / name
        drawing(33, 70).save(path, exif=orientation(value))
        got, expected = pixels("picture", path), reference(path)
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() <= 1


def test_sixteen_bit_gray_keeps_its_high_byte(tmp_path: Path) -> None:
    """Pillow would clip these to white, which no one can want."""
    levels = np.arange(0, 65536, 257 * 3, dtype=np.uint16)[None]
    path = tmp_path / "deep.png"
    Image.fromarray(levels).save(path)
    assert np.array_equal(pixels("picture", path)[..., 0], levels >> 8)


SIZES = [(67, 91, 64, 96), (200, 150, 64, 32), (40, 40, 64, 64), (20, 150, 32, 160), (333, 500, 96, 160), (500, 333, 512, 320), (31, 1, 32, 32)]


@pytest.mark.parametrize("size", SIZES)
def test_resizing_is_within_a_level_of_pillow(tmp_path: Path, size: tuple[int, int, int, int]) -> None:
    """Each direction by itself. With both, a level of the first can become two, if rarely.

    Width first, then height, as torchvision does it, whose result ours is bit by bit (tests/parity);
    newer Pillow takes whichever order is faster.
    """
    height, width, to_height, to_width = size
    path = tmp_path / "picture.png"
    picture = drawing(height, width)
    picture.save(path)
    wider = picture.resize((to_width, height), Image.Resampling.BICUBIC)
    higher = picture.resize((width, to_height), Image.Resampling.BICUBIC)
    both = wider.resize((to_width, to_height), Image.Resampling.BICUBIC)
    assert np.abs(pixels("resize", path, to_width, height) - np.asarray(wider).astype(int)).max() <= 1
    assert np.abs(pixels("resize", path, width, to_height) - np.asarray(higher).astype(int)).max() <= 1
    difference = np.abs(pixels("resize", path, to_width, to_height) - np.asarray(both).astype(int))
    assert difference.max() <= 2
    assert (difference > 1).mean() < 1e-4
    assert (difference > 0).mean() < 0.02


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_a_small_file_that_grows_is_refused_within_its_memory(tmp_path: Path) -> None:
    """20,000 x 20,000 black pixels in a megabyte: refused before the memory is asked for."""
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(20000 * 3 + 1)) for _ in range(20000)) + packer.flush()
    path = tmp_path / "huge.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    limit = f"ulimit -v {400 * 1024}; exec '{TOOL}' picture '{path}'"  # in kB; the picture alone would take 1.2 GB
    result = subprocess.run(["bash", "-c", limit], capture_output=True, text=True, check=False)
    assert result.returncode == 3
    assert "it is 20000 x 20000 pixels, expected at most 178956970 pixels in all" in result.stderr


def test_noise_after_a_signature_never_crashes(tmp_path: Path) -> None:
    stream = random.Random(1)
    path = tmp_path / "noise"
    for signature in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\xff\xd8\xff\xe1\x00\x20Exif\x00\x00"):
        for _ in range(20):
            path.write_bytes(signature + stream.randbytes(stream.randint(0, 300)))
            assert run_tool("picture", path).returncode == 3
