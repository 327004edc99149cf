"""Bytes over HTTP: the only owner of the HTTP client.

Laws: a transport knows no provider and no model. It sends a call once, bounds the time and the size of the
reply, follows no redirect, and translates every failure of the network into one of `ConnectFailed` (nothing
was sent), `ConnectionLost`, `RequestTimeout` and `ResponseTooLarge`. A reply of any status is a reply.
Deliberately absent: retries, limits and the meaning of a status.
"""
