"""The developer's commands: what dev.py promises before and during set-up, and what the lock holds."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = (ROOT / "dev.py").read_text("utf-8")
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
COMMANDS = {"demo", "test", "check", "crash", "damage", "faults", "quota", "weigh", "cover", "pages", "lock"}


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def dev() -> ModuleType:
    """dev.py as a module of its own for each test."""
    return loaded(ROOT / "dev.py")


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """.ci/wheel.py as a module; it imports dev.py."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    return loaded(ROOT / ".ci" / "wheel.py")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory that looks like a checkout with an environment."""
    (tmp_path / "requirements.lock").write_text("rich==15.0.0\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("version = 3.11.7\n")
    (tmp_path / ".venv" / "bin" / "python").touch()
    return tmp_path


def set_up_in(
    root: Path, dev: ModuleType, monkeypatch: pytest.MonkeyPatch, *, works: bool = True
) -> list[Path]:
    """Call `set_up` for `root` with the building replaced by a note of where it would have built."""
    built: list[Path] = []

    def build(where: Path, _installs: list[list[str]], log: Path) -> bool:
        built.append(where)
        where.mkdir(exist_ok=True)
        log.write_text("the index said no\n")
        return works

    monkeypatch.setattr(dev, "ROOT", root)
    monkeypatch.setattr(dev, "PYTHON", root / ".venv" / "bin" / "python")
    monkeypatch.setattr(dev, "build_environment", build)
    dev.set_up()
    return built


def test_it_imports_only_the_standard_library() -> None:
    """dev.py runs before anything is installed."""
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(SOURCE))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported
    assert imported <= sys.stdlib_module_names | {"__future__"}


def test_it_parses_on_an_old_python() -> None:
    """A Python 3.8 gets as far as printing which one is needed."""
    ast.parse(SOURCE, feature_version=(3, 8))


def test_an_old_python_gets_one_sentence(dev: ModuleType) -> None:
    """The sentence names what is needed and what was found; a supported version gets none."""
    assert "needs Python 3.11 or newer and this is 3.9" in dev.too_old((3, 9))
    assert dev.too_old((3, 11)) == dev.too_old((3, 14)) == ""


