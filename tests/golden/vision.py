"""What transformers makes of pictures and videos: the tower, M-RoPE positions and logits.

Two files per model. `<model>.tower.safetensors` follows the vision tower from pixel patches to
merged embeddings; `<model>.prompts.safetensors` holds prompts with placeholders, positions and
logits. Everything comes from full forwards without a cache. The attention mask is always passed:
without one, transformers 5.2 takes the repeated M-RoPE positions of a picture for the borders of
packed sequences and cuts the attention there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers

import kjv
from cases import FIRST_SPECIAL, Case, all_cases
from reference import empty_model, load_model, origin, save_tensors
from weights import Tensors, generator, make_tensors, uniform, write_checkpoint

SEED = 401
STEPS = 3  # tokens decoded after each prompt
KJV_TAIL = 1  # its vocabulary is large, so only the last position of a prompt is kept

Grid = tuple[int, int, int]  # temporal patches, rows and columns of patches


@dataclass(frozen=True)
class Picture:
    """A picture of a prompt."""

    grid: Grid


@dataclass(frozen=True)
class Video:
    """A video of a prompt; each temporal patch gets its own placeholder run after a timestamp."""

    grid: Grid


Part = int | Picture | Video  # an int stands for that many random text tokens

TOWER_GRIDS: dict[str, list[Grid]] = {
    "one": [(1, 2, 2)],  # a single merged patch
    "wide": [(1, 4, 6)],
    "two": [(1, 2, 4), (1, 6, 4)],
    "video": [(2, 4, 4)],  # 4 frames; frames do not attend to each other
}

FULL_PROMPTS: dict[str, list[Part]] = {
    "text": [17],
    "picture": [5, Picture((1, 4, 6)), 4],
    "pictures": [Picture((1, 2, 2)), Picture((1, 6, 4)), 7],
    "video": [3, Video((2, 4, 4)), 5],
    "mixed": [2, Video((2, 2, 4)), 6, Picture((1, 4, 4)), 3],
}
SMALL_PROMPTS: dict[str, list[Part]] = {
    "text": [17],
    "picture": [5, Picture((1, 4, 4)), 4],
    "mixed": [2, Video((2, 2, 2)), 6, Picture((1, 4, 4)), 3],
}
FIRST_TURN: list[Part] = [4, Picture((1, 4, 4)), 6]
SECOND_TURN: list[Part] = [3, Picture((1, 2, 6)), 5]
BATCH: list[list[Part]] = [[4, Picture((1, 4, 4)), 6], [9]]  # the second row is left-padded


class PositionProbe(torch.nn.Module):
    """Stands in for the position table and gets the interpolation to reveal what it does.

    Its output is 1 in component i for corner i, so that the weighted sum over the four corners is
    the vector of the four weights.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        """Keep the dtype and device of the real table."""
        super().__init__()
        self.weight = weight
        self.indices = torch.empty(0)

    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        """Remember the indices [4, N]; return corner indicators [4, N, 4]."""
        self.indices = indices
        return torch.eye(4).unsqueeze(1).expand(4, indices.shape[1], 4)


