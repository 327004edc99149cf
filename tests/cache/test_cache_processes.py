"""Several processes at one cache, and what importing costs; each in a real process."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

import fastbatch.cache
from fastbatch.cache import DiskCache


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    return out


WRITE = """
    import asyncio, sys
    import fastbatch.cache
    async def main(kind, directory, puts, name):
        cache = getattr(fastbatch.cache, kind)(directory)
        for start in range(0, int(puts), 50):
            mine = {f"{name} {n}": f"{name} {n}".encode() * 20 for n in range(start, start + 50)}
            await cache.put_many(mine | {"shared": name.encode()})
            assert len(await cache.get_many(list(mine))) == 50
            if start % 500 == 0:
                await cache.close()
        await cache.close()
    asyncio.run(main(*sys.argv[1:]))
"""

READ = """
    import asyncio, sys
    import fastbatch.cache
    async def main(kind, directory, puts):
        cache = getattr(fastbatch.cache, kind)(directory)
        keys = [f"{name} {n}" for name in "abcd" for n in range(0, int(puts), 10)]
        last = f"{{}} {int(puts) - 1}".format
        while len(await cache.get_many([last(name) for name in "abcd"])) < 4:
            for start in range(0, len(keys), 500):
                for key, value in (await cache.get_many(keys[start : start + 500])).items():
                    assert value == key.encode() * 20
            await cache.close()
    asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("kind", "file", "puts"),
    [("DiskCache", "answers.sqlite3", 10_000), ("DiskCacheBackend", "cache.db", 1_000)],
)
def test_four_processes_put_at_once(tmp_path: Path, kind: str, file: str, puts: int) -> None:
    """Two more read all the while, and all open and close: nobody hears of a lock, and no row is lost."""
    processes = [start(WRITE, kind, tmp_path / "c", puts, name) for name in "abcd"]
    processes += [start(READ, kind, tmp_path / "c", puts) for _ in range(2)]
    try:
        for process in processes:
            end(process)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    cache = getattr(fastbatch.cache, kind)(tmp_path / "c")
    wanted = {f"{name} {n}": f"{name} {n}".encode() * 20 for name in "abcd" for n in range(puts)}
    assert asyncio.run(cache.get_many(list(wanted))) == wanted
    assert asyncio.run(cache.stats()).entries == 4 * puts + 1
    asyncio.run(cache.close())
    with closing(sqlite3.connect(tmp_path / "c" / file)) as db, db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
    assert not list((tmp_path / "c").glob("*corrupt*"))


def test_a_second_object_leaves_the_first_ones_locks(tmp_path: Path) -> None:
    """Another process that closes the cache must see that this one has it open, and leave its log alone.

    Opening the database file beside SQLite, and closing it, would drop this process's locks without a word.
    """
    first, second = DiskCache(tmp_path / "c"), DiskCache(tmp_path / "c")
    asyncio.run(first.put_many({"a": b"1"}))
    asyncio.run(second.get_many(["a"]))
    log = first.path.with_name(first.path.name + "-wal").stat().st_ino
    script = """
        import asyncio, sys
        from fastbatch.cache import DiskCache
        cache = DiskCache(sys.argv[1])
        asyncio.run(cache.put_many({"other": b"2"}))
        asyncio.run(cache.close())
    """
    end(start(script, tmp_path / "c"))
    assert first.path.with_name(first.path.name + "-wal").stat().st_ino == log
    asyncio.run(second.close())
    assert asyncio.run(first.get_many(["a", "other"])) == {"a": b"1", "other": b"2"}
    asyncio.run(first.close())


