"""The plots in Chromium: what is drawn where, zoom, values, keys, and what leaves the page."""

import numpy as np
import pytest

from freezeviz.train import History, StepDone, Validated
from freezeviz.train._heat import heat
from freezeviz.widgets._curves import heat_trait, part
from tests.browser.plots_page import PATHS, gradients_of, history_of, show_history
from tests.browser.stub_page import (
    IDLE,
    RUNNING,
    kernel_answer,
    kernel_set,
    mlp,
    mount,
    sent,
)

pytestmark = pytest.mark.browser

# The colour of a pixel of the first plot, at shares of the plotting area (0, 0 is its upper left).
_PIXEL = """
([across, down, index]) => {
  const canvas = document.querySelectorAll(".fz-panels canvas")[index];
  const [area, box] = [canvas.parentElement.querySelector(".u-over"), canvas].map((element) =>
    element.getBoundingClientRect());
  const x = ((area.left - box.left + across * area.width) * canvas.width) / box.width;
  const y = ((area.top - box.top + down * area.height) * canvas.height) / box.height;
  return [...canvas.getContext("2d").getImageData(Math.floor(x), Math.floor(y), 1, 1).data];
}
"""
_COUNT = """
([color, index]) => {
  const canvas = document.querySelectorAll(".fz-panels canvas")[index];
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let i = 0; i < data.length; i += 4)
    if (color.every((part, k) => Math.abs(data[i + k] - part) < 12) && data[i + 3] > 200) count++;
  return count;
}
"""
TRAINING, PALE, BAD, DARK_TRAINING = (0, 114, 178), (140, 196, 232), (164, 20, 28), (108, 193, 247)


def show(page, history=None, *, width=700, run=RUNNING, **traits):
    mount(page, mlp(), run=run, width=width, **traits)
    if history is not None:
        show_history(page, history)


def pixel(page, across, down, index=0):
    return page.evaluate(_PIXEL, [across, down, index])


def count(page, color, index=0):
    return page.evaluate(_COUNT, [list(color), index])


def slider(page):
    return page.get_by_role("slider", name="position in the run")


def shown_range(page):
    at = slider(page)
    return float(at.get_attribute("aria-valuemin")), float(at.get_attribute("aria-valuemax"))


def area(page, index=0):
    return page.locator(".u-over").nth(index).bounding_box()


def point_at(page, across, down=0.5, index=0):
    box = area(page, index)
    page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])


def drag(page, start, end):
    point_at(page, start)
    page.mouse.down()
    point_at(page, (start + end) / 2)
    point_at(page, end)
    page.mouse.up()


def readout(page):
    return page.locator(".fz-readout").text_content()


def open_tab(page, name):
    page.get_by_role("tab", name=name).click()


# ---- what is there ------------------------------------------------------------------------------


def test_before_the_first_step_each_tab_says_what_will_be_there(page):
    show(page, run=IDLE)
    for tab, text in (("Curves", "loss appears"), ("Gradients", "Norms"), ("Cost", "memory")):
        open_tab(page, tab)
        assert text in page.locator(".fz-hint").text_content()
        assert page.locator(".fz-hint").is_visible()
    assert page.get_by_role("button", name="PNG").is_disabled()


def test_every_metric_has_a_panel_and_a_chip_that_hides_it(page):
    show(page, history_of(60, metrics=("f1", "<img src=x onerror=alert(1)>")))
    assert page.locator(".fz-panels .uplot").count() == 4
    chips = page.get_by_role("group", name="Metrics shown").get_by_role("button")
    assert chips.all_text_contents() == ["loss", "accuracy", "f1", "<img src=x onerror=alert(1)>"]
    for _ in range(3):
        page.locator('.fz-metricchip[aria-pressed="true"]').last.click()
    assert page.locator(".fz-panels .uplot").count() == 1
    page.locator('.fz-metricchip[aria-pressed="true"]').click()  # one stays
    assert page.locator(".fz-panels .uplot").count() == 1
    assert page.locator(".fz-plots img").count() == 0