def interpolation(visual: torch.nn.Module, grids: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Indices and weights [4, N] of the bilinear corners, row by row of each picture."""
    table, merge = visual.pos_embed, visual.config.spatial_merge_size
    probe = PositionProbe(table.weight)
    one_frame = grids.clone()
    one_frame[:, 0] = 1
    visual.pos_embed, visual.config.spatial_merge_size = probe, 1  # 1: no regrouping of patches
    try:
        weights = visual.fast_pos_embed_interpolate(one_frame)
    finally:
        visual.pos_embed, visual.config.spatial_merge_size = table, merge
    return probe.indices, weights.T


def patch_positions(visual: torch.nn.Module, rotary: torch.Tensor) -> torch.Tensor:
    """Row and column [N, 2] of each patch, read off the angles of frequency 1."""
    assert visual.rotary_pos_emb.inv_freq[0] == 1
    return rotary[:, [0, rotary.shape[1] // 2]].round().long()


def tower_tensors(visual: torch.nn.Module, grids: Sequence[Grid], pixels: torch.Tensor) -> Tensors:
    """The stages of the tower for some pictures or videos."""
    grid_thw = torch.tensor(grids)
    indices, weights = interpolation(visual, grid_thw)
    rotary = visual.rot_pos_emb(grid_thw)
    output = visual(pixels, grid_thw=grid_thw)
    return {
        "pixel_values": pixels,
        "grid_thw": grid_thw,
        "patch_embeds": visual.patch_embed(pixels),
        "pos_indices": indices,
        "pos_weights": weights,
        "pos_embeds": visual.fast_pos_embed_interpolate(grid_thw),
        "rotary_positions": patch_positions(visual, rotary),
        "rotary": rotary,
        "hidden": output.last_hidden_state,
        "merged": output.pooler_output,
    }


def prefixed(name: str, tensors: Tensors) -> Tensors:
    """The tensors under `name.`"""
    return {f"{name}.{key}": tensor for key, tensor in tensors.items()}


def random_pixels(config: transformers.PreTrainedConfig, grid: Grid, name: str) -> torch.Tensor:
    """Patches [N, 3 * T * P * P] of noise in [-1, 1)."""
    vision = config.vision_config
    width = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    count = grid[0] * grid[1] * grid[2]
    return 2 * uniform((count, width), generator(SEED, name)) - 1


def tower_file(model: torch.nn.Module, names: Sequence[str]) -> Tensors:
    """All tower cases of a model."""
    tensors: Tensors = {}
    for name in names:
        grids = TOWER_GRIDS[name]
        noise = [random_pixels(model.config, g, f"{name} {i}") for i, g in enumerate(grids)]
        tensors |= prefixed(name, tower_tensors(model.model.visual, grids, torch.cat(noise)))
    return tensors


class Prompt:
    """Token ids with placeholders and the media that replace them."""

    def __init__(self, config: transformers.PreTrainedConfig, name: str, parts: list[Part]) -> None:
        """Draw the text and the media of a prompt."""
        self.config = config
        self.name = name
        self.ids: list[int] = []
        self.media: dict[str, list[torch.Tensor]] = {}
        for part in parts:
            self.add(part)

    def add(self, part: Part) -> None:
        """Append one part."""
        if isinstance(part, int):
            self.add_text(part)
        elif isinstance(part, Picture):
            self.add_media(part.grid, "pixel_values", "image_grid_thw")
            self.add_run(self.config.image_token_id, part.grid)
        else:
            self.add_media(part.grid, "pixel_values_videos", "video_grid_thw")
            for _ in range(part.grid[0]):
                self.add_text(2)  # stands for the timestamp
                self.add_run(self.config.video_token_id, part.grid)

    def add_text(self, count: int) -> None:
        """Append random text ids."""
        stream = generator(SEED, f"{self.name} text {len(self.ids)}")
        self.ids += torch.randint(0, FIRST_SPECIAL, (count,), generator=stream).tolist()

    def add_run(self, placeholder: int, grid: Grid) -> None:
        """Append the placeholders of one picture or one temporal patch of a video."""
        merged = grid[1] * grid[2] // self.config.vision_config.spatial_merge_size**2
        start, end = self.config.vision_start_token_id, self.config.vision_end_token_id
        self.ids += [start, *[placeholder] * merged, end]

    def add_media(self, grid: Grid, pixels_key: str, grid_key: str) -> None:
        """Append the patches of a picture or video."""
        name = f"{self.name} media {len(self.ids)}"
        pixels = random_pixels(self.config, grid, name)
        self.media.setdefault(pixels_key, []).append(pixels)
        self.media.setdefault(grid_key, []).append(torch.tensor([grid]))

    def row(self) -> torch.Tensor:
        """The ids as [1, S]."""
        return torch.tensor([self.ids])

    def inputs(self) -> Tensors:
        """The media under the names of the model's arguments."""
        return {key: torch.cat(parts) for key, parts in self.media.items()}


def media_logits(model: torch.nn.Module, ids: torch.Tensor, media: Tensors) -> torch.Tensor:
    """Logits [1, S, V] of one unpadded row."""
    model.model.rope_deltas = None
    mask = torch.ones_like(ids)
    return model(input_ids=ids, attention_mask=mask, use_cache=False, **media).logits.float()


def positions(
    model: torch.nn.Module, ids: torch.Tensor, media: Tensors, mask: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """M-RoPE positions [3, B, S] and offsets [B, 1] of what follows."""
    grids = {key: grid for key, grid in media.items() if key.endswith("grid_thw")}
    return model.model.get_rope_index(ids, attention_mask=mask, **grids)


def prompt_tensors(model: torch.nn.Module, prompt: Prompt, tail: int) -> Tensors:
    """A prompt and the tokens decoded after it; `tail` = 0 keeps the logits of all positions."""
    ids, media = prompt.row(), prompt.inputs()
    follow = Prompt(model.config, f"{prompt.name} next", [STEPS]).row()
    whole = torch.cat([ids, follow], dim=1)
    length = ids.shape[1]
    start = length - tail if tail else 0
    logits = media_logits(model, whole, media)
    position_ids, deltas = positions(model, ids, media)
    whole_positions, _ = positions(model, whole, media)
    return {
        "input_ids": ids,
        **media,
        "position_ids": position_ids,
        "rope_deltas": deltas,
        "logits_from": torch.tensor([start]),
        "logits": logits[:, start:length],
        "next_ids": follow,
        "next_position_ids": whole_positions[:, :, length:],
        "next_logits": logits[:, length:],
    }


def turn_tensors(model: torch.nn.Module, tail: int) -> Tensors:
    """A second turn with another picture, read after the first from the kept state."""
    first = Prompt(model.config, "first", FIRST_TURN)
    second = Prompt(model.config, "second", SECOND_TURN)
    media = {key: torch.cat([first.inputs()[key], second.inputs()[key]]) for key in first.inputs()}
    whole = torch.cat([first.row(), second.row()], dim=1)
    length = len(first.ids)
    logits = media_logits(model, whole, media)[:, length:]
    start = logits.shape[1] - tail if tail else 0
    position_ids, deltas = positions(model, whole, media)
    return {
        "first_ids": first.row(),
        **prefixed("first", first.inputs()),
        "first_position_ids": position_ids[:, :, :length],
        "second_ids": second.row(),
        **prefixed("second", second.inputs()),
        "second_position_ids": position_ids[:, :, length:],
        "rope_deltas": deltas,
        "logits_from": torch.tensor([start]),
        "logits": logits[:, start:],
    }


def batch_tensors(model: torch.nn.Module, tail: int) -> Tensors:
    """A row with a picture and a shorter, left-padded row of text; each was run alone."""
    rows = [Prompt(model.config, f"row {i}", parts) for i, parts in enumerate(BATCH)]
    width = max(len(row.ids) for row in rows)
    start = width - tail if tail else 0
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    logits = torch.zeros(len(rows), width, model.config.get_text_config().vocab_size)
    media: Tensors = {}
    for i, row in enumerate(rows):
        media |= row.inputs()
        ids[i, width - len(row.ids) :] = row.row()[0]
        mask[i, width - len(row.ids) :] = 1
        logits[i, width - len(row.ids) :] = media_logits(model, row.row(), row.inputs())[0]
    position_ids, deltas = positions(model, ids, media, mask)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        **media,
        "position_ids": position_ids,
        "rope_deltas": deltas,
        "logits_from": torch.tensor([start]),
        "logits": logits[:, start:],
    }


def prompts_file(model: torch.nn.Module, prompts: dict[str, list[Part]], tail: int = 0) -> Tensors:
    """All prompts of a model."""
    tensors: Tensors = {}
    for name, parts in prompts.items():
        tensors |= prefixed(name, prompt_tensors(model, Prompt(model.config, name, parts), tail))
    tensors |= prefixed("turn", turn_tensors(model, tail))
    return tensors | prefixed("batch", batch_tensors(model, tail))


def random_model(case: Case) -> torch.nn.Module:
    """The reference of a golden case, made anew."""
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder), case, make_tensors(empty_model(case), case))
        return load_model(Path(folder), case)


def models() -> dict[str, torch.nn.Module]:
    """Every model with a vision tower, in float32."""
    cases = {case.name: case for case in all_cases()}
    random = {name: random_model(cases[name]) for name in ("dense-vl", "moe-vl", "vl-yarn")}
    return {**random, "kjv-tiny": kjv.load_model()}


def model_files(name: str, model: torch.nn.Module) -> tuple[Tensors, Tensors]:
    """What the two files of a model hold: the tower's tensors and the prompts'."""
    small = name != "dense-vl"
    tower = tower_file(model, ["one", "wide"] if small else list(TOWER_GRIDS))
    tail = KJV_TAIL if name == "kjv-tiny" else 0
    return tower, prompts_file(model, SMALL_PROMPTS if small else FULL_PROMPTS, tail)


@torch.no_grad()
def generate(folder: Path) -> None:
    """Write the files of every model with a vision tower."""
    for name, model in models().items():
        tower, prompts = model_files(name, model)
        save_tensors(folder / f"{name}.tower.safetensors", tower, origin(name, SEED))
        save_tensors(folder / f"{name}.prompts.safetensors", prompts, origin(name, SEED))
