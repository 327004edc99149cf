"""Files become requests here, and outcomes become lines. No file is opened for writing, nothing is sent.

`lines` splits bytes, `rows` reads an input row, `template` fills `--prompt`, `results` writes output and
error records and reads them back, `batchfile` reads and writes OpenAI batch files. Laws: input is read binary
and split at `\\n` only; a problem names the file and the 1-based line; a body is never repaired.
"""
