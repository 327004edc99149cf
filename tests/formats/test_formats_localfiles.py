"""Pictures and other files that a row names: read when the row is, sent and hashed by their content."""

import base64
import json
import os

import pytest
from fakes import FakeTransport, answer_to, manager_on

from fastbatch import LLMRequest, Message, image_file
from fastbatch.errors import InputError, InvalidRequest
from fastbatch.formats.localfiles import names_files, with_files
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
        ("file:dir.png", "cannot be read: Is a directory"),
    ],
)
def test_files_that_cannot_be_read(folder, name, words):
    """The row is refused, with the path."""
    (folder / "dir.png").mkdir()
    (folder / "noending").write_bytes(b"")
    row = {"messages": user({"type": "image_url", "image_url": {"url": name}})}
    with pytest.raises(InvalidRequest, match=words):
        read_row(row, RowSettings(model="m", folder=folder))


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
