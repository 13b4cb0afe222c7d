"""A real browser, and a real JupyterLab in it, for tests of what a user sees and presses.

Everything runs in temporary folders and is ended by its own handle.
"""

import base64
import contextlib
import importlib.util
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import soundfile
from conftest import need

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
START_SECONDS = 60

# The toolbar says "idle" before the kernel's socket is open, and cells run then are lost.
KERNEL_CONNECTED = """async () => {
  const pause = () => new Promise((resolve) => setTimeout(resolve, 50));
  while (!window.jupyterapp) await pause();
  await window.jupyterapp.restored;
  let panel;
  while (!(panel = window.jupyterapp.shell.currentWidget)?.sessionContext) await pause();
  await panel.revealed;
  await panel.sessionContext.ready;
  const kernel = panel.sessionContext.session.kernel;
  await kernel.info;
  while (kernel.connectionStatus !== "connected") await pause();
}"""

SOUND_AS_BASE64 = """async (player) => {
  const bytes = new Uint8Array(await (await fetch(player.src)).arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}"""


@contextlib.contextmanager
def browser_page(microphone=None):
    """Opens headless Chromium; gives its first page (playwright's).

    Args:
      microphone: A WAV file that is played, once and from the moment of recording, to whatever
        asks for a microphone (end it with silence: its last 10 ms are repeated for ever). Without
        one there is no microphone.
    """
    need(importlib.util.find_spec("playwright"), "playwright is not installed")
    need(CHROMIUM, "Chromium is not installed (apt install chromium)")
    from playwright.sync_api import sync_playwright

    flags = ["--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    if microphone:
        flags += [
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={Path(microphone).resolve()}%noloop",
        ]
    with temporary_folder() as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            args=flags,
            chromium_sandbox=False,
            viewport={"width": 1100, "height": 1000},
        )
        try:
            yield context.pages[0]
        finally:
            context.close()


@contextlib.contextmanager
def open_notebook(notebook, microphone=None, **environment):
    """Opens a notebook in JupyterLab and waits for its kernel; gives the page.

    The kernel is this Python and imports `helpers`. The notebook is saved where it lies: give a
    copy.

    Args:
      notebook: Path of an .ipynb file.
      microphone: As in `browser_page`.
      **environment: Environment variables of the kernel.
    """
    notebook = Path(notebook)
    with (
        _jupyter_lab(notebook.parent, environment) as address,
        browser_page(microphone) as page,
    ):
        page.goto(f"{address}/lab/tree/{notebook.name}?reset")
        page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=1000 * START_SECONDS)
        _evaluate(page, KERNEL_CONNECTED, START_SECONDS)
        yield page


def run_all_cells(page, timeout_seconds=120):
    """Runs every cell and returns when the last has finished, or the first has failed."""
    command = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
    _evaluate(page, command, timeout_seconds)


def run_cells(page, which, number, timeout_seconds=120):
    """Runs the cells "above" that of a number, or it and those "below", as `run_all_cells` does."""
    command = f"""() => {{
      window.jupyterapp.shell.currentWidget.content.activeCellIndex = {number};
      return window.jupyterapp.commands.execute('notebook:run-all-{which}');
    }}"""
    _evaluate(page, command, timeout_seconds)


def sound_of(player):
    """The sound that an audio element (playwright's locator) has received, and its rate in Hz."""
    content = base64.b64decode(player.evaluate(SOUND_AS_BASE64))
    return soundfile.read(io.BytesIO(content))


def temporary_folder():
    """A folder that its user may still be writing to when it is removed."""
    return tempfile.TemporaryDirectory(ignore_cleanup_errors=True)


def _evaluate(page, function, timeout_seconds):
    """Playwright itself waits for a promise without end."""
    page.evaluate(
        f"""() => Promise.race([
          ({function})(),
          new Promise((_, reject) => setTimeout(
            () => reject(new Error("not done in {timeout_seconds} s")), {1000 * timeout_seconds}
          )),
        ])"""
    )


@contextlib.contextmanager
def _jupyter_lab(folder, environment):
    need(importlib.util.find_spec("jupyterlab"), "jupyterlab is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://localhost:{port}"  # a browser gives its microphone to localhost
    with temporary_folder() as home, open(Path(home, "jupyter.log"), "w+") as log:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                f"--ServerApp.root_dir={folder}",
                "--ServerApp.ip=127.0.0.1",
                f"--ServerApp.port={port}",
                "--ServerApp.port_retries=0",
                "--IdentityProvider.token=",
                "--LabApp.expose_app_in_browser=True",  # window.jupyterapp
                "--LabApp.extension_manager=readonly",  # asks PyPI for nothing
            ],
            env={**os.environ, **_private_settings(home), **environment},
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for(f"{address}/api", server, log)
            yield address
        finally:
            server.terminate()  # which ends its kernels too
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _private_settings(home):
    """Variables that keep Jupyter's files in `home`, and its question about news off the page."""
    news = Path(home, "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings")
    news.parent.mkdir(parents=True)
    news.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {
        "HOME": home,
        "PYTHONPATH": python_path,
        **{name: str(Path(home, folder)) for name, folder in folders.items()},
    }


def _wait_for(address, server, log):
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    log.seek(0)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read()}")
