"""A real JupyterLab in a headless Chromium: what the tests of live controls share.

The server is a child process on 127.0.0.1 with a free port and every Jupyter folder in a temporary home.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec

import nbformat
import pytest

from sftlab.runs.lab import WORDS, environment
from sftlab.runs.notebooks import KERNEL

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
needed = pytest.mark.skipif(
    CHROMIUM is None or find_spec("playwright") is None,
    reason="no Chromium or no playwright here: install the package chromium, or name the program in $CHROMIUM",
)
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync --disable-component-update"
FLAGS += " --disable-background-networking"
FOLDERS = {
    **{f"JUPYTER_{name}_DIR": name.lower() for name in ("CONFIG", "DATA", "RUNTIME")},
    **{f"JUPYTERLAB_{name}_DIR": name.lower() for name in ("SETTINGS", "WORKSPACES")},
    "IPYTHONDIR": "ipython",
}
NOW = "window.jupyterapp.shell.currentWidget"
VIEW = "application/vnd.jupyter.widget-view+json"


def write_notebook(path, cells):
    """Write a notebook of code cells."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    book.metadata["kernelspec"] = dict(KERNEL)  # else JupyterLab asks
    nbformat.write(book, path)


@contextmanager
def lab(root, home):
    """Serve the folder `root` and yield a function that opens one of its notebooks; `home` takes settings and logs."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)  # what a busy machine may need; a quiet one answers at once
    with _server(root, home) as address, sync_playwright() as program:
        chromium = program.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS.split())
        page = {"viewport": {"width": 1280, "height": 2600}}
        yield lambda name: Notebook(chromium.new_page(**page), f"{address}/lab/tree/{name}?reset&token=t")
        chromium.close()


@contextmanager
def _server(root, home):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"--no-browser --allow-root --ip=127.0.0.1 --port={port} --ServerApp.port_retries=0"
    options += f" --IdentityProvider.token=t --LabApp.expose_app_in_browser=True --ServerApp.root_dir={root}"
    env = environment() | {name: str(home / folder) for name, folder in FOLDERS.items()}
    log = home / "lab.log"
    with log.open("w") as file:
        command = [sys.executable, "-m", "jupyterlab", *WORDS, *options.split()]
        server = subprocess.Popen(command, env=env, stdout=file, stderr=subprocess.STDOUT)
        try:
            for _ in range(600):
                assert server.poll() is None, f"JupyterLab did not start:\n{log.read_text()}"
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status?token=t", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            try:
                server.wait(15)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


class Notebook:
    """One notebook in one browser page; `complaints` collects what the page wrote to its error console."""

    def __init__(self, page, address):
        self.page, self.complaints = page, []
        page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(address)
        self._opened()

    def reload(self):
        """Save, and load the page again; the kernel lives on."""
        self.save()
        self.page.reload()
        self._opened()

    def _opened(self):
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Notebook", timeout=60_000)
        self._wait(f"{NOW}?.sessionContext?.session?.kernel?.status === 'idle'", 60)

    def run_all(self):
        """Run every cell and wait until all have run, or one has ended in an error."""
        self._command("notebook:run-all-cells", 3000)

    def run_cell(self, index):
        """Run one cell again and wait for it."""
        # in one go: a panel that takes the focus back meanwhile would make its own cell the one that is run
        self._command("notebook:run-cell", 300, f"{NOW}.content.activeCellIndex = {index};")

    def _command(self, name, seconds, first=""):
        # Execution counts begin anew with each kernel and tell nothing; the command itself knows when it is done.
        self.page.evaluate(
            f"name => {{ {first} window.commandDone = false;"
            " window.jupyterapp.commands.execute(name).finally(() => { window.commandDone = true }) }",
            name,
        )
        self._wait(f"window.commandDone && {NOW}.sessionContext.session.kernel.status === 'idle'", seconds)

    def _wait(self, condition, seconds):
        self.page.wait_for_function(f"() => {condition}", timeout=1000 * seconds)

    def sources(self):
        """Return what stands in the cells."""
        return self.page.evaluate(f"() => {NOW}.content.widgets.map(c => c.model.sharedModel.source)")

    def outputs(self, index):
        """Return the outputs of one cell as JSON."""
        return self.page.evaluate(f"() => {NOW}.content.widgets[{index}].model.outputs.toJSON()")

    def text(self, index):
        """Run a cell that prints, and return what it printed."""
        self.run_cell(index)
        return self.outputs(index)[0]["text"]

    def errors(self):
        """Return what errors cells ended in."""
        code = f"{NOW}.content.widgets.filter(c => c.model.type === 'code').flatMap(c => c.model.outputs.toJSON())"
        return self.page.evaluate(
            f"() => {code}.filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue)"
        )

    def interrupt(self):
        """Interrupt the kernel, as the stop button of the notebook does."""
        self.page.evaluate(f"async () => {{ await {NOW}.sessionContext.session.kernel.interrupt() }}")

    def restart(self):
        """Restart the kernel and wait until it is idle; outputs stay on the page."""
        self.page.evaluate(f"async () => {{ await {NOW}.sessionContext.session.kernel.restart() }}")
        self._wait(f"{NOW}.sessionContext.session.kernel.status === 'idle'", 60)

    def barriers(self, where=".jp-OutputArea"):
        """Return what keeps people from using the elements `where`, as axe-core finds it: serious or critical."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page, context=where, options={"resultTypes": ["violations"]}).response["violations"]
        return [
            f"{rule['id']} ({rule['impact']}): {node['target']} {node['html'][:160]} {node.get('failureSummary', '')}"
            for rule in found
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]

    def save(self):
        """Save the notebook as the page holds it."""
        self.page.evaluate(f"async () => {{ await {NOW}.context.save() }}")

    def close(self):
        """Save, end the kernel, close the page."""
        try:
            self.save()
            self.page.evaluate(f"async () => {{ await {NOW}.sessionContext.shutdown() }}")
        finally:
            self.page.close()
