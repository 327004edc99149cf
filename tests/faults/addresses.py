"""Names that do not exist, certificates that are not theirs, and replies that point elsewhere."""

from __future__ import annotations

from faults.acts import sick_always, well
from faults.clinic import Visit
from faults.evidence import Evidence
from faults.fault import Act, Fault


def redirect(status: str, target: str) -> Act:
    """To another origin (ELSEWHERE), to itself (HERE), or wherever."""

    async def behave(visit: Visit) -> None:
        clinic = visit.clinic
        place = target.replace("ELSEWHERE", clinic.elsewhere.url).replace("HERE", clinic.server.url)
        await visit.line.reply(b"", status, f"Location: {place}?for={visit.key}")

    return behave


def nobody_strayed(ran: Evidence) -> list[str]:
    """The other server was not asked, so it saw no key."""
    return [f"{ran.strays} requests went elsewhere"] if ran.strays else []


# name: status line, where to
REDIRECTS = {
    "301 to another origin": ("301 Moved Permanently", "ELSEWHERE/v1/chat/completions"),
    "302 to another origin": ("302 Found", "ELSEWHERE/v1/chat/completions"),
    "307 to another origin": ("307 Temporary Redirect", "ELSEWHERE/v1/chat/completions"),
    "308 to another origin": ("308 Permanent Redirect", "ELSEWHERE/v1/chat/completions"),
    "307 to itself, for ever": ("307 Temporary Redirect", "HERE/v1/chat/completions"),
    "302 to a file": ("302 Found", "file:///etc/passwd"),
    "302 to the metadata address": ("302 Found", "http://169.254.169.254/latest/meta-data/"),
}


def no_such_name(_port: int) -> str:
    """`.invalid` is resolved by nobody."""
    return "http://nobody.invalid/v1"


def _tls(kind: str, says: str) -> Fault:
    return Fault(
        name=f"a certificate that is {kind}",
        row="DNS and TLS",
        act=well,
        tls=kind,
        options={"max_outage": 1},
        code=4,
        total=0,
        cause="TLSFailed",
        says=says,
        within=5.0,
    )


ADDRESSES = (
    *(
        Fault(
            name=name,
            row="redirects",
            act=sick_always(redirect(status, target)),
            attempts=5,
            code=1,
            kind="BadRequest",
            billed=False,
            says="redirect",
            holds=(nobody_strayed,),
        )
        for name, (status, target) in REDIRECTS.items()
    ),
    Fault(
        name="a name that does not exist",
        row="DNS and TLS",
        act=well,
        place=no_such_name,
        options={"max_outage": 0.5},
        code=4,
        total=0,
        cause="NameNotResolved",
        says=r"nobody\.invalid",
        within=5.0,
    ),
    Fault(name="a good certificate", row="DNS and TLS", act=well, tls="good", sick=0),
    _tls("expired", "expired"),
    _tls("other-host", "localhost|host"),
    _tls("self-signed", "by itself|self.signed"),
    Fault(
        name="a TLS handshake that stalls",
        row="DNS and TLS",
        act=well,
        tls="silent",
        place=lambda port: f"https://127.0.0.1:{port}/v1",
        options={"connect_timeout": 0.3, "max_outage": 0.8},
        code=4,
        total=0,
        cause="ConnectTimeout",
        says="connect|TLS",
        within=5.0,
    ),
)
