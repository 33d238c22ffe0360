"""The page in a real browser: it draws, answers, and shows the numbers of the tables."""

import shutil
import time

import pandas as pd
import pytest
from page.pages import HOSTILE

selenium = pytest.importorskip("selenium", reason="selenium is not installed")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.select import Select  # noqa: E402

FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
--disable-background-networking --disable-component-update --disable-dev-shm-usage""".split()


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    control = shutil.which("chromedriver")
    if browser is None or control is None:
        pytest.skip("no chromium and chromedriver on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(control))
    yield driver
    driver.quit()


@pytest.fixture
def at(driver, written):
    """Opens the page, and fails where the browser complained about anything."""
    driver.get(written.as_uri())
    yield driver
    assert driver.get_log("browser") == []


def one(driver, selector):
    return driver.find_element(By.CSS_SELECTOR, selector)


def every(driver, selector):
    return driver.find_elements(By.CSS_SELECTOR, selector)


def cells(driver, selector):
    """Returns the exact values of a table, row by row."""
    rows = "tr => [...tr.children].map(cell => cell.dataset.value ?? cell.textContent)"
    return driver.execute_script(
        f"return [...document.querySelectorAll('{selector} tbody tr')].map({rows})"
    )


def choose_layer(driver, steps):
    key = Keys.ARROW_RIGHT if steps > 0 else Keys.ARROW_LEFT
    one(driver, "#layer").send_keys(key * abs(steps))


def as_number(text):
    return None if text in ("null", "undefined") else float(text)


def assert_directions(driver, results, layer):
    expected = results.comparison.table.query("layer == @layer").drop(columns="layer")
    found = cells(driver, "#directions-table")
    assert [row[0] for row in found] == expected.method.tolist()
    for row, (_, *values) in zip(found, expected.itertuples(index=False), strict=True):
        assert [as_number(text) for text in row[1:]] == [
            None if pd.isna(value) else value for value in values
        ]
    square = results.comparison.cosines(layer)
    matrix = cells(driver, "#directions-cosines")
    assert [row[0] for row in matrix] == list(square)
    for row, values in zip(matrix, square.to_numpy().tolist(), strict=True):
        assert [as_number(text) for text in row[1:]] == [
            None if pd.isna(value) else value for value in values
        ]


def test_it_asks_the_network_for_nothing(at):
    script = "return performance.getEntriesByType('resource').length"
    assert at.execute_script(script) == 0
    assert at.execute_script("return window.broken") is None
    assert HOSTILE in one(at, "h1").text


def test_choosing_a_layer_changes_what_is_shown(at, results):
    assert one(at, "#layer-name").text == "1"
    assert_directions(at, results, 1)
    choose_layer(at, 1)
    assert {node.text for node in every(at, "h3 .layer")} == {"2"}
    assert_directions(at, results, 2)
    choose_layer(at, -2)
    assert_directions(at, results, 0)
    assert one(at, "#layer").get_attribute("aria-valuetext") == "layer 0"


def test_a_click_in_a_figure_chooses_its_layer(at):
    point = every(at, "#directions-chart circle[data-x='2']")[0]
    ActionChains(at).move_to_element(point).click().perform()
    assert one(at, "#layer-name").text == "2"


def test_figures_draw_the_tables(at, results):
    def drawn(host, name):
        points = every(at, f"#{host} circle[data-name='{name}']")
        return {
            int(point.get_attribute("data-x")): float(point.get_attribute("data-value"))
            for point in points
        }

    table = results.comparison.table.set_index("method")
    for figure in ("cosine_to_ColdJVP", "norm"):
        Select(one(at, "#directions-figure")).select_by_value(figure)
        rows = table.loc["DiffMean"]
        assert drawn("directions-chart", "DiffMean") == dict(
            zip(rows.layer, rows[figure], strict=True)
        )
    means = results.agreement.ladder.query("rung == 'constant'").groupby("layer").cosine.mean()
    assert drawn("kernel-ladder", "constant") == pytest.approx(means.to_dict(), rel=1e-12)


def test_a_line_can_be_hidden(at):
    button = next(b for b in every(at, "#directions-chart .legend button") if b.text == "DiffMean")
    button.send_keys(Keys.ENTER)
    assert every(at, "#directions-chart circle[data-name='DiffMean']") == []
    focused = at.switch_to.active_element
    assert (focused.text, focused.get_attribute("aria-pressed")) == ("DiffMean", "false")
    focused.send_keys(Keys.ENTER)
    assert every(at, "#directions-chart circle[data-name='DiffMean']") != []


def test_pointing_at_a_token_shows_it_and_its_share(at, results):
    Select(one(at, "#kernel-example")).select_by_value("1")
    choose_layer(at, 1)
    last = every(at, "#kernel-tokens .read")
    assert len(last) == 1
    ActionChains(at).move_to_element(last[0]).perform()
    share = results.agreement.positions.query(
        "layer == 2 and example == 1 and side == 'prompt' and position == 0"
    ).share.mean()
    text = one(at, "#kernel-token").text.replace("−", "-")
    assert text.startswith("“(”, last token of the prompt, which COLD-Kernel reads")
    assert f"{100 * share:.1f} % of the displacement at layer 2" in text
    assert float(last[0].get_attribute("data-value")) == pytest.approx(share, rel=1e-12)


def test_tokens_can_be_walked_by_key(at):
    start = one(at, "#kernel-tokens [tabindex='0']")
    start.send_keys(Keys.ARROW_LEFT)
    assert at.switch_to.active_element.text == ":"
    assert "1 before the end of the prompt" in one(at, "#kernel-token").text


def test_top_tokens_are_those_of_the_report(at, results):
    Select(one(at, "#tokens-method")).select_by_value("ColdKernel")
    shown = [node.text for node in every(at, "#tokens-lists div:first-child .token")]
    assert shown == results.comparison.top_tokens(1, "ColdKernel").promoted.tolist()


def test_every_check_is_shown_with_its_verdict(at, results):
    assert [
        row[-1] for row in cells(at, "#checks-table")
    ] == results.checks.summary().verdict.tolist()
    assert "Every claim holds" in one(at, ".verdict").text


def test_steering_shows_the_chosen_measurement(at, results):
    choose_layer(at, 1)
    Select(one(at, "#steering-measurement")).select_by_value("kl")
    Select(one(at, "#steering-group")).select_by_index(1)
    found = results.evaluations["length 1 of the residual stream"]
    means = {
        e.about["method"]: e.summary.loc["kl", "mean"] for e in found if e.about["layers"] == [2]
    }
    heads = [node.text for node in every(at, "#steering-table th")]
    rows = cells(at, "#steering-table")
    assert {row[0]: float(row[heads.index("mean")]) for row in rows} == means
    choose_layer(at, -1)
    assert one(at, "#steering-table").text == "Nothing was computed at this layer."


def test_a_downloaded_table_is_the_saved_one(at, results, tmp_path):
    at.execute_cdp_cmd(
        "Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    one(at, "[data-table='tokens']").click()
    path = tmp_path / "tokens.csv"
    deadline = time.monotonic() + 20
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    found = pd.read_csv(path, keep_default_na=False, dtype={"token": "str"})
    pd.testing.assert_frame_equal(found, results.comparison.tokens, check_exact=True)


@pytest.mark.parametrize("width", [360, 1200])
def test_no_width_needs_sideways_scrolling(at, width):
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    at.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    at.refresh()
    wide = at.execute_script("return document.documentElement.scrollWidth - innerWidth")
    at.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_on_tinted_tokens_and_cells(at, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    at.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    worst = at.execute_script(CONTRAST)
    at.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert worst >= 4.5


CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const paper = getComputedStyle(document.body).backgroundColor;
const light = (colors) => {
  for (const color of colors) { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); }
  const parts = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
};
return Math.min(...[...document.querySelectorAll('p, td, .token, a, .score, .key')].map((node) => {
  const style = getComputedStyle(node);
  const pair = [light([paper, style.backgroundColor]), light([paper, style.color])];
  return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
}));
"""
