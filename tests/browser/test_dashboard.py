"""The dashboard in Chromium, with a stub for the kernel."""

import numpy as np
import pytest

from tests.browser.plots_page import history_of, show_history
from tests.browser.stub_page import (
    IDLE,
    RUNNING,
    answer,
    default_state,
    kernel_set,
    mlp,
    mount,
    sent,
)

pytestmark = pytest.mark.browser


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


def metric(page, name):
    return page.locator(f'[data-metric="{name}"]').text_content()


def banner(page, name):
    return page.locator(f'[data-banner="{name}"]')


def test_a_model_alone_has_no_dashboard(page):
    mount(page, mlp())
    assert page.locator(".fz-run").count() == 0


def test_before_a_run_only_start_can_be_pressed(page):
    mount(page, mlp(), run=IDLE)
    assert button(page, "Start").is_enabled()
    assert button(page, "Pause").is_disabled()
    assert button(page, "Stop").is_disabled()
    assert page.locator(".fz-line").text_content() == "not started"
    assert page.get_by_text("The loss appears here once training runs.").is_visible()


def test_start_sends_the_number_of_epochs(page):
    mount(page, mlp(), run=IDLE)
    page.get_by_label("epochs").fill("25")
    button(page, "Start").click()
    assert sent(page, "start")[0]["epochs"] == 25


def test_enter_in_the_field_starts(page):
    mount(page, mlp(), run=IDLE)
    page.get_by_label("epochs").fill("3")
    page.keyboard.press("Enter")
    assert sent(page, "start")[0]["epochs"] == 3


@pytest.mark.parametrize("text", ["", "0", "-3", "2.5"])
def test_a_number_of_epochs_that_is_none_is_refused_with_a_word(page, text):
    mount(page, mlp(), run=IDLE)
    page.get_by_label("epochs").fill(text)
    button(page, "Start").click()
    assert sent(page, "start") == []
    assert page.locator(".fz-note").text_content() == "Epochs: a whole number from 1 on."
    assert page.get_by_label("epochs").get_attribute("aria-invalid") == "true"


def test_typing_in_the_field_is_not_heard_by_the_notebook(page):
    page.evaluate(
        """() => {
          window.heard = [];
          document.addEventListener("keydown", (event) => window.heard.push(event.key), true);
        }"""
    )
    mount(page, mlp(), run=IDLE)
    page.get_by_label("epochs").press("7")
    assert page.evaluate("() => window.heard") == []


def test_a_run_shows_its_numbers(page):
    mount(page, mlp(), run=RUNNING)
    assert page.locator(".fz-status").text_content() == "running"
    assert page.locator(".fz-line").text_content() == (
        "step 1,204 of 3,000 · epoch 5 of 10 · 812 steps/s"
    )
    bar = page.get_by_role("progressbar")
    assert bar.evaluate("(bar) => bar.value / bar.max") == pytest.approx(1204 / 3000)
    values = [
        metric(page, k) for k in ("loss", "validation_loss", "accuracy", "validation_accuracy")
    ]
    assert values == ["0.1235", "0.1402", "96.1\u00a0%", "95.3\u00a0%"]
    assert button(page, "Start").is_disabled()


def test_numbers_follow_the_run(page):
    mount(page, mlp(), run=RUNNING)
    kernel_set(page, run=RUNNING | {"step": 3000, "status": "finished", "loss": 0.01, "epoch": 10})
    assert page.locator(".fz-status").text_content() == "finished"
    assert metric(page, "loss") == "0.01000"
    assert button(page, "Start").is_enabled()


def test_pause_becomes_resume_and_back(page):
    mount(page, mlp(), run=RUNNING)
    button(page, "Pause").click()
    kernel_set(page, run=RUNNING | {"status": "paused"})
    button(page, "Resume").click()
    kernel_set(page, run=RUNNING)
    button(page, "Stop").click()
    assert [m["type"] for m in sent(page, "pause", "resume", "stop")] == ["pause", "resume", "stop"]


