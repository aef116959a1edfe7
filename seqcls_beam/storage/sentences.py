"""What of a sentence, a log or a traceback may be shown: no password, no key, no signature, whoever wrote it.

What is hidden is in all names, as `discretion.py` has it, and beside them in headers, options and variables, documents
and strings of connections, whatever their names say of keys; more than it must be rather than less. No file is known
by what comes out here.
"""

import re

from seqcls_beam.storage.discretion import (
    HIDDEN,
    each_uri,
    is_random,
    settled,
    unescaped,
    without_keys,
    without_password,
)

_AROUND = r"\\{0,7}['\"]"
"""A quote, in JSON that stands in a string, too."""

_KEYS = (
    r"secret|passw(?:or)?d|passphrase|passcode|pwd|access[-_. ]?key|account[-_.]?key|api[-_. ]?key|credential(?!s)|"
    r"shared[-_]?access[-_]?(?:key|signature)|connection[-_. ]?string|sas[-_]token|"
    r"(?:access|auth|session|security|refresh|bearer|id)[-_]?token|"
    r"(?:private|secret|encryption|signing|storage|subscription|master|service|deploy)[-_. ]?key"
)
_NAMED_KEY = rf"[\w.-]{{0,60}}?(?:{_KEYS})[\w.-]{{0,40}}"
_OF_TEXTS = r"(?<!pad_)(?<!eos_)(?<!bos_)(?<!cls_)(?<!sep_)(?<!unk_)(?<!mask_)(?<!num_)(?<!max_)"
_NAMED_TOKEN = rf"(?:[\w.-]{{0,60}}[-_.])?{_OF_TEXTS}(?:token|pwd|pw)"
_BEGIN = r"(?:(?<![\w./\\-])|(?<=\\[nrt]))"
"""Where a name begins: behind an end of a line that is written \\n, too."""
_VARIABLE = r"(?-i:[A-Z][A-Z0-9_]{0,60}_(?:KEY|PASS|PW|AUTH))"
_NAMED = rf"(?:{_NAMED_KEY}|{_NAMED_TOKEN}|{_VARIABLE})"
# A value ends with the word, but for what ends a sentence or an item of a list, and before the next one's name. With
# nothing behind it, "=" is a sign of a key.
_NEXT = r"[,;&]\s{0,3}[\w. -]{1,60}(?::|=(?!=*(?:[,;&]|\\{0,7}['\"][,;)\]}]|[\\'\")\]}>.,:;!?]{0,16}(?:\s|\Z))))"
_WORD = rf"(?!{_AROUND})(?:(?!{_NEXT}|" + r"[)\]}>,;.!?'\"]{1,8}(?:\s|$)|['\"][,;)\]}]|<)\S)+"
# A quote that nothing closes goes on to the end of the line. The two kinds of signs in it never overlap, and nothing is
# given back: else a row of backslashes would take an exponential time.
_QUOTED = (
    rf"b?(?P<quote>{_AROUND})(?:(?:(?!(?P=quote))(?:\\.|[^\n\\]))*+(?P=quote)"
    r"|(?![\s,;:)\]}>])[^\n]+)"
)
_LIST = rf"(?:[\[(]\s{{0,3}}(?=b?{_AROUND}))?"

