"""What of a name may be shown and published: no user in front of a host, no password, no key, no signature.

A URI that is opened is never one that went through here. What is hidden is in each URI of a text

- the user in front of a host, whatever signs are in the password;
- in queries and fragments, values of names that speak of keys, and such as nobody but a machine can have made;

and keys that say themselves what they are. Files are known by what is shown of their names, so what reads as a secret
only in a sentence is for `sentences.py`: a folder may well be called token=abc.
"""

import re
from collections.abc import Callable
from urllib.parse import unquote

from fsspec.registry import known_implementations

from seqcls_beam.storage.names import STANDARD_INPUT, named

HIDDEN = "..."

# A path has blanks and quotes in it, and ends before a sign behind which another one begins.
_STANDARD_INPUT = re.compile(
    rf"(?:(?<![^\s'\"=(])/(?:(?![\s'\"=(]/).)*?|[^\s'\"]*/){STANDARD_INPUT}[0-9a-f]{{32}}(?:\.[a-z0-9]+)*"
)

# A name that went through a path has one slash left, and one that was mistyped has three, or others, or no protocol.
# One slash and no protocol are a folder's: snap:1@nas may be its name.
_SIGN = re.compile(
    r"(?i)(?:(?<=http)|(?<=https)|(?<=ftp)):(?:[/\\]+|(?=[^\s/@:]+:[^\s/@]*@))|://"
    r"|(?<![^\s'\"=(<\[,])/{2,3}(?=[^\s/@:]*:[^\s/@]*@[\w.-])"
)
_PROTOCOL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]{0,30})?$")
# A URI goes on to the next blank, or to a quote that ends a value of JSON or Python and has another value behind it.
_DEPTH = 8
_LONGEST = 8192  # signs of a URI that are looked at
_REST = re.compile(rf"(?:(?![\"'][,:;\])}}>]+[\s\"'{{\[(]|[\"'][,:]\w)\S){{0,{_LONGEST}}}")
_PATHS = ("file", "local", "bytes", "zip", "tar", "libarchive", "blockcache", "reference")
"""Protocols whose names are paths from the first sign on."""
_CONTAINERS = ("abfs", "abfss", "wasb", "wasbs", "az", "adl", "hf")
"""Protocols that have a name in front of @ which is no user: a container, or a repository."""
_NO_PORTS = (*_CONTAINERS, "s3", "s3a", "gs", "gcs")
_MORE = re.compile(r"(?:(?!://)[^@\s])*@(?=[\w.-]+(?::\d+)?/)")
_PORT = re.compile(r"\d{1,5}(?![^/?#\s\"'<>,;)\]}])")
_AUTHORITY = re.compile(r"[^/?#]*")
_AT = re.compile("%(?:25){0,3}40")
_WHOLE_HOST = re.compile(r"[^/?#]*(?:[.\]]|:\d)|localhost\b", re.IGNORECASE)

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET = re.compile(
    "sig|sign|signature|token|secret|password|passwd|pwd|pass|passphrase|key|apikey|credentials?|auth|authorization|jwt|"
    "bearer|session|sessionid|cookie|hmac|accesskey|accesstoken|sas"
)
_SECRET_ALONE = re.compile("pw|psw|pswd|pin|code|otp|passcode|tok|ticket|creds?")
"""Country_code is none."""
_SECRET_OF_STORES = re.compile("(?!key|sign|pass|session)(?:" + _SECRET.pattern + ")")
"""There a ? may be a sign in the name of an object, or in a pattern."""

_SECRET_ENDS = re.compile(
    r"(?:signature|token|secret|password|passwd|pwd|apikey|accesskey|accesskeyid|accountkey|authkey|secretkey|"
    r"accessid|credentials?|passphrase|authorization|sessionid)$"
)
# A value ends where the next begins, or before a quote or bracket that was around the URI.
_VALUE = r"(?:[^&#;\s\"'<>]|;(?![^=&#;?\s\"'<>]+=)|[\"'<>](?![\s,:;)\]}.&#\"'<>]|$))*"
_PARAMETER = re.compile(rf"([?&#;])([^=&#;?\s\"'<>]+)(?:(=)({_VALUE}))?")
_PUBLIC = re.compile("versionid|generation|revision|commit|ref|sha|sha1|sha256|md5|etag|digest|checksum|hash")
"""Names whose values are long, made by machines, and say which file it is."""

_KNOWN = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bhf_[A-Za-z0-9]{30,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}"
    r"|\bAIza[\w-]{35}|\bya29\.[\w-]{20,}|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|\bsk-[\w-]{20,}|\bxox[abeprs]-[\w-]{20,}"
    r"|\bglpat-[\w-]{20,}|\bnpm_[A-Za-z0-9]{30,}|\bdapi[0-9a-f]{32}\b"
)
"""Keys that say themselves what they are."""


def without_password(uri: str) -> str:
    """A name of a file, a folder or a model without the users, passwords, keys and signatures in it; "..." for a value.

    What comes out comes out again the same. The file that holds a standard input is called "-": its own name means
    nothing once it is read.
    """
    return named(settled(_STANDARD_INPUT.sub("-", uri) if STANDARD_INPUT in uri else uri, each_uri))


def settled(text: str, hide: Callable[[str], str]) -> str:
    """A text of which the rest is hidden, too, that reads as another secret once one is hidden."""
    for _ in range(_DEPTH):
        before, text = text, _KNOWN.sub(HIDDEN, hide(text))
        if text == before:
            break
    return text