def test_a_loop_of_the_users_own_is_not_started_from_the_page(page):
    own = {"can_start": False, "planned": 0, "epochs": 0}
    mount(page, mlp(), run=RUNNING | own)
    assert not button(page, "Start").is_visible()
    assert not page.get_by_label("epochs").is_visible()
    assert button(page, "Stop").is_enabled()
    assert page.locator(".fz-line").text_content() == "step 1,204 · 812 steps/s"
    bar = page.get_by_role("progressbar")
    assert bar.evaluate("(bar) => bar.position") == -1  # under way, nobody knows how far
    kernel_set(page, run=RUNNING | own | {"status": "finished"})
    assert bar.evaluate("(bar) => bar.position") == 0


@pytest.mark.parametrize("width", [420, 900, 1280])
def test_what_is_told_of_the_feature_cache_moves_nothing(page, width):
    mount(page, mlp(), run=RUNNING, width=width)
    boxes = [page.locator(".fz-row").first.bounding_box(), button(page, "Pause").bounding_box()]
    height = page.locator(".fz-run").bounding_box()["height"]
    text = "features of layers 0-3 cached, 41 MB, 100 % hits; epoch 9.3x faster. " + "Why. " * 60
    kernel_set(page, run=RUNNING | {"features": text})
    line = page.locator(".fz-features")
    assert line.text_content() == line.get_attribute("title") == text
    assert page.locator(".fz-run").bounding_box()["height"] == height
    after = [page.locator(".fz-row").first.bounding_box(), button(page, "Pause").bounding_box()]
    assert after == boxes
    kernel_set(page, run=RUNNING | {"can_start": False})
    assert not line.is_visible()


def test_a_loop_of_the_users_own_shows_only_what_it_logs(page):
    none = {"accuracy": None, "validation_loss": None, "validation_accuracy": None}
    mount(page, mlp(), run=RUNNING | none)
    assert page.locator(".fz-metric").locator("visible=true").count() == 4
    own = RUNNING | none | {"can_start": False}
    kernel_set(page, run=own)
    assert page.locator(".fz-metric").locator("visible=true").all_text_contents() == ["Loss0.1235"]
    kernel_set(page, run=own | {"accuracy": 0.5})
    assert metric(page, "accuracy") == "50.0\u00a0%"
    assert page.locator(".fz-metric").locator("visible=true").count() == 2


@pytest.mark.parametrize("width", [320, 420, 900, 1280])
def test_the_users_own_metrics_have_their_numbers(page, width):
    mount(page, mlp(), run=RUNNING | {"can_start": False}, width=width)
    assert page.locator("[data-own]").count() == 0
    hostile = "<img src=x onerror=alert(1)>" + "long" * 100
    show_history(page, history_of(200, metrics=("perplexity", hostile, "c", "d", "e")))
    tiles = page.locator(".fz-metric:has([data-own])")
    assert tiles.locator("dt").all_text_contents() == ["perplexity", hostile, "c", "d"]
    number = page.locator('[data-own="perplexity"]').text_content()
    last = [np.sin(6 * i / 200) + 1.2 for i in range(180, 200)]
    assert number.strip() == f"{np.mean(last):.4f}"[:6]
    assert page.locator(".fz-run img").count() == 0
    inside = """(tile) => tile.getBoundingClientRect().right
      <= tile.closest(".fz-run").getBoundingClientRect().right + 0.5"""
    assert all(tile.evaluate(inside) for tile in tiles.all())
    show_history(page, history_of(200, metrics=("c",)))
    assert tiles.locator("dt").all_text_contents() == ["c"]


def test_a_failed_run_says_why_and_what_is_left(page):
    mount(page, mlp(), run=RUNNING)
    error = "After step 7: ValueError: <b>boom</b>"
    kernel_set(page, run=RUNNING | {"status": "failed", "error": error})
    text = banner(page, "error").text_content()
    assert "The run failed" in text
    assert error in text
    assert "trainer.wait()" in text
    assert banner(page, "error").get_attribute("role") == "alert"
    assert banner(page, "error").locator("b").count() == 0
    kernel_set(page, run=RUNNING)
    assert banner(page, "error").count() == 0