def test_oldest_python_agrees_with_the_project(dev: ModuleType) -> None:
    """dev.py, the lock and pyproject.toml mean the same oldest Python."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    oldest = "{}.{}".format(*dev.OLDEST)
    assert project["requires-python"] == f">={oldest}"
    assert dev.COMPILE.endswith(f"--python-version {oldest}")


def test_help_lists_every_command(dev: ModuleType) -> None:
    """The help, asked for or given after a mistake, names each command; neither sets anything up."""
    asked = subprocess.run(
        [sys.executable, ROOT / "dev.py", "--help"], capture_output=True, text=True, check=False
    )
    mistaken = subprocess.run(
        [sys.executable, ROOT / "dev.py", "dmeo"], capture_output=True, text=True, check=False
    )
    assert (asked.returncode, mistaken.returncode) == (0, 2)
    assert asked.stdout == mistaken.stderr
    assert set(dev.COMMANDS) == COMMANDS == set(re.findall(r"^  (\w+) ", asked.stdout, re.M))


def test_second_call_starts_at_once(dev: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A foreign environment is brought up to date once; after that nothing is built."""
    assert set_up_in(checkout, dev, monkeypatch) == [checkout / ".venv"]
    assert set_up_in(checkout, dev, monkeypatch) == []


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml", ".venv/pyvenv.cfg"])
def test_a_change_of_what_it_is_made_from_repeats_the_set_up(
    dev: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """The lock, the project file and the interpreter all count."""
    set_up_in(checkout, dev, monkeypatch)
    with (checkout / changed).open("a") as file:
        file.write("# more\n")
    assert set_up_in(checkout, dev, monkeypatch) == [checkout / ".venv"]
    assert set_up_in(checkout, dev, monkeypatch) == []


def test_bytes_moving_between_the_files_change_the_stamp(dev: ModuleType, checkout: Path) -> None:
    """Where a line stands counts, not only that it stands somewhere."""
    before = dev.stamp(checkout)
    line = (checkout / "requirements.lock").read_text()
    (checkout / "requirements.lock").write_text("")
    (checkout / "pyproject.toml").write_text(line + (checkout / "pyproject.toml").read_text())
    assert dev.stamp(checkout) != before


def test_interrupted_set_up_is_repeated(
    dev: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failed set-up leaves no stamp, even after an older good one; the log's end and a cure are shown."""
    set_up_in(checkout, dev, monkeypatch)
    (checkout / "requirements.lock").write_text("rich==16\n")
    with pytest.raises(SystemExit) as stop:
        set_up_in(checkout, dev, monkeypatch, works=False)
    assert "the index said no" in str(stop.value)
    assert "HTTPS_PROXY" in str(stop.value)
    assert dev.stamped(checkout) == ""
    assert set_up_in(checkout, dev, monkeypatch) == [checkout / ".venv"]
    assert capsys.readouterr().out.count("\n") == 3  # one line a set-up


def test_moved_checkout_gets_a_new_environment(
    dev: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Scripts in .venv carry its path, so one that moved is made afresh instead of updated."""
    set_up_in(checkout, dev, monkeypatch)
    moved = checkout.rename(tmp_path_factory.mktemp("elsewhere") / "checkout")
    assert set_up_in(moved, dev, monkeypatch) == [moved / ".venv"]
    assert not (moved / ".venv" / "pyvenv.cfg").exists()


def test_uv_makes_the_environment_where_it_is_installed(dev: ModuleType, tmp_path: Path) -> None:
    """With uv neither venv nor pip is called, and the environment is told by its interpreter."""
    lines = list(dev.commands(tmp_path, [["-r", "x"]], "/usr/bin/uv", True))
    python = str(tmp_path / dev.BIN / "python")
    assert lines == [
        ["/usr/bin/uv", "venv", "--allow-existing", "--python", sys.executable, str(tmp_path)],
        ["/usr/bin/uv", "pip", "install", "--python", python, "-r", "x"],
    ]


def test_pip_makes_it_otherwise(dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """venv and ensurepip are enough; without ensurepip this Python's pip puts one into the environment."""
    python = str(tmp_path / dev.BIN / "python")
    install = [python, "-m", "pip", "install", "-r", "x"]
    monkeypatch.setattr(dev.importlib.util, "find_spec", lambda name: name == "ensurepip" or None)
    make, bootstrap, *rest = dev.commands(tmp_path, [["-r", "x"]], None, True)
    assert (make[1:3], bootstrap, rest) == (["-m", "venv"], [python, "-m", "ensurepip"], [install])
    monkeypatch.setattr(dev.importlib.util, "find_spec", lambda _name: None)
    bootstrap, *rest = dev.commands(tmp_path, [["-r", "x"]], None, False)
    assert bootstrap[1:5] == ["-m", "pip", "--python", python]
    assert rest == [install]


def test_no_way_to_make_an_environment_is_one_clear_sentence(
    dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian without python3-venv, pip and uv is told what to install."""
    monkeypatch.setattr(dev.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(dev.shutil, "which", lambda _name: None)
    with pytest.raises(SystemExit, match="apt install python3-venv"):
        dev.build_environment(tmp_path / "venv", [], tmp_path / "log")


def test_pip_is_tried_when_uv_fails(dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror that only pip's configuration knows still works where uv is installed."""
    tools: list[str | None] = []

    def commands(_where: Path, _installs: list[list[str]], uv: str | None, _fresh: bool) -> list[list[str]]:
        tools.append(uv)
        return [[sys.executable, "-c", f"raise SystemExit({bool(uv):d})"]]

    monkeypatch.setattr(dev.shutil, "which", lambda _name: "uv")
    monkeypatch.setattr(dev, "commands", commands)
    assert dev.build_environment(tmp_path / "venv", [], tmp_path / "log")
    assert tools == ["uv", None]


def test_every_pin_of_the_lock_has_a_hash() -> None:
    """`pip install --require-hashes` refuses a lock in which one is missing."""
    blocks = re.split(r"\n(?=\w)", LOCK.strip())
    assert len(blocks) > 50
    for block in blocks:
        assert re.match(r"[a-z0-9-]+==[\w.]+ ", block), block.splitlines()[0]
        assert re.search(r"\\\n    --hash=sha256:[0-9a-f]{64}\b", block), block.splitlines()[0]


def test_lock_holds_no_address() -> None:
    """No index, no path: whoever installs from it uses the index they have configured."""
    assert "://" not in LOCK
    assert not re.search(r"(^|[ =])[/~]\w|file:|--(?!hash=)", LOCK, re.M)


def test_lock_covers_what_the_project_asks_for(wheel: ModuleType) -> None:
    """Every dependency and extra is pinned, the build backend too, since .venv builds without isolation."""
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    asked = [*tables["project"]["dependencies"], *tables["build-system"]["requires"], "editables"]
    for extra in tables["project"]["optional-dependencies"].values():
        asked += extra
    pinned = {wheel.project_name(line) for line in re.findall(r"^\w.*", LOCK, re.M)}
    assert {wheel.project_name(line) for line in asked} - {"fastbatch"} <= pinned


def test_core_pins_follow_the_notes_of_the_lock(wheel: ModuleType) -> None:
    """The wheel's environment gets the core's dependencies and theirs, nothing of an extra."""
    lock = (
        "a-b==1 ; python_version < '4' \\\n    --hash=sha256:aa\n    # via fastbatch (pyproject.toml)\n"
        "c==2 \\\n    --hash=sha256:cc\n    # via\n    #   a-b\n    #   tool\n"
        "d==3 \\\n    --hash=sha256:dd\n    # via c\n"
        "tool==4 \\\n    --hash=sha256:ee\n    # via fastbatch (pyproject.toml)\n"
    )
    pins = wheel.core_pins(lock, ["A_b[x]>=1", 'tool>=4; extra == "dev"'])
    assert re.findall(r"^\w\S*", pins, re.M) == ["a-b==1", "c==2", "d==3"]
    assert "--hash=sha256:cc" in pins


def test_answers_pair_each_result_with_its_prompt(dev: ModuleType, tmp_path: Path) -> None:
    """The demo shows prompt and answer, shortened to a line, whatever shape the row has."""
    rows = [{"prompt": "One\u2028two"}, {"messages": [{"role": "user", "content": "Three " * 50}]}]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (tmp_path / "in").write_text("\n\n".join(lines), "utf-8")  # a blank line counts
    body = {"choices": [{"message": {"content": "An\nanswer"}}]}
    results = [{"response": {"body": body}, "fastbatch": {"row": number}} for number in (3, 1)]
    (tmp_path / "out").write_text("\n".join(map(json.dumps, results)) + "\n")
    (long, answer), short = dev.answers(tmp_path / "in", tmp_path / "out")
    assert short == ("One two", "An answer")
    assert answer == "An answer"
    assert long.startswith("Three Three")
    assert len(long) <= 100


@pytest.mark.parametrize("argument", ["0", "-1", "many", "1.5"])
def test_demo_refuses_what_is_no_number(dev: ModuleType, argument: str) -> None:
    """A wrong count is a sentence, and nothing is removed or run."""
    with pytest.raises(SystemExit, match="the number of prompts"):
        dev.demo([argument])


def test_check_names_failed_steps_before_pytest(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failing step stops nothing, decides the exit code, and pytest still comes last."""
    ran: list[str] = []

    def call(command: list[object], **_options: object) -> int:
        ran.append(" ".join(str(part) for part in command))
        return int("mypy" in ran[-1])

    monkeypatch.setattr(dev, "call", call)
    assert dev.check([]) == 1
    assert ran[-1].endswith("-m pytest")
    out = capsys.readouterr().out
    assert "FAILED: mypy --strict\n" in out
    assert out.endswith("=== pytest\n")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("crash", "crashlab"),
        ("damage", "journal"),
        ("faults", "faults"),
        ("quota", "quotalab"),
        ("weigh", "weight"),
    ],
)
def test_the_long_forms_of_tests_are_beside_them(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str, folder: str
) -> None:
    """Their options and their exit code are those of the folder of tests that holds them."""
    ran: list[list[object]] = []
    monkeypatch.setattr(dev, "call", lambda command: ran.append(command) or 1)
    assert dev.COMMANDS[name](["--seed", "7"]) == 1
    assert ran == [[dev.PYTHON, ROOT / "tests" / folder, "--seed", "7"]]
    assert (ROOT / "tests" / folder / "__main__.py").exists()


@pytest.mark.parametrize(
    ("folder", "options", "there_is"),
    [
        ("faults", "--only typo", "nothing is chosen; .*: stale connections, .*, descriptors$"),
        ("faults", "--only clocks --fast", "nothing is chosen; "),
        ("quotalab", "--scene typo", "no scene has 'typo' in its name; there are: .*; fair; "),
        ("quotalab", "--only quotas --scene fair", "no scene has 'fair' in its name; there are: declared, "),
    ],
)
def test_who_names_nothing_is_told_what_there_is(folder: str, options: str, there_is: str) -> None:
    """A mistyped name is a mistake, and no success of nothing."""
    command = [sys.executable, ROOT / "tests" / folder, *options.split()]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert re.search(there_is, ran.stderr, re.M)


def test_faults_go_by_the_names_of_their_rows_too() -> None:
    """`redirects` is in no entry's name."""
    command = [sys.executable, ROOT / "tests" / "faults", "--only", "redirects", "--door", "stream"]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "302 to a file [stream, " in ran.stdout


def test_exit_code_is_that_of_the_command(dev: ModuleType) -> None:
    """Also 128 + n for a command that a signal ended."""
    assert dev.call([sys.executable, "-c", "raise SystemExit(4)"]) == 4
    assert dev.call([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) == 137


def test_ci_runs_the_developers_check() -> None:
    """CI and a developer run the same command."""
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "set -euo pipefail" in script
    assert re.search(r"^exec python3 dev\.py check\b", script, re.M)


def test_make_gives_each_command_its_name() -> None:
    """The Makefile only shortens."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = re.search(r"^([\w ]+):\n\t@python3 dev\.py \$@", makefile, re.M)
    assert targets is not None
    assert set(targets[1].split()) == COMMANDS
