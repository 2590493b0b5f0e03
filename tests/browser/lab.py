"""A JupyterLab server with folders of its own, and what a reader does in its window."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self
from urllib.error import URLError
from urllib.request import Request, urlopen

import nbformat
from nbformat import v4
from nbformat.sign import NotebookNotary
from playwright.sync_api import Locator, Page, expect

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
SETTINGS = {
    # A toast would cover controls, and the news come from another host.
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "docmanager-extension/plugin": {"autosave": False},
}
PATIENCE_MS = 90_000  # of a busy machine, in which Lab loads or a kernel starts
HERE = Path(__file__).parent
AXE = HERE.parent.parent / "build" / "node_modules" / "axe-core" / "axe.min.js"
NO_AXE = f"{AXE} is missing: npm install --no-save --prefix build axe-core"
CLOSE = """async () => {
    for (const one of jupyterapp.shell.widgets("main")) if (one.context) one.context.model.dirty = false;
    await jupyterapp.commands.execute("application:close-all");
}"""
RUN = """\
from samples import known, make_clip, make_recording
from gatescope.pictures import Scrubber
Scrubber(make_recording(), make_clip(), meanings=known(make_recording()))"""


class Server:
    """A server on a free port; the user's settings, kernels and trusted notebooks stay as they are."""

    def __init__(self, folder: Path):
        self.folder = folder / "notebooks"
        self.data = folder / "data"
        self._own = folder
        self._log = folder / "log"
        self._ending: list[Thread] = []
        self._written = 0

    def __enter__(self) -> Self:
        import gatescope

        self.folder.mkdir()
        for name, values in SETTINGS.items():
            path = self._own / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        own = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        environment = os.environ | {name: str(self._own / folder) for name, folder in own.items()}
        # Kernels show what the tests import, wherever the environment's installation points.
        paths = os.pathsep.join(map(str, (Path(gatescope.__file__).parent.parent, HERE)))
        environment |= {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.token = secrets.token_hex()
        options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
        options += [f"--IdentityProvider.token={self.token}"]
        options += ["--LabApp.expose_app_in_browser=True", f"--ServerApp.root_dir={self.folder}"]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jupyterlab", *options], env=environment, stdout=log, stderr=log
            )
        end = time.monotonic() + PATIENCE_MS / 1000
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self._process.kill()
                raise RuntimeError(
                    f"JupyterLab did not start within {PATIENCE_MS / 1000:.0f} s:\n{self._log.read_text()[-3000:]}"
                )
            time.sleep(0.2)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for thread in self._ending:
            thread.join()
        self.ask("shutdown", "POST")  # ends its kernels before itself
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            # A kernel that does not answer holds it up; that one ends with its parent.
            self._process.kill()
            self._process.wait()

    def ask(self, what: str, method: str = "GET") -> Any:
        """What the server's REST interface answers."""
        header = {"Authorization": f"token {self.token}"}
        with urlopen(Request(f"{self.url}/api/{what}", headers=header, method=method), timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def end_kernels(self) -> None:
        """In the background: a kernel takes two seconds to end."""
        for session in self.ask("sessions"):
            self._ending.append(Thread(target=self.ask, args=(f"sessions/{session['id']}", "DELETE")))
            self._ending[-1].start()

    def write(self, name: str, *cells: str | dict[str, Any], trusted: bool = True) -> Path:
        """A notebook: a text is the source of a cell, a dictionary is the output, by type, of a cell that was run.

        One with sources alone is to be run and names its kernel; with any other, Lab asks which one it shall start.
        """
        made = [
            v4.new_code_cell(cell)
            if isinstance(cell, str)
            else v4.new_code_cell("scrubber", outputs=[v4.new_output("display_data", data=cell)], execution_count=1)
            for cell in cells
        ]
        notebook = v4.new_notebook(cells=made, metadata=KERNEL if all(isinstance(cell, str) for cell in cells) else {})
        self._written += 1
        path = self.folder / f"{self._written}_{name}"  # another path is another kernel, also while the last one ends
        nbformat.write(notebook, path)
        if trusted:
            NotebookNotary(data_dir=str(self.data)).sign(nbformat.read(path, as_version=4))
        return path

    def _answers(self) -> bool:
        try:
            self.ask("status")
        except URLError:
            return False
        return True


class Lab:
    """A window of JupyterLab, where one notebook at a time is open."""

    def __init__(self, page: Page, server: Server):
        self.page, self.server = page, server

    def open(self, path: Path) -> None:
        """With its kernel ready to run, or with "No Kernel" where it names none."""
        if self.page.url.startswith(self.server.url):
            self.path = path
            self.command("docmanager:open", path=path.name)
            self._settle()
        else:
            self.load(path)

    def load(self, path: Path) -> None:
        """As `open`, with Lab loaded anew, in a workspace of its own."""
        self.path = path
        self.page.goto(
            f"{self.server.url}/lab/workspaces/{path.stem}/tree/{path.name}?token={self.server.token}",
            timeout=PATIENCE_MS,
        )
        self._settle()

    def _settle(self) -> None:
        expect(self.notebook).to_be_visible(timeout=PATIENCE_MS)
        if "kernelspec" in nbformat.read(self.path, as_version=4).metadata:
            self.wait_for_kernel()
        else:
            self._choose("No Kernel")

    def close_all(self) -> None:
        """Every notebook and view, without a question whether it shall be saved."""
        self.page.mouse.move(0, 0)
        self.page.evaluate(CLOSE)
        expect(self.page.locator(".jp-NotebookPanel, .jp-LinkedOutputView")).to_have_count(0)

    @property
    def notebook(self) -> Locator:
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook")

    @property
    def cells(self) -> Locator:
        return self.notebook.locator(".jp-Cell")

    def wait_for_kernel(self) -> None:
        # Lab says "Idle" before the session is bound to the notebook: then Run All is lost.
        self.page.wait_for_function(
            "() => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
            timeout=PATIENCE_MS,
        )
        self.wait_for(lambda: self._kernel_states() == ["idle"], "a kernel")

    def sessions(self) -> list[dict[str, Any]]:
        """The server's, for this notebook."""
        return [each for each in self.server.ask("sessions") if each["path"] == self.path.name]

    def _kernel_states(self) -> list[str]:
        return [session["kernel"]["execution_state"] for session in self.sessions()]

    def wait_for(self, holds: Callable[[], bool], what: str) -> None:
        """What the page cannot tell: asked of the server again and again."""
        end = time.monotonic() + PATIENCE_MS / 1000
        while not holds():
            assert time.monotonic() < end, f"{self.path.name} waited {PATIENCE_MS / 1000:.0f} s for {what}"
            time.sleep(0.1)

    def command(self, name: str, **arguments: Any) -> None:
        """One of Lab's commands, to its end."""
        self.page.evaluate(
            "async ([name, given]) => { await jupyterapp.commands.execute(name, given); }", [name, arguments]
        )

    def run_all(self) -> None:
        self.command("notebook:run-all-cells")

    def save(self) -> None:
        self.command("docmanager:save")

    def choose_no_kernel(self) -> None:
        self.page.evaluate("() => { jupyterapp.commands.execute('notebook:change-kernel'); }")
        self._choose("No Kernel")
        self.wait_for(lambda: not self.sessions(), "an end of the kernel")

    def _choose(self, kernel: str) -> None:
        """In the dialog that asks for one."""
        dialog = self.page.locator(".jp-Dialog")
        expect(dialog).to_be_visible(timeout=PATIENCE_MS)
        dialog.locator("select").select_option(label=kernel)
        dialog.get_by_role("button", name="Select").click()
        expect(dialog).to_have_count(0)

    def second_view(self) -> Locator:
        """ "Create New View for Cell Output" of the active cell."""
        self.command("notebook:create-output-view")
        view = self.page.locator(".jp-LinkedOutputView")
        expect(view).to_be_visible()
        return view

    def theme(self, name: str) -> None:
        self.command("apputils:change-theme", theme=name)
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-name", name)

    def trust(self) -> None:
        self.page.evaluate("() => { jupyterapp.commands.execute('notebook:trust'); }")
        dialog = self.page.locator(".jp-Dialog")
        dialog.get_by_role("button", name="Trust").click()
        expect(dialog).to_have_count(0)

    def sources(self) -> list[str]:
        """What the notebook's cells hold now."""
        return self.page.evaluate(
            "() => jupyterapp.shell.currentWidget.content.widgets.map(cell => cell.model.sharedModel.source)"
        )
