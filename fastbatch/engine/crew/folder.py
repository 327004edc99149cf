"""A folder for the account of limits that a manager's crews have to themselves."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from threading import Lock


class OwnFolder:
    """Made when it is first asked for, gone with the manager: what one run has used counts for the next.

    Members remove it where their parent was killed and cannot.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._turn = Lock()  # two runs of one manager may begin at once

    def path(self) -> Path:
        """Where it is."""
        with self._turn:
            if self._path is None:
                self._path = Path(tempfile.mkdtemp(prefix="fastbatch-"))
                weakref.finalize(self, shutil.rmtree, self._path, ignore_errors=True)
            return self._path
