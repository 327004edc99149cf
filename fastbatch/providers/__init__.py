"""Providers translate: `build` a request into an HTTP call, `parse` a reply into an outcome.

Law 2: both are pure functions, errors included, so that the library, a gateway and batch APIs share them.
A provider opens no connection, reads no clock and knows no other provider.
"""
