"""What is shown and published of names: never a password, a key or a signature."""

import itertools
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqcls_beam import storage

S = "hunter2"
PASSWORDS = [
    *("pwhunter2", "p/hunter2", "p@hunter2", "p:hunter2", "p%40hunter2", "p#hunter2", "p?hunter2", "p@/:#?hunter2"),
    *("p&hunter2", "p=hunter2", "hunter2(x)", "hu'hunter2", 'hu"hunter2', "p,hunter2", "p;hunter2", "a://hunter2"),
    *("p@s/s@hunter2/x", "hunter2!", "p::hunter2", "p<hunter2>", "12345678/hunter2"),
]
PROTOCOLS = [
    *("http", "https", "HTTPS", "ftp", "sftp", "s3", "s3a", "gs", "abfs", "hf", "memory"),
    *("simplecache::https", "zip://x.csv::https"),
]
NAMES = [
    *("sig", "SIG", "Signature", "X-Amz-Signature", "x-amz-credential", "X-Amz-Security-Token", "X-Goog-Signature"),
    *("token", "access_token", "accessToken", "key", "apikey", "api_key", "apiKey", "AWSAccessKeyId", "GoogleAccessId"),
    *("X%2DAmz%2DSignature", "%73ig", "%2573ig", "Key-Pair-Id", "password", "client_secret"),
]
PIECES = [
    *("https://", "s3://", "://", "u:", "p@", "host.org", "/", "?", "&", "#", "sig=", "token=", "=", "...", ":80", ";"),
    *("AbC123dEf456hIj789kLm012", "'", '"', "[", "]", " ", "Bearer ", "Authorization: ", "key", "x"),
]
RANDOM = ["9f8a7b6c5d4e3f2a1b0c9f8a", "AbC123dEf456-hIj789_kLm012nOp", "bWU6aHVudGVyMjpodW50ZXIyNTY="]


def around(uri: str) -> list[str]:
    """Sentences, lists and documents with a URI."""
    return [
        *(uri, f"no answer from {uri}: 404", f"'{uri}'", f"[{uri}]", f"({uri}), then {uri}.", f'<a href="{uri}">'),
        *(json.dumps({"path": uri, "other": "me@host/a"}, separators=(",", ":")), repr([uri, "a@b"])),
        *(f"{uri} and http://other/a@b", f"http://other:80/a@b, {uri}\n  {uri}"),
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_password_is_shown_whatever_signs_are_in_it(protocol):
    for password, host in itertools.product(PASSWORDS, ("host", "127.0.0.1:8000", "files.example.org")):
        uri = f"{protocol}://me:{password}@{host}/a/b.jsonl"
        assert storage.without_password(uri) == f"{protocol}://{host}/a/b.jsonl"
        for text in around(uri):
            shown = storage.without_secrets(text)
            assert S not in shown, text
            assert f"{protocol}://{host}/a/b.jsonl" in shown
            assert storage.without_secrets(shown) == shown


@pytest.mark.parametrize("name", NAMES)
def test_no_value_of_a_name_that_speaks_of_keys_is_shown(name):
    for value, where in itertools.product((S, f"{S}%2F=", f"{S}+/ab==", f"a{S})b"), "?#&"):
        begin = "?x=1" if where == "&" else ""
        uri = f"https://host/a{begin}{where}{name}={value}&y=2"
        assert storage.without_password(uri) == f"https://host/a{begin}{where}{name}=...&y=2"
        for text in (*around(uri), f"simplecache::{uri}", *around(uri.removesuffix("&y=2"))):
            shown = storage.without_secrets(text)
            assert S not in shown, text
            assert storage.without_secrets(shown) == shown


@pytest.mark.parametrize("value", RANDOM)
def test_no_value_that_only_a_machine_makes_is_shown(value):
    for uri in (f"https://host/a?q={value}", f"https://host/a?{value}", f"https://host/a?x=1#{value}"):
        assert value not in storage.without_password(uri)
        assert storage.without_password(uri).rstrip("=").endswith("...")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("https://hunter2@host/a", "https://host/a"),
        ("https://h/p?url=https%3A%2F%2Fme%3Ahunter2%40host%2F", "https://h/p?url=..."),
        ("https://h/p?url=https://me:hunter2@host/", "https://h/p?url=https://host/"),
        ("https:/me:hunter2@host/a", "https:/host/a"),
        ("/data/http:/me:p@hunter2@host/a", "/data/http:/host/a"),
        ("https:///me:hunter2@host/a", "https:///host/a"),
        ("https:/host/a?sig=hunter2", "https:/host/a?sig=..."),
        ("https://h/a?flag;sig=hunter2", "https://h/a?flag;sig=..."),
        ("https://h/a?x=1;token=hunter2;y=2", "https://h/a?x=1;token=...;y=2"),
        ("https://h/a?x=1&amp;sig=hunter2", "https://h/a?x=1&amp;sig=..."),
        ("https://h/a?key=p;hunter2", "https://h/a?key=..."),
        ("abfs://c@a.dfs.core.windows.net/p?sv=2024&sig=hunter2", "abfs://c@a.dfs.core.windows.net/p?sv=2024&sig=..."),
        ("https://me:hunter2%40host/a", "https://host/a"),
        ("https://hunter2%2540host/a", "https://host/a"),
        ("https://me%3Ahunter2%40host/a", "https://host/a"),
        ("//me:hunter2@host/a", "//host/a"),
        ("http:\\\\me:hunter2@host/a", "http:\\\\host/a"),
        ("/data/http:\\me:p@hunter2@host/a", "/data/http:\\host/a"),
        ("http:me:hunter2@host/a", "http:host/a"),
        ("jdbc:postgresql://me:hunter2@host/db?user=me&password=hunter2", "jdbc:postgresql://host/db?user=me&password=..."),
        ("jdbc:sqlserver://h:1433;user=me;password=hunter2;x=1", "jdbc:sqlserver://h:1433;user=me;password=...;x=1"),
        ("https://h/a?pw=hunter2&pin=hunter2&code=hunter2", "https://h/a?pw=...&pin=...&code=..."),
        ("key AKIAIOSFODNN7EXAMPLE is unknown", "key ... is unknown"),
        ("hf_abcdefghijklmnopqrstuvwxyzABCDEFGH", "..."),
    ],
)  # fmt: skip
def test_no_secret_of_a_name_is_shown(said, shown):
    assert storage.without_password(said) == shown
    assert storage.without_password(shown) == shown


