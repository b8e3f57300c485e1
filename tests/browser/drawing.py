"""Lines and zones drawn in a browser, as an installer draws them.

    python drawing.py URL --camera NAME --out FOLDER

Starts the set-up mode, draws on the picture and stops the mode. FOLDER then holds the file that was downloaded,
`NAME.geometry.yaml`, the picture, `background.png` and `background.ppm`, and what was drawn, `drawn.json`. Ends with an AssertionError, or
prints what was seen.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
from pathlib import Path

from playwright.sync_api import BrowserContext, Locator, Page, expect
from watched import PHONE, check_basics, check_policy, check_width, chromium, open_page

#: Milliseconds until people and vehicles have vanished, on a loaded machine.
PICTURE = 240_000
LINE = ("kerb-line", [(0.25, 0.55), (0.65, 0.6)])
ZONE = ("north_side", [(0.1, 0.15), (0.8, 0.2), (0.85, 0.45), (0.45, 0.35), (0.15, 0.5)])
#: Where a corner of the zone is dragged, and a bow tie that is not allowed.
DRAGGED = (2, (0.9, 0.42))
BOW_TIE = [(0.3, 0.65), (0.6, 0.9), (0.6, 0.65), (0.3, 0.9)]

Point = tuple[float, float]


def start(page: Page, url: str, camera: str) -> None:
    """Switches the mode on and waits for the picture."""
    page.goto(f"{url}/setup")
    check_basics(page)
    status = page.request.get(f"{url}/setup/background.png").status
    assert status in (403, 404), f"there is a picture before the mode is on: {status}"
    most = int(page.locator("#minutes").get_attribute("max") or 0)
    assert most >= 1, "no time is allowed"
    page.locator("#camera").select_option(camera)
    page.locator("#minutes").fill(str(most + 1))
    page.get_by_role("button", name="Start").click()
    assert page.locator("#minutes").evaluate("input => input.validity.rangeOverflow"), "too long a time is sent"
    page.locator("#minutes").fill(str(most))
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#setup")).to_contain_text(camera)
    picture = page.locator("#background")
    expect(picture).to_be_visible(timeout=PICTURE)
    assert picture.evaluate("image => image.complete && image.naturalWidth > 100")


def save_pixels(page: Page, file: Path) -> None:
    """The picture as the browser shows it, without compression."""
    width, height, pixels = page.locator("#background").evaluate(
        """image => {
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            const rgba = context.getImageData(0, 0, canvas.width, canvas.height).data;
            let text = "";
            for (let at = 0; at < rgba.length; at += 4) {
                text += String.fromCharCode(rgba[at], rgba[at + 1], rgba[at + 2]);
            }
            return [canvas.width, canvas.height, btoa(text)];
        }"""
    )
    file.write_bytes(f"P6 {width} {height} 255\n".encode() + base64.b64decode(pixels))


def at(overlay: Locator, point: Point) -> tuple[float, float]:
    """Where a point of the picture is on the screen."""
    overlay.scroll_into_view_if_needed()
    box = overlay.bounding_box()
    assert box, "there is no picture to draw on"
    return box["x"] + point[0] * box["width"], box["y"] + point[1] * box["height"]


def click(page: Page, points: list[Point]) -> None:
    """Clicks on the picture, with the mouse where the places are."""
    overlay = page.locator("#overlay")
    for point in points:
        x, y = at(overlay, point)
        page.mouse.move(x, y, steps=3)
        page.mouse.click(x, y)


def rename(page: Page, name: str) -> None:
    """Types the name of what has just been drawn, which the page puts the keyboard on."""
    assert page.evaluate("document.activeElement.id").startswith("name-"), "the name is not asked for"
    page.keyboard.type(name)


def draw(page: Page) -> dict[str, list[Point]]:
    """Draws a line and a zone, and moves a corner by mouse and by keyboard."""
    page.get_by_role("button", name="Add line").click()
    click(page, LINE[1])
    rename(page, LINE[0])
    # Whoever walks to the right over a map has what is below at the right hand.
    item = page.locator("#sites li").filter(has=page.locator("input:focus"))
    expect(item).to_contain_text("Forward is towards the bottom of the picture")

    page.get_by_role("button", name="Add zone").click()
    click(page, [*ZONE[1], ZONE[1][0]])
    rename(page, ZONE[0])
    zone = list(ZONE[1])
    corner, to = DRAGGED
    overlay = page.locator("#overlay")
    page.mouse.move(*at(overlay, zone[corner]))
    page.mouse.down()
    page.mouse.move(*at(overlay, to), steps=5)
    page.mouse.up()
    zone[corner] = to
    # The corner that was dragged has the keyboard.
    for _ in range(4):
        page.keyboard.press("ArrowDown")
    zone[corner] = (to[0], to[1] + 0.02)
    return {LINE[0]: LINE[1], ZONE[0]: zone}


def wrong_is_said(page: Page) -> None:
    """What `kerbside check` would refuse is said at once and cannot be taken away; undo brings back what was."""
    yaml, download = page.locator("#yaml"), page.get_by_role("button", name="Download")
    before = yaml.input_value()
    page.get_by_role("button", name="Add zone").click()
    click(page, [*BOW_TIE, BOW_TIE[0]])
    expect(page.locator("#faults")).to_contain_text("touches or crosses")
    expect(download).to_be_disabled()
    assert yaml.input_value() == "", "what is refused is there to be copied"
    rename(page, "Not A Name")
    expect(page.locator("#faults")).to_contain_text("a name has 1 to 32 lower-case letters")
    check_basics(page)
    page.locator("#sites input:focus").fill(LINE[0])
    expect(page.locator("#faults")).to_contain_text("has this name too")
    undo = page.get_by_role("button", name="Undo")
    for _ in range(10):
        if yaml.input_value() == before:
            break
        undo.click()
    assert yaml.input_value() == before, "undo does not bring back what was"
    expect(download).to_be_enabled()
    page.get_by_role("button", name="Add zone").click()
    click(page, BOW_TIE[:2])
    page.keyboard.press("Escape")
    assert yaml.input_value() == before, "a zone that was cancelled is there"


def drag_by_finger(context: BrowserContext, page: Page) -> None:
    """A finger moves a corner, and not the page below it."""
    corner = page.locator("#overlay .zone [data-corner='0']").first
    before = corner.get_attribute("aria-label")
    box = corner.locator(".dot").bounding_box()
    assert box, "there is no corner"
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    fingers = context.new_cdp_session(page)
    for kind, step in (("touchStart", 0), *(("touchMove", step) for step in range(1, 6)), ("touchEnd", 0)):
        points = [] if kind == "touchEnd" else [{"x": x + 5 * step, "y": y + 6 * step}]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        page.wait_for_timeout(50)
    expect(corner).not_to_have_attribute("aria-label", before or "")
    moved = corner.locator(".dot").bounding_box()
    assert moved and abs(moved["x"] + moved["width"] / 2 - x - 25) < 3, f"{x}, {moved}"
    assert abs(moved["y"] + moved["height"] / 2 - y - 30) < 3, f"{y}, {moved}"
    assert page.evaluate("scrollY") == 0, "the page went with the finger"


def points_of(yaml: str, name: str) -> list[Point]:
    """The points that the block gives the line or zone of that name."""
    found = re.search(rf"^    {name}:(.*(?:\n      .*)*)", yaml, re.MULTILINE)
    assert found, f"{name} is not in\n{yaml}"
    return [(float(x), float(y)) for x, y in re.findall(r"\[(\d\.\d{3,4}), (\d\.\d{3,4})\]", found[1])]


def take(page: Page, camera: str, folder: Path, drawn: dict[str, list[Point]]) -> str:
    """Downloads the block and compares it with what was drawn and what is shown."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == f"{camera}.geometry.yaml"
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    text = file.read_text()
    assert text == page.locator("#yaml").input_value(), "the file is not what is shown"
    for name, points in drawn.items():
        written = points_of(text, name)
        assert len(written) == len(points), f"{name}: {written}"
        for (x, y), (u, v) in zip(written, points, strict=True):
            assert abs(x - u) <= 0.02 and abs(y - v) <= 0.02, f"{name}: {written}, drawn {points}"
    return text