def test_killed_while_writing(tmp_path: Path) -> None:
    """What was stored before a kill is there afterwards, whole, and the next process is not held up."""
    process = start(
        """
        import asyncio, sys
        from fastbatch.cache import DiskCache
        async def main():
            cache = DiskCache(sys.argv[1])
            for n in range(10**6):
                await cache.put_many({f"{n} {i}": b"x" * 1000 for i in range(100)})
                print(n, flush=True)
        asyncio.run(main())
        """,
        tmp_path / "c",
    )
    assert process.stdout is not None
    while int(process.stdout.readline()) < 5:
        pass
    process.kill()
    said = process.communicate()[0].split()
    last = int(said[-1]) if said else 5
    cache = DiskCache(tmp_path / "c")
    keys = [f"{n} {i}" for n in range(last + 1) for i in range(100)]
    assert len(asyncio.run(cache.get_many(keys))) == len(keys)
    asyncio.run(cache.put_many({"after": b"1"}))
    asyncio.run(cache.close())


def test_a_forked_child_opens_its_own(tmp_path: Path) -> None:
    """An object used before a fork works on both sides of it."""
    out = end(
        start(
            """
            import asyncio, os, sys, warnings
            warnings.simplefilter("ignore", DeprecationWarning)
            from fastbatch.cache import DiskCache
            cache = DiskCache(sys.argv[1])
            asyncio.run(cache.put_many({"parent": b"1"}))
            child = os.fork()
            if not child:
                asyncio.run(cache.put_many({"child": b"2"}))
                found = asyncio.run(cache.get_many(["parent", "child"]))
                asyncio.run(cache.close())
                os._exit(0 if len(found) == 2 else 1)
            assert os.waitpid(child, 0)[1] == 0
            asyncio.run(cache.put_many({"again": b"3"}))
            print(sorted(asyncio.run(cache.get_many(["parent", "child", "again"]))))
            asyncio.run(cache.close())
            """,
            tmp_path / "c",
        )
    )
    assert out == "['again', 'child', 'parent']\n"


def test_a_full_disk_is_one_warning(tmp_path: Path) -> None:
    """Beyond the largest file the system allows, the guarded cache steps aside and the program goes on."""
    process = start(
        """
        import asyncio, logging, resource, sys
        from fastbatch.cache import DiskCache, GuardedCache
        logging.basicConfig(format="%(levelname)s")
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
        async def main():
            inner = DiskCache(sys.argv[1])
            cache = GuardedCache(inner)
            for n in range(20):
                await cache.put_many({f"{n} {i}": b"x" * 1000 for i in range(100)})
            print(cache.broken is not None, await cache.get_many(["0 0"]))
            await cache.close()
        asyncio.run(main())
        """,
        tmp_path / "c",
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "True {}\n", "WARNING\n")
    cache = DiskCache(tmp_path / "c")
    assert asyncio.run(cache.get_many(["0 0"])) == {"0 0": b"x" * 1000}
    asyncio.run(cache.close())


def test_not_closed_does_not_hang_the_exit(tmp_path: Path) -> None:
    """A program that forgets to close ends all the same, with everything stored."""
    end(
        start(
            """
            import asyncio, sys
            from fastbatch.cache import DiskCache
            asyncio.run(DiskCache(sys.argv[1]).put_many({"a": b"1"}))
            kept = DiskCache(sys.argv[1])
            asyncio.run(kept.put_many({"b": b"2"}))
            """,
            tmp_path / "c",
        )
    )
    cache = DiskCache(tmp_path / "c")
    assert asyncio.run(cache.get_many(["a", "b"])) == {"a": b"1", "b": b"2"}
    asyncio.run(cache.close())


def test_importing_the_package_is_light() -> None:
    """Neither the database nor the hash is imported before a cache is named; unknown names say so."""
    out = end(
        start(
            """
            import sys
            import fastbatch.cache
            print([name for name in ("sqlite3", "xxhash", "diskcache", "asyncio") if name in sys.modules])
            try:
                fastbatch.cache.RedisCache
            except AttributeError as error:
                print(error)
            print(sorted(set(fastbatch.cache.__all__) - set(dir(fastbatch.cache))))
            from fastbatch.cache import DiskCache
            print("sqlite3" in sys.modules)
            """
        )
    )
    assert out == "[]\nmodule 'fastbatch.cache' has no attribute 'RedisCache'\n[]\nTrue\n"