def test_nothing_below_moves_when_curves_marks_and_tabs_come_and_go(page):
    top = "() => document.querySelector('.fz-model').getBoundingClientRect().top"
    show(page)
    before = page.evaluate(top)
    history = history_of(80, changes=((30, "freeze", "layers.0"), (60, "unfreeze", "layers.0")))
    show_history(page, history_of(1))
    tops = [page.evaluate(top)]
    show_history(page, history)
    kernel_set(page, heat=gradients_of(history))
    for tab in ("Gradients", "Cost", "Curves"):
        open_tab(page, tab)
        tops.append(page.evaluate(top))
    point_at(page, 0.5)
    page.get_by_role("button", name="Table").click()
    assert {*tops, page.evaluate(top)} == {before}


def test_a_frozen_stretch_is_a_darker_ground_a_line_and_a_bar_of_its_length(page):
    show(page, history_of(100, changes=((25, "freeze", "layers.0"), (75, "unfreeze", "layers.0"))))
    before, after, inside, again = (pixel(page, x, 0.02) for x in (0.23, 0.77, 0.27, 0.73))
    assert before == after == pixel(page, 0.1, 0.02)
    assert inside == again == pixel(page, 0.5, 0.02)
    assert inside[3] > before[3]  # the ground is drawn over nothing
    line = [pixel(page, 0.25 + shift / 600, 0.02) for shift in (-1, 0, 1)]
    assert max(p[3] for p in line) > 150
    bar, track = (page.locator(f".fz-{name}").first.bounding_box() for name in ("bar", "track"))
    assert (bar["x"] - track["x"]) / track["width"] == pytest.approx(0.25, abs=0.005)
    assert bar["width"] / track["width"] == pytest.approx(0.5, abs=0.005)
    assert track["x"] == pytest.approx(area(page)["x"], abs=1)
    assert page.locator(".fz-marktext").all_text_contents() == [
        "freeze layers.0",
        "unfreeze layers.0",
    ]
    assert page.locator(".fz-lanename").text_content() == "layers.0"


@pytest.mark.parametrize("start", [3, 50, 94, 99])
def test_the_name_of_a_bar_stands_in_it_or_beside_it_and_never_across_its_edge(page, start):
    long = [f"bert.encoder.layer.0.attention.self.{part}.weight" for part in ("key", "value")]
    history = history_of(
        100, changes=((start, "freeze", "bert"), (start + 1, "unfreeze", "bert")), paths=long
    )
    show(page, history)
    name, bar, track = (
        page.locator(f".fz-{part}").first.bounding_box() for part in ("lanename", "bar", "track")
    )
    left, right = name["x"], name["x"] + name["width"]
    assert right <= bar["x"] + 0.5 or left >= bar["x"] + bar["width"] - 0.5
    assert left >= track["x"] - 0.5
    assert right <= track["x"] + track["width"] + 0.5
    color = page.locator(".fz-lanename").evaluate("(name) => getComputedStyle(name).color")
    assert color == "rgb(31, 35, 40)"  # that of text on the ground


def test_more_of_the_model_frozen_is_darker(page):
    show(page, history_of(100, changes=((25, "freeze", "layers.0"), (75, "freeze", "layers.2"))))
    grounds = [pixel(page, across, 0.02)[3] for across in (0.1, 0.5, 0.9)]
    assert grounds == sorted(grounds)
    assert len(set(grounds)) == 3


def test_labels_hold_names_as_text_only(page):
    payload = '<img src=x onerror="window.hacked=1">'
    paths = [f"{payload}.weight", "b.weight"]
    show(page, history_of(50, changes=((20, "freeze", payload),), paths=paths))
    assert page.locator(".fz-plots img").count() == 0
    assert page.locator(".fz-marktext").get_attribute("title").startswith(f"freeze {payload}")
    assert page.evaluate("() => window.hacked") is None