@pytest.mark.parametrize(
    "said",
    [
        *("/in/a@b/c", "/data/file?key=1", "a@b/c", "file://a:b@c/d", "file:///x?token=1", "zip://a@b::file:///x.zip"),
        *("http://host:8080/a@b", "http://host:8080?a=b@c", "http://[::1]:8080/a@b", "gs://b/me@host/a", "gs://b/a:b@c"),
        *("s3://b/part-?key=1.csv", "abfs://container@account.dfs.core.windows.net/path", "hf://gpt2@main/config.json"),
        *("hf://datasets/u/r@main/f.jsonl", "me@example.org asks for http://host/a, and you@example.org"),
        *('{"url":"http://host:8080","mail":"a@b.org"}', "'http://host:8080','a@b'", "http://h/a?x=1, http://h/b?y=2."),
        *("https://h/a?design=abc&day=2026-11-20T10:00:00Z&page=12", "https://h/a?versionId=3HL4kqtJlcpXroDTDmJrmSpXd3d"),
        *("https://h/a?country_code=de&country=pin", "/data/token=abc/x"),
        *("https://h/run_date=2026-01-01/x?versionId=hunter2", "/in/a password=b/api_key=c.csv"),
        *("/snap:1@nas/a.jsonl", "//host/share", "/in/c@d", "hdfs://h/a;password=x", "gs://b/u%40x/y"),
        *("https://h/a?name=my-long-dataset-name-2026-11-20", "run 0123456789abcdef0123456789abcdef"),
        *("https://hub/org/model/resolve/0123456789abcdef0123456789abcdef01234567/x", "--label_column=key"),
        *("--tokens=5 --token_column=x"),
        *("Cannot connect to host 127.0.0.1:1 ssl:default [Connect call failed ('127.0.0.1', 1)]", "memory://x/o", ""),
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(said):
    assert storage.without_password(said) == said


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_what_is_shown_is_shown_as_it_is(text):
    """Files are known by what is shown of their names."""
    shown = storage.without_password(text)
    assert storage.without_password(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("https://x;AbC123dEf456hIj789kLm012sig=hunter2", "s3://;@token=xu:host??p@://@", 'xhttps://x"@;:/hunter2@'),
        "https://@https://\"#='p@[",
    ],
)
def test_names_that_read_otherwise_once_a_part_is_hidden_come_out_the_same(text):
    shown = storage.without_password(text)
    assert S not in shown and storage.without_password(shown) == shown


def test_what_holds_a_secret_is_told_apart_in_use_as_before():
    """Only what is shown goes through there."""
    one, other = (storage.absolute(f"https://host/a?sig={value}") for value in ("x", "y"))
    assert one != other and storage.connect(one)[1] == "https://host/a?sig=x"


@pytest.mark.parametrize(
    "text",
    [
        *("a." * 50_000, "http://" * 10_000, "://" * 5_000, "http://a:" + "@" * 50_000, "x-" * 50_000 + "key"),
        *("http://h/?x=" + "a" * 100_000, "http://h/?x=" + ")" * 100_000 + "x"),
    ],
)
def test_a_long_text_takes_no_long_time(text):
    began = time.process_time()
    storage.without_password(text)
    assert time.process_time() - began < 5


def test_a_name_of_a_store_is_not_cut_where_it_looks_like_a_parameter():
    name = "gs://b/day=1;token=abc/f.parquet"
    assert storage.without_password(name) == name
    assert storage.without_password("https://h/day=1;token=abc/f") == "https://h/day=1;token=..."
