"""Files become requests here, and outcomes become lines; nothing is sent.

`rowsource` gives the records of an input of any kind as JSON: from `lines`, `csv` or `parquet` (whose records
`cells` makes rows of), all through `opening`. `rows` reads a row and `rowcheck` only judges it, `template`
fills `--prompt`, `results` writes output and error records and reads them back, `batchfile` reads and writes
OpenAI batch files. Laws: input is read binary and in bounded memory, split at `\\n` only; a problem names the
file and the 1-based line; a body is never repaired. Absent: any guess at what a file is beyond its name.
"""
