"""Bytes over HTTP: the only owner of HTTP clients.

`base` is the promise, `auto` the usual door: it takes the fast transport (`fast/`, httptools on asyncio)
where that can serve and the complete one (`aiohttp/`) where not. They share deadlines, failures and trust.

Laws: a transport knows no provider and no model. It sends a call once, bounds the time and the size of the
reply, follows no redirect, and translates every failure of the network into one of `ConnectFailed` (nothing
was sent) with its kinds, `ConnectionLost`, `RequestTimeout`, `BadResponse` (no HTTP) and `ResponseTooLarge`.
A reply of any status is a reply. `base` has the promises in full.
Deliberately absent: retries, limits and the meaning of a status.
"""
