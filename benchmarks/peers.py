"""Throw-away environments for other people's packages, which never enter the project's own."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from pathlib import Path

# Releases that a thief of credentials planted.
REFUSED = ("litellm==1.82.7", "litellm==1.82.8")


class Environments:
    """Makes one environment for each set of requirements, below `folder`, when it is first asked for.

    One that stands there from an earlier time is used again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def python(self, needs: tuple[str, ...]) -> Path:
        """The interpreter that has `needs` installed; this one where there are none.

        Raises:
            RuntimeError: pip could not install them.
        """
        if not needs:
            return Path(sys.executable)
        if refused := [need for need in needs if need.replace(" ", "") in REFUSED]:
            raise RuntimeError(f"{refused[0]} is never installed: that release steals credentials")
        home = self._folder / re.sub(r"[^\w.-]+", "-", "-".join(needs))
        python, complete = home / "bin" / "python", home / "installed"
        if not complete.exists():
            print(f"installing {' '.join(needs)}", file=sys.stderr, flush=True)
            venv.create(home, with_pip=True, clear=True)
            install = [str(python), "-m", "pip", "install", "--quiet", *needs]
            done = subprocess.run(install, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{' '.join(needs)} cannot be installed:\n{done.stderr[-1000:]}")
            complete.touch()
        return python
