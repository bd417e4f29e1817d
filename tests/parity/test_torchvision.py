"""Resizing is torchvision's, which the Hugging Face processors call, bit by bit."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

TOOL = Path(os.environ.get("DELTAVINO", ROOT / "build" / "deltavino")).parent / "deltavino_test_tool"


@pytest.mark.parametrize("seed", range(40))
def test_resizing_is_that_of_torchvision(tmp_path: Path, seed: int) -> None:
    stream = np.random.default_rng(seed)
    height, width, to_height, to_width = (int(n) for n in stream.integers(1, 400, 4))
    levels = stream.integers(0, 256, (height, width, 3)).astype(np.uint8)
    path = tmp_path / "picture.png"
    Image.fromarray(levels).save(path)
    result = subprocess.run([TOOL, "resize", path, str(to_width), str(to_height)], capture_output=True, check=True)
    ours = np.frombuffer(result.stdout.split(b"\n", 1)[1], np.uint8).reshape(to_height, to_width, 3)
    planes = torch.from_numpy(levels).permute(2, 0, 1)
    theirs = transforms.resize(planes, [to_height, to_width], interpolation=InterpolationMode.BICUBIC, antialias=True)
    assert np.array_equal(ours, theirs.permute(1, 2, 0).numpy())
