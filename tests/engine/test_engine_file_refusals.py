"""What is refused before anything is sent, in one sentence, and what bad rows become."""

import fcntl
import gzip
import json
import os
import subprocess
import sys

import pytest
from fakes import FakeTransport, manager_on
from test_engine_file_resume import answers, read, run, write

from fastbatch.engine.done import Answers
from fastbatch.engine.index import RowTable
from fastbatch.engine.inputfile import InputFile
from fastbatch.errors import ConfigError, InputError, OutputError
from fastbatch.formats.rows import RowSettings

GOOD = json.dumps({"prompt": "good"}).encode()


@pytest.fixture
def rows(tmp_path):
    return tmp_path / "rows.jsonl"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.jsonl"


BAD_LINES = {
    "no JSON": (b"{prompt: a}", "not valid JSON"),
    "cut off": (b'{"prompt": "a"', "not valid JSON"),
    "invalid UTF-8": (b'{"prompt": "\xff"}', "not valid JSON"),
    "NUL": (b'{"prompt": "a\x00"}', "not valid JSON"),
    "no object": (b'["a"]', "must be a JSON object"),
    "a number for a prompt": (b'{"prompt": 7}', "prompt must be a string"),
    "no known key": (b'{"text": "a"}', "--prompt"),
    "an unknown role": (b'{"messages": [{"role": "robot", "content": "a"}]}', "robot"),
    "streaming": (b'{"prompt": "a", "stream": true}', "stream"),
    "both": (b'{"prompt": "a", "messages": []}', "both"),
    "a huge number": (b'{"prompt": "a", "seed": 123456789012345678901234567890}', "64 bit"),
    "an odd id": (b'{"id": [], "prompt": "a"}', "custom_id"),
}


@pytest.mark.parametrize("case", BAD_LINES)
async def test_a_bad_row_refuses_the_whole_input(rows, out, case):
    """Named with file and line, and with the cure; nothing is sent and no output is made."""
    line, says = BAD_LINES[case]
    rows.write_bytes(GOOD + b"\n\n" + line + b"\n")
    transport = FakeTransport()
    with pytest.raises(InputError) as refused:
        await manager_on(transport).run_file_async(rows, out)
    assert refused.value.message.startswith(f"{rows}, line 3: ")
    assert says in refused.value.message
    assert "nothing was sent" in refused.value.message
    assert "--on-bad-row record or skip, on_bad_row= in Python)" in refused.value.message
    assert (transport.calls, sorted(path.name for path in out.parent.iterdir())) == ([], ["rows.jsonl"])


@pytest.mark.parametrize("case", BAD_LINES)
async def test_a_bad_row_may_be_recorded(rows, out, case):
    """With on_bad_row="record" it is a failed row with the reason; the others are answered."""
    line, says = BAD_LINES[case]
    rows.write_bytes(line + b"\n" + GOOD + b"\n")
    summary = await run(FakeTransport(), rows, out, on_bad_row="record")
    assert (summary.ok, summary.failed) == (1, 1)
    (record,) = read(out.with_name("out.jsonl.errors.jsonl"))
    assert (record["error"]["class"], record["error"]["attempts"]) == ("InvalidRequest", 0)
    assert says in record["error"]["message"]
    transport = FakeTransport()
    summary = await run(transport, rows, out, on_bad_row="record")
    assert (summary.skipped, summary.failed, transport.calls) == (1, 1, [])


async def test_a_bad_row_may_be_skipped(rows, out):
    """With on_bad_row="skip" it is left out and counted as skipped."""
    rows.write_bytes(b"nonsense\n" + GOOD + b"\n")
    summary = await run(FakeTransport(), rows, out, on_bad_row="skip")
    assert (summary.ok, summary.failed, summary.skipped) == (1, 0, 1)
    assert not out.with_name("out.jsonl.errors.jsonl").exists()


async def test_duplicate_ids_are_refused_with_both_lines(rows, out):
    """The person must be able to find both."""
    write(rows, {"id": "x", "prompt": "a"}, {"id": "y", "prompt": "b"}, {"custom_id": "x", "prompt": "c"})
    with pytest.raises(InputError, match=r"line 3: the id 'x' stands on line 1 already and again on line 3"):
        await manager_on(FakeTransport()).run_file_async(rows, out)


async def test_many_duplicates_cost_one_reading(rows, out, monkeypatch):
    """A file doubled by mistake is recorded row by row without reading it again for each of them."""
    from fastbatch.engine import inputfile

    write(rows, *({"id": n % 500, "prompt": "a"} for n in range(1000)))
    readings = []
    original = inputfile.row_blocks
    monkeypatch.setattr(
        inputfile, "row_blocks", lambda path, limit: readings.append(path) or original(path, limit)
    )
    summary = await run(FakeTransport(), rows, out, on_bad_row="record")
    assert (summary.ok, summary.failed) == (500, 500)
    assert len(readings) == 3  # a glance at its beginning, the check, and the run