_HEADER = re.compile(
    r"(?i)(?P<name>(?:(?:proxy-)?authorization|(?:set-)?cookie|x-(?:[\w-]{1,40}-)?(?:token|key|signature|secret|password))"
    rf"(?:(?:{_AROUND})?:\s*(?:b?{_AROUND})?|{_AROUND},\s*b?{_AROUND}))"
    rf"(?:(?:basic|bearer|token|digest|negotiate|aws4-hmac-sha256)\s+(?:b?{_AROUND})?)?(?:(?!{_AROUND})[^\r\n>)}}]|(?<=\w=){_AROUND}(?=\w)(?:(?!{_AROUND})[^\r\n])*(?:{_AROUND})?)+"
)
_SCHEME = re.compile(
    r"(?i)\b(?P<name>bearer\s+(?=[\w.~+/=-]*[\d=])(?=[\w.~+/=-]{6})|basic\s+(?=[\w.~+/=-]*[\d=])(?=[\w.~+/=-]{12})"
    r"|(?:AWS|GOOG1|SharedKey|SharedKeyLite)\s+[\w-]+:(?=[\w+/]{6}))[\w.~+/=-]+"
)
_OPTION = re.compile(
    rf"(?i){_BEGIN}(?P<name>--(?:{_NAMED})(?:=|\s+|{_AROUND},\s*(?={_AROUND})))(?!-)(?:{_QUOTED}|[^\s'\",]+)"
)
_ITEM = re.compile(
    rf"(?i)(?P<name>{_AROUND}(?:{_NAMED}|key|login|auth|pass|pin|signature){_AROUND}\s*:\s*{_LIST})(?:{_QUOTED})"
    rf"|(?P<number>{_AROUND}(?:[\w.-]{{0,60}}?(?:passw(?:or)?d|pwd|secret)|pin){_AROUND}\s*:\s*)\d+"
)
_ARGUMENT = re.compile(
    rf"(?i){_BEGIN}(?P<name>(?:(?:{_NAMED}|login|sig|signature)(?:{_AROUND})?\s?=\s?"
    rf"|{_NAMED_KEY}(?:['\"]?:\s{{1,3}}|:(?!//|:))){_LIST})(?:{_QUOTED}|{_WORD})"
)
_WEAK = re.compile(
    rf"(?i){_BEGIN}(?P<name>(?:token|key|auth|login|session|sig|signature|pass|pin|code|credentials|sas|jwt)(?:=|:\s)"
    rf"(?:b?{_AROUND})?)(?P<value>{_WORD})"
)
_ELEMENT = re.compile(
    rf"(?i)(?P<name><(?:\w+:)?(?:{_NAMED}|signature\w{{0,20}}|stringtosign\w{{0,20}}|canonicalrequest\w{{0,20}})>)[^<]+(?=</)"
)
_PRIVATE = re.compile(
    r"(?P<name>-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----).*?(?=-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)", re.DOTALL
)
# A path may have "@" in it: a user ends with a colon and has a host behind it, one word that is called as no file is.
_FILE = r"[\w.-]*\.(?:jsonl?|csv|tsv|txt|parquet|avro|arrow|gz|zst|bz2|xz|zip|ya?ml|html|log|py|bin|safetensors)\b"
_USER = re.compile(
    r"(?<![^\s'\"=(<\[{,])(?:(?P<name>jdbc:oracle:thin:)[\w.+%-]{1,64}/[^\s/@'\"]{1,256}@(?=(?://)?\w)"
    r"|(?P<host>(?!(?:mailto|file|local|bytes):)(?:jdbc:(?:\w+:){1,3}|/)?)[\w.+%-]{1,64}:(?!//)[^\s/@'\"]{1,256}@(?!sha256:)"
    rf"(?=(?://)?\w)(?!{_FILE}(?![/:])))"
)
_BESIDE = re.compile(r"[=:'\"\s<@]")
_SIGN = r"%(?:25){0,3}[2-7][0-9A-Fa-f]"
_WRITTEN = re.compile(rf"(?<!\S)(?:[^\s%]|(?!{_SIGN})%)*+{_SIGN}\S*")


def without_secrets(text: str) -> str:
    """A text that somebody wrote without the users, passwords, keys and signatures in it; "..." for a value.

    What comes out comes out again the same.
    """
    return settled(without_password(text), _once)


def _once(text: str) -> str:
    if _BESIDE.search(text):
        text = _PRIVATE.sub(rf"\g<name>{HIDDEN}", text)
        for pattern in (_OPTION, _ITEM, _ARGUMENT):
            text = pattern.sub(_hidden_value, text)
        for pattern in (_HEADER, _SCHEME, _ELEMENT):
            text = pattern.sub(rf"\g<name>{HIDDEN}", text)
    text = each_uri(text, _beside)
    return _WRITTEN.sub(_as_it_was, text) if "%" in text else text


def _beside(text: str) -> str:
    """What stands between two URIs, or where none is."""
    if _BESIDE.search(text):
        text = _USER.sub(rf"\g<name>\g<host>{HIDDEN}@", _WEAK.sub(_hidden_value, text))
    return without_keys(text, web=True)  # of a URI without its host


def _hidden_value(found: re.Match[str]) -> str:
    parts = found.groupdict()
    name = parts["name"] or parts.get("number") or ""
    if parts.get("value") is not None and not is_random(parts["value"].strip("\\'\"")):
        return found[0]
    quote = parts.get("quote") or ""
    return f"{name}{quote}{HIDDEN}{quote}"


def _as_it_was(found: re.Match[str]) -> str:
    """A word, or what it was before somebody wrote it with %, where there is a secret in that."""
    plain = unescaped(found[0])
    hidden = settled(plain, lambda text: each_uri(text, _beside))
    return found[0] if hidden == plain else hidden