def test_losses_that_are_not_finite_are_marked_and_the_rest_is_drawn(page):
    show(page, history_of(100, bad=tuple(range(40, 60))))
    assert count(page, BAD) > 20
    assert count(page, TRAINING) > 100
    show(page, history_of(100))
    assert count(page, BAD) == 0


# ---- look ---------------------------------------------------------------------------------------


def test_smoothing_lays_a_mean_over_the_pale_curve(page):
    show(page, history_of(100, accuracy=False))
    assert count(page, PALE) > 100
    page.get_by_role("slider", name="smooth").focus()
    page.keyboard.press("Home")
    assert page.locator(".fz-smoothtext").text_content() == "off"
    assert count(page, PALE) == 0
    assert count(page, TRAINING) > 100


def test_a_logarithmic_axis_puts_decades_at_equal_distances(page):
    history = History(PATHS)
    for step, loss in enumerate((100.0, 10.0, 1.0)):
        history.add(StepDone(step + 1, 0, 0.0, loss, None))
    show(page, history)
    page.get_by_role("slider", name="smooth").focus()
    page.keyboard.press("Home")

    def heights():
        found = []
        slider(page).focus()
        page.keyboard.press("Home")
        for _ in range(3):
            dot = page.locator(".u-cursor-pt").first.bounding_box()
            found.append(dot["y"] + dot["height"] / 2)
            page.keyboard.press("ArrowRight")
        return np.diff(found)

    linear = heights()
    assert linear[0] / linear[1] == pytest.approx(10, rel=0.2)
    page.get_by_label("log y").check()
    log = heights()
    assert log[0] == pytest.approx(log[1], abs=1.5)


@pytest.mark.parametrize(("axis", "end"), [("step", 300), ("epoch", 3), ("time", 0.6)])
def test_the_axis_can_be_steps_epochs_or_time(page, axis, end):
    show(page, history_of(300, seconds=lambda i: 0.002))
    page.get_by_label("x axis").select_option(axis)
    assert shown_range(page) == pytest.approx((0, end), rel=1e-3)
    point_at(page, 0.5)
    assert "step 150" in readout(page)
    assert "epoch 1.50" in readout(page)
    assert "0.300 s" in readout(page)


def test_axes_that_there_are_not_cannot_be_chosen(page):
    show(page, history_of(50))
    options = page.get_by_label("x axis").locator("option")
    assert options.evaluate_all("(all) => all.map((o) => o.disabled)") == [False, True, True]


def test_colours_follow_the_theme_when_it_changes(page):
    show(page, history_of(100))
    assert count(page, TRAINING) > 100
    page.evaluate("() => { document.body.dataset.jpThemeLight = 'false'; }")
    page.wait_for_timeout(100)
    assert count(page, TRAINING) == 0
    assert count(page, DARK_TRAINING) > 100


def test_plots_fill_the_room_that_they_get(page):
    show(page, history_of(100), width=900)
    wide = area(page)["width"]
    page.evaluate("() => { window.host.style.width = '380px'; }")
    page.wait_for_function(
        "(old) => document.querySelector('.u-over').clientWidth < old - 100", arg=wide
    )
    figure = page.locator(".fz-figure").bounding_box()
    plot = page.locator(".uplot").first.bounding_box()
    assert plot["x"] + plot["width"] <= figure["x"] + figure["width"] + 0.5
    overflow = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) == 0


# ---- zoom and values ----------------------------------------------------------------------------


def test_dragging_zooms_and_a_double_click_zooms_out(page):
    show(page, history_of(100))
    assert shown_range(page) == (0, 100)
    drag(page, 0.25, 0.75)
    low, high = shown_range(page)
    assert (low, high) == pytest.approx((25, 75), abs=0.5)
    point_at(page, 0.0)
    assert "step 25" in readout(page)
    box = area(page)
    page.mouse.dblclick(box["x"] + 50, box["y"] + 20)
    assert shown_range(page) == (0, 100)


