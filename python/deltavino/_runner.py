"""Text generation: the library works in a thread of its own, and its pieces of text come out of a generator."""

import json
import queue
import threading
from collections.abc import Generator, Iterable, Mapping
from typing import Any, TypeAlias

from . import _deltavino
from ._errors import UsageError
from ._options import Note, Path, StoredFormat, Task, fill, hearer, runnable, sink

Message: TypeAlias = Mapping[str, Any]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class Runner:
    """A loaded model and one conversation with it. One answer at a time: the generator of one must have ended.

    `model`: an exported directory; or a checkpoint or Hub id, which is exported first and kept in the cache, to int4
    unless `weight_format` says otherwise.
    """

    def __init__(
        self,
        model: Path,
        *,
        system: str | None = None,
        messages: Iterable[Message] = (),
        device: str = "CPU",
        precision: str | None = None,
        threads: int = 0,
        speculate: int = 0,
        compiled_cache: Path | None = None,
        plugin_only: bool = False,
        weight_format: StoredFormat | None = None,
        sym: bool = False,
        group_size: int | None = None,
        lora: Path | None = None,
        task: Task | None = None,
        revision: str | None = None,
        cache_dir: Path | None = None,
        note: Note | None = None,
    ) -> None:
        directory, self._use = runnable(
            model, weight_format, sym, group_size, lora, task, revision, cache_dir, threads, sink(None, note)
        )
        options = fill(
            _deltavino.RunnerOptions(),
            model=directory,
            device=device,
            precision=precision,
            threads=threads,
            speculate=speculate,
            compiled_cache=compiled_cache,
            plugin_only=plugin_only,
        )
        self._runner = _deltavino.Runner(options, hearer(note))
        self._busy = threading.Lock()
        self.begin(system, messages)

    @property
    def takes_pictures(self) -> bool:
        """Whether `images` may be given."""
        return self._runner.takes_pictures

    def begin(self, system: str | None = None, messages: Iterable[Message] = ()) -> None:
        """Forgets the conversation.

        `system`: a system turn for the next one; `messages`: what was said in it before, as chat templates take it:
        {"role": "assistant", "content": "", "tool_calls": [...]}, {"role": "tool", "content": "17 degrees"}.
        """
        said = list(messages)
        self._runner.begin(system, _json(said) if said else "")

    def ask(
        self,
        prompt: str | Message,
        *,
        images: Iterable[Path] = (),
        raw: bool = False,
        think: bool | None = None,
        tools: Iterable[Message] = (),
        chat_template_kwargs: Mapping[str, Any] | None = None,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        stop: Iterable[str] = (),
        seed: int = 0,
        ignore_eos: bool = False,
    ) -> Generator[str, None, _deltavino.Answer]:
        """Yields the answer in pieces of whole characters, as it is made; `yield from` gives an Answer at its end.

        What is not given comes from generation_config.json. `raw` continues the prompt as it is, after forgetting
        the conversation. A generator that is closed or left before its end stops the work. `prompt`: a question, or a
        whole message, as the result of a tool: {"role": "tool", "content": "17 degrees"}. `tools`: functions that the
        model may call; `chat_template_kwargs`: more variables of the chat template.
        """
        functions = list(tools)
        if raw and (functions or chat_template_kwargs or not isinstance(prompt, str)):
            raise UsageError("raw continues a text as it is: tools, chat_template_kwargs and messages do not go with it")
        options = fill(
            _deltavino.GenerateOptions(),
            thinking=think,
            tools=_json(functions) if functions else None,
            chat_template_kwargs=_json(chat_template_kwargs) if chat_template_kwargs else None,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty,
            stop_strings=list(stop),
            seed=seed,
            ignore_eos=ignore_eos,
        )
        return self._pieces(prompt, list(images), options, raw)

    def _pieces(
        self, prompt: str | Message, images: list[Path], options: _deltavino.GenerateOptions, raw: bool
    ) -> Generator[str, None, _deltavino.Answer]:
        pieces: queue.SimpleQueue[str | _deltavino.Answer | BaseException] = queue.SimpleQueue()
        text, message = (prompt, "") if isinstance(prompt, str) else ("", _json(prompt))

        def work() -> None:
            try:
                pieces.put(self._runner.answer(text, message, images, options, raw, pieces.put))
            except BaseException as error:  # it is raised where the generator is read
                pieces.put(error)

        if not self._busy.acquire(blocking=False):
            raise RuntimeError("the answer before this one is still being made")
        worker = threading.Thread(target=work, name="deltavino")
        try:
            self._runner.resume()
            worker.start()
            while True:
                piece = pieces.get()
                if isinstance(piece, BaseException):
                    raise piece
                if not isinstance(piece, str):
                    return piece
                yield piece
        finally:
            self._runner.stop()
            worker.join()
            self._busy.release()


def generate(
    model: Path,
    prompt: str | Message,
    *,
    images: Iterable[Path] = (),
    system: str | None = None,
    messages: Iterable[Message] = (),
    raw: bool = False,
    think: bool | None = None,
    tools: Iterable[Message] = (),
    chat_template_kwargs: Mapping[str, Any] | None = None,
    device: str = "CPU",
    precision: str | None = None,
    threads: int = 0,
    speculate: int = 0,
    compiled_cache: Path | None = None,
    plugin_only: bool = False,
    weight_format: StoredFormat | None = None,
    sym: bool = False,
    group_size: int | None = None,
    lora: Path | None = None,
    task: Task | None = None,
    revision: str | None = None,
    cache_dir: Path | None = None,
    max_new_tokens: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    presence_penalty: float | None = None,
    frequency_penalty: float | None = None,
    stop: Iterable[str] = (),
    seed: int = 0,
    ignore_eos: bool = False,
    note: Note | None = None,
) -> Generator[str, None, _deltavino.Answer]:
    """Loads a model at once, and yields its answer in pieces, as Runner.ask does."""
    runner = Runner(
        model,
        system=system,
        messages=messages,
        device=device,
        precision=precision,
        threads=threads,
        speculate=speculate,
        compiled_cache=compiled_cache,
        plugin_only=plugin_only,
        weight_format=weight_format,
        sym=sym,
        group_size=group_size,
        lora=lora,
        task=task,
        revision=revision,
        cache_dir=cache_dir,
        note=note,
    )
    return runner.ask(
        prompt,
        images=images,
        raw=raw,
        think=think,
        tools=tools,
        chat_template_kwargs=chat_template_kwargs,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        presence_penalty=presence_penalty,
        frequency_penalty=frequency_penalty,
        stop=stop,
        seed=seed,
        ignore_eos=ignore_eos,
    )
