"""Names that are not what names should be: shown as text wherever a name shows, and never run."""

import pytest

import freezeviz as fv
from freezeviz import nn
from freezeviz.widgets._columns import columns as wired
from freezeviz.widgets._requests import plain
from freezeviz.widgets._static import static_html
from tests.browser.plots_page import gradients_of, history_of, show_history
from tests.browser.stub_page import (
    RUNNING,
    clicks,
    default_state,
    kernel_answer,
    kernel_set,
    make_info,
    mount,
)
from tests.browser.test_tree import dialog_gone

pytestmark = pytest.mark.browser

TAG = '<img src=x onerror="pwned = 1">'
NAMES = {
    "tag": TAG,
    "tag, escaped": "&lt;img src=x onerror=&quot;pwned = 1&quot;&gt;",
    "tag, escaped twice": "&amp;lt;img src=x onerror=&quot;pwned = 1&quot;&gt;",
    "end of a script": "</script></div><script>pwned = 1</script>",
    "end of an attribute": '" onfocus="pwned = 1" autofocus tabindex="0" x=\'',
    "address": "javascript:pwned=1",
    "template": "${pwned = 1} {{pwned = 1}} %s",
    "style": "</style><style>* { display: none }</style>",
    "selector": '"] , [x="',
    "emoji": "🧊🔥👩‍🔬",
    "right to left": "שלום עולם",
    "overrides": "\u202etxet\u2066 esrever",
    "control characters": "a\x00b\x07\x1b[31m\n\t\u2028c",
    "long": "x" * 500,
    "of the language": "__proto__",
    "with dots": "a.b..c",
}
TEXTS = list(NAMES.values())


@pytest.fixture
def clean(page):
    """A page on which nothing may have come of any name in the end."""
    yield page
    page.wait_for_timeout(50)  # a picture that fails does so a little later
    assert page.evaluate("() => window.pwned") is None
    found = ".freezeviz :is(img, script, style, iframe, a, [onerror], [onfocus], [autofocus])"
    assert page.locator(found).count() == 0


def model_of(names):
    return [(0, "Net", names[0], names[0], 6 * len(names), 0)] + [
        (1, name, name, name, 6, 0) for name in names
    ]


def name_of(page, i):
    return page.locator(f'.fz-row[data-id="{i}"]')


def test_in_rows_and_their_hints(clean):
    names = [*TEXTS, ""]
    mount(clean, model_of(names))
    for i, name in enumerate(names, 1):
        there = name_of(clean, i)
        assert there.locator(".fz-label").text_content() == (name or "(empty name)")
        assert there.locator(".fz-type-name").text_content() == name
        assert there.get_attribute("data-path") == name
        assert name in there.locator(".fz-name").get_attribute("title")
    # Names that are alike when escaped are still two rows, and the right one is meant.
    name_of(clean, 2).click()
    name_of(clean, 3).click()
    assert [click["path"] for click in clicks(clean)] == names[1:3]


def test_rows_keep_their_shape(clean):
    mount(clean, model_of(TEXTS))
    boxes = [name_of(clean, i).bounding_box() for i in range(1, len(TEXTS) + 1)]
    assert {box["height"] for box in boxes} == {28}
    assert len({box["width"] for box in boxes}) == 1
    twisties = {name_of(clean, i).locator(".fz-twisty").bounding_box()["x"] for i in range(1, 4)}
    assert len(twisties) == 1
    assert clean.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_in_a_search_and_its_marks(clean):
    mount(clean, model_of(TEXTS))
    for i, name in enumerate(TEXTS, 1):
        if "\n" in name:
            continue  # a line of text cannot hold it
        clean.get_by_role("searchbox").fill(name)
        clean.wait_for_function(
            "(i) => document.querySelector(`.fz-row[data-id='${i}'] mark`) !== null", arg=i
        )
        assert name_of(clean, i).locator(".fz-label").text_content() == name


def test_in_menus_and_filters(clean):
    mount(clean, model_of(TEXTS), info=make_info(presets={TAG: TAG, "up_to": "Up to here"}))
    options = clean.locator("select option").all_text_contents()
    for i, name in enumerate(TEXTS, 1):
        assert f"{name} (1)" in options or f"{name} (2)" in options
        name_of(clean, i).focus()
        clean.keyboard.press("Shift+M")
        menu = clean.get_by_role("menu")
        assert menu.get_attribute("aria-label") == name
        assert f"Select all of type {name}" in menu.all_text_contents()[0]
        clean.keyboard.press("Escape")
        clean.keyboard.press("Shift+P")
        labels = menu.locator(".fz-item-label").all_text_contents()
        assert labels == [TAG, f"Up to here: {name}"]
        clean.keyboard.press("Escape")