def main() -> None:
    """Checks everything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--camera", required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    url = arguments.url.rstrip("/")
    with chromium() as browser:
        _, page, complaints = open_page(browser)
        start(page, url, arguments.camera)
        check_basics(page)
        answer = page.request.get(f"{url}/setup/background.png")
        assert answer.headers["content-type"] == "image/png" and "no-store" in answer.headers["cache-control"]
        (arguments.out / "background.png").write_bytes(answer.body())
        save_pixels(page, arguments.out / "background.ppm")

        drawn = draw(page)
        check_basics(page)
        wrong_is_said(page)
        text = take(page, arguments.camera, arguments.out, drawn)
        (arguments.out / "drawn.json").write_text(json.dumps(drawn))

        for scheme in ("light", "dark"):
            phone, small, wrong = open_page(
                browser, viewport=PHONE, color_scheme=scheme, has_touch=True, is_mobile=True
            )
            small.goto(f"{url}/setup")
            expect(small.locator("#background")).to_be_visible()
            check_basics(small)
            check_width(small)
            drag_by_finger(phone, small)
            assert not wrong, wrong
            phone.close()
        # The status page says that somebody may look.
        context, status, _ = open_page(browser)
        status.goto(url)
        expect(status.locator("#banners")).to_contain_text("Set-up mode is on")
        assert status.locator("img").count() == 0, "there is a picture on the status page"
        context.close()

        # A second window, which stops the mode: the first one lets go of the picture by itself.
        other, stopping, heard = open_page(browser)
        stopping.goto(f"{url}/setup")
        assert not complaints, complaints
        stopping.get_by_role("button", name="Stop").click()
        expect(stopping.get_by_role("button", name="Start")).to_be_visible()
        assert page.request.get(f"{url}/setup/background.png").status in (403, 404), "the picture is still there"
        expect(page.locator("#ended")).to_be_visible()
        expect(page.locator("#background")).to_be_hidden()
        check_basics(page)
        assert page.locator("#background").get_attribute("src") is None, "the picture is still in the page"
        assert page.locator("#yaml").input_value() == text, "what was drawn is lost"
        check_policy(stopping, heard)
        other.close()
    print(f"drawn and read back: {', '.join(drawn)}")


if __name__ == "__main__":
    main()
