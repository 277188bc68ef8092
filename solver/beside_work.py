"""The process itself (see `solver.beside`): it imports what its task will need, reads the task, does it, and
listens meanwhile."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import traceback
from importlib import import_module
from typing import Any

from solver.beside import messages


def _main() -> None:
    # What libraries print must not come between the messages.
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(message: Any) -> None:
        pickle.dump(message, pipe)
        pipe.flush()

    for module in sys.argv[1:]:
        import_module(module)
    told = messages(sys.stdin.buffer)
    task = next(told, None)
    if task is None:
        return
    work = task.begin(send)

    def listen() -> None:
        for message in told:
            work.hear(message)
        os._exit(0)  # the search has gone

    threading.Thread(target=listen, name="search", daemon=True).start()
    try:
        work.run()
    except (BrokenPipeError, KeyboardInterrupt):
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)  # Python cannot end as usual while the other thread reads


if __name__ == "__main__":
    _main()