def test_in_sentences_banners_and_dialogs(clean):
    everything = " ".join(TEXTS)
    mount(
        clean,
        model_of(TEXTS),
        state=[3] * (len(TEXTS) + 1),
        run=RUNNING | {"error": everything, "not_finite": everything},
        info=make_info(everything, "error", undo=everything, redo=everything),
    )
    assert clean.locator(".fz-note").text_content() == everything
    for banner in clean.locator(".fz-banner .fz-text").all():
        assert everything in banner.text_content()
    assert everything in clean.get_by_role("button", name="Undo").get_attribute("title")
    name_of(clean, 1).click()  # has nothing to freeze, which is said
    assert clean.locator(".fz-note").text_content().startswith(f"{TAG} ({TAG})")
    clean.keyboard.press("Shift+Y")
    kernel_answer(clean, "code", {"text": everything})
    assert clean.get_by_role("dialog").get_by_role("textbox").input_value() == everything
    clean.keyboard.press("Escape")
    dialog_gone(clean)
    clean.keyboard.press("Shift+S")
    clean.get_by_label("Selector: path").fill("x")
    clean.wait_for_function("() => window.sent.some((m) => m.about === 'preview')")
    kernel_answer(clean, "preview", {"error": everything})
    assert clean.locator(".fz-selector-said").text_content() == everything


def test_in_curves_gradients_and_tables(clean):
    drawn = [name for name in TEXTS if name != "__proto__"]
    history = history_of(
        60,
        changes=tuple((5 + 3 * i, "freeze", name) for i, name in enumerate(drawn)),
        paths=[f"{name}.weight" for name in drawn],
        metrics=tuple(drawn),
        seconds=lambda i: 0.01,
    )
    mount(clean, model_of(TEXTS), run=RUNNING)
    show_history(clean, history)
    kernel_set(clean, heat=gradients_of(history))
    chips = clean.locator(".fz-metricchip").all_text_contents()
    assert set(drawn) <= set(chips)
    titles = " ".join(clean.locator(".fz-marktext").evaluate_all("(all) => all.map(m => m.title)"))
    assert TAG in titles
    for tab in ("Curves", "Gradients", "Cost"):
        clean.get_by_role("tab", name=tab).click()
        slider = clean.get_by_role("slider", name="position in the run")
        slider.focus()
        clean.keyboard.press("End")
        clean.keyboard.press("ArrowDown")
        clean.get_by_role("button", name="Table").click()
        table = clean.locator(".fz-table").text_content()
        assert TAG in table
        clean.get_by_role("button", name="Table").click()
    assert TAG in clean.locator(".fz-plots").inner_html().replace("&lt;", "<").replace("&gt;", ">")


class Odd(nn.Module):
    """A model whose layers have the names."""

    def __init__(self, names):
        super().__init__()
        for name in names:
            setattr(self, name, nn.Linear(1, 1))

    def __call__(self, x):
        return x


# A dot parts a path, and what begins with an underscore is private, in a model of ours.
OURS = [name for name in TEXTS if not name.startswith("_") and "." not in name]


def test_from_a_real_model_with_its_details(clean):
    controller = fv.explore(Odd(OURS)).controller
    structure = controller.structure
    tree = wired(structure, 1)
    mount(clean, tree, state=default_state([(0, 0, 0, 0, 1)] * len(structure)))
    for name in OURS:
        row = structure.index[name]
        name_of(clean, row).focus()
        clean.keyboard.press("Shift+D")
        clean.wait_for_function(
            "(n) => window.sent.some((m) => m.about === 'details' && m.path === n)", arg=name
        )
        kernel_answer(clean, "details", {"details": plain(controller.details(name))})
        pane = clean.get_by_role("region", name="Details")
        assert pane.get_by_role("heading").text_content() == name
        assert pane.locator("bdi").all_text_contents() == ["weight", "bias"]
        clean.keyboard.press("Shift+D")


def test_in_the_static_copy(page):
    explorer = fv.explore(Odd(OURS))
    page.set_content(static_html(explorer, b"\x89PNG", TAG))
    page.wait_for_timeout(50)
    assert page.evaluate("() => window.pwned") is None
    assert page.locator("script, style, iframe, a").count() == 0
    assert page.locator("img").count() == 1  # the picture, whose text is the name
    assert page.locator("img").get_attribute("alt") == TAG
    shown = [text.strip() for text in page.locator("code").all_text_contents()]
    assert len(shown) == len(OURS) + 1
    for key in ("tag", "tag, escaped", "tag, escaped twice", "template", "right to left"):
        assert NAMES[key] in shown
