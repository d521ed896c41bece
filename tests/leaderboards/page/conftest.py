"""Pages about models that do not exist, in the browser of the system."""

import json

import pytest
from leaderboard_pages import with_pictures
from made_results import made
from PIL import Image

from leaderboards.assemble import leaderboard
from leaderboards.page.runs import read_runs
from leaderboards.page.site import build

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser():
    """Chromium; one for all tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def visit(browser):
    """Opens a page; afterwards: it asked for nothing outside of its folder, and met no error."""
    opened = []

    def visit(index, *, width=1280, scheme="light", reduce=True, touch=False, wait="load"):
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            has_touch=touch,
            reduced_motion="reduce" if reduce else "no-preference",
        )
        page = context.new_page()
        requests, errors = [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda message: errors.append(message.text) if message.type == "error" else None,
        )
        page.goto(index.as_uri(), wait_until=wait)
        opened.append((context, index, requests, errors))
        return page

    yield visit
    for context, index, requests, errors in opened:
        context.close()
        own = (index.parent.as_uri() + "/", "data:")
        assert [url for url in requests if not url.startswith(own)] == []
        assert index.as_uri() in requests
        assert errors == []


@pytest.fixture
def three(tmp_path):
    """Three models: one surely the best and trained on the metric, two that cannot be told apart,
    of which one is made otherwise; and one that is not complete."""
    results = [
        made("alpha", 0.9, model={"trained_on": {"reward": "judge"}}),
        made("beta", lambda task, index, sample: 0.5 + 0.1 * (index % 2)),
        made("gamma", lambda task, index, sample: 0.59 - 0.1 * (index % 2), steps=30),
        made("delta", lambda task, index, sample: 0.99 if index else None),
    ]
    for number, loaded in enumerate(results):
        with_pictures(loaded, tmp_path / "results" / str(number))
    return leaderboard([tmp_path / "results"])


@pytest.fixture
def page_of(tmp_path):
    """Builds the page of a leaderboard in a folder of the test's."""
    return lambda shown, **rest: build(shown, tmp_path / "site", **rest)


@pytest.fixture
def runs(tmp_path):
    """A run of 20 steps, evaluated before and after."""
    run = tmp_path / "runs" / "first"
    (run / "samples").mkdir(parents=True)
    (run / "config.json").write_text("{}")
    card = {
        "base": {"source": "hub/alpha", "alias": None},
        "trained_on": {"reward": "judge", "prompts": {"source": "a list"}},
        "method": "nft",
        "seed": 7,
    }
    (run / "rewardkit.json").write_text(json.dumps(card))
    lines = [
        {"step": 0, "eval/judge": 0.3, "eval_error/judge": 0.05, "eval/second": 1.0},
        *({"step": step, "reward/judge": 0.3 + step / 100, "lr": 1e-4} for step in range(1, 21)),
        {"step": 20, "eval/judge": 0.5, "eval_error/judge": 0.04, "eval/second": 1.5},
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for step in (0, 10, 20):
        Image.new("RGB", (64, 32), (step, 0, 0)).save(run / "samples" / f"step-{step:06d}.png")
    return read_runs(tmp_path / "runs")