def test_a_zoom_stays_while_the_run_goes_on_and_when_the_axis_changes(page):
    show(page, history_of(300))
    drag(page, 1 / 3, 2 / 3)
    show_history(page, history_of(400))
    assert shown_range(page) == pytest.approx((100, 200), abs=1)
    page.get_by_label("x axis").select_option("epoch")
    assert shown_range(page) == pytest.approx((1, 2), abs=0.02)
    page.get_by_role("button", name="Zoom out").click()
    assert shown_range(page) == (0, 4)
    assert page.get_by_role("button", name="Zoom out").is_disabled()


def test_marks_and_bars_follow_the_zoom(page):
    show(page, history_of(100, changes=((50, "freeze", "layers.0"),)))
    drag(page, 0.4, 0.6)
    bar, track = (page.locator(f".fz-{name}").first.bounding_box() for name in ("bar", "track"))
    assert (bar["x"] - track["x"]) / track["width"] == pytest.approx(0.5, abs=0.02)
    drag(page, 0.0, 0.4)
    assert page.locator(".fz-bar").count() == 0
    assert page.locator(".fz-marktext").count() == 0


def test_a_long_run_is_seen_step_by_step_where_it_is_zoomed_into(page):
    losses = np.linspace(2, 1, 20_000)
    history = History(PATHS)
    for i, loss in enumerate(losses):
        history.add(StepDone(i + 1, 0, 0.0, float(loss), None))
    show(page, history)
    drag(page, 0.5, 0.53)
    page.wait_for_function("() => window.sent.some((m) => m.about === 'curves')")
    asked = [m for m in sent(page, "ask") if m["about"] == "curves"][-1]
    first, last = shown_range(page)
    assert asked["first"] < first
    assert asked["last"] >= last
    buffers = []

    def lifted(value):
        if isinstance(value, bytes):
            buffers.append(value)
            return {"buffer": len(buffers) - 1}
        return {n: lifted(v) for n, v in value.items()} if isinstance(value, dict) else value

    kernel_answer(page, "curves", lifted(part(history, asked["first"], asked["last"])), buffers)
    point_at(page, 0.5)
    step = round((first + last) / 2)
    value = float(page.locator(".fz-reading .fz-value").first.text_content())
    assert value == pytest.approx(losses[step - 1], abs=2e-3)
    slider(page).focus()
    before = float(slider(page).get_attribute("aria-valuenow"))
    page.keyboard.press("ArrowRight")
    assert float(slider(page).get_attribute("aria-valuenow")) - before in (
        1,
        pytest.approx(1, abs=0.6),
    )


def test_pointing_at_a_step_reads_its_values(page):
    history = History(PATHS)
    for i in range(10):
        history.add(StepDone(i + 1, 0, 0.0, (i + 1) / 8, (i + 1) / 10))
    history.add(Validated(10, 0, 0.0, 0.75, 0.5))
    show(page, history)
    page.get_by_role("slider", name="smooth").focus()
    page.keyboard.press("Home")
    point_at(page, 0.4)
    values = page.locator(".fz-reading").all_text_contents()
    assert values == ["loss0.5", "val. loss0.75", "accuracy40.0\u00a0%", "val. accuracy50.0\u00a0%"]
    assert "step 4 " in readout(page)
    page.mouse.move(2, 2)
    assert "Drag to zoom" in readout(page)


def test_keys_move_along_the_run_zoom_and_are_read_out(page):
    page.evaluate(
        """() => {
          window.heard = [];
          document.addEventListener("keydown", (event) => window.heard.push(event.key), true);
        }"""
    )
    show(page, history_of(100))
    slider(page).focus()
    page.keyboard.press("End")
    assert slider(page).get_attribute("aria-valuenow") == "100"
    page.keyboard.press("ArrowLeft")
    text = slider(page).get_attribute("aria-valuetext")
    assert text.startswith("step 99")
    assert "loss" in text
    page.keyboard.press("PageUp")
    assert slider(page).get_attribute("aria-valuenow") == "89"
    page.keyboard.press("+")
    low, high = shown_range(page)
    assert high - low == pytest.approx(50, abs=6)
    assert low < 89 < high
    page.keyboard.press("Escape")
    assert shown_range(page) == (0, 100)
    assert page.evaluate("() => window.heard") == []


