"""Makes `api/client.py`, the synchronous client, from `api/async_client.py`: `python -m api.client_twin`.

The two differ in a few words only, so these words are replaced; a test says that the file is up to date.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("async_client.py")
TWIN = Path(__file__).with_name("client.py")

_DOCSTRING = '''"""The synchronous client: every method is one request, with the service's types and problems.

Made from `api/async_client.py` by `python -m api.client_twin`; change that one.
"""
'''

_WORDS = [
    (r"\basync def\b", "def"),
    (r"\basync with\b", "with"),
    (r"\basync for\b", "for"),
    (r"\bawait ", ""),
    (r"\bimport asyncio\b", "import time"),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"\bhttpx\.AsyncClient\b", "httpx.Client"),
    (r"\bAsyncClient\b", "Client"),
    (r"\bAsyncIterator\b", "Iterator"),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\.aclose\(", ".close("),
    (r"\.aread\(", ".read("),
    (r"\.aiter_lines\(", ".iter_lines("),
    (r"import Iterator, Callable, Mapping, Sequence", "import Callable, Iterator, Mapping, Sequence"),
]


def twin(source: str) -> str:
    """The synchronous client's text."""
    text = _DOCSTRING + source.split('"""\n', 1)[1]
    for pattern, word in _WORDS:
        text = re.sub(pattern, word, text)
    # Shorter words make shorter lines.
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(TWIN), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    TWIN.write_text(twin(SOURCE.read_text()))
