"""What the HF image processor makes of raw pictures: resizing, normalising, patch order.

The expectations are those of the torchvision-backed processor that preprocessor_config.json
names. It resizes with antialiased bicubic filtering and rounds to whole levels before it
normalises, so an engine can be held to about one level (2 / 255 after normalising).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image

from kjv import MODEL
from reference import origin, save_tensors
from weights import Tensors, generator, uniform

SEED = 501

# name: height, width, and limits on the pixel count other than those of the configuration
SIZES: dict[str, tuple[int, int, dict[str, int]]] = {
    "exact": (64, 96, {}),  # multiples of 32: no resize
    "both": (50, 75, {}),  # one side grows, the other shrinks
    "narrow": (20, 150, {}),
    "small": (40, 40, {}),  # fewer pixels than shortest_edge allows: enlarged
    "large": (200, 150, {"shortest_edge": 1024, "longest_edge": 8192}),  # reduced
}


def drawing(name: str, height: int, width: int) -> torch.Tensor:
    """A smooth picture [H, W, 3] u8 with hard edges and a little noise, from integers only."""
    rows = torch.arange(height)[:, None].expand(height, width)
    columns = torch.arange(width)[None].expand(height, width)
    noise = (uniform((height, width, 3), generator(SEED, name)) * 16).long()
    checks = (rows // 9 + columns // 7) % 2 * 100
    planes = [rows * 130 // height, columns * 130 // width, (rows + columns) % 97 + 20]
    return (torch.stack(planes, dim=-1) + checks[..., None] + noise).clamp(0, 255).byte()


def picture_tensors(
    processor: transformers.BaseImageProcessor, name: str, size: tuple[int, int, dict[str, int]]
) -> Tensors:
    """A raw picture and its patches."""
    height, width, limits = size
    picture = drawing(name, height, width)
    image = Image.fromarray(np.asarray(picture))
    options = {"size": limits} if limits else {}
    output = processor(images=[image], return_tensors="pt", **options)
    tensors = {
        "picture": picture,
        "grid_thw": output["image_grid_thw"],
        "pixel_values": output["pixel_values"].float(),
    }
    if limits:
        tensors["limits"] = torch.tensor([limits["shortest_edge"], limits["longest_edge"]])
    return {f"{name}.{key}": tensor for key, tensor in tensors.items()}


def generate(folder: Path) -> None:
    """Write processor.safetensors."""
    processor = transformers.AutoProcessor.from_pretrained(MODEL).image_processor
    tensors: Tensors = {}
    for name, size in SIZES.items():
        tensors |= picture_tensors(processor, name, size)
    save_tensors(folder / "processor.safetensors", tensors, origin("processor", SEED))
