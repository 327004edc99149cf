"""The error tree: drawn as it is, with fields, cures and masked secrets."""

from __future__ import annotations

import pickle
import re
from time import perf_counter
from typing import Any

import pytest

from fastbatch import errors
from fastbatch.errors import (
    BadResponse,
    ConfigError,
    FastbatchError,
    InputError,
    MissingExtra,
    RateLimited,
    RequestError,
    RunStopped,
    did_you_mean,
    mask_secrets,
)

LONG = "abcdEFGH0123ijkl4567"
CLASSES = {name: kind for name in errors.__all__ if isinstance(kind := getattr(errors, name), type)}
REQUEST_ERRORS = {name: kind for name, kind in CLASSES.items() if issubclass(kind, RequestError)}


def test_all_is_sorted_and_complete() -> None:
    """Every error class of the module is exported."""
    defined = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and kind.__module__ == errors.__name__
    }
    assert errors.__all__ == sorted(errors.__all__)
    assert defined == set(CLASSES)


def test_the_drawing_is_the_tree() -> None:
    """The docstring shows each class once, under its parent."""
    parents: list[str] = []
    drawn: dict[str, str] = {}
    for line in (errors.__doc__ or "").split("\n\n")[1].splitlines():
        if found := re.match(r"    ([│├└─ ]*)([A-Z]\w+)(?:\s|$)", line):
            depth = len(found[1]) // 4
            parents[depth:] = [found[2]]
            drawn[found[2]] = parents[depth - 1] if depth else "Exception"
    assert drawn == {name: kind.__mro__[1].__name__ for name, kind in CLASSES.items()}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("UsageError", 2),
        ("ConfigError", 2),
        ("InputError", 2),
        ("OutputError", 2),
        ("MissingExtra", 2),
        ("ServiceError", 2),
        ("RunStopped", 4),
        ("StorageError", 5),
        ("CacheError", 1),
        ("RequestError", 1),
    ],
)
def test_exit_codes(name: str, code: int) -> None:
    """The command line ends with the code that the documentation promises."""
    assert vars(errors)[name].exit_code == code


def test_what_may_have_been_billed() -> None:
    """Only failures after the body went out may cost money."""
    billed = {name for name, kind in REQUEST_ERRORS.items() if kind("x").maybe_billed}
    assert billed == {
        "ConnectionLost",
        "RequestTimeout",
        "BadResponse",
        "InvalidAnswer",
        "ResponseTooLarge",
        "Uncertain",
    }
    assert RateLimited("x", maybe_billed=True).maybe_billed
    assert not BadResponse("x", maybe_billed=False).maybe_billed


@pytest.mark.parametrize("name", REQUEST_ERRORS)
def test_request_errors_go_through_records_and_pickles(name: str) -> None:
    """An error read back from its record, or from another process, says the same."""
    error = REQUEST_ERRORS[name]("It broke.", status=418, code="teapot", attempts=3, maybe_billed=True)
    record = error.to_dict()
    assert record == {
        "class": name,
        "code": "teapot",
        "status": 418,
        "message": "It broke.",
        "attempts": 3,
        "maybe_billed": True,
        "retriable": error.retriable,
        "fault": error.fault,
    }
    for again in (RequestError.from_dict(record), pickle.loads(pickle.dumps(error))):
        assert type(again) is type(error)
        assert again.to_dict() == record


def test_the_table_is_what_the_errors_say() -> None:
    """The docstring's table has each kind once, with its fields."""
    told = {}
    for line in (errors.__doc__ or "").splitlines():
        words = line.split()
        if len(words) == 6 and words[0] in REQUEST_ERRORS and "─" not in line:
            assert words[0] not in told
            told[words[0]] = words[1], *(word == "yes" for word in words[2:5]), words[5]
    assert told == {
        name: (error.fault, error.retriable, error.bills, error.stops_run, error.effect)
        for name, kind in REQUEST_ERRORS.items()
        if (error := kind("x")) and name != "RequestError"
    }


@pytest.mark.parametrize("name", REQUEST_ERRORS)
def test_what_is_maybe_down_is_maybe_billed(name: str) -> None:
    """The effect `maybe` means that the request was sent; what stops a run is never sent again by itself."""
    error = REQUEST_ERRORS[name]("x")
    assert error.effect != "maybe" or error.bills
    assert not (error.stops_run and error.retriable)
    assert not (error.effect in ("refused", "down") and error.bills)


