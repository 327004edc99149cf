"""The file that `status`, `retry` and `repair` are told: results, not what lies beside them."""

from __future__ import annotations

from pathlib import Path

from fastbatch.errors import OutputError

_BESIDE = (
    *(".adjustments.jsonl", ".errors.jsonl", ".errors.jsonl.new"),
    *(".costs.json", ".journal", ".part", ".batches"),
)


def results_path(results: str) -> Path:
    """`results` as a path.

    Raises:
        OutputError: it is no name of a file of results.
    """
    if results == "-":
        raise OutputError("standard output cannot be looked at again; name the file of results")
    for ending in _BESIDE:
        if results.endswith(ending) and results != ending:
            raise OutputError(
                f"{results} lies beside the results; name those: {results.removesuffix(ending)}"
            )
    path = Path(results)
    if path.is_dir():
        raise OutputError(f"{results} is a directory; name a file of results")
    return path
