"""A real JupyterLab in a headless Chromium: what the tests of live controls share.

The server is a child process on 127.0.0.1 with a free port and every Jupyter folder in a temporary home.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

CHROMIUM = (
    os.environ.get("CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)
WHY_NOT = "no Chromium on this machine: install the package chromium, or name the program in $CHROMIUM"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
QUIET = {"@jupyterlab/apputils-extension:notification": {
    "fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}}  # fmt: skip
NOW = "window.jupyterapp.shell.currentWidget"

ERRORS = (
    f"{NOW}.content.widgets.filter(c => c.model.type === 'code').flatMap(c => c.model.outputs.toJSON())"
    ".filter(o => o.output_type === 'error').map(o => o.ename)"
)


def write_notebook(path: Path, cells: list[str]) -> None:
    """Write a notebook of code cells."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    book.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }  # else it asks
    nbformat.write(book, path)


@contextmanager
def jupyterlab(root: Path, home: Path) -> Iterator[str]:
    """Serve the folder `root` and give the address; `home` takes all settings and logs."""
    settings = home / "config" / "labconfig"
    settings.mkdir(parents=True)
    (settings / "default_setting_overrides.json").write_text(json.dumps(QUIET))
    places = {
        "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "run",
        "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }  # fmt: skip
    env = {**os.environ, **{name: str(home / folder) for name, folder in places.items()}}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0", "--IdentityProvider.token=t", f"--ServerApp.root_dir={root}",
        "--LabApp.expose_app_in_browser=True",
    ]  # fmt: skip
    with (home / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_for(f"http://127.0.0.1:{port}/api/status?token=t", server, home / "lab.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            try:
                server.wait(15)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()}")
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"JupyterLab did not answer in 60 s:\n{log.read_text()}")


class Notebook:
    """One notebook in one browser page; `complaints` collects what the page wrote to its error console."""

    def __init__(self, page: Any, server: str) -> None:
        from playwright.sync_api import expect

        expect.set_options(timeout=60_000)  # what a busy machine may need; a quiet one answers at once
        self.page, self.server = page, server
        self.complaints: list[str] = []
        page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, name: str) -> None:
        """Open a notebook and wait until its kernel is idle."""
        self.page.goto(f"{self.server}/lab/tree/{name}?reset&token=t")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Notebook", timeout=60_000)
        self.page.wait_for_function(f"() => {NOW}?.sessionContext?.session?.kernel?.status === 'idle'", timeout=60_000)

    def run_all(self, timeout: float = 900) -> None:
        """Run every cell and wait until all have run, or one has ended in an error."""
        self._command("notebook:run-all-cells", timeout)

    def run_cell(self, index: int, timeout: float = 300) -> None:
        """Run one cell again and wait for it."""
        self.page.evaluate(f"() => {{ {NOW}.content.activeCellIndex = {index} }}")
        self._command("notebook:run-cell", timeout)

    def _command(self, name: str, timeout: float) -> None:
        # Execution counts begin anew with each kernel and tell nothing; the command itself knows when it is done.
        self.page.evaluate(
            "name => { window.commandDone = false;"
            " window.jupyterapp.commands.execute(name).finally(() => { window.commandDone = true }) }",
            name,
        )
        idle = f"{NOW}.sessionContext.session.kernel.status === 'idle'"
        self.page.wait_for_function(f"() => window.commandDone && {idle}", timeout=1000 * timeout)

    def outputs(self, index: int) -> list[dict[str, Any]]:
        """Return the outputs of one cell as JSON."""
        return self.page.evaluate(f"() => {NOW}.content.widgets[{index}].model.outputs.toJSON()")

    def errors(self) -> list[str]:
        """Return the names of the errors that cells ended in."""
        return self.page.evaluate(f"() => {ERRORS}")

    def restart(self) -> None:
        """Restart the kernel and wait until it is idle; outputs stay on the page."""
        self.page.evaluate(f"async () => {{ await {NOW}.sessionContext.session.kernel.restart() }}")
        self.page.wait_for_function(f"() => {NOW}.sessionContext.session.kernel.status === 'idle'", timeout=60_000)

    def barriers(self, where: str = ".jp-OutputArea") -> list[str]:
        """Return what keeps people from using the elements `where`, as axe-core finds it: serious or critical."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page, context=where, options={"resultTypes": ["violations"]}).response["violations"]
        return [
            f"{rule['id']} ({rule['impact']}): {node['target']} {node['html'][:160]} {node.get('failureSummary', '')}"
            for rule in found
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]

    def close(self) -> None:
        """Save, end the kernel, close the page."""
        try:
            self.page.evaluate(f"async () => {{ await {NOW}.context.save(); await {NOW}.sessionContext.shutdown() }}")
        finally:
            self.page.close()