def test_a_loss_that_is_not_finite_offers_to_stop(page):
    mount(page, mlp(), run=RUNNING)
    kernel_set(page, run=RUNNING | {"loss": None, "not_finite": "It became nan at step 1,100."})
    assert metric(page, "loss") == "–"
    assert "nan at step 1,100" in banner(page, "nan").text_content()
    banner(page, "nan").get_by_role("button", name="Stop the run").click()
    assert len(sent(page, "stop")) == 1
    kernel_set(page, run=RUNNING | {"status": "stopped", "not_finite": "It became nan."})
    assert banner(page, "nan").get_by_role("button").count() == 0


def test_a_kernel_that_is_gone_is_told_and_nothing_can_be_pressed(page):
    mount(page, mlp(), run=RUNNING)
    page.evaluate("() => window.kernel.comeOrGo()")
    assert "Run the cell again" in banner(page, "gone").text_content()
    assert "Run the cell again" in page.locator(".fz-note").text_content()
    for name in ("Start", "Pause", "Stop", "Undo", "Freeze all", "Unfreeze all"):
        assert button(page, name).is_disabled()
    before = len(sent(page))
    page.locator('.fz-row[data-path="layers.0"]').click(force=True)  # aria-disabled
    assert len(sent(page)) == before
    assert page.locator('.fz-row[aria-busy="true"]').count() == 0
    page.get_by_role("button", name="Expand all").click()
    assert page.locator(".fz-row").count() == 12


def test_a_saved_view_without_a_connection_says_so_from_the_beginning(page):
    mount(page, mlp(), run=RUNNING, connected=False)
    assert "Run the cell again" in banner(page, "gone").text_content()
    assert sent(page) == []


def test_a_kernel_that_comes_back_is_asked_and_believed_when_it_answers(page):
    mount(page, mlp(), run=RUNNING)
    page.evaluate("() => { window.kernel.comeOrGo(); window.kernel.comeOrGo(); }")
    assert banner(page, "gone").count() == 1
    assert sent(page)[-1]["type"] == "hello"
    answer(page)
    assert banner(page, "gone").count() == 0
    assert button(page, "Pause").is_enabled()


def test_a_connection_that_breaks_while_sending_is_noticed(page):
    mount(page, mlp(), run=RUNNING)
    page.evaluate(
        """() => {
          window.sent = {push() { throw new Error("closed"); }};
          document.querySelector('[data-path="layers.0"]').click();
        }"""
    )
    assert banner(page, "gone").count() == 1
    assert page.locator('[aria-busy="true"]').count() == 0


def test_a_kernel_that_does_not_answer_is_told_and_forgiven(page):
    page.clock.install()
    mount(page, mlp(), run=RUNNING)
    answer(page)
    page.locator('.fz-row[data-path="layers.0"]').click()
    page.clock.run_for(3000)
    assert banner(page, "silent").count() == 0
    page.clock.run_for(3000)
    assert "keeps it busy" in banner(page, "silent").text_content()
    answer(page)
    assert banner(page, "silent").count() == 0


def test_two_views_of_one_run_are_in_step_and_count_their_own_messages(page):
    mount(page, mlp(), run=RUNNING)
    page.evaluate("() => window.another()")
    first, second = (page.locator(".freezeviz").nth(i) for i in (0, 1))
    assert len({message["view"] for message in sent(page, "hello")}) == 2
    second.locator('.fz-row[data-path="layers.0"]').click()
    assert first.locator('[aria-busy="true"]').count() == 0
    assert second.locator('[aria-busy="true"]').count() == 1
    state = default_state(mlp())
    state[0], state[1:4] = 2, [1, 1, 1]
    kernel_set(page, state=state, run=RUNNING | {"status": "paused"})
    answer(page)
    assert second.locator('[aria-busy="true"]').count() == 0
    for view in (first, second):
        assert view.locator('.fz-row[data-path="layers.0"]').get_attribute("data-state") == "frozen"
        assert view.locator(".fz-status").text_content() == "paused"


def test_in_one_column_the_run_stands_above_the_tree_and_in_two_beside_it(page):
    tops = """() => ["fz-run", "fz-model"].map((name) =>
      document.querySelector(`.${name}`).getBoundingClientRect().top)"""
    mount(page, mlp(), run=RUNNING, width=700)
    run, model = page.evaluate(tops)
    assert run < model
    mount(page, mlp(), run=RUNNING, width=1100)
    run, model = page.evaluate(tops)
    assert run == model
