"""`deltavino generate --chat` on a terminal: what Ctrl-C does. Each test waits for what the program prints, never for a time."""

import os
import pty
import select
import signal
from pathlib import Path

from conftest import KJV, ROOT

STOPPED = 130
CTRL_C = b"\x03"


class Terminal:
    """The program with a terminal of its own for all its streams."""

    def __init__(self, *arguments: object) -> None:
        program = os.environ.get("DELTAVINO", str(ROOT / "build" / "deltavino"))
        self.text = ""
        self.pid, self.handle = pty.fork()
        if self.pid == 0:
            os.execv(program, [program, *map(str, arguments)])

    def type(self, keys: bytes) -> None:
        os.write(self.handle, keys)

    def read_until(self, part: str) -> str:
        """What was printed up to and with `part`."""
        while part not in self.text:
            ready, _, _ = select.select([self.handle], [], [], 120)
            assert ready, f"no {part!r} in {self.text!r}"
            try:
                piece = os.read(self.handle, 65536)
            except OSError:  # Linux: the other end is closed
                piece = b""
            assert piece, f"ended without {part!r}: {self.text!r}"
            self.text += piece.decode("utf-8", "replace").replace("\r\n", "\n")
        before, after = self.text.split(part, 1)
        self.text = after
        return before + part

    def end(self) -> tuple[int, str]:
        """Exit code and what is left of the output."""
        while True:
            try:
                piece = os.read(self.handle, 65536)
            except OSError:
                break
            if not piece:
                break
            self.text += piece.decode("utf-8", "replace").replace("\r\n", "\n")
        os.close(self.handle)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), self.text


def chat(model: Path, *options: object) -> Terminal:
    return Terminal("generate", model, "--chat", "--precision", "f32", *options)


def test_ctrl_c_at_the_prompt_ends_the_chat(kjv_text: Path) -> None:
    terminal = chat(kjv_text)
    terminal.read_until("> ")
    terminal.type(b"half a question" + CTRL_C)
    code, rest = terminal.end()
    assert code == STOPPED
    assert "tokens" not in rest  # nothing was answered


def test_ctrl_c_stops_the_answer_and_not_the_chat(kjv_text: Path) -> None:
    terminal = chat(kjv_text, "--ignore-eos", "--max-new-tokens", 1000000)
    for _ in range(2):  # the second time as the first
        terminal.read_until("> ")
        terminal.type(b"And the LORD said\n")
        terminal.read_until("said\n")  # the terminal's echo
        terminal.read_until(" ")  # the answer has begun
        terminal.type(CTRL_C)
        terminal.read_until("first token after")
    terminal.read_until("> ")
    terminal.type(b"/exit\n")
    assert terminal.end()[0] == 0


def test_ctrl_c_stops_the_reading_of_a_long_question(kjv_text: Path, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("And the LORD said unto Moses. " * 20000)
    terminal = chat(kjv_text, "--file", tmp_path / "long.txt", "--max-new-tokens", 1)
    terminal.read_until("more than the 32768 that the model was made for")
    terminal.type(CTRL_C)
    terminal.read_until("[stopped before the first token]")
    terminal.read_until("> ")
    terminal.type(b"Hello\n")
    terminal.read_until("[prompt ")
    assert " after " not in terminal.read_until(" tokens, first")  # nothing of the long question was kept
    terminal.type(b"/exit\n")
    assert terminal.end()[0] == 0


def test_a_request_to_end_ends_the_chat(kjv_text: Path) -> None:
    terminal = chat(kjv_text)
    terminal.read_until("> ")
    os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.end()[0] == STOPPED


def test_the_end_of_input_ends_the_chat(kjv_vlm: Path) -> None:
    terminal = chat(kjv_vlm)
    terminal.read_until("> ")
    terminal.type(f"/image {KJV}/pictures/red-circle-on-blue.png\nWhat is in the picture?\n".encode())
    terminal.read_until("A red circle on a blue ground.\n")
    terminal.read_until("> ")
    terminal.type(b"\x04")
    assert terminal.end()[0] == 0