async def test_a_content_may_occur_very_often(rows):
    """A hundred thousand equal rows without ids are as many rows, numbered from the second on."""
    rows.write_bytes((GOOD + b"\n") * 100_000)
    answers = Answers((), RowTable())
    names = [row.custom_id for row in InputFile(rows, RowSettings(model="m")).rows(answers)]
    assert (len(set(names)), names[1], names[-1]) == (100_000, f"{names[0]}-2", f"{names[0]}-100000")


LINE_ENDS = {
    "BOM": b"\xef\xbb\xbf" + GOOD + b"\n",
    "CRLF": GOOD + b"\r\n",
    "blank lines": b"\n \n\t\r\n" + GOOD + b"\n\n",
    "no final newline": GOOD,
}


@pytest.mark.parametrize("case", LINE_ENDS)
async def test_line_ends_do_not_matter(rows, out, case):
    """A BOM, CRLF, blank lines and a missing last newline are read as one good row."""
    rows.write_bytes(LINE_ENDS[case])
    assert (await run(FakeTransport(), rows, out)).ok == 1


async def test_other_separators_are_text(rows, out):
    """Lines end at \\n only: U+2028 and a lone CR inside a string stay in the prompt."""
    text = "one\u2028two\u0085three"
    rows.write_bytes(json.dumps({"prompt": text}, ensure_ascii=False).encode() + b"\n")
    await run(FakeTransport(), rows, out)
    assert list(answers(out).values()) == [f"You said {text}"]


async def test_a_compressed_input(tmp_path, out):
    """`.gz` is unpacked on the way; one that is cut short is refused before anything is sent."""
    path = tmp_path / "rows.jsonl.gz"
    packed = gzip.compress(b"".join(b'{"prompt": "%d"}\n' % n for n in range(1000)))
    path.write_bytes(packed)
    assert (await run(FakeTransport(), path, out)).ok == 1000
    path.write_bytes(packed[:-100])
    transport = FakeTransport()
    with pytest.raises(InputError, match=r"rows\.jsonl\.gz.*cannot be read to its end"):
        await manager_on(transport).run_file_async(path, tmp_path / "other.jsonl")
    assert transport.calls == []


@pytest.mark.parametrize("how", ["same path", "hard link", "symlink", "a way around"])
async def test_an_output_that_is_the_input_is_refused(rows, out, how):
    """Under whatever name; the input is as it was."""
    write(rows, {"prompt": "a"})
    before = rows.read_bytes()
    if how == "same path":
        out = rows
    elif how == "hard link":
        os.link(rows, out)
    elif how == "symlink":
        out.symlink_to(rows)
    else:
        out = rows.parent / "." / ".." / rows.parent.name / rows.name
    transport = FakeTransport()
    with pytest.raises(OutputError, match="is the input itself"):
        await manager_on(transport).run_file_async(rows, out)
    assert (rows.read_bytes(), transport.calls) == (before, [])


def loop(path):
    path.symlink_to(path)
    return path


OUTPUTS = {
    "a directory": (lambda folder: folder, "directory"),
    "no such folder": (lambda folder: folder / "missing" / "out.jsonl", "does not exist"),
    "compressed": (lambda folder: folder / "out.jsonl.gz", "plain lines"),
    "a device": (lambda folder: "/dev/null", "not an ordinary file"),
    "a long name": (lambda folder: folder / ("x" * 240), "name of the output is too long"),
    "a link to itself": (lambda folder: loop(folder / "loop.jsonl"), "a link that leads to itself"),
}


@pytest.mark.parametrize("case", OUTPUTS)
async def test_an_output_that_cannot_be_one_is_refused(rows, tmp_path, case):
    """Said with the cure, before anything is sent."""
    place, says = OUTPUTS[case]
    write(rows, {"prompt": "a"})
    transport = FakeTransport()
    with pytest.raises(OutputError, match=says):
        await manager_on(transport).run_file_async(rows, place(tmp_path))
    assert transport.calls == []


INPUTS = {"missing": "no such file", "a directory": "directory"}


@pytest.mark.parametrize("case", INPUTS)
async def test_an_input_that_is_none_is_refused(tmp_path, out, case):
    """Named, and no output is made."""
    path = tmp_path if case == "a directory" else tmp_path / "missing.jsonl"
    with pytest.raises(InputError, match=INPUTS[case]):
        await manager_on(FakeTransport()).run_file_async(path, out)
    assert not out.exists()


FOREIGN = {
    "notes": b"Dear diary,\ntoday",
    "one line": b"all my work on one line without an end",
    "JSON": b'{"id": "my own", "data": [1, 2, 3]}',
    "JSON lines": b'{"prompt": "a"}\n{"prompt": "b"}\n',
    "pretty JSON": b'{\n  "a": 1\n}',
}


@pytest.mark.parametrize("case", FOREIGN)
async def test_a_file_that_is_not_ours_is_not_touched(rows, out, case):
    """An output that holds something else is refused, and not one byte of it is changed."""
    write(rows, {"prompt": "a"})
    out.write_bytes(FOREIGN[case])
    transport = FakeTransport()
    with pytest.raises(OutputError, match=r"does not hold result lines of fastbatch .* move the file away"):
        await manager_on(transport).run_file_async(rows, out)
    assert (out.read_bytes(), transport.calls) == (FOREIGN[case], [])