def test_what_stops_a_run_has_a_cure() -> None:
    """A run that stopped ends with what to do, in one sentence or two."""
    for kind in REQUEST_ERRORS.values():
        assert not kind.stops_run or kind.cure
        assert not kind.cure or re.fullmatch(r"[A-Z].*\w\.", kind.cure)


def test_an_error_overrides_what_its_kind_says() -> None:
    """The provider's own word wins, and survives a record and a pickle."""
    error = errors.ServerError("x", retriable=False, stops_run=True, fault="account", cure="Pay.")
    for again in (error, pickle.loads(pickle.dumps(error))):
        said = (again.retriable, again.stops_run, again.fault, again.cure)
        assert said == (False, True, "account", "Pay.")
    again = RequestError.from_dict(error.to_dict())
    assert (again.retriable, again.fault) == (False, "account")
    assert errors.ServerError.retriable


def test_fields_of_single_kinds() -> None:
    """A limit of the day, a stale connection and the deadline that passed are told apart."""
    assert (RateLimited("x").daily, RateLimited("x", daily=True, status=429).daily) == (False, True)
    assert "day" in RateLimited("x", daily=True).cure
    assert RateLimited("x", daily=True, cure="Wait.").cure == "Wait."
    assert (errors.ConnectionLost("x").stale, errors.ConnectionLost("x", stale=True).stale) == (False, True)
    assert errors.RequestTimeout("x").phase == "total"
    assert errors.RequestTimeout("x", phase="idle").phase == "idle"


def test_a_record_of_an_earlier_version_says_what_its_kind_says() -> None:
    """Records without the younger fields, or with strange ones, are read as before."""
    for more in ({}, {"retriable": "no", "fault": "nobody"}):
        error = RequestError.from_dict({"class": "RateLimited", "message": "x", **more})
        assert (error.retriable, error.fault) == (True, "account")


def test_a_record_of_a_later_version_is_still_an_error() -> None:
    """Unknown classes and missing fields do not hinder reading."""
    error = RequestError.from_dict({"class": "NewKind", "message": "x"})
    assert (type(error), error.message, error.attempts) == (RequestError, "x", 0)


def test_messages_are_bounded() -> None:
    """At most 2 KiB of a provider's message are kept, cut between characters, and always writable."""
    assert len(RequestError("é" * 5000).message.encode()) <= 2048
    assert RequestError("a" + "é" * 5000).message.endswith("é")
    assert RequestError("a\udcffb").message == "a?b"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Incorrect API key provided: sk-proj-abcdefgh12345678.", "Incorrect API key provided: sk-…."),
        ("key sk-abcdefghijklmnop", "key sk-…"),
        ("Authorization: Bearer abcdefgh.ijkl-mnop_qrst==", "Authorization: Bearer …"),
        ("bearer ABCDEFGH12345", "bearer …"),
        ("BEARER\tabcdefgh", "BEARER\t…"),
        (f"gsk_{LONG} and xai-{LONG}", "gsk_… and xai-…"),
        (f"hf_{LONG}", "hf_…"),
        (f"r8_{LONG}, pplx-{LONG}, fw_{LONG}, csk-{LONG}", "r8_…, pplx-…, fw_…, csk-…"),
        (f"nvapi-{LONG}-_{LONG}.", "nvapi-…."),
        (f"sk_live_{LONG} rk_test_{LONG} pk-lf-{LONG}", "sk_live_… rk_test_… pk-lf-…"),
        ("AIzaSyA1234567890abcdefghijklmnop", "AIza…"),
        ("AKIAIOSFODNN7EXAMPLE and ASIAIOSFODNN7EXAMPLE", "AKIA… and ASIA…"),
        ('{"t":"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.s-_g"}', '{"t":"eyJ…"}'),
        ("Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.s-_g", "Bearer …"),
        ("sk-abcd****efgh", "sk-…"),
        (f"https://h/v1?key=hf_{LONG}&x=1", "https://h/v1?key=hf_…&x=1"),
        ("", ""),
    ],
)
def test_secrets_are_masked(text: str, masked: str) -> None:
    """Everything key-shaped loses its body."""
    assert mask_secrets(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "task-management, risk-assessment",
        "hf_datasets_2024.jsonl",
        "hf_transformers_checkpoints_2024",
        "key-value-pairs-of-2024-and-later",
        "key_value_pairs_of_2024_and_later",
        "gsk_thiswordhasnodigitinit",
        "xai-explanations",
        "r8_results_of_the_first_run",
        "pplx-perplexity-scores-2024",
        "nvapi-compatible-servers-are-many",
        "nvapi-v2-servers",
        "pk_customer_orders_2024_copy",
        "AKIATHIS is a word, AKIAIOSFODNN7EXAMPLELONGER another",
        "eyJust.a.word",
        "bearer of news",
    ],
)
def test_other_words_stay(text: str) -> None:
    """A file name or a compound in a message is no key because it begins like one."""
    assert mask_secrets(text) == text


