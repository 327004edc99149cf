"""The benchmarks still run: smallest sizes, against the simulator; figures must be there, not be good."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"

_SIZES = {
    "run": "--rows 100 --bulk-rows 100 --rounds 1 --concurrency 8 --server simulator --plot run.svg",
    "limiter": "--admissions 20 --waiters 1,20 --rounds 1",
    "scale": "--rows 50,100 --concurrency 8 --server simulator --plot scale.svg",
    "latency": "--latencies 10,20 --concurrency 4 --seconds 1 --rounds 1 --only wire-fast,stream",
    "startup": "--repeats 1",
    "parts": "--keys 50 --cached 20,60 --pictures 2 --rounds 1",
    "where": "--rows 300 --concurrency 8 --server simulator",
    "workers": "--rows 40 --rounds 1 --concurrency 8 --server simulator",
    "journal": "--rows 200 --concurrency 8 --rounds 1",
    "resume": "--rows 50 --repeats 1",
}

_NAMES = re.compile(r"`(\w[\w-]*)`")  # of contestants: neither options nor files

Outcome = tuple[str, dict[str, Any]]


def start(script: str, options: str, folder: Path) -> subprocess.Popen[str]:
    """A benchmark as a process."""
    return subprocess.Popen(
        [sys.executable, BENCHMARKS / f"{script}.py", *options.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the benchmarks write."""
    return tmp_path_factory.mktemp("benchmarks")


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[str, Outcome]:
    """What each script printed and its JSON; all of them at once, as their figures do not matter here."""
    running = {
        script: start(script, f"{size} --json {script}.json", folder) for script, size in _SIZES.items()
    }
    found = {}
    for script, process in running.items():
        printed, said = process.communicate(timeout=100)
        assert process.returncode == 0, said
        found[script] = (printed, json.loads((folder / f"{script}.json").read_text()))
    return found


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports a file of benchmarks/ and forgets it afterwards."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])

    def load(name: str) -> ModuleType:
        return import_module(name)

    yield load
    for path in BENCHMARKS.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("script", _SIZES)
def test_json_says_where_and_with_what(outcomes: dict[str, Outcome], script: str) -> None:
    """Machine, versions and settings stand in every JSON; no host name and no path does."""
    _, report = outcomes[script]
    assert set(report) == {"benchmark", "taken", "machine", "versions", "settings", "results"}
    assert set(report["machine"]) == {"processor", "cores", "system", "kernel", "architecture"}
    assert {"python", "fastbatch", "aiohttp", "uvloop", "orjson"} <= set(report["versions"])
    text = json.dumps(report)
    assert str(ROOT) not in text
    assert "/tmp" not in text


def test_run_measures_every_contestant(outcomes: dict[str, Outcome], modules: Any) -> None:
    """Each has all its figures, start-up among them; those that send have a ratio, the baseline's is 1."""
    printed, report = outcomes["run"]
    contestants = modules("contestants").CONTESTANTS
    assert [told["name"] for told in report["results"]] == [contestant.name for contestant in contestants]
    for told, contestant in zip(report["results"], contestants, strict=True):
        assert contestant.title in printed
        assert told["rows"] == 100
        assert told["wall_s"] > 0
        assert told["peak_rss_bytes"] > 5_000_000
        assert told["startup_cpu_s"] > 0
        assert set(told) == {
            *("name", "title", "unit", "concurrency", "rows", "cpu_us", "per_cpu_second", "wall_s"),
            *("peak_rss_bytes", "startup_cpu_s", "ratio", "startup", "rounds"),
        }
        for raw in (*told["startup"], *told["rounds"]):
            assert set(raw) == {"cpu_s", "wall_s", "peak_rss_bytes"}
        assert len(told["startup"]) == len(told["rounds"]) == 1
        if told["unit"] == "row":
            assert told["ratio"] is None
    assert report["results"][0]["ratio"] in (1.0, None)
    assert set(report["settings"]) == {"server", "cores", "rounds", "concurrency", "baseline"}
    assert "Server: fastbatch simulator" in printed
    assert "pinned" in printed


def test_plot_has_a_bar_for_each_contestant(outcomes: dict[str, Outcome], folder: Path) -> None:
    """The SVG is well-formed, and every result has its bar."""
    picture = ElementTree.parse(folder / "run.svg").getroot()
    bars = picture.findall("{http://www.w3.org/2000/svg}rect")[1:]  # the first is the ground
    assert len(bars) == len(outcomes["run"][1]["results"])


