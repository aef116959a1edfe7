"""What of a name, a sentence or a traceback may be shown and published: no password, no key, no signature.

A URI that is opened is never one that went through here. What is hidden is in each URI of a text

- the user in front of a host, whatever signs are in the password;
- in queries and fragments, values of names that speak of keys, and such as nobody but a machine can have made;

and beside URIs what headers, options of stores and flags that speak of keys hold.
"""

import re
from urllib.parse import unquote

from seqcls_beam.storage.names import STANDARD_INPUT, named

HIDDEN = "..."

# A path has blanks and quotes in it, and ends before a sign behind which another one begins.
_STANDARD_INPUT = re.compile(
    rf"(?:(?<![^\s'\"=(])/(?:(?![\s'\"=(]/).)*?|[^\s'\"]*/){STANDARD_INPUT}[0-9a-f]{{32}}(?:\.[a-z0-9]+)*"
)

# A name that went through a path has one slash left, and one that was mistyped may have three.
_SIGN = re.compile(r"(?i)(?:(?<=http)|(?<=https)|(?<=ftp)):/+|://")
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
_WHOLE_HOST = re.compile(r"[^/?#]*(?:[.\]]|:\d)|localhost\b", re.IGNORECASE)

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET = re.compile(
    "sig|sign|signature|token|secret|password|passwd|pwd|pass|passphrase|key|apikey|credentials?|auth|authorization|jwt|"
    "bearer|session|sessionid|cookie|hmac|accesskey|accesstoken|sas"
)
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

_BESIDE = re.compile(r"[='\"\s]")
"""No name of a file that is one word has what follows, and there are many of them."""
_HEADERS = re.compile(
    r"(?i)((?:proxy-)?authorization|(?:set-)?cookie|x-(?:[\w-]{1,40}-)?(?:token|key|signature|secret|password))"
    r"(['\"]?:\s*(?:b?['\"])?|['\"],\s*b?['\"])((?:basic|bearer|token|digest|negotiate|aws4-hmac-sha256)\s+)?[^'\"\r\n>)}]+"
)
_BEARER = re.compile(r"(?i)\b((?:bearer|basic)\s+)(?=[\w.~+/=-]*[\d=])[\w.~+/=-]{12,}")
_NAMED_KEY = (
    r"[\w.-]{0,60}?(?:secret|passw(?:or)?d|passphrase|access_?key(?:_?id)?|account_?key|api_?key|sas_token|credential|"
    r"(?:access|auth|session|security|refresh|bearer|id)_?token|connection_string|(?:private|secret|encryption)_?key)"
    r"\w{0,40}"
)
_OPTION = re.compile(
    rf"(?i)(--(?:{_NAMED_KEY}|(?:[\w.-]{{0,60}}[_-])?token)(?:=|\s+|['\"],\s*['\"]))"
    r"(?!-)(?:'[^'\n]*'|\"[^\"\n]*\"|[^\s'\",]+)"
)
_ITEM = re.compile(rf"(?i)(['\"](?:{_NAMED_KEY}|token|key|login)['\"]\s*:\s*)b?(?:'[^'\n]*'|\"[^\"\n]*\")")
_ARGUMENT = re.compile(rf"(?i)(?<![\w.-])((?:{_NAMED_KEY}|token|login)=)b?(?:'[^'\n]*'|\"[^\"\n]*\")")
_KNOWN = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bhf_[A-Za-z0-9]{30,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bAIza[\w-]{35}"
    r"|\bya29\.[\w-]{20,}|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
)
"""Keys that say themselves what they are."""


def without_password(uri: str) -> str:
    """A URI, a sentence or a traceback without the users, passwords, keys and signatures in it; "..." for a value.

    What comes out comes out again the same. The file that holds a standard input is called "-": its own name means
    nothing once it is read.
    """
    text = _STANDARD_INPUT.sub("-", uri) if STANDARD_INPUT in uri else uri
    for _ in range(_DEPTH):  # what is left may read as another one
        before, text = text, _once(text)
        if text == before:
            break
    return named(text)


def _once(text: str) -> str:
    if ":/" in text:
        text = _uris(text)
    if _BESIDE.search(text):
        for pattern in (_OPTION, _ITEM, _ARGUMENT):
            text = pattern.sub(_hidden_value, text)
        text = _HEADERS.sub(rf"\1\2{HIDDEN}", text)
        text = _BEARER.sub(rf"\1{HIDDEN}", text)
    return _KNOWN.sub(HIDDEN, text)


def _hidden_value(found: re.Match[str]) -> str:
    value = found[0][len(found[1]) :].removeprefix("b")
    quote = value[0] if value[:1] in ("'", '"') else ""
    return f"{found[1]}{quote}{HIDDEN}{quote}"


def _uris(text: str) -> str:
    """A text with each of its URIs as it may be shown."""
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
        shown.append(text[at:begin])
        if protocol not in _PATHS:
            begin += _user_end(text[begin:end], protocol)
        following = _SIGN.search(text, begin, end)  # one may stand in a query of another
        if following and (name := _PROTOCOL.search(text, max(begin, following.start() - 31), following.start())):
            end = name.start()
        body = text[begin:end]
        shown.append(body if protocol in _PATHS else _query(body, protocol in ("http", "https")))
        at = end
    return "".join(shown) + text[at:]


def _user_end(rest: str, protocol: str) -> int:
    """Where behind :// the host begins: 0, or behind the @ that ends the user.

    A password may have any sign in it that should have been written %2F or the like. A colon with a port behind it
    ends a host.
    """
    if rest.startswith("["):  # an address of IPv6
        return 0
    authority = _AUTHORITY.match(rest)
    first = authority[0] if authority else ""
    if "@" in first:
        end = first.rindex("@") + 1
        colon = ":" in first[:end]
        if protocol in _CONTAINERS and not colon and not _KNOWN.match(first):
            return 0
    else:
        name, colon_sign, _ = first.partition(":")
        port = protocol not in _NO_PORTS and _PORT.match(rest, len(name) + 1)
        if not colon_sign or port or "@" not in rest:
            return 0
        end, colon = rest.index("@") + 1, True
        within = _AUTHORITY.match(rest, end)
        end = max(end, rest.rindex("@", 0, within.end()) + 1) if within else end
    # p@s/s@host: what is no whole host is more of the password, where another host follows.
    while colon and not _WHOLE_HOST.match(rest, end):
        more = _MORE.match(rest, end)
        if more is None:
            break
        end = more.end()
    return end


def _query(body: str, web: bool) -> str:
    """What follows a user, host first, with each value of its query and its fragment as it may be shown."""

    def shown(found: re.Match[str]) -> str:
        sign, name, equals, value = found.groups("")
        if sign == ";" and not web:  # of a store's file it is a sign in the name
            return found[0]
        value = re.sub(r"[)\]},.:;!]+$", "", value)
        behind = found[0][len(sign) + len(name) + len(equals) + len(value) :]
        if not value:  # ?TOKEN
            return (
                f"{sign}{HIDDEN if web and _is_random(_unescaped(name)) else name}{found[0][len(sign) + len(name) :]}"
            )
        meant = _unescaped(name)
        if not _speaks_of_keys(meant, web) and not (web and _is_key(meant, _unescaped(value))):
            return found[0]
        return f"{sign}{name}={HIDDEN if value else ''}{behind}"

    return _PARAMETER.sub(shown, body)


def _unescaped(text: str) -> str:
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
    return any(known.fullmatch(each.lower()) for each in [*words, joined]) or bool(_SECRET_ENDS.search(joined))


def _is_key(name: str, value: str) -> bool:
    """Whether a value of a query is a secret, although its name is no word for one."""
    if "://" in value:
        return without_password(value) != value
    return not _PUBLIC.fullmatch(_joined(name)) and _is_random(value)


def _joined(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _is_random(value: str) -> bool:
    """Whether a value is long and such as no person writes: letters and digits through each other."""
    if re.search(r"(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{20,}", value):
        return True
    pieces = re.findall(r"[A-Za-z0-9]+", value)
    odd = [each for each in pieces if not re.fullmatch(r"\d+[TZ]?|[A-Z]?[a-z]+|[A-Z]+|[a-z]{1,4}\d{1,4}", each)]
    return bool(re.fullmatch(r"[\w.~+/=-]{24,}", value)) and sum(map(len, odd)) >= 16
