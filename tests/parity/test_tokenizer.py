"""The exported tokenizer on the corpus, also against openvino_tokenizers' own converter."""

import subprocess
import sys

from conftest import KJV, ROOT


def test_corpus_with_converter(kjv_text):
    script = ROOT / "tests" / "tokenizer" / "parity.py"
    done = subprocess.run([sys.executable, script, KJV, kjv_text, "--with-converter"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