def test_limiter_tells_each_number_of_waiters(outcomes: dict[str, Outcome]) -> None:
    """Without peers there is our gate alone, once for each number of waiters."""
    printed, report = outcomes["limiter"]
    told = [(result["name"], result["waiters"]) for result in report["results"]]
    assert told == [("fastbatch gate", 1), ("fastbatch gate", 20)]
    assert all(result["cpu_us"] > 0 and len(result["rounds_cpu_us"]) == 1 for result in report["results"])
    assert "CPU µs an admission" in printed


def test_scale_tells_the_growth(outcomes: dict[str, Outcome]) -> None:
    """A line for each number of rows: CPU a row beside the first, the peak and what it grew by."""
    printed, report = outcomes["scale"]
    assert [result["rows"] for result in report["results"]] == [50, 100]
    assert all(result["peak_rss_bytes"] > 5_000_000 for result in report["results"])
    assert "growth MB" in printed


def test_latency_tells_the_time_beside_the_ideal(outcomes: dict[str, Outcome]) -> None:
    """As many rows as fill the asked time, for each latency; nobody can be faster."""
    printed, report = outcomes["latency"]
    told = [(result["name"], result["latency_ms"], result["rows"]) for result in report["results"]]
    assert told == [
        *[("wire-fast", 10, 400), ("stream", 10, 400)],
        *[("wire-fast", 20, 200), ("stream", 20, 200)],
    ]
    assert all(result["ideal_s"] == pytest.approx(1.0) for result in report["results"])
    assert "x ideal" in printed


def test_the_journal_tells_rows_a_second(outcomes: dict[str, Outcome]) -> None:
    """For each durability, with the CPU a row."""
    printed, report = outcomes["journal"]
    assert [result["durability"] for result in report["results"]] == ["power", "process"]
    assert all(result["wall_s"] > 0 and result["cpu_s"] > 0 for result in report["results"])
    assert "process, 8 in flight" in printed


def test_resume_reaches_the_row_that_is_left(outcomes: dict[str, Outcome]) -> None:
    """Time, CPU and memory of the run that sends one request."""
    printed, report = outcomes["resume"]
    (result,) = report["results"]
    assert all(result[name] > 0 for name in ("first_request_s", "cpu_s", "peak_rss_bytes"))
    assert "seconds to the first request" in printed


def test_where_tells_rooms_and_functions(outcomes: dict[str, Outcome]) -> None:
    """All the time of the run is somewhere. Where, is chance: a run this small is a few dozen samples."""
    printed, report = outcomes["where"]
    for kind in ("room", "function"):
        told = [result for result in report["results"] if result["kind"] == kind]
        assert sum(result["share"] for result in told) == pytest.approx(1.0)
        assert all(result["cpu_us"] > 0 and result["name"] in printed for result in told[:5])
    assert "CPU µs a row" in printed


@pytest.mark.parametrize(
    ("file", "place"),
    [
        (str(ROOT / "fastbatch/engine/crew/run.py"), ("engine/crew", "engine/crew/run")),
        (str(ROOT / "fastbatch/cli.py"), ("fastbatch", "cli")),
        ("/env/lib/site-packages/orjson/__init__.py", ("orjson", "orjson __init__")),
        ("/usr/lib/python3.11/asyncio/events.py", ("Python's library", "Python's library events")),
    ],
)
def test_where_knows_the_room_of_a_file(modules: Any, file: str, place: tuple[str, str]) -> None:
    """Rooms of fastbatch by their folder, packages by their name, and the rest is Python's."""
    assert modules("where")._place(file) == place


def test_parts_tell_each_size(outcomes: dict[str, Outcome]) -> None:
    """Keys, the cache at each number of rows, pictures, and what a row has of them."""
    printed, report = outcomes["parts"]
    told = {(result["name"], result["count"]) for result in report["results"]}
    assert {("key", 50), ("bare key", 50), ("put", 20), ("get", 20), ("put", 60), ("get", 60)} <= told
    assert all(result["cpu_us"] > 0 for result in report["results"])
    assert "progress display, a row at 10,000 rows a second" in printed


def test_workers_tell_how_much_faster_two_are(outcomes: dict[str, Outcome]) -> None:
    """One and two of them on the same rows."""
    printed, report = outcomes["workers"]
    assert [result["name"] for result in report["results"]] == ["everything", "two-workers"]
    assert "two workers beside one: " in printed


