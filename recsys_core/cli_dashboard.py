"""What `whyrec dashboard` does: checks what it was given, then becomes the Streamlit server, with safe settings."""

from __future__ import annotations

import argparse
import os
import re
import socket
import sys
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from runpy import run_module
from threading import Thread
from typing import NoReturn

from recsys_core import limits
from recsys_core.cli_help import Add
from recsys_core.errors import UserError

EXAMPLES = "whyrec dashboard", "whyrec dashboard --run runs/demo --port 8600", "whyrec dashboard --runs runs --read-only"
PORT = 8501
LOGIN = ("redirect_uri", "cookie_secret", "client_id", "client_secret", "server_metadata_url")  # what [auth] must hold


def serving(add: Add) -> None:
    """The command `whyrec dashboard` and its options."""
    parser = add("dashboard", dashboard, "Open the dashboard in a browser.", *EXAMPLES)
    option = parser.add_argument
    option("--run", type=Path, help="run to open first (default: the newest under --runs)")
    option("--runs", type=Path, default=Path("runs"), help="folder of runs")
    listening(parser)
    option = parser.add_argument_group("for others, see docs/deploy.md").add_argument
    option("--read-only", action="store_true", help="nothing can be saved, uploaded or trained in the browser")
    option("--no-pictures", action="store_true", help="show no pictures of items, which browsers fetch from where the data say")
    option("--base-path", default="", metavar="PATH", help="path under which a web server passes it on, such as /whyrec")
    told = "TOML with an [auth] table: only those who sign in by OpenID Connect come in"
    option("--login", type=Path, metavar="FILE", help=told)


def listening(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=PORT, help="of the server")
    parser.add_argument("--address", default="127.0.0.1", help="interface to listen on; 127.0.0.1 is this machine alone")


def dashboard(args: argparse.Namespace) -> None:
    """Raises UserError for a bad run, base path or login file: told here, in one line, not in the browser."""
    from recsys_core.run import Run, find_runs

    if args.run is not None:
        Run.load(args.run)
    elif not find_runs(args.runs) and not args.runs.is_dir():  # in an empty folder the page Data makes the first run
        fix = f"make one with: whyrec train --data DATA --out {args.runs}/a; or make the folder and bring data in the dashboard"
        raise UserError(f"no runs under {args.runs}; {fix}")
    if args.login is not None:
        check_login(args.login)
    if not re.fullmatch(r"(/?[A-Za-z0-9._~-]+)*/?", args.base_path):
        raise UserError(f"--base-path {args.base_path}: a path such as /whyrec, of letters, digits, dots and dashes")
    serve(args.run.parent if args.run is not None else args.runs, args.run, args)


def check_login(file: Path) -> None:
    """Raises UserError if the file cannot be a login's settings, or the package that does it is not there."""
    from recsys_core.readers._border import content

    try:
        told = tomllib.loads(content(file).decode()).get("auth", {})
    except (ValueError, RecursionError) as error:  # no plain file, no UTF-8, no TOML
        raise UserError(f"--login {file}: cannot be read as TOML ({error}); docs/deploy.md has an example") from None
    missing = [key for key in LOGIN if not isinstance(told, dict) or not str(told.get(key, "")).strip()]
    if missing:
        raise UserError(f"--login {file}: [auth] lacks {', '.join(missing)}; docs/deploy.md has an example")
    if find_spec("authlib") is None:
        raise UserError('--login needs the package Authlib: pip install "whyrec[login]"')


def serve(folder: Path, run: Path | None, args: argparse.Namespace) -> None:
    """This process becomes the Streamlit server of the installed dashboard, and does not come back.

    Raises UserError if nothing can listen there.
    """
    if not 1 <= args.port <= 65535:
        raise UserError(f"--port {args.port}: a port is a number from 1 to 65535")
    try:
        socket.getaddrinfo(args.address, args.port)
    except (OSError, UnicodeError):
        raise UserError(f"--address {args.address}: no interface of that name; 127.0.0.1 is this machine alone") from None
    found = find_spec("dashboard")
    if found is None or not found.submodule_search_locations:
        raise UserError("the dashboard package is not installed; install whyrec again")
    app = Path(next(iter(found.submodule_search_locations))) / "app.py"
    login, base = getattr(args, "login", None), getattr(args, "base_path", "").strip("/")
    told = {
        "WHYREC_RUNS": str(folder.resolve()),
        "WHYREC_RUN": run.name if run is not None else "",
        "WHYREC_READ_ONLY": "1" if getattr(args, "read_only", False) else "",
        "WHYREC_NO_PICTURES": "1" if getattr(args, "no_pictures", False) else "",
        "WHYREC_LOGIN": "1" if login else "",
    }
    for name, value in told.items():
        os.environ.pop(name, None)
        if value:
            os.environ[name] = value
    options = {
        "server.port": args.port,
        "server.address": args.address,
        "server.headless": "true",
        "server.fileWatcherType": "none",  # the installed code does not change, and watching it takes time from the answers
        "runner.postScriptGC": "false",  # it walks all of torch after every move of a slider; Python collects on its own
        "server.enableXsrfProtection": "true",
        "server.enableCORS": "true",
        "server.maxUploadSize": limits.UPLOAD_MB,
        "browser.gatherUsageStats": "false",
        "client.showErrorDetails": "none",
        "client.toolbarMode": "viewer",  # its menu has the switch of light and dark
        "client.disableDataExport": "true",  # its CSV does not guard against formulas; ours does
        "theme.light.primaryColor": "#44546A",  # neutral: the colours belong to the components
        "theme.dark.primaryColor": "#A3B1C6",
        "theme.baseFontSize": 15,
    }
    options |= {"server.baseUrlPath": base} if base else {}
    options |= {"secrets.files": str(login.resolve())} if login else {}
    print(f"dashboard on http://{args.address}:{args.port}{'/' if base else ''}{base} (stop with Ctrl-C)", flush=True)
    flags = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    become(["run", str(app), *flags], args.port)


def become(command: list[str], port: int) -> NoReturn:
    """Run `streamlit COMMAND` in this process: what the check of the run imported need not be imported a second time.

    What the first page needs beyond that is loaded once the server listens on the port.
    """
    if "torch" in sys.modules:  # after a training: a fresh process is smaller than what is left here
        os.execv(sys.executable, [sys.executable, "-m", "streamlit", *command])
    Thread(target=lambda: import_module("dashboard.ahead").load(port), daemon=True).start()
    sys.argv = ["streamlit", *command]
    run_module("streamlit", run_name="__main__", alter_sys=True)
    raise SystemExit(0)