@pytest.mark.parametrize("damage", ["a byte", "a line cut in the middle", "a line of its own"])
async def test_a_damaged_output_is_refused_with_the_line(rows, out, damage):
    """Damage before the last line is not repaired by guessing; the file stays as it is."""
    write(rows, {"prompt": "a"}, {"prompt": "b"}, {"prompt": "c"})
    await run(FakeTransport(), rows, out)
    first, second, third = out.read_bytes().splitlines(keepends=True)
    damaged = {
        "a byte": second.replace(b"You said", b"You sayd"),
        "a line cut in the middle": second[:50] + b"\n",
        "a line of its own": b"{}\n" + second,
    }[damage]
    out.write_bytes(first + damaged + third)
    transport = FakeTransport()
    with pytest.raises(OutputError, match=r"out\.jsonl, line 2: .*not a whole result line"):
        await manager_on(transport).run_file_async(rows, out)
    assert (out.read_bytes(), transport.calls) == (first + damaged + third, [])


_HOLDER = """
import sys
from pathlib import Path
from fastbatch.engine.journal.journal import Journal
journal = Journal(Path(sys.argv[1]))
journal.open(input="rows.jsonl", model="m")
print("held", flush=True)
sys.stdin.read()
journal.undo()
"""


def test_an_output_held_by_another_process_is_refused(rows, out):
    """At once and with nothing sent; when the other has ended, the run goes through."""
    write(rows, {"prompt": "a"})
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        transport = FakeTransport()
        named = f"is held by another running fastbatch .process {holder.pid} on "
        with pytest.raises(OutputError, match=named):
            manager_on(transport).run_file(rows, out)
        assert transport.calls == []
    finally:
        holder.communicate("")
    assert manager_on(FakeTransport()).run_file(rows, out).ok == 1


_FORKED = """
import os, sys
from pathlib import Path
from fastbatch.engine.journal.journal import Journal
def take():
    journal = Journal(Path(sys.argv[1]))
    journal.open(input="rows.jsonl", model="m")
    return journal
journal = take()
reader, writer = os.pipe()
if not (child := os.fork()):
    os.close(writer)
    os.read(reader, 1)
    os._exit(0)
journal.close()
take().close()
print("taken while the child lives")
os.close(writer)
os.waitpid(child, 0)
"""


def test_a_forked_child_does_not_hold_the_output(out):
    """A program that forks while a run goes on can run again although its child lives on."""
    done = subprocess.run(
        [sys.executable, "-c", _FORKED, str(out)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "taken while the child lives\n", done.stderr


async def test_who_looks_on_is_waited_for(rows, out, monkeypatch):
    """`fastbatch status` has the lock for a moment; a run that starts just then is not refused."""
    from fastbatch.engine.journal import lines

    looking = os.open(out.with_name("out.jsonl.journal"), os.O_RDWR | os.O_CREAT)
    fcntl.flock(looking, fcntl.LOCK_SH)
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        os.close(looking)

    monkeypatch.setattr(lines.time, "sleep", sleep)
    write(rows, {"prompt": "a"})
    assert (await run(FakeTransport(), rows, out)).ok == 1
    assert len(waited) == 1


async def test_a_lock_on_a_file_that_was_replaced_meanwhile_is_not_taken(rows, out, monkeypatch):
    """Between opening and locking the holder may put a new file in place: the new one is opened."""
    from fastbatch.engine.journal.lines import LineFile

    out.write_bytes(b"")
    lock = fcntl.flock
    replaced = []

    def late(fd, how):
        if not replaced:
            replaced.append(True)
            other = out.with_name("other")
            other.write_bytes(b"")
            other.replace(out)
        lock(fd, how)

    monkeypatch.setattr("fastbatch.engine.journal.lines.fcntl.flock", late)
    file = LineFile(out)
    file.append(b"kept\n")
    file.close()
    assert out.read_bytes() == b"kept\n"


@pytest.mark.parametrize("template", ["no place", "{", "{text!r}", "{}"])
async def test_a_template_that_cannot_work_is_refused(rows, out, template):
    """Said of the option, not of every row."""
    write(rows, {"text": "a"})
    with pytest.raises(ConfigError, match="prompt"):
        await manager_on(FakeTransport()).run_file_async(rows, out, prompt=template)


async def test_a_template_makes_the_prompts(rows, out):
    """From the row's keys, which are carried to the output as metadata; its own prompt does not count."""
    write(rows, {"id": 1, "text": "a cat", "prompt": "ignored"})
    transport = FakeTransport()
    await run(transport, rows, out, prompt="Summarise: {text}", system="Be brief.")
    assert json.loads(transport.calls[0].body)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Summarise: a cat"},
    ]
    assert read(out)[0]["metadata"]["text"] == "a cat"
