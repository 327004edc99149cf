"""Pictures and other files that a row names: read when the row is, sent and hashed by their content."""

import base64
import json
import os

import pytest
from fakes import FakeTransport, answer_to, manager_on, refusal

from fastbatch import InMemoryCache, LLMRequest, Message, image_file
from fastbatch.engine.filerun import FileOptions
from fastbatch.errors import InputError, InvalidRequest
from fastbatch.formats.batchfile import read_batch
from fastbatch.formats.localfiles import names_files, stamp, with_files
from fastbatch.formats.rows import RowSettings, read_row

CAT = b"\x89PNG\r\n cat"
URL = "data:image/png;base64," + base64.b64encode(CAT).decode()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "cat.png").write_bytes(CAT)
    (tmp_path / "a file.pdf").write_bytes(b"%PDF")
    (tmp_path / "say.WAV").write_bytes(b"RIFF")
    return tmp_path


def user(*parts):
    return [{"role": "user", "content": list(parts)}]


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        (
            {"type": "image_url", "image_url": {"url": "file:cat.png", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
        ),
        ({"type": "image_url", "image_url": "file:cat.png"}, {"type": "image_url", "image_url": URL}),
        ({"type": "input_image", "image_url": "file:./cat.png"}, {"type": "input_image", "image_url": URL}),
        (
            {"type": "file", "file": {"file_data": "file:a file.pdf"}},
            {
                "type": "file",
                "file": {"filename": "a file.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
            },
        ),
        (
            {"type": "input_file", "file_data": "file:a file.pdf"},
            {
                "filename": "a file.pdf",
                "type": "input_file",
                "file_data": "data:application/pdf;base64,JVBERg==",
            },
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "file:say.WAV"}},
            {"type": "input_audio", "input_audio": {"format": "wav", "data": "UklGRg=="}},
        ),
    ],
)
def test_what_is_named_is_sent(folder, part, sent):
    """In each kind of part that OpenAI knows; what stands beside it stays, and the row is not changed."""
    messages = user({"type": "text", "text": "What is this?"}, part)
    before = json.dumps(messages)
    assert with_files(messages, folder) == user({"type": "text", "text": "What is this?"}, sent)
    assert json.dumps(messages) == before


def test_urls_with_absolute_paths(folder):
    """As a browser writes them."""
    name = f"file://{folder}/a%20file.pdf"
    ((said),) = with_files(user({"type": "file", "file": {"file_data": name}}), folder / "elsewhere")
    assert said["content"][0]["file"]["filename"] == "a file.pdf"


@pytest.mark.parametrize(
    "messages",
    [
        user({"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}),
        user({"type": "image_url", "image_url": {"url": URL}}),
        user({"type": "text", "text": "file:cat.png"}),
        user({"type": "image_url"}, 5, None),
    ],
)
def test_what_names_no_file_stays(messages, folder):
    """The very same list."""
    assert with_files(messages, folder) is messages


def test_only_structured_content_is_looked_at():
    """Usual messages cost no call."""
    assert not names_files([{"role": "user", "content": "file:cat.png"}])
    assert names_files(user())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("file:dog.png", "dog.png cannot be read: No such file"),
        ("file:", "cannot be told by its name"),
        ("file:noending", "cannot be told by its name"),
        ("file:dir.png", "cannot be read: it is no regular file"),
        ("file:pipe.png", "cannot be read: it is no regular file"),
        ("file:endless.png", "cannot be read: it is no regular file"),
        ("file:empty.png", "empty.png is empty"),
        ("file:~nobody-here/cat.png", "~nobody-here/cat.png cannot be read"),
        ("file:cat\0.png", r"cat\\0.png cannot be read"),
        ("file:///cat%00.png", r"cat\\0.png cannot be read"),
        ("file://elsewhere/cat.png", "another machine"),
        ("file://localhost-not/cat.png", "another machine"),
        ("file://cat.png", "another machine"),
    ],
)
def test_files_that_cannot_be_read(folder, name, words):
    """The row is refused, with the path."""
    (folder / "dir.png").mkdir()
    (folder / "noending").write_bytes(b"")
    (folder / "empty.png").write_bytes(b"")
    os.mkfifo(folder / "pipe.png")
    (folder / "endless.png").symlink_to("/dev/zero")
    row = {"messages": user({"type": "image_url", "image_url": {"url": name}})}
    with pytest.raises(InvalidRequest, match=words):
        read_row(row, RowSettings(model="m", folder=folder))
    assert stamp(row, folder) == stamp(row, folder)


