"""Settings from flags, the environment, `.env` and `fastbatch.toml`, in that order of strength.

`fastbatch retry` has a further source behind the flags: what the run whose rows failed was told.

Every option of `fastbatch run` has one name everywhere: `--max-attempts`, `FASTBATCH_MAX_ATTEMPTS`,
`max_attempts = 6`. Each value remembers where it came from, so that an error can say so.
"""

from __future__ import annotations

import json
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from fastbatch.errors import ConfigError, did_you_mean

FILE = "fastbatch.toml"
PREFIX = "FASTBATCH_"
# Where a value may come from, beside `FILE`, as errors say it.
FLAGS = "the command line"
REMEMBERED = "the error records"
ENVIRONMENT = "the environment"
DOTENV = ".env"

_OTHER_VARIABLES = frozenset(("FASTBATCH_MODELS",))  # read elsewhere: where model files are kept


def _one_or_more(given: Any) -> Any:
    """A list of one is that one; several may stand in one text, with commas between them."""
    if isinstance(given, str):
        given = [part.strip() for part in given.split(",") if part.strip()]
    if isinstance(given, list) and len(given) <= 1:
        return given[0] if given else None
    return given


def _as_given(given: Any) -> Any:
    """The words of a value, a number's as well."""
    return given if given is None else str(given)


_NUMBERS = (int, float, int | None, float | None)
OneOrMore = Annotated[str | list[str] | None, BeforeValidator(_one_or_more)]


with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # pydantic had the name for itself once, and warns

    class _Named(BaseModel):
        schema: str | None = None  # type: ignore[assignment]


class RunOptions(_Named):
    """The options of `fastbatch run`, checked. Times are seconds; None means "not limited" or "not given"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = None
    base_url: OneOrMore = None
    api_key_env: OneOrMore = None
    fallback: list[str] = Field(default_factory=list)
    prompt: str | None = None
    system: str | None = None
    param: dict[str, Any] = Field(default_factory=dict)
    concurrency: int = Field(64, ge=1, le=65536)
    workers: int = Field(1, ge=1, le=1024)
    rpm: int | None = Field(None, ge=1)
    tpm: int | None = Field(None, ge=1)
    window: list[str] = Field(default_factory=list)
    cache: str | None = None
    identical: Literal["share", "sample"] = "share"
    shared_limits: bool = False
    shared_limits_url: str | None = None
    timeout: float = Field(120.0, gt=0, allow_inf_nan=False)
    connect_timeout: float = Field(20.0, gt=0, allow_inf_nan=False)
    first_byte_timeout: float | None = Field(None, gt=0, allow_inf_nan=False)
    idle_timeout: float | None = Field(None, gt=0, allow_inf_nan=False)
    max_attempts: int = Field(6, ge=1)
    max_wait: float = Field(600.0, ge=0, allow_inf_nan=False)
    max_outage: float = Field(600.0, ge=0, allow_inf_nan=False)
    hedge: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    structured: Literal["auto", "strict", "tool", "json", "prompt"] = "auto"
    reasks: int = Field(2, ge=0, le=100)
    stream: bool = False
    budget: Annotated[str | None, BeforeValidator(_as_given)] = None  # dollars; the purse looks at it
    unpriced: Literal["allow", "deny", "ceiling"] | None = None
    limit: int | None = Field(None, ge=0)
    prices: str | None = None
    on_bad_row: Literal["fail", "record", "skip"] = "fail"
    dedupe: bool = False
    on_uncertain: Literal["retry", "skip", "ask"] = "ask"  # ask asks on a terminal, else it is retry
    ordered: bool = False
    durability: Literal["power", "process"] = "power"
    drain_timeout: float = Field(30.0, ge=0, allow_inf_nan=False)
    progress: str = "auto"  # a registered name, plug-ins' among them, or off
    yes: bool = False
    dry_run: bool = False
    mode: Literal["online", "batch"] = "online"
    deadline: str | None = None
    batch_tokens: int | None = Field(None, ge=1)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, given: Any, about: ValidationInfo) -> Any:
        """TOML's `true` would be taken for 1."""
        name = about.field_name
        if isinstance(given, bool) and name is not None and cls.model_fields[name].annotation in _NUMBERS:
            raise ValueError("must be a number, not true or false")
        return given


@dataclass(frozen=True, slots=True)
class Resolved:
    """Checked options, and the environment that keys are looked up in (`.env` below the real one).

    `sources` says where each option that was given came from: the command line, the environment, a file.
    """

    options: RunOptions
    env: Mapping[str, str]
    sources: Mapping[str, str] = field(default_factory=dict)

    def refused(self, key: str, problem: str) -> ConfigError:
        """The error that option `key` has a value which cannot be used, named as it was written."""
        source = self.sources.get(key, "")
        value = getattr(self.options, key)
        return ConfigError(problem, key=_named(key, source), value=value, source=source)

    @contextmanager
    def naming(self, **given: str) -> Iterator[None]:
        """Errors of what is built from options name them as they were written, by `given` where that differs.

        Raises:
            ConfigError: with the option and where it came from.
        """
        try:
            yield
        except ConfigError as error:
            key = given.get(error.key, error.key)
            source = self.sources.get(key, "")
            if error.source or not source:
                raise
            raise ConfigError(
                error.problem, key=_named(key, source), value=error.value, source=source
            ) from None


