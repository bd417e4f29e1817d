"""optimum-intel loads the exported vision-language directory and generates the tokens of transformers."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from conftest import GOLDEN, KJV, run_deltavino
from optimum.intel import OVModelForVisualCausalLM
from PIL import Image

FLOAT32 = {
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
}
CHATS = json.loads((GOLDEN / "kjv-tiny" / "vision.json").read_text())["chats"]


@pytest.fixture(scope="module")
def model(kjv_vlm):
    return OVModelForVisualCausalLM.from_pretrained(kjv_vlm, ov_config=FLOAT32)


@pytest.fixture(scope="module")
def processor(kjv_vlm):
    """From the exported directory alone."""
    return transformers.AutoProcessor.from_pretrained(kjv_vlm)


def prepare(processor, chat: dict):
    text = processor.apply_chat_template(chat["messages"], add_generation_prompt=True)
    assert text == chat["prompt_text"]
    pictures = [Image.open(KJV / name) for name in chat["pictures"]]
    return processor(text=[text], images=pictures or None, return_tensors="pt")


@pytest.mark.parametrize("chat", CHATS, ids=[chat["name"] for chat in CHATS])
def test_answers(model, processor, chat):
    inputs = prepare(processor, chat)
    assert inputs["input_ids"][0].tolist() == chat["prompt_ids"]
    output = model.generate(**inputs, max_new_tokens=30, do_sample=False)
    assert output[0, len(chat["prompt_ids"]) :].tolist() == chat["answer_ids"]


def test_processor_is_that_of_the_checkpoint(processor):
    original = transformers.AutoProcessor.from_pretrained(KJV)
    assert type(processor) is type(original)
    for ours, theirs in [(processor.image_processor, original.image_processor), (processor.video_processor, original.video_processor)]:
        assert type(ours) is type(theirs)
        assert ours.to_dict() == theirs.to_dict()
    torch.testing.assert_close(prepare(processor, CHATS[3])["pixel_values"], prepare(original, CHATS[3])["pixel_values"], rtol=0, atol=0)


def test_config_is_that_of_the_checkpoint(kjv_vlm):
    ours = transformers.AutoConfig.from_pretrained(kjv_vlm)
    theirs = transformers.AutoConfig.from_pretrained(KJV)
    assert type(ours) is type(theirs)
    assert ours.text_config.to_dict() == theirs.text_config.to_dict()
    assert ours.vision_config.to_dict() == theirs.vision_config.to_dict()