def test_goals_judge_what_was_measured(
    outcomes: dict[str, Outcome], folder: Path, modules: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every goal has its line, what nobody measured says so; nothing is measured anew."""
    goals = modules("goals")
    assert set(goals._BENCHMARKS) <= set(outcomes)
    monkeypatch.setattr(sys, "argv", ["goals.py", "--again", "--folder", str(folder)])
    goals.main()
    lines = (folder / "goals.txt").read_text().splitlines()[4:]
    assert len(lines) == len(list(goals.goals()))
    assert all(line.split()[-1] in ("met", "missed", "-") for line in lines)
    litellm = [line for line in lines if "litellm" in line]
    assert len(litellm) == 2
    assert all(line.endswith("not measured       -") for line in litellm)


def test_goals_that_find_nothing_measured_say_so(tmp_path: Path) -> None:
    """A folder without figures, which need not be there, costs a sentence and is not made."""
    process = start("goals", "--again --folder nowhere", tmp_path)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors.endswith(": nowhere has no run.json; without --again it is measured first\n")
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_goals_measure_each_benchmark_once(modules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its JSON; peers and where they stay go to those that have them."""
    goals = modules("goals")
    commands: list[list[str]] = []
    monkeypatch.setattr(goals.subprocess, "call", lambda command: commands.append(command) or 0)
    options = goals._parser().parse_args(["--folder", "out", "--peers", "--environments", "kept"])
    for name, arguments in goals._BENCHMARKS.items():
        goals._measure(name, arguments, options)
    assert [Path(command[1]).stem for command in commands] == list(goals._BENCHMARKS)
    assert all("--json" in command for command in commands)
    assert ["--peers" in command for command in commands] == [
        name in ("run", "limiter") for name in goals._BENCHMARKS
    ]
    assert all(Path(command[1]).exists() for command in commands)


@pytest.mark.parametrize(
    ("more", "scaled", "found", "line"),
    [
        (False, False, 9.0, ("≤ 10.0 µs", "9.00 µs", "met")),
        (False, False, 11.0, ("≤ 10.0 µs", "11.0 µs", "missed")),
        (False, True, 19.0, ("≤ 10.0 µs (here 20.0)", "19.0 µs", "met")),
        (True, False, 11.0, ("≥ 10.0 µs", "11.0 µs", "met")),
        (True, True, 4.0, ("≥ 10.0 µs (here 5.00)", "4.00 µs", "missed")),
        (False, False, None, ("≤ 10.0 µs", "not measured", "-")),
    ],
)
def test_a_goal_of_time_is_scaled_by_the_machine(
    modules: Any, more: bool, scaled: bool, found: float | None, line: tuple[str, ...]
) -> None:
    """A machine that is half as fast has twice the time, and need do half as much."""
    figures = type("Figures", (), {"slowness": 2.0})()
    goal = modules("goals").Goal("a row", 10.0, "µs", lambda _: found, more, scaled)
    assert goal.line(figures) == ("a row", *line)


def test_the_page_has_a_line_for_each_contestant(modules: Any) -> None:
    """The names of its table are those that `--only` knows."""
    page = (BENCHMARKS / "README.md").read_text("utf-8").split("## The contestants")[1].split("\n## ")[0]
    names = [name for line in re.findall(r"^\| (`.*?) \|", page, re.M) for name in _NAMES.findall(line)]
    assert sorted(names) == sorted(modules("contestants").names())


def test_packages_that_cannot_be_installed_are_left_out(
    modules: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said, and the others go on."""
    race, contestants = modules("rounds"), modules("contestants")

    def refuse(_self: Any, needs: tuple[str, ...]) -> Path:
        if needs:
            raise RuntimeError("no such index")
        return Path(sys.executable)

    monkeypatch.setattr(modules("peers").Environments, "python", refuse)
    server = modules("servers").Server("none", "")
    made = race.Race(server, tmp_path, modules("measure").split_cores(), rows=3, bulk_rows=3)
    made._child = lambda *_: modules("measure").Cost(1.0, 1.0, 1)
    results = made.run(contestants.named("stream,litellm"), [1], 1)
    assert [result.contestant.name for result in results] == ["stream"]
    assert made.left_out == {"litellm": "no such index"}
    assert "litellm is left out: no such index" in capsys.readouterr().err


def test_startup_reaches_the_first_request(outcomes: dict[str, Outcome]) -> None:
    """Four starts, each measured as often as asked."""
    printed, report = outcomes["startup"]
    assert [len(result["wall_s"]) for result in report["results"]] == [1, 1, 1, 1]
    assert all(result["median_ms"] > 0 for result in report["results"])
    assert "first request" in printed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--only streem", "unknown: streem; known: aiohttp-tuned,"),
        ("--rows 0", "'0' is no whole number from 1 up"),
        ("--concurrency 8,x", "'x' is no whole number from 1 up"),
    ],
)
def test_impossible_options_are_refused(options: str, said: str, tmp_path: Path) -> None:
    """A mistake costs a sentence, not a measurement."""
    process = start("run", options, tmp_path)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert said in errors


def test_cost_is_what_is_left_without_starting_up(modules: Any) -> None:
    """The median start-up is taken off every round; the ratio is the median of the rounds' ratios."""
    cost, race = modules("measure").Cost, modules("rounds")
    baseline, other = modules("contestants").CONTESTANTS[:2]

    def result(contestant: Any, startup: list[float], rounds: list[float]) -> Any:
        made = race.Result(contestant, 64, 1000)
        made.startup += [cost(cpu, 1.0, 1) for cpu in startup]
        made.rounds += [cost(cpu, 1.0, 1) for cpu in rounds]
        return made

    bare = result(baseline, [0.1, 0.1, 0.9], [0.2, 0.3, 0.5])
    ours = result(other, [0.2, 0.2, 0.2], [0.5, 0.4, 0.6])
    assert bare.cpu_us() == pytest.approx([100.0, 200.0, 400.0])
    assert ours.cpu_us() == pytest.approx([300.0, 200.0, 400.0])
    ours.compare(bare)
    assert ours.ratio == pytest.approx(1.0)  # of 3, 1 and 1
    assert ours.to_dict()["per_cpu_second"] == pytest.approx(1e6 / 300)


def test_contestant_that_leaves_rows_unanswered_has_no_figure(modules: Any, tmp_path: Path) -> None:
    """Nobody listens: the child fails, and what it said is passed on."""
    rows = modules("load").write_rows(tmp_path / "rows.jsonl", 3)
    task = modules("load").Task("http://127.0.0.1:9/v1", 3, 2, rows, tmp_path)
    with pytest.raises(RuntimeError, match=r"child\.py bare:tuned ended with 1:[^$]*127\.0\.0\.1:9"):
        modules("measure").run_child([str(BENCHMARKS / "child.py"), "bare:tuned", task.to_json()])


def test_planted_releases_are_never_installed(modules: Any, tmp_path: Path) -> None:
    """The two backdoored releases of litellm are refused, and nobody here asks for one."""
    peers = modules("peers")
    for release in ("litellm==1.82.7", "litellm == 1.82.8"):
        with pytest.raises(RuntimeError, match="steals credentials"):
            peers.Environments(tmp_path).python((release,))
    everybody = modules("contestants").EVERYBODY
    pins = [need for contestant in everybody for need in contestant.needs if need.startswith("litellm")]
    assert pins
    assert all("==" in pin and pin not in peers.REFUSED for pin in pins)


def test_who_asks_less_than_its_rows_has_no_figure(modules: Any, tmp_path: Path) -> None:
    """A server that counts is believed, not the contestant."""
    race, contestants = modules("rounds"), modules("contestants")
    server = modules("servers").Server

    questions = count()

    class Lazy(server):  # type: ignore[misc, valid-type]
        def requests(self) -> int:
            return next(questions)

    made = race.Race(Lazy("lazy", ""), tmp_path, modules("measure").split_cores(), rows=3, bulk_rows=3)
    made._child = lambda *_: modules("measure").Cost(1.0, 1.0, 1)
    with pytest.raises(RuntimeError, match="stream made 0 requests for 3 rows"):
        made.run(contestants.named("stream"), [1], 1)


def test_task_survives_its_way_to_the_child(modules: Any, tmp_path: Path) -> None:
    """What the child reads is what the parent wrote, paths as paths."""
    task = modules("load").Task("http://127.0.0.1:9/v1", 3, 2, tmp_path / "rows", tmp_path)
    assert modules("load").Task.from_json(task.to_json()) == task


def test_requests_and_reply_have_the_sizes_they_claim(modules: Any) -> None:
    """Bodies of about 1 KB, all different, and a reply of 700 bytes with usage."""
    load = modules("load")
    sizes = {len(json.dumps(body)) for body in load.bodies(20)}
    assert all(950 < size < 1100 for size in sizes)
    assert len({json.dumps(body) for body in load.bodies(20)}) == 20
    assert len(load.reply()) == 700
    assert json.loads(load.reply())["usage"]["total_tokens"] == 230
