"""A canary listens at the addresses of a stranger's files: nobody is told anything without consent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ppo_tui.config import load_preset
from ppo_tui.errors import ConfigError
from ppo_tui.launch import TrainRequest, prepare_or_resume, prepare_resume
from ppo_tui.runs import RunDirectory

SHORT = ("--headless", "--workers", "1", "--set", "tracking.tensorboard=false")


class Canary:
    """A server of HTTP that counts who talks to it.

    Attributes:
        heard: path of every request.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.do_GET()

            def do_GET(self) -> None:
                heard.append(self.path)
                self.send_response(404)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def canary() -> Iterator[Canary]:
    bird = Canary()
    yield bird
    bird.server.shutdown()
    bird.server.server_close()


@pytest.fixture
def preset(tmp_path, canary: Canary) -> Path:
    """A stranger's preset, with an address and a command."""
    path = tmp_path / "x.toml"
    command = f"touch {tmp_path / 'ran'}"
    path.write_text(
        '[env]\nid = "CartPole-v1"\n[run]\ntotal_steps = 1024\n'
        f'[notify]\nwebhook = "{canary.url}/hook"\ncommand = "{command}"\n'
    )
    return path


def test_a_foreign_run_and_a_foreign_preset_tell_nobody_without_consent(ppo_tui, tmp_path, canary, preset):
    with pytest.raises(ConfigError, match="webhook") as caught:
        load_preset(str(preset))
    assert f"{canary.url}/hook" in str(caught.value)
    done = ppo_tui("--preset", str(preset), *SHORT, "--name", "x", "--allow-import")
    assert done.returncode == 0, done.stderr
    assert canary.heard == ["/hook"]
    assert (tmp_path / "ran").exists()

    run = RunDirectory(tmp_path / "runs" / "x")
    more = ("run.total_steps=2048",)
    with pytest.raises(ConfigError, match=r"x's config\.toml names an address") as caught:
        prepare_resume(run, overrides=more)
    assert f"{canary.url}/hook" in str(caught.value)
    assert "notify.command" in str(caught.value)
    # Consent to one of them is none to the other.
    with pytest.raises(ConfigError, match=r"notify\.webhook"):
        prepare_resume(run, overrides=(*more, "notify.command=true"))
    # The command line of `--resume auto` names others, or none.
    own = "notify.webhook=http://mine.example"
    request = TrainRequest(
        config=load_preset("cartpole", overrides=(*more, own)), label="x", overrides=(*more, own),
        run_dir=run.path, resume=True,
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"notify\.command") as caught:
        prepare_or_resume(request)
    assert "notify.webhook" not in str(caught.value)
    # A config.toml that cannot be read leaves the checkpoint's settings, and these are a stranger's too.
    run.config_path.write_text("[")
    with pytest.raises(ConfigError, match="x's checkpoint .* names an address"):
        prepare_resume(run, overrides=more, force=True)
    assert canary.heard == ["/hook"]


@pytest.mark.slow
def test_every_command_that_takes_a_file_asks_first(ppo_tui, tmp_path, canary, preset):
    for arguments in (
        ("--preset", str(preset), *SHORT),
        ("--preset", str(preset), "--headless", "--detached"),
        ("sweep", "--preset", str(preset), "--seeds", "1,2"),
        ("bench", "--preset", str(preset)),
    ):
        done = ppo_tui(*arguments)
        assert (done.returncode, canary.heard) == (2, []), arguments
        assert f"{canary.url}/hook" in done.stderr
    done = ppo_tui("--preset", str(preset), *SHORT, "--name", "x", "--set", "notify={}")
    assert (done.returncode, canary.heard) == (0, [])
    config = tmp_path / "runs" / "x" / "config.toml"
    facts = json.loads((tmp_path / "runs" / "x" / "run.json").read_text())
    assert facts["status"] == "finished"
    theirs = config.read_text().replace('mlflow = "off"', f'mlflow = "{canary.url}"')
    config.write_text(theirs)
    done = ppo_tui("resume", "x", "--headless", "--force", "--total-steps", "2048")
    assert (done.returncode, canary.heard) == (2, [])
    assert f"tracking.mlflow = '{canary.url}'" in done.stderr
    # Playing the policy tells nobody, and needs no consent.
    done = ppo_tui("eval", "x", "--episodes", "1")
    assert (done.returncode, canary.heard) == (0, []), done.stderr
    done = ppo_tui("resume", "x", "--headless", "--force", "--total-steps", "2048", "--set", "tracking.mlflow=off")
    assert (done.returncode, canary.heard) == (0, []), done.stderr
    config.write_text(theirs)
    more = ("resume", "x", "--headless", "--force", "--total-steps", "3072", "--allow-import")
    done = ppo_tui(*more, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert done.returncode == 0, done.stderr
    assert canary.heard
    assert not (tmp_path / "ran").exists()
