"""`report` writes a self-contained page, seen by a real browser."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from ppo_tui.config import load_preset
from ppo_tui.protocol import RunFinished, RunState, SettingChanged, encode
from ppo_tui.reporting.charts import draw
from ppo_tui.reporting.page import ReportedRun, colour, render
from ppo_tui.reporting.record import read_record
from ppo_tui.runs import RunDirectory
from ppo_tui.training.milestones import find_reference
from tests.browser import chromium  # noqa: F401
from tests.commands.test_evaluate import trained  # noqa: F401
from tests.waiting import wait_until

pytest.importorskip("bokeh", reason="reports are drawn by Bokeh: pip install 'ppo-tui[report]'")

HOSTILE = "<script>document.title='owned'</script>$$x$$"


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:  # noqa: F811
    """``few``, and a run with an edit and hostile texts."""
    shutil.copytree(trained, tmp_path / "runs", symlinks=True)
    other = tmp_path / "runs" / "other"
    shutil.copytree(tmp_path / "runs" / "few", other, symlinks=True)
    facts = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps(facts | {"name": HOSTILE, "started": facts["started"] - 60}))
    with (other / "events.jsonl").open("ab") as events:
        edit = SettingChanged(key="optim.learning_rate", old=1e-3, new=5e-4, by=HOSTILE, step=1024, update=4)
        end = RunFinished(state=RunState.FAILED, exit_code=3, reason=HOSTILE, step=2048, update=8)
        events.write(encode(edit) + b"\n" + encode(end) + b"\n")
    shutil.rmtree(other / "checkpoints")  # so that no policy can play
    config = (other / "config.toml").read_text()
    (other / "config.toml").write_text(config.replace("seed = 1", "seed = 7"))
    return tmp_path / "runs"


def open_page(browser, path: Path):
    """The page, and the browser's complaints and requests to the network."""
    context = browser.new_context(color_scheme="light", viewport={"width": 1200, "height": 900})
    page, complaints = context.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None)
    page.on(
        "request", lambda r: complaints.append(r.url) if not r.url.startswith(("file:", "data:", "blob:")) else None
    )
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-ready]", state="attached")
    # Playwright's own waiting looks a second time by `eval`, which the page's policy forbids.
    wait_until(lambda: page.evaluate("Bokeh.documents.every((document) => document.is_idle)"))
    return page, complaints


AXIS_COLOUR = "[...Bokeh.documents[0].all_models].find((m) => m.type === 'LinearAxis').major_label_text_color"


def test_a_report_of_two_runs_in_a_browser(ppo_tui, runs, tmp_path, chromium):  # noqa: F811
    done = ppo_tui("report", "few", "other", "--output", "page.html")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("page.html (")
    path = tmp_path / "page.html"
    assert path.stat().st_size < 6e6

    page, complaints = open_page(chromium, path)
    assert page.title() == f"few, {HOSTILE}"
    text = page.inner_text("body")
    for words in (
        "rollout/ep_rew_mean",
        "CartPole-v1",
        "optim.learning_rate",
        "0.0005",
        "run.seed",
        "torch",
        "2,048",
        "No pictures: ",
    ):
        assert words in text
    assert page.locator("figure .bk-Figure").count() >= 10
    assert page.locator(".stills img").count() == 6
    assert text.index("The game") < text.index("Score") < text.index("Learning") < text.index("Details")
    titles = page.locator("figcaption").all_inner_texts()
    assert "Share of time: learn" in titles, "small, without its key"
    assert "Updates with NaN or infinity" in page.locator(".small figcaption").all_inner_texts()
    axes = "[...Bokeh.documents[0].all_models].filter((m) => m.type === 'BasicTickFormatter')"
    assert page.evaluate(f"{axes}.every((m) => !m.use_scientific)")
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    # What the canvas shows: each run, and a hidden run no longer.
    shown = "[...Bokeh.documents[0].all_models].filter((m) => m.tags.includes('run-1') && m.visible).length"
    assert page.evaluate(shown) > 10
    page.click("nav button >> nth=1")
    assert page.evaluate(shown) == 0
    assert complaints == []

    light = page.evaluate(AXIS_COLOUR)
    page.emulate_media(color_scheme="dark")
    wait_until(lambda: page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)")
    wait_until(lambda: page.evaluate(AXIS_COLOUR) != light)  # the page hears of it later than its styles do


@pytest.mark.slow
def test_a_report_of_a_run_that_has_done_nothing(ppo_tui, runs, tmp_path):
    run = runs / "few"
    for name in ("metrics.jsonl", "events.jsonl"):
        (run / name).unlink()
    shutil.rmtree(run / "checkpoints")
    done = ppo_tui("report", "few")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "few-report.html").read_text("utf-8")
    assert "no curves yet" in page
    assert "holds no whole checkpoint" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report", "fwe"], ["no run 'fwe'", "did you mean 'few'"]),
        (["report", "few", "-o", "nowhere/x.html"], ["no directory"]),
    ],
)
def test_bad_arguments(ppo_tui, runs, arguments, words):
    done = ppo_tui(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    for word in words:
        assert word in done.stderr


def test_private_settings_stay_out(runs):
    file = runs / "few" / "config.toml"
    config = file.read_text("utf-8").replace("[notify]\n", '[notify]\nwebhook = "https://hooks.example/secret-token"\n')
    assert "secret-token" in config
    file.write_text(config)
    page = render([ReportedRun(read_record(RunDirectory(runs / "few")), colour(0))])
    assert "CartPole-v1" in page
    assert "secret-token" not in page


def test_the_measured_curve_lies_behind_the_return_as_far_as_the_run(runs):
    record = read_record(RunDirectory(runs / "few"))
    assert record.started is not None
    assert record.reference == find_reference("cartpole", load_preset("cartpole", overrides=["run.total_steps=1"]))
    record.curves = {key: curve for key, curve in record.curves.items() if key == "rollout/ep_rew_mean"}
    _, with_curve = draw([record])
    assert "cartpole as measured, 3 seeds" in with_curve
    assert "solved 475" in with_curve
    record.started = msgspec.structs.replace(record.started, reference=None, reward_threshold=None)
    _, without = draw([record])
    assert "as measured" not in without
    assert "solved" not in without
