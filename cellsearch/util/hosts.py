"""Which requests a server on this machine answers: who asks by which name, and from which page.

A page on another site may send requests to a server on this machine. Its name can be made to point
at this machine (DNS rebinding), so the Host header must bear a name of ours; and it may post a form
(CSRF), so the Origin of whatever changes something must be the server itself. An address in numbers
cannot be rebound.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from cellsearch.errors import RunError
from cellsearch.util.messages import Setting

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
EVERYWHERE = frozenset({"0.0.0.0", "::", ""})
READING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class KnownHosts:
    """What the Host header may bear.

    Attributes:
        names: in lower case, without a port.
        addresses: whether any address in numbers will do, as for a server that others reach.
        allowed: those of the names that a proxy may stand for: the Origin may bear them too.
    """

    names: frozenset[str] = LOOPBACK
    addresses: bool = False
    allowed: frozenset[str] = frozenset()

    def knows(self, host: str) -> bool:
        """Whether a Host header is one of ours."""
        name = _name(host)
        return name in self.names or (self.addresses and _is_address(name))


@dataclass(frozen=True)
class Refusal:
    """A request that is not answered.

    Attributes:
        status: of HTTP.
        error: what is the matter.
        foreign_name: whether it is by its name; else by the page that it comes from.
    """

    status: int
    error: str
    foreign_name: bool


def known_hosts(listening: str, allowed: Sequence[str] = ()) -> KnownHosts:
    """The names of a server.

    Args:
        listening: the address that it listens at.
        allowed: more names, of this machine or of a proxy before it.

    Raises:
        RunError: a name with a scheme, a port or a path.
    """
    for name in allowed:
        if not name or _name(name) != name.lower():
            raise RunError(
                Setting("allow_host", name), ": give a name alone, such as cells.example.org"
            )
    more = frozenset(name.lower() for name in allowed)
    own = frozenset() if listening in EVERYWHERE else {listening.lower()}
    return KnownHosts(LOOPBACK | own | more, addresses=not is_loopback(listening), allowed=more)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refusal_of(
    method: str, host: str, *, origin: str | None, fetch_site: str | None, hosts: KnownHosts
) -> Refusal | None:
    """Why a request is not answered; None where it is.

    Args:
        method: of HTTP.
        host: its Host header; "" where it has none.
        origin: its Origin header.
        fetch_site: its Sec-Fetch-Site header, by which a browser says where a page is from.
        hosts: names of the server.
    """
    if not hosts.knows(host):
        return Refusal(421, f"this server does not answer to the name {host[:100]!r}", True)
    if method in READING:
        return None
    theirs = "" if origin is None else _netloc(origin)
    own = origin is None or theirs == host.lower() or _name(theirs) in hosts.allowed
    if not own or fetch_site in ("cross-site", "same-site"):
        return Refusal(403, "a page of another site may not send anything to this server", False)
    return None


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
