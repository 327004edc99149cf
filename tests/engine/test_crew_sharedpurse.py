"""A cap that several processes keep together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastbatch.engine.crew.sharedpurse import SharedPurse
from fastbatch.engine.purse import Purse, Spent
from fastbatch.errors import ConfigError

SPENDER = """
import sys
from pathlib import Path
from fastbatch.engine.crew.sharedpurse import SharedPurse

purse, spent = SharedPurse(Path(sys.argv[1])), 0
while purse.hold(7):
    seen = purse.look()
    assert seen.spent + seen.held <= seen.limit, seen
    purse.settle(7, 3)
    spent += 3
print(spent)
"""

HOLDER = """
import os, signal, sys
from pathlib import Path
from fastbatch.engine.crew.sharedpurse import SharedPurse

assert SharedPurse(Path(sys.argv[1])).hold(40)
os.kill(os.getpid(), signal.SIGKILL)
"""


def started(script: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("make", ["own", "shared"])
def test_the_verbs_of_a_purse(make, tmp_path):
    """One that threads share and one that processes share are the same to a run."""
    purse = Purse(100) if make == "own" else SharedPurse.create(tmp_path / "purse", 100)
    assert purse.hold(60)
    assert not purse.hold(41)
    assert purse.fits_later(100)
    assert purse.hold(40)
    purse.settle(60, 10)
    purse.doubt(40)
    assert purse.look() == Spent(limit=100, spent=50, doubtful=40, held=0)

    assert purse.hold(50)
    assert not purse.fits_later(51)
    purse.release(50)
    purse.begin(Path("out"), 5, 1)
    purse.spend(Path("out"), 10)
    purse.begin(Path("out"), 10, 9)  # three more than this purse knows of
    assert purse.look() == Spent(limit=100, spent=59, doubtful=41, held=0)


def test_processes_never_spend_more_than_there_is(tmp_path):
    """Four of them spend as fast as they can: what they spent is what the file says, and nearly all of it."""
    path = tmp_path / "purse"
    purse = SharedPurse.create(path, 3000)
    processes = [started(SPENDER, path) for _ in range(4)]
    spent = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(spent) == purse.look().spent
    assert 3000 - 4 * 7 < purse.look().spent <= 3000
    assert purse.look().held == 0


def test_what_a_dead_process_held_is_spent(tmp_path):
    """Held until its parent says that it has ended, and spent from then on; its slot is the next one's."""
    path = tmp_path / "purse"
    purse = SharedPurse.create(path, 100)
    assert purse.hold(50)
    holder = started(HOLDER, path)
    holder.communicate(timeout=60)
    assert purse.look() == Spent(100, 0, 0, 90)
    assert purse.forget(holder.pid) == 40
    assert purse.forget(holder.pid) == 0
    assert purse.look() == Spent(100, 40, 40, 50)
    other = started(SPENDER, path)
    assert int(other.communicate(timeout=60)[0]) == 6
    assert purse.look() == Spent(100, 46, 40, 50)
    purse.settle(50, 0)
    assert purse.forget(os.getpid()) == 0


def test_too_much_for_its_numbers(tmp_path):
    """More than four million dollars are refused with a sentence."""
    with pytest.raises(ConfigError, match="leave workers out"):
        SharedPurse.create(tmp_path / "purse", 1 << 63)


def test_a_reply_that_cannot_be_true_spends_everything(tmp_path):
    """A cost that no number here holds leaves nothing, for this process and for all others."""
    path = tmp_path / "purse"
    purse = SharedPurse.create(path, 100)
    assert purse.hold(40)
    purse.settle(40, 1 << 80)
    assert SharedPurse(path).look() == Spent(100, (1 << 63) - 1, 0, 0)
    assert not SharedPurse(path).hold(1)