def resolve(
    flags: Mapping[str, Any],
    env: Mapping[str, str],
    folder: Path,
    *,
    remembered: Mapping[str, Any] = MappingProxyType({}),
    usual: Mapping[str, Any] = MappingProxyType({}),
) -> Resolved:
    """Merge and check the options of one run.

    Args:
        flags: what the command line gave; None stands for "not given".
        env: the process's environment.
        folder: where `fastbatch.toml` and `.env` are looked for.
        remembered: what an earlier run was given; weaker than flags, stronger than everything else. Its
            `param` stands for all of what that run sent, so weaker ones are not merged into it.
        usual: defaults of one command that are not those of `run`; weaker than everything else.

    Raises:
        ConfigError: with the key, the value and where it came from.
    """
    dotenv = _dotenv(folder / ".env")
    values: dict[str, Any] = dict(usual)
    sources: dict[str, str] = {}
    for source, layer in (
        (FILE, _file(folder / FILE)),
        (DOTENV, _environment(dotenv, DOTENV)),
        (ENVIRONMENT, _environment(env, ENVIRONMENT)),
        (REMEMBERED, remembered),
        (FLAGS, {key: value for key, value in flags.items() if value is not None}),
    ):
        for key, value in layer.items():
            if key == "param" and isinstance(value, Mapping) and source != REMEMBERED:
                value = {**values.get("param", {}), **value}
            values[key] = value
            sources[key] = source
    try:
        return Resolved(RunOptions.model_validate(values), {**dotenv, **env}, sources)
    except ValidationError as refused:
        first = refused.errors(include_url=False)[0]
        key = str(first["loc"][0])
        source = sources.get(key, "")
        if first["type"] == "extra_forbidden":
            problem = f"there is no such option.{did_you_mean(key, RunOptions.model_fields)}"
        elif first["type"] == "value_error":
            problem = str(first["ctx"]["error"])
        else:
            problem = first["msg"][0].lower() + first["msg"][1:]
        raise ConfigError(problem, key=_named(key, source), value=values.get(key), source=source) from None


def parse_param(given: str, source: str) -> tuple[str, Any]:
    """`KEY=JSON` as a pair; a value that is no JSON is taken as a string.

    >>> parse_param("temperature=0.2", "--param"), parse_param("stop=END", "--param")
    (('temperature', 0.2), ('stop', 'END'))

    Raises:
        ConfigError: there is no `=`, or the JSON holds NaN or an infinity.
    """
    key, equals, text = given.partition("=")
    if not equals or not key.strip():
        raise ConfigError("must be KEY=JSON, such as temperature=0", key=source, value=given)

    def refuse(constant: str) -> Any:
        raise ConfigError(f"{constant} is not JSON", key=source, value=given)

    try:
        return key.strip(), json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError:
        if text[:1] in ("{", "[", '"'):
            raise ConfigError("the value is not valid JSON", key=source, value=given) from None
        return key.strip(), text


def _file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            found = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", key=str(path)) from None
    return {key.replace("-", "_"): value for key, value in found.items()}


def _named(key: str, source: str) -> str:
    """An option as it is written in `source`."""
    if source == FLAGS:
        return f"--{key.replace('_', '-')}"
    return key if source in (FILE, REMEMBERED) else f"{PREFIX}{key.upper()}"


def _environment(env: Mapping[str, str], source: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in env.items():
        if not name.startswith(PREFIX) or name in _OTHER_VARIABLES or not value:
            continue
        key = name.removeprefix(PREFIX).lower()
        if key == "param":
            found[key] = _json_object(name, value, source)
        elif key in ("window", "fallback"):
            found[key] = [part.strip() for part in value.split(",") if part.strip()]
        elif key in RunOptions.model_fields:
            found[key] = value
        else:
            known = [PREFIX + field.upper() for field in RunOptions.model_fields]
            raise ConfigError(f"there is no such option.{did_you_mean(name, known)}", key=name, source=source)
    return found


def _json_object(name: str, value: str, source: str) -> dict[str, Any]:
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        problem = 'must be a JSON object such as {"temperature": 0}'
        raise ConfigError(problem, key=name, value=value, source=source)
    return found


def _dotenv(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    try:
        return {key: value for key, value in dotenv_values(path).items() if value is not None}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", key=str(path)) from None
