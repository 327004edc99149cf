"""What `help()` and an editor show of this package is the package, never the machine it runs on."""

from __future__ import annotations

import os
import subprocess
import sys

MARKER = "sk-MARKER-of-the-environment-0123456789"

# pydoc writes every signature with the repr of its defaults, those of imported optional parts too.
PROGRAM = """
import pkgutil, pydoc, fastbatch
from importlib import import_module

shown = [pydoc.render_doc(getattr(fastbatch, name), renderer=pydoc.plaintext) for name in fastbatch.__all__]
for found in pkgutil.walk_packages(fastbatch.__path__, "fastbatch."):
    if not found.name.endswith("__main__"):
        shown.append(pydoc.render_doc(import_module(found.name), renderer=pydoc.plaintext))
print("\\n".join(shown))
"""


def test_no_signature_holds_the_environment() -> None:
    """A key in the environment stands in no default value, so that no help text or notebook shows it."""
    env = {**os.environ, "OPENAI_API_KEY": MARKER, "SOME_OTHER_VARIABLE": MARKER}
    ran = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True)
    assert "OpenAIProvider" in ran.stdout
    assert "models_folder" in ran.stdout
    assert MARKER not in ran.stdout
    assert "environ(" not in ran.stdout
