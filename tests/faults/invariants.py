"""What holds after every fault, whatever it was: I1 to I8, and what the entry itself says.

Each check gives a list of sentences of what is wrong, so that a failure tells all of it at once.
"""

from __future__ import annotations

import re
from collections import Counter

from faults.evidence import KEY, NEW_KEY, Evidence

DOCUMENTED = {0, 1, 2, 4, 5, 130, 143}


def wrong(first: Evidence, second: Evidence) -> list[str]:
    """Everything that is not as promised, after the fault and after the run on the healed server."""
    found = [
        *as_expected(first),
        *ended_by_itself(first),
        *one_record_a_row(first),
        *readable(first),
        *counted(first),
        *bounded(first),
        *nothing_left(first),
        *(problem for check in first.fault.holds for problem in check(first)),
        *(f"second run: {problem}" for problem in finished(first, second)),
        *secret(first),
    ]
    if found:
        found.append(f"the first run said: {first.words[-2000:]}")
    return found


def as_expected(ran: Evidence) -> list[str]:
    """The entry's own columns."""
    fault, found = ran.fault, []
    if ran.code not in fault.codes:
        found.append(f"exit code {ran.code}, not {fault.code}")
    took = ran.seconds - ran.report.get("queued", 0.0)  # others may hold the processors; that is not ours
    if took > fault.within:
        found.append(f"took {took:.2f} s, more than {fault.within:g} s")
    failed = dict(ran.failed)
    expected = {prompt for prompt in fault.prompts() if prompt.startswith("sick") and fault.kind}
    if fault.may_fail:
        expected = set(failed)
    if set(failed) != expected or len(failed) > max(fault.may_fail, fault.sick):
        found.append(f"failed rows are {failed}, not {sorted(expected)}")
    for prompt, error in failed.items():
        if error["class"] != fault.kind:
            found.append(f"{prompt} failed with {error['class']}, not {fault.kind}")
        if fault.billed is not None and error["maybe_billed"] is not fault.billed:
            found.append(f"{prompt} says maybe_billed={error['maybe_billed']}")
    if not fault.stops and (missing := {*fault.prompts()} - {*ran.answered} - expected):
        found.append(f"not answered: {sorted(missing)[:9]}")
    if fault.cause and ran.door != "command":
        cause = (ran.report.get("cause") or {}).get("kind")
        if cause != fault.cause:
            found.append(f"the run was stopped by {cause}, not {fault.cause}")
    words = "\n".join([ran.words, *(str(error.get("message")) for error in failed.values())])
    if fault.says and not re.search(fault.says, words, re.IGNORECASE):
        found.append(f"nobody is told /{fault.says}/")
    return found


def one_record_a_row(ran: Evidence) -> list[str]:
    """I1: at most one terminal record of each row, exactly one when the run says that it finished."""
    counts = Counter([*ran.answered, *(prompt for prompt, _ in ran.failed)])
    found = [f"I1: {prompt} has {number} records" for prompt, number in counts.items() if number > 1]
    if ran.code in (0, 1):
        found += [f"I1: {prompt} has no record" for prompt in ran.fault.prompts() if not counts[prompt]]
    return found


def readable(ran: Evidence) -> list[str]:
    """I2: every line parses, ids are unique, and what is called an answer is one."""
    found = [f"I2: {torn}" for torn in ran.torn]
    for line in ran.lines:
        prompt = str(line["custom_id"])
        said = line["response"]["body"]["choices"][0]["message"]["content"]
        if said != f"You said {prompt}":
            found.append(f"I2: {prompt} is answered with {said!r}")
    if len(set(ran.answered)) != len(ran.answered):
        found.append("I2: ids are not unique")
    return found


def counted(ran: Evidence) -> list[str]:
    """I3: requests counted at the server."""
    fault, sent, found = ran.fault, ran.sent, []
    if fault.total is not None:
        if len(ran.arrivals) > fault.total:
            found.append(f"I3: {len(ran.arrivals)} requests for {fault.rows} rows, more than {fault.total}")
        return found
    for prompt in fault.prompts():
        least, most = fault.sent if prompt.startswith("sick") else (int(not fault.stops), 1)
        if not least <= sent[prompt] <= most:
            found.append(f"I3: {prompt} was sent {sent[prompt]} times, not {least} to {most}")
    return found


def ended_by_itself(ran: Evidence) -> list[str]:
    """I4: a documented exit code, a sentence rather than a traceback."""
    found = []
    if ran.code is None:
        found.append("I4: it did not end by itself")
    elif ran.code not in DOCUMENTED:
        found.append(f"I4: exit code {ran.code} is not documented")
    found += [
        f"I4: it says {word!r}: {ran.said[-3000:]}"
        for word in ("Traceback", "never retrieved", "Unclosed", "never awaited", "ResourceWarning")
        if word in ran.said
    ]
    return found


def finished(first: Evidence, second: Evidence) -> list[str]:
    """I5: the same command finishes the job and sends nothing for rows that were answered."""
    found = [] if second.code == 0 else [f"I5: exit code {second.code}: {second.words[-1500:]}"]
    again = {*first.answered} & {*second.sent}
    if again:
        found.append(f"I5: answered rows were sent again: {sorted(again)[:9]}")
    twice = [prompt for prompt, number in second.sent.items() if number > 1]
    if twice:
        found.append(f"I5: sent more than once: {twice[:9]}")
    if missing := {*first.fault.prompts()} - {*second.answered}:
        found.append(f"I5: still not answered: {sorted(missing)[:9]}")
    return found + one_record_a_row(second) + readable(second) + ended_by_itself(second)


def secret(ran: Evidence) -> list[str]:
    """I6: the key stands in no file: output, errors, journal, cache, what was said, what was raised."""
    found = []
    for path in sorted(ran.folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            found += [f"I6: {path.name} holds the key" for key in (KEY, NEW_KEY) if key.encode() in data]
    return found


def bounded(ran: Evidence) -> list[str]:
    """I7: memory, and the loop's patience."""
    grown, stall = ran.report.get("memory", 0), ran.report.get("stall", 0.0)
    found = []
    if grown > ran.fault.memory:
        found.append(f"I7: it grew by {grown / 2**20:.0f} MiB")
    if stall > ran.fault.stall:
        found.append(f"I7: the loop stood still for {1000 * stall:.0f} ms")
    return found


def nothing_left(ran: Evidence) -> list[str]:
    """I8: no task, thread or descriptor."""
    if not ran.report:
        return ["I8: the run left no report"]
    return [f"I8: left behind: {left}" for left in ran.report["left"]]
