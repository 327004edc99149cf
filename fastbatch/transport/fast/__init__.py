"""The fast transport: HTTP/1.1 on asyncio's protocols, parsed by httptools.

`transport` is the door; `request` takes addresses apart and writes heads; `pool` chooses a `connection`,
which writes, parses and tells; `headers` are looked at late; `reading` keeps large replies within their
bounds; `dialling` connects; `wheel` has everybody's deadlines under one timer.
Deliberately absent: proxies, HTTP/2, client certificates. `AiohttpTransport` has the first.
"""

from fastbatch.transport.fast.transport import FastTransport

__all__ = ["FastTransport"]
