"""Throw-away environments for other people's packages, which never enter the project's own."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path


class Environments:
    """Makes one environment for each set of requirements, below `folder`, when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[str, ...], Path] = {}

    def python(self, needs: tuple[str, ...]) -> Path:
        """The interpreter that has `needs` installed; this one where there are none.

        Raises:
            RuntimeError: pip could not install them.
        """
        if not needs:
            return Path(sys.executable)
        if needs not in self._made:
            home = self._folder / f"environment-{len(self._made)}"
            print(f"installing {' '.join(needs)}", file=sys.stderr, flush=True)
            venv.create(home, with_pip=True)
            python = home / "bin" / "python"
            install = [str(python), "-m", "pip", "install", "--quiet", *needs]
            done = subprocess.run(install, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{' '.join(needs)} cannot be installed:\n{done.stderr[-1000:]}")
            self._made[needs] = python
        return self._made[needs]
