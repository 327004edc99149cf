"""`python -m fastbatch` is `fastbatch`."""

from fastbatch.cli import main

main()
