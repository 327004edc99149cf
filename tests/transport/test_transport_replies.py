"""Every transport against a server that tears bytes, lies about lengths and sends too much."""

import asyncio
import gzip
import re

import pytest
from faultserver import FaultServer

from fastbatch.errors import BadResponse, ConnectFailed, ConnectionLost, RequestTimeout, ResponseTooLarge
from fastbatch.models.http import HTTPCall
from fastbatch.transport.timeout import Timeout


@pytest.fixture
async def transport(make):
    made = make(max_response_bytes=100_000)
    await made.open(connections=4)
    yield made
    await made.close()


def post(url, **headers):
    return HTTPCall(url, {"Content-Type": "application/json", **headers}, b"{}")


async def exchange(transport, behaviour, timeout=5.0):
    """Send one call to a server that behaves so."""
    async with FaultServer(behaviour) as server:
        return await transport.send(post(server.url), Timeout.of(timeout))


async def reset_at_once(line):
    line.reset()


async def end_at_once(line):
    line.end()


async def reset_in_headers(line):
    await line.send(b"HTTP/1.1 200 OK\r\nContent-Ty")
    line.reset()


async def end_in_headers(line):
    await line.send(b"HTTP/1.1 200 OK\r\nContent-Ty")
    line.end()


async def reset_in_body(line):
    await line.send(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"id": ')
    line.reset()


async def end_in_body(line):
    await line.send(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"id": ')
    line.end()


async def end_in_chunk(line):
    await line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{}")
    line.end()


async def end_before_last_chunk(line):
    await line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
    line.end()


async def no_gzip(line):
    await line.reply(b"this is no gzip", "200 OK", "Content-Encoding: gzip")


async def no_http(line):
    await line.send(b"SSH-2.0-OpenSSH_9.6\r\n")
    line.end()


async def endless_header(line):
    await line.send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n")
    line.end()


async def many_headers(line):
    await line.send(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200_000)
    line.end()


@pytest.mark.parametrize(
    "torn",
    [
        reset_at_once,
        end_at_once,
        reset_in_headers,
        end_in_headers,
        reset_in_body,
        end_in_body,
        end_in_chunk,
        end_before_last_chunk,
        no_gzip,
    ],
)
async def test_a_torn_reply_is_never_a_success(transport, torn):
    """It is a lost connection, which may have been billed, in one line without a traceback's words."""
    with pytest.raises(ConnectionLost) as lost:
        await exchange(transport, torn)
    assert lost.value.maybe_billed
    assert re.fullmatch(r"the connection to 127\.0\.0\.1 broke: \S.*", lost.value.message)


@pytest.mark.parametrize("wrong", [no_http, endless_header, many_headers])
async def test_what_is_no_http_is_a_broken_reply(transport, wrong):
    """The server would send the same again: it is asked once more at most, and may have billed."""
    with pytest.raises(BadResponse) as broken:
        await exchange(transport, wrong)
    assert broken.value.maybe_billed
    assert re.fullmatch(r"the reply of 127\.0\.0\.1 is no HTTP: \S.*", broken.value.message)


async def test_a_torn_reply_spoils_nothing(transport):
    """After a torn reply the next call to the same server goes through."""
    behaviours = [reset_in_body, end_in_headers]

    async def behave(line):
        if behaviours:
            await behaviours.pop()(line)
        else:
            await line.reply(b"{}")

    async with FaultServer(behave) as server:
        for _ in range(2):
            with pytest.raises(ConnectionLost):
                await transport.send(post(server.url), Timeout(5.0))
        assert (await transport.send(post(server.url), Timeout(5.0))).body == b"{}"


async def test_connections_are_kept(transport):
    """Ten calls one after another use one connection."""

    async def behave(line):
        await line.reply(b"{}")

    async with FaultServer(behave) as server:
        for _ in range(10):
            await transport.send(post(server.url), Timeout(5.0))
        assert server.connections == 1


async def test_a_connection_closed_between_two_calls_is_not_a_failure(transport):
    """A server that closes after each reply, as it says, is connected to anew."""

    async def behave(line):
        await line.reply(b"{}", "200 OK", "Connection: close")
        line.end()

    async with FaultServer(behave) as server:
        for _ in range(3):
            assert (await transport.send(post(server.url), Timeout(5.0))).status == 200
        assert server.connections == 3


@pytest.mark.parametrize("part", ["headers", "body", "chunks"])
async def test_dripping_bytes_do_not_extend_the_timeout(transport, part):
    """A server that sends a byte now and then is given up when the total time is over; it would never end."""
    starts = {
        "headers": b"HTTP/1.1 200 OK\r\nX: ",
        "body": b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n",
        "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    }

    async def drip(line):
        await line.send(starts[part])
        while True:
            await line.send(b"1\r\nx\r\n" if part == "chunks" else b"x")
            await asyncio.sleep(0.02)

    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(RequestTimeout, match=r"within 0\.2 s"):
        await exchange(transport, drip, timeout=0.2)
    assert round(loop.time() - began, 3) >= 0.2  # uvloop counts milliseconds: a hair less without rounding


async def test_too_long_by_its_own_word(transport):
    """A content-length above the bound is refused before the body is read."""

    async def behave(line):
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 1000)
        await asyncio.Event().wait()

    with pytest.raises(ResponseTooLarge, match="100000 bytes") as large:
        await exchange(transport, behave)
    assert (large.value.status, large.value.maybe_billed) == (200, True)


async def test_too_long_in_chunks(transport):
    """An endless chunked body is cut off at the bound."""
    sent = 0

    async def behave(line):
        nonlocal sent
        await line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await line.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            sent += 4096

    with pytest.raises(ResponseTooLarge):
        await exchange(transport, behave)
    assert sent < 20_000_000  # what fits into the sockets' buffers, not more


@pytest.mark.parametrize("chunked", [False, True])
async def test_gzip_is_unpacked(transport, chunked):
    """A compressed reply arrives as what it is."""
    body = b'{"text": "' + b"word " * 1000 + b'"}'

    async def behave(line):
        packed = gzip.compress(body)
        if chunked:
            head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
            middle = len(packed) // 2
            await line.send(head + b"%x\r\n%b\r\n" % (middle, packed[:middle]))
            await line.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed) - middle, packed[middle:]))
        else:
            await line.reply(packed, "200 OK", "Content-Encoding: gzip")

    assert (await exchange(transport, behave)).body == body