def test_tabs_are_changed_with_arrows(page):
    show(page, history_of(20))
    page.get_by_role("tab", name="Curves").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", name="Gradients").get_attribute("aria-selected") == "true"
    assert page.evaluate("() => document.activeElement.textContent") == "Gradients"
    page.keyboard.press("End")
    assert page.get_by_role("tab", name="Cost").get_attribute("aria-selected") == "true"
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", name="Curves").get_attribute("aria-selected") == "true"


# ---- gradients and costs ------------------------------------------------------------------------


def heat_of(norms, steps=(10.0, 30.0, 50.0, 70.0)):
    return heat_trait(heat(["a", "b"], np.array(steps), np.array(norms, float)))


def test_cells_have_the_colour_of_their_norm_and_none_where_frozen(page):
    show(page, history_of(80, paths=["a", "b"]))
    kernel_set(page, heat=heat_of([[1.0, 1e-2, 1e-4, np.nan], [1e-4, 1e-2, 1.0, 1.0]]))
    open_tab(page, "Gradients")
    low, middle, high = [0, 34, 78], [125, 124, 120], [254, 232, 56]
    rows = [[high, middle, low, None], [low, middle, high, high]]
    for row, colors in enumerate(rows):
        for column, color in enumerate(colors):
            got = pixel(page, (column + 0.5) / 4, (row + 0.5) / 2)
            want = color or [230, 232, 235]
            assert got[:3] == pytest.approx(want, abs=3), (row, column)


def test_pointing_at_a_cell_reads_it_with_mouse_and_keys(page):
    show(page, history_of(80, paths=["a", "b"]))
    kernel_set(page, heat=heat_of([[1.0, 0.5, 0.25, np.nan], [0.1, 0.2, 0.3, 0.4]]))
    open_tab(page, "Gradients")
    point_at(page, 0.4, 0.75)
    assert readout(page) == "b step 30: 0.200"
    point_at(page, 0.9, 0.25)
    assert readout(page) == "a step 70: no gradient (frozen)"
    slider(page).focus()
    page.keyboard.press("Home")
    assert slider(page).get_attribute("aria-valuetext") == "a step 10: 1.00"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert slider(page).get_attribute("aria-valuetext") == "b step 30: 0.200"


def test_costs_show_time_and_what_was_kept_with_the_changes(page):
    history = history_of(
        100,
        changes=((50, "freeze", "layers.0"),),
        seconds=lambda i: 0.004 if i < 50 else 0.002,
    )
    show(page, history)
    open_tab(page, "Cost")
    point_at(page, 0.25)
    assert page.locator(".fz-reading").all_text_contents() == ["step4.00 ms"]
    summary = page.locator(".fz-plots p").text_content()
    assert summary == "Typical time of a step. steps 1 to 50: 4.00 ms; steps 51 to 100: 2.00 ms."
    assert page.locator(".fz-marktext").text_content() == "freeze layers.0"


# ---- for everyone, and out of the page ----------------------------------------------------------