STARTS = (
    "sk-",
    "hf_",
    "hf_a",
    "xai-",
    "nvapi-",
    "nvapi-a",
    "pk_live_",
    "AIza",
    "AIza-",
    "AKIA",
    "eyJ",
    "eyJ-",
)


@pytest.mark.parametrize(
    "piece", [*STARTS, "eyJaaaaaaaaa-", "eyJaaaaaaaaa.", "bearer ", "bearer\n\n", " ", "a-"]
)
def test_masking_takes_linear_time(piece: str) -> None:
    """A megabyte of anything is read once: the work grows with its length, not with its square."""
    started = perf_counter()
    mask_secrets(piece * (1_000_000 // len(piece)))
    assert perf_counter() - started < 5  # 0.3 s at most; a square would take half an hour


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_no_error_shows_a_secret(name: str) -> None:
    """Every class masks its message, in `str`, `repr` and arguments."""
    secret = "sk-proj-THISISSECRET1234"
    extra: dict[str, Any] = {"ConfigError": {"key": "k", "value": secret}, "MissingExtra": {"extra": "x"}}
    error = CLASSES[name](f"about {secret}", **extra.get(name, {}))
    assert "THISISSECRET" not in f"{error} {error!r} {error.args} {error.message}"


@pytest.mark.parametrize("shown", ["all of it", "cut off"])
def test_a_secret_of_any_shape_is_taken_out(shown: str) -> None:
    """Also what is left of one where a long message was cut."""
    secret = "horse.battery.staple"
    said = "x" * 2040 if shown == "cut off" else "you sent "
    error = RequestError(f"{said}{secret}", code=f"bad {secret}")
    error.hide(secret)
    assert "horse" not in f"{error}{error.code}"
    assert (error.message.removeprefix(said), error.code) == ("…", "bad …")


def test_config_errors_name_key_value_and_source() -> None:
    """Who reads it knows what to change, and where."""
    error = ConfigError("must be 1 or more", key="rpm", value=0, source="fastbatch.toml")
    assert str(error) == "rpm = 0 (from fastbatch.toml): must be 1 or more"
    assert (error.key, error.value, error.source) == ("rpm", 0, "fastbatch.toml")
    assert str(ConfigError("is missing", key="model")) == "model: is missing"


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ({}, "bad"),
        ({"path": "a.jsonl"}, "a.jsonl: bad"),
        ({"path": "a.jsonl", "line": 3}, "a.jsonl, line 3: bad"),
        ({"line": 3}, "input, line 3: bad"),
    ],
)
def test_input_errors_name_file_and_line(place: dict[str, Any], text: str) -> None:
    """The place comes first."""
    assert str(InputError("bad", **place)) == text


def test_a_missing_extra_says_how_to_install_it() -> None:
    """The message ends with the cure."""
    assert str(MissingExtra("zstandard", "speed")).endswith("pip install 'fastbatch[speed]'")


def test_a_stopped_run_keeps_what_is_finished() -> None:
    """Results and cause travel with the exception."""
    cause = RateLimited("x")
    stopped = RunStopped("Stopped.", cause=cause, results=iter([1, 2]))
    assert (stopped.cause, stopped.results, stopped.summary) == (cause, [1, 2], None)


@pytest.mark.parametrize(("name", "hint"), [("opnai", " Did you mean 'openai'?"), ("zzz", ""), ("", "")])
def test_did_you_mean(name: str, hint: str) -> None:
    """A near name is offered, a far one is not."""
    assert did_you_mean(name, ["openai", "local"]) == hint


def test_the_root_is_one() -> None:
    """One `except` catches everything of ours."""
    assert all(issubclass(kind, FastbatchError) for kind in CLASSES.values())


@pytest.mark.parametrize(
    "error",
    [
        errors.ConfigError("wrong", key="rpm", value=0, source="the environment"),
        errors.InputError("bad", path="a.jsonl", line=3),
        errors.MissingExtra("zstandard", "speed"),
        errors.RunStopped("stopped", results=[]),
        errors.RateLimited("slow down", status=429, retry_after=2.0, attempts=3),
    ],
)
def test_errors_survive_pickling(error: errors.FastbatchError) -> None:
    """Worker processes raise them in another process."""
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.__dict__) == (str(error), error.__dict__)
