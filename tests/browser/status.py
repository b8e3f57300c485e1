"""The status page in a browser, while cameras and node come and go.

    python status.py URL --lost NAME --steady NAME

Prints `now kill the camera` and `now kill the node` when that is to be done, and goes on when the page says that it has
been. Ends with an AssertionError, or prints what was seen.
"""

from __future__ import annotations

import argparse
import re

from playwright.sync_api import Browser, Page, expect
from watched import PATIENCE, PHONE, check_basics, check_policy, check_width, chromium, open_page

#: Milliseconds until a camera is seen, on a loaded machine.
SEEN = 60_000


def every_size_and_colour(browser: Browser, url: str) -> None:
    """The page is readable in light and dark, on a desk and on a telephone."""
    grounds = {}
    for scheme in ("light", "dark"):
        for size in ({}, {"viewport": PHONE}):
            context, page, complaints = open_page(browser, color_scheme=scheme, **size)
            page.goto(url)
            for details in page.locator("details").all():
                details.locator("summary").click()
            check_basics(page)
            check_width(page)
            grounds[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert page.locator("img, video, canvas, picture, object, iframe").count() == 0, "there is a picture"
            check_policy(page, complaints)
            context.close()
    assert grounds["light"] != grounds["dark"], grounds


def times_are_local(page: Page) -> None:
    """Times are those of the browser's zone, with UTC in the attribute."""
    taken = page.locator("#taken time")
    utc = taken.get_attribute("datetime") or ""
    local = page.evaluate(
        "(utc) => new Date(utc).toLocaleString('en-GB', {dateStyle: 'medium', timeStyle: 'medium'})", utc
    )
    assert taken.text_content() == local, f"{taken.text_content()} for {utc}"
    assert utc[11:19] not in local, f"{local} is not the time of Zurich"


def without_script(browser: Browser, url: str) -> None:
    """Without scripts the page is there, and loads itself again."""
    context, page, _ = open_page(browser, java_script_enabled=False)
    page.goto(url)
    expect(page.locator("#summary")).to_be_visible()
    assert page.locator("noscript meta[http-equiv=refresh], head > meta[http-equiv=refresh]").count() == 1
    context.close()


def forbidden(browser: Browser, url: str, camera: str) -> None:
    """Where node.yaml does not allow the set-up mode, no picture can be had."""
    context, page, complaints = open_page(browser)
    page.goto(f"{url}/setup")
    expect(page.locator("main")).to_contain_text("not allowed")
    expect(page.locator("main")).to_contain_text("setup: {at_most: 30m}")
    assert page.locator("form, img").count() == 0
    check_basics(page)
    page.set_viewport_size(PHONE)
    check_width(page)
    form: dict[str, str | float | bool] = {"token": "guessed", "camera": camera, "minutes": "1"}
    for answer in (
        page.request.post(f"{url}/setup/start", form=form, max_redirects=0),
        page.request.post(f"{url}/setup/stop", form=form, max_redirects=0),
        page.request.get(f"{url}/setup/background.png", max_redirects=0),
    ):
        assert answer.status in (403, 404), f"{answer.url}: {answer.status}"
        assert not answer.headers.get("content-type", "").startswith("image/"), answer.url
    check_policy(page, complaints)
    context.close()


def camera_goes_down(page: Page, complaints: list[str], lost: str, steady: str) -> str:
    """The page says by itself that a camera is gone, in words, and keeps what its reader has opened."""
    card = page.locator(f"#camera-{steady}")
    card.locator("summary").click()
    card.locator("summary").focus()
    page.evaluate("window.isTheSamePage = true")
    print("now kill the camera", flush=True)
    summary = page.locator("#summary")
    expect(summary).to_contain_text(re.compile(f"{lost} (is not|has not been) connected"), timeout=SEEN)
    said = summary.inner_text()
    expect(page.locator(f"#camera-{lost} .state")).to_have_text("not connected")
    expect(page.locator(f"#camera-{lost} .state svg.bad")).to_be_visible()
    expect(card.locator(".state")).to_have_text("seen")
    assert page.evaluate("window.isTheSamePage") is True, "the page was loaded again"
    assert card.locator("details").get_attribute("open") is not None, "what was open is closed"
    assert page.evaluate("document.activeElement.id") == f"camera-{steady}-summary", "the focus is lost"
    assert "problem" in page.title(), page.title()
    check_basics(page)
    assert not complaints, complaints
    return said


def node_goes_down(page: Page) -> str:
    """The page says that the node does not answer."""
    print("now kill the node", flush=True)
    banner = page.locator("#unanswered")
    expect(banner).to_be_visible(timeout=PATIENCE)
    expect(banner).to_contain_text(re.compile(r"The node does not answer\. What you see is from .*\d\d:\d\d:\d\d\."))
    check_basics(page)
    return banner.inner_text()


def main() -> None:
    """Checks everything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--lost", required=True)
    parser.add_argument("--steady", required=True)
    arguments = parser.parse_args()
    url = arguments.url.rstrip("/")
    with chromium() as browser:
        _, page, complaints = open_page(browser)
        page.goto(url)
        expect(page.locator("#summary")).to_contain_text("Both cameras are seen", timeout=SEEN)
        # A table to open.
        expect(page.locator(f"#camera-{arguments.steady} details")).to_be_attached(timeout=SEEN)
        times_are_local(page)
        every_size_and_colour(browser, url)
        without_script(browser, url)
        forbidden(browser, url, arguments.steady)
        camera = camera_goes_down(page, complaints, arguments.lost, arguments.steady)
        node = node_goes_down(page)
    print(f"said: {camera!r}, {node!r}")


if __name__ == "__main__":
    main()
