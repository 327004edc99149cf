"""The transport on aiohttp: the complete one (proxies, TLS options, every server there is).

`transport` is the door; `wire` is what aiohttp does not tell by itself: which connection an attempt went
over, what of it was sent and what came back; `failures` puts names to what went wrong; `content` unpacks,
`reading` keeps replies within their bounds and `streaming` hands one out as it comes; `resolver` asks for
addresses.
"""

from fastbatch.transport.aiohttp.transport import AiohttpTransport

__all__ = ["AiohttpTransport"]