@pytest.mark.parametrize("cut", [1, 8, 20])
async def test_gzip_cut_short_is_not_taken_for_the_whole(transport, cut):
    """Nothing of it is handed on, be it only the checksum that is missing."""
    body = b'{"text": "' + bytes(range(97, 123)) * 100 + b'"}'

    async def behave(line):
        await line.reply(gzip.compress(body)[:-cut], "200 OK", "Content-Encoding: gzip")

    with pytest.raises(ConnectionLost, match="cut short"):
        await exchange(transport, behave)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip"])
async def test_what_is_packed_as_nothing_that_was_asked_for_is_no_reply(transport, coding):
    """Its bytes are not handed on as text."""

    async def behave(line):
        await line.reply(b"{}", "200 OK", f"Content-Encoding: {coding}")

    with pytest.raises(BadResponse, match=f"packed as '{coding}'"):
        await exchange(transport, behave)


async def test_a_redirect_is_a_reply_and_the_key_stays_here(transport):
    """No redirect is followed, so Authorization reaches no other origin."""

    async def elsewhere(line):
        await line.reply(b"{}")

    async with FaultServer(elsewhere) as other:

        async def behave(line):
            await line.reply(b"", "307 Temporary Redirect", f"Location: {other.url}/v1")

        async with FaultServer(behave) as server:
            reply = await transport.send(post(server.url, Authorization="Bearer secret"), Timeout(5.0))
        assert (reply.status, reply.headers.get("location")) == (307, f"{other.url}/v1")
        assert (len(server.seen), other.seen) == (1, [])


async def test_cookies_are_not_kept(transport):
    """What a server sets is not sent back: calls do not know each other."""

    async def behave(line):
        await line.reply(b"{}", "200 OK", "Set-Cookie: session=1; Path=/")

    async with FaultServer(behave) as server:
        await transport.send(post(server.url), Timeout(5.0))
        await transport.send(post(server.url), Timeout(5.0))
    assert "cookie" not in server.seen[1].headers


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer secret"}])
async def test_no_password_file_is_read(transport, monkeypatch, tmp_path, headers):
    """`~/.netrc` neither replaces the caller's key nor adds one to a call without."""
    (tmp_path / "netrc").write_text("default login somebody password theirs\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    async def behave(line):
        await line.reply(b"{}")

    async with FaultServer(behave) as server:
        await transport.send(post(server.url, **headers), Timeout(5.0))
    assert server.seen[0].headers.get("authorization") == headers.get("Authorization")


async def test_a_name_that_does_not_exist(transport):
    """`.invalid` is resolved by nobody: said as such, with what to check, and nothing was sent."""
    with pytest.raises(ConnectFailed, match=r"name nobody\.invalid cannot be resolved; check the base URL"):
        await transport.send(post("http://nobody.invalid/v1"), Timeout(10.0))


async def test_the_key_is_in_no_error(transport):
    """Whatever goes wrong, the header that carries the key is not quoted."""
    for behaviour in (reset_at_once, end_in_body, no_http):
        async with FaultServer(behaviour) as server:
            with pytest.raises((ConnectionLost, BadResponse)) as lost:
                await transport.send(post(server.url, Authorization="Bearer topsecretvalue"), Timeout(5.0))
        assert "topsecret" not in repr(lost.value)
