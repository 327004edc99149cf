"""The APIs that the simulator speaks: a request read, an answer and everything that goes wrong said in each.

A dialect is a `Dialect` (keys, errors, headers) and some `Operation`s (a POST path each).
`fastbatch.providers` is not imported: who judges a client shares no code with it.
"""