def test_the_plots_are_named_and_their_words_and_tables_can_be_read(page):
    history = history_of(60, changes=((30, "freeze", "layers.0"),), seconds=lambda i: 0.003)
    show(page, history, heat=gradients_of(history))
    tree = page.locator(".fz-plots").aria_snapshot()
    for part_of_it in (
        'tab "Curves" [selected]',
        'slider "Curves: position in the run"',
        'combobox "x axis"',
        'checkbox "log y"',
        'button "loss" [pressed]',
    ):
        assert part_of_it in tree
    described = page.locator(".fz-figure").get_attribute("aria-describedby")
    assert "60 steps" in page.locator(f"#{described}").text_content()
    page.get_by_role("button", name="Table").click()
    heads = page.locator(".fz-table thead th").all_text_contents()
    assert heads[:3] == ["step", "loss", "accuracy"]
    last = page.locator(".fz-table tbody tr").last.locator("th, td").all_text_contents()
    assert (last[0], float(last[1])) == ("60", pytest.approx(history.steps["loss"][-1], rel=1e-3))
    assert "freeze layers.0" in page.locator(".fz-table").text_content()
    open_tab(page, "Gradients")
    assert page.locator(".fz-table tbody tr").count() == 6
    open_tab(page, "Cost")
    assert page.locator(".fz-table tbody tr").last.text_content().endswith("layers.0")
    assert page.locator(".fz-charts").is_hidden()


@pytest.mark.parametrize(("format", "mime"), [("PNG", "image/png"), ("CSV", "text/csv")])
def test_what_the_kernel_draws_is_saved_as_a_file(page, format, mime):
    show(page, history_of(200, metrics=("f1",)))
    page.get_by_label("log y").check()
    page.get_by_label("x axis").select_option("epoch")
    page.locator(".fz-metricchip").nth(1).click()
    page.get_by_role("button", name=format).click()
    content = bytes(range(256))
    with page.expect_download() as download:
        asked = kernel_answer(
            page, "export", {"name": f"run.{format.lower()}", "mime": mime}, [content]
        )
    assert {k: asked[k] for k in ("format", "plot", "metrics", "smooth", "log", "x")} == {
        "format": format.lower(),
        "plot": "curves",
        "metrics": ["loss", "f1"],
        "smooth": 0.8,
        "log": True,
        "x": "epoch",
    }
    assert download.value.suggested_filename == f"run.{format.lower()}"
    with open(download.value.path(), "rb") as file:
        assert file.read() == content
    assert "Saved run." in page.locator(".fz-note").text_content()


def test_why_something_could_not_be_saved_is_told(page):
    show(page, history_of(20))
    page.get_by_role("button", name="SVG").click()
    kernel_answer(page, "export", {"error": "drawing needs matplotlib"})
    assert "drawing needs matplotlib" in page.locator(".fz-note").text_content()


def test_without_a_kernel_plots_stay_and_nothing_can_be_saved(page):
    show(page, history_of(100))
    page.evaluate("() => window.kernel.comeOrGo()")
    assert page.get_by_role("button", name="PNG").is_disabled()
    assert count(page, TRAINING) > 100
    drag(page, 0.25, 0.75)
    assert shown_range(page) == pytest.approx((25, 75), abs=0.5)


def test_a_hundred_thousand_steps_are_drawn_in_a_moment(page):
    history = History(PATHS)
    rng = np.random.default_rng(0)
    for i, noise in enumerate(rng.random(100_000)):
        history.add(StepDone(i + 1, i // 1000, 0.0, 1.0 + noise, 0.5))
    show(page, history)
    took = page.evaluate(
        """async () => {
          const t = performance.now();
          const get = window.kernel;
          get.set({});
          for (const handler of get.handlers["change:curves"]) handler();
          await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
          return performance.now() - t;
        }"""
    )
    assert took < 500
    assert count(page, TRAINING) > 100


def test_a_view_that_is_closed_leaves_nothing_behind(page):
    show(page, history_of(50))
    page.evaluate(
        """() => {
          window.dispose();
          window.asked = 0; // of the theme, which every drawing does
          const asked = window.matchMedia.bind(window);
          window.matchMedia = (query) => (window.asked++, asked(query));
          document.body.dataset.jpThemeLight = "false";
        }"""
    )
    show_history(page, history_of(60))
    page.wait_for_timeout(100)
    assert page.evaluate("() => window.asked") == 0
    assert page.locator(".uplot").count() == 0
