"""The dashboard as it is let out of the house: behind nginx under a path, behind a sign-in, with nothing to write."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from served import READY, ROOT, free_port, serve, wait_for

from recsys_core.cli import main
from recsys_core.run import Run

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser) -> Iterator:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    here = context.new_page()
    here.set_default_timeout(60_000)
    yield here
    context.close()


@pytest.fixture
def folder(tiny_run: Run, tmp_path: Path) -> Path:
    shutil.copytree(tiny_run.path, tmp_path / "runs" / "tiny")
    return tmp_path / "runs"


def test_under_a_path_behind_nginx(page, folder: Path, tmp_path: Path) -> None:
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        pytest.skip("no nginx")
    block = re.search(r"```nginx\n(.*?)```", (ROOT / "docs" / "deploy.md").read_text("utf-8"), re.DOTALL)
    assert block is not None
    with serve(folder / "tiny", "--base-path", "/whyrec", log=tmp_path / "log.txt", base="/whyrec") as url:
        inner, outer = urllib.parse.urlsplit(url).netloc, free_port()
        location = block[1].replace("127.0.0.1:8501", inner)
        temp = "".join(f"{n}_temp_path {tmp_path}/{n};" for n in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.geteuid() == 0 else ""
        (tmp_path / "nginx.conf").write_text(
            f"{user} daemon off; pid {tmp_path}/nginx.pid; error_log stderr; worker_processes 1; events {{}}"
            f"http {{ access_log {tmp_path}/access.log; {temp} server {{ listen 127.0.0.1:{outer}; {location} }} }}"
        )
        front = subprocess.Popen([nginx, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")], stderr=subprocess.DEVNULL)
        try:
            wait_for(f"http://127.0.0.1:{outer}/whyrec/_stcore/health", front)
            page.goto(f"http://127.0.0.1:{outer}/whyrec/?user=u13")
            page.get_by_role("heading", name="What would user u13 get").wait_for()
            thumb = page.locator(".st-key-weight-popularity input[type=range]")  # a move goes over the websocket
            thumb.focus()
            thumb.press("ArrowRight")
            page.get_by_text("You moved the weights").wait_for()
            page.get_by_role("link", name="Explain").click()
            page.get_by_role("heading", name="recommended to user u13").wait_for()
            assert urllib.parse.urlsplit(page.url).path == "/whyrec/explain"
            page.goto("about:blank")  # ends the websocket, which is logged when it closes
        finally:
            front.send_signal(signal.SIGQUIT)  # after what it still serves
            front.wait(20)
    assert "101" in {line.split('" ')[1].split()[0] for line in (tmp_path / "access.log").read_text().splitlines()}


class Provider(BaseHTTPRequestHandler):
    """An OpenID Connect provider that lets in everybody as ada@example.org."""

    nonces: dict[str, str] = {}  # noqa: RUF012
    key = None

    def do_GET(self) -> None:
        site = f"http://{self.headers['Host']}"
        path, _, query = self.path.partition("?")
        asked = dict(urllib.parse.parse_qsl(query))
        if path == "/authorize":
            self.nonces["code"] = asked.get("nonce", "")
            self.send_response(302)
            self.send_header("Location", f"{asked['redirect_uri']}?code=code&state={urllib.parse.quote(asked['state'])}")
            self.end_headers()
        elif path == "/keys":
            self.tell({"keys": [self.key.as_dict(private=False) | {"use": "sig", "alg": "RS256"}]})
        else:
            ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            more = {"issuer": site, "id_token_signing_alg_values_supported": ["RS256"], "response_types_supported": ["code"]}
            self.tell({name: f"{site}/{end}" for name, end in ends.items()} | more | {"subject_types_supported": ["public"]})

    def do_POST(self) -> None:
        from joserfc import jwt

        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        now = int(time.time())
        claims = {"iss": f"http://{self.headers['Host']}", "aud": "whyrec", "sub": "1", "email": "ada@example.org"}
        claims |= {"iat": now, "exp": now + 600, "nonce": self.nonces["code"]}
        token = jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)
        self.tell({"access_token": "a", "token_type": "Bearer", "expires_in": 600, "id_token": token})

    def tell(self, values: dict[str, object]) -> None:
        body = json.dumps(values).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    jwk = pytest.importorskip("joserfc.jwk")
    pytest.importorskip("authlib")
    monkeypatch.setattr(Provider, "key", jwk.RSAKey.generate_key(2048, {"kid": "one"}))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_only_who_signs_in_comes_in(page, folder: Path, tmp_path: Path, provider: str) -> None:
    secrets, port = tmp_path / "secrets.toml", free_port()
    url = f"http://127.0.0.1:{port}"
    secrets.write_text(
        f'[auth]\nredirect_uri = "{url}/oauth2callback"\ncookie_secret = "{"x" * 40}"\nclient_id = "whyrec"\n'
        f'client_secret = "s3cret"\nserver_metadata_url = "{provider}/.well-known/openid-configuration"\n'
    )
    with serve(folder / "tiny", "--login", str(secrets), log=tmp_path / "log.txt", port=port):
        page.goto(f"{url}/?user=u13")
        page.get_by_role("heading", name="Sign in to look").wait_for()
        page.locator(READY).wait_for()
        assert "u13" not in page.locator("body").inner_text()
        assert page.locator("[data-testid=stDataFrame], [data-testid=stPlotlyChart]").count() == 0
        page.get_by_role("button", name="Sign in").click()
        page.get_by_text("Signed in as ada@example.org").wait_for()
        page.get_by_role("heading", name="What would user").wait_for()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("heading", name="Sign in to look").wait_for()
    assert "s3cret" not in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[auth]\nclient_id = 'a'\n", "lacks redirect_uri, cookie_secret, client_secret, server_metadata_url"),
        ("auth = 3", "lacks"),
        ("no toml", "cannot be read as TOML"),
        (None, "cannot be read as TOML"),
    ],
)
def test_a_bad_login_file_is_told_in_one_line(
    folder: Path, tmp_path: Path, content: str | None, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "s.toml").write_text(content)
    assert main(["dashboard", "--runs", str(folder), "--login", str(tmp_path / "s.toml")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert told in lines[0]


@pytest.mark.parametrize("path", ["a b", "/x?y", "../x y", "/<script>"])
def test_a_bad_base_path_is_told(folder: Path, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboard", "--runs", str(folder), "--base-path", path]) == 2
    assert "--base-path" in capsys.readouterr().err


def fetched(url: str) -> bytes | None:
    try:
        return bytes(urllib.request.urlopen(url).read())
    except urllib.error.HTTPError as error:
        return None if error.code in (400, 403, 404) else b"%d" % error.code


def test_the_server_keeps_to_itself(folder: Path, tmp_path: Path) -> None:
    """No file outside Streamlit's own is served, foreign sites may not ask, an upload needs a session and its token."""
    with serve(folder / "tiny", log=tmp_path / "log.txt") as url:
        index = urllib.request.urlopen(url).read()
        for path in ("/runs/tiny/manifest.json", "/../runs/tiny/manifest.json", "/static/../../../etc/passwd", "/app/static/x"):
            assert fetched(url + path) in (index, None)  # the page itself, whatever the path, or nothing
        asked = urllib.request.Request(f"{url}/_stcore/health", headers={"Origin": "http://evil.example"})
        with urllib.request.urlopen(asked) as answer:
            assert answer.headers.get("Access-Control-Allow-Origin") in (None, "")
        put = urllib.request.Request(f"{url}/_stcore/upload_file/none/none", data=b"x", method="PUT")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(put)
        assert refused.value.code in (400, 403)