@pytest.mark.parametrize("beside", [{}, {"format": "wav"}])
def test_only_sounds_are_sent_as_such(folder, beside):
    """As told by the ending, so that no other file goes out by mistake."""
    (folder / "passwords").write_bytes(b"secret")
    for name in ("passwords", "cat.png"):
        part = {"type": "input_audio", "input_audio": {"data": f"file:{name}", **beside}}
        with pytest.raises(InvalidRequest, match=f"{name} is no sound by its name"):
            with_files(user(part), folder)


def test_where_none_may_be_named():
    """They are refused, and nothing is said of other messages."""
    cat = user({"type": "image_url", "image_url": {"url": "file:cat.png"}})
    with pytest.raises(InvalidRequest, match="u escapes"):
        with_files(cat, None)
    text = user({"type": "text", "text": "file:cat.png"})
    assert with_files(text, None) is text


def test_batches_from_files(folder):
    """Names are looked for beside the file, as where it is run."""
    part = {"type": "image_url", "image_url": {"url": "file:cat.png"}}
    (folder / "rows.jsonl").write_text(json.dumps({"messages": user(part)}))
    (request,) = read_batch(folder / "rows.jsonl")
    assert request.body["messages"][0]["content"][0]["image_url"]["url"] == URL


def test_huge_files_are_refused(folder):
    """No provider takes them."""
    with (folder / "huge.png").open("wb") as file:
        os.truncate(file.fileno(), 65 * 1024 * 1024)
    with pytest.raises(InvalidRequest, match="larger than"):
        image_file(folder / "huge.png")


def test_in_python(folder):
    """`image_file` makes a part of a file."""
    message = Message.user([image_file(folder / "cat.png", detail="high")])
    request = LLMRequest.from_messages([message], model="m")
    assert request.body["messages"][0]["content"][0]["image_url"] == {"url": URL, "detail": "high"}


async def test_rows_of_files(folder):
    """Beside the input file; a changed picture is another request, one that was only touched is not."""
    cat = {"type": "image_url", "image_url": {"url": "file:cat.png"}}
    line = {"custom_id": "b", "method": "POST", "url": "/v1/chat/completions"}
    line["body"] = {"model": "m", "messages": user(cat)}
    rows = [{"id": "a", "messages": user(cat)}, line, {"id": "c", "prompt": "Hi"}]
    source, output = folder / "rows.jsonl", folder / "deep" / "out.jsonl"
    output.parent.mkdir()
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    bodies = []

    def answer(call):
        bodies.append(json.loads(call.body))
        return answer_to("A cat.")

    async def sent():
        del bodies[:]
        summary = await manager_on(FakeTransport(answer)).run_file_async(source, output)
        assert summary.ok + summary.skipped == 3
        return summary.sent

    # Two ask the same, so that one of them is sent.
    assert await sent() == 2
    assert URL in json.dumps(bodies)
    assert await sent() == 0
    os.utime(folder / "cat.png", (1, 1))
    assert await sent() == 0
    (folder / "cat.png").write_bytes(b"\x89PNG dog")
    assert await sent() == 1
    (folder / "cat.png").unlink()
    with pytest.raises(InputError, match=r"line 1: .*cat\.png cannot be read"):
        await sent()
    assert bodies == []


async def test_escaped_names_in_a_file(folder):
    """A name that the line does not show is refused: nobody would see that its picture has changed."""
    line = json.dumps({"messages": user({"type": "image_url", "image_url": {"url": "file:cat.png"}})})
    (folder / "rows.jsonl").write_text(line.replace('"file:', '"\\u0066ile:'))
    transport = FakeTransport()
    with pytest.raises(InputError, match=r"line 1: .* without .u escapes"):
        await manager_on(transport).run_file_async(folder / "rows.jsonl", folder / "out.jsonl")
    assert not transport.calls


def pictures(folder, count):
    """The file of so many rows with a picture each, and the last of the pictures."""
    parts = [{"type": "image_url", "image_url": {"url": f"file:{number}.png"}} for number in range(count)]
    for number in range(count):
        (folder / f"{number}.png").write_bytes(b"old %d" % number)
    rows = [{"id": str(number), "messages": user(part)} for number, part in enumerate(parts)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "rows.jsonl", folder / f"{count - 1}.png"


def shown(call):
    """What the picture in a request holds."""
    url = json.loads(call.body)["messages"][0]["content"][0]["image_url"]["url"]
    return base64.b64decode(url.partition(",")[2]).decode("utf-8", "surrogateescape")


async def test_a_picture_that_changes_meanwhile(folder):
    """Its answer is kept under what was sent: the cache does not give it for the picture of before."""
    source, last = pictures(folder, 1500)
    before = last.read_bytes()

    def answer(call):
        if shown(call) == "old 0":
            last.write_bytes(b"new")
        return answer_to(f"I see {shown(call)}.")

    cache = InMemoryCache()

    def manager(transport):
        return manager_on(transport, cache=cache, concurrency=4)

    await manager(FakeTransport(answer)).run_file_async(source, folder / "first.jsonl")
    assert b"I see new." in (folder / "first.jsonl").read_bytes()
    last.write_bytes(before)
    again = FakeTransport(answer)
    await manager(again).run_file_async(source, folder / "second.jsonl")
    assert [shown(call) for call in again.calls] == ["old 1499"]
    assert b"I see new." not in (folder / "second.jsonl").read_bytes()


async def test_a_picture_that_goes_meanwhile(folder):
    """A bad row that was found late: with `on_bad_row="record"` it fails, and the others are answered."""
    source, last = pictures(folder, 1500)

    def answer(call):
        last.unlink(missing_ok=True)
        return answer_to("I see.")

    manager = manager_on(FakeTransport(answer), concurrency=4)
    summary = await manager.run_file_async(source, folder / "out.jsonl", on_bad_row="record")
    assert (summary.ok, summary.failed) == (1499, 1)
    assert b"1499.png cannot be read" in (folder / "out.jsonl.errors.jsonl").read_bytes()


@pytest.fixture
def apart(folder):
    """The input in one folder, with its picture; the output in another."""
    (folder / "out").mkdir()
    part = {"type": "image_url", "image_url": {"url": "file:cat.png"}}
    line = {"custom_id": "b", "method": "POST", "url": "/v1/chat/completions"}
    line["body"] = {"model": "m", "messages": user(part)}
    rows = [{"id": "a", "messages": user(part), "temperature": 0}, line, {"id": "c", "prompt": "Hi"}]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "rows.jsonl", folder / "out" / "out.jsonl"


async def test_error_records_are_run_again(apart, folder):
    """The names are looked for beside the input that the rows came from, however often they fail."""
    source, output = apart
    errors = output.with_name("out.jsonl.errors.jsonl")
    manager = manager_on(FakeTransport(lambda call: refusal(400)))
    await manager.run_file_async(source, output)
    for _ in range(2):
        told = {
            row["custom_id"]: row["fastbatch"] for row in map(json.loads, errors.read_text().splitlines())
        }
        assert told == {
            "a": {"row": 1, "folder": str(folder)},
            "b": {"row": 2, "folder": str(folder)},
            "c": {"row": 3},
        }
        await manager.run_file_async(errors, output)
    (folder / "cat.png").write_bytes(b"\x89PNG dog")
    transport = FakeTransport()
    summary = await manager_on(transport).run_file_async(errors, output)
    assert (summary.ok, summary.failed) == (3, 0)
    assert {shown(call) for call in transport.calls if b"image_url" in call.body} == {"\udc89PNG dog"}


async def test_piped_rows(apart, folder, monkeypatch):
    """A pipe is kept in a temporary file; names are looked for in the working directory."""
    source, output = apart
    spool = folder / "out" / "spool.jsonl"
    source.rename(spool)
    monkeypatch.chdir(folder)
    manager = manager_on(FakeTransport())
    run = manager.file_run(spool, output, options=FileOptions(input_name="stdin"))
    assert (await run.run()).ok == 3


def test_changed_files_of_a_record_are_seen(folder):
    """They are looked for where the record says that they are."""
    row = {"messages": user({"type": "image_url", "image_url": {"url": "file:cat.png"}})}
    row |= {"error": {}, "fastbatch": {"row": 1, "folder": str(folder)}}
    before = stamp(row, folder / "elsewhere")
    (folder / "cat.png").write_bytes(b"another")
    assert stamp(row, folder / "elsewhere") != before
