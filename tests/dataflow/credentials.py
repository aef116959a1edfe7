"""A service account that exists on this machine alone: its key, and on loopback who gives tokens for it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.web import serving

TOKEN = "token-of-the-tests"
"""What a request has to bear."""

KEY_ID = "key-of-the-tests"


@contextmanager
def account(file: Path, project: str) -> Iterator[None]:
    """Write the key into a file; tokens are given until the block ends."""
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), _Tokens)) as url:
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        about = {
            "type": "service_account",
            "project_id": project,
            "private_key_id": KEY_ID,
            "private_key": pem.decode(),
            "client_email": f"launcher@{project}.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": f"{url}/token",
        }
        file.write_text(json.dumps(about))
        yield


class _Tokens(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        data = json.dumps({"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass
