"""The exported tokenizer on the corpus, against the tokenizers library and through openvino_genai."""

import subprocess
import sys

from conftest import KJV, ROOT


def test_corpus(kjv_text):
    script = ROOT / "tests" / "tokenizer" / "parity.py"
    done = subprocess.run([sys.executable, script, KJV, kjv_text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