def each_uri(text: str, beside: Callable[[str], str] = str) -> str:
    """A text with each of its URIs as it may be shown; `beside` is asked for what stands between them."""
    at, shown = 0, []
    looked = stop = 0
    while sign := _SIGN.search(text, at):
        before = _PROTOCOL.search(text, max(at, sign.start() - 31), sign.start())
        protocol = before[0].lower() if before else ""
        begin = sign.end()
        # Where a URI in another one ends is known, unless what was looked at ended before it.
        if begin >= stop or (stop - looked == _LONGEST and stop - begin < _LONGEST // 2):
            rest = _REST.match(text, begin)
            looked, stop = begin, rest.end() if rest else begin
        end = stop
        shown += [beside(text[at : sign.start()]), sign[0]]
        if protocol not in _PATHS:
            begin += _host(text[begin:end], protocol)
        following = _SIGN.search(text, begin, end)  # one may stand in a query of another
        if following and (name := _PROTOCOL.search(text, max(begin, following.start() - 31), following.start())):
            end = name.start()
        body = text[begin:end]
        shown.append(body if protocol in _PATHS else without_keys(body, _is_asked(protocol)))
        at = end
    return "".join(shown) + beside(text[at:])


def _is_asked(protocol: str) -> bool:
    """Whether ? and ; begin what is asked of a server; in names of a file system they are signs as others are."""
    return protocol in ("http", "https") or protocol not in (*known_implementations, *_NO_PORTS)


def _host(rest: str, protocol: str) -> int:
    """Where in what stands behind :// the host begins: 0, or behind the @ that ends the user.

    A password may have any sign in it that should have been written %2F or the like, and @ may be %40.
    """
    if rest.startswith("["):  # an address of IPv6
        return 0
    end, password = _first_at(rest, protocol)
    # p@s/s@host: what is no whole host is more of the password, where another host follows.
    while password and not _WHOLE_HOST.match(rest, end):
        more = _MORE.match(rest, end)
        if more is None:
            break
        end = more.end()
    return end


def _first_at(rest: str, protocol: str) -> tuple[int, bool]:
    """(Where what may be a user ends, or 0, whether a colon is in it.)"""
    authority = _authority(rest, 0)
    if end := _behind_at(authority):
        password = ":" in unescaped(authority[:end])
        container = protocol in _CONTAINERS and not password and not _KNOWN.match(authority)
        return (0, False) if container else (end, password)
    name, colon, _ = authority.partition(":")
    # A colon with a port behind it ends a host.
    port = protocol not in _NO_PORTS and _PORT.match(rest, len(name) + 1)
    if not colon or port or "@" not in rest:
        return 0, False
    end = rest.index("@") + 1  # behind a / of the password
    return end + _behind_at(_authority(rest, end)), True


def _authority(rest: str, at: int) -> str:
    found = _AUTHORITY.match(rest, at)
    return found[0] if found else ""


def _behind_at(authority: str) -> int:
    """Where in an authority its host begins, 0 where there is no user."""
    if at := authority.rfind("@") + 1:
        return at
    return max((found.end() for found in _AT.finditer(authority)), default=0)


def without_keys(body: str, web: bool) -> str:
    """What follows a user, host first, with each value of its query and its fragment as it may be shown.

    `web`: a server is asked, see `_is_asked`.
    """

    def shown(found: re.Match[str]) -> str:
        sign, name, equals, value = found.groups("")
        if sign == ";" and not web:  # of a store's file it is a sign in the name
            return found[0]
        value = value.rstrip(")]},.:;!")
        behind = found[0][len(sign) + len(name) + len(equals) + len(value) :]
        if not value:  # ?TOKEN
            return f"{sign}{HIDDEN if web and is_random(unescaped(name)) else name}{found[0][len(sign) + len(name) :]}"
        meant = unescaped(name)
        if not _speaks_of_keys(meant, web) and not (web and _is_key(meant, unescaped(value))):
            return found[0]
        return f"{sign}{name}={HIDDEN if value else ''}{behind}"

    return _PARAMETER.sub(shown, body)


def unescaped(text: str) -> str:
    """A name or a value as it was before somebody wrote it with %, once or several times."""
    for _ in range(4):
        plain = unquote(text)
        if plain == text:
            break
        text = plain
    return text


def _speaks_of_keys(name: str, web: bool) -> bool:
    words, joined = _WORDS.findall(name), _joined(name)
    known = _SECRET if web else _SECRET_OF_STORES
    alone = web and _SECRET_ALONE.fullmatch(joined)
    return bool(alone or any(known.fullmatch(each.lower()) for each in [*words, joined]) or _SECRET_ENDS.search(joined))


def _is_key(name: str, value: str) -> bool:
    """Whether a value of a query is a secret, although its name is no word for one."""
    if "://" in value:
        return without_password(value) != value
    return not _PUBLIC.fullmatch(_joined(name)) and is_random(value)


def _joined(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def is_random(value: str) -> bool:
    """Whether a value is long and such as no person writes: letters and digits through each other."""
    if any(re.search(r"\d", run) and re.search("[A-Za-z]", run) for run in re.findall(r"[A-Za-z0-9]{20,}", value)):
        return True
    pieces = re.findall(r"[A-Za-z0-9]+", value)
    odd = [each for each in pieces if not re.fullmatch(r"\d+[TZ]?|[A-Z]?[a-z]+|[A-Z]+|[a-z]{1,4}\d{1,4}", each)]
    return bool(re.fullmatch(r"[\w.~+/=-]{24,}", value)) and sum(map(len, odd)) >= 16
