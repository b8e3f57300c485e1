"""Takes the pictures of the pages that the README and the documentation show.

    python screenshots.py URL [--out deploy/screenshots] [--camera NAME]

URL is that of a node that runs. `status-` and `drawing-` pictures, each in light and dark, for a desk and a telephone.
The latter are taken where node.yaml allows the set-up mode, of that camera or the first one; the mode is on meanwhile.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from playwright.sync_api import Browser, Page, expect
from watched import DESKTOP, check_width, chromium, open_page

TELEPHONE = {"width": 390, "height": 844}
#: Milliseconds until the picture is there.
PICTURE = 240_000


def shoot(browser: Browser, url: str, name: str, folder: Path, ready: str, *, whole: bool) -> None:
    """One page in every size and colour, once what `ready` selects is visible."""
    for size, viewport, scale in (("desktop", DESKTOP, 1), ("phone", TELEPHONE, 2)):
        for scheme in ("light", "dark"):
            context, page, _ = open_page(
                browser, viewport=viewport, color_scheme=scheme, device_scale_factor=scale, reduced_motion="reduce"
            )
            page.goto(url)
            expect(page.locator(ready)).to_be_visible()
            check_width(page)
            page.screenshot(path=folder / f"{name}-{size}-{scheme}.png", full_page=whole)
            context.close()


def begin(page: Page, url: str, camera: str | None) -> bool:
    """Switches the set-up mode on and waits for the picture; false where it is not allowed."""
    page.goto(f"{url}/setup")
    if page.locator("form").count() == 0:
        return False
    if page.locator("#setup").count() == 0:
        if camera:
            page.locator("#camera").select_option(camera)
        page.get_by_role("button", name="Start").click()
    expect(page.locator("#background")).to_be_visible(timeout=PICTURE)
    return True


def main() -> None:
    """Takes them all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--out", type=Path, default=Path("deploy/screenshots"))
    parser.add_argument("--camera")
    arguments = parser.parse_args()
    url = arguments.url.rstrip("/")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        shoot(browser, url, "status", arguments.out, "#summary", whole=False)
        context, page, _ = open_page(browser)
        if begin(page, url, arguments.camera):
            shoot(browser, f"{url}/setup", "drawing", arguments.out, "#background", whole=False)
            page.get_by_role("button", name="Stop").click()
            expect(page.get_by_role("button", name="Start")).to_be_visible()
        context.close()
    for file in sorted(arguments.out.glob("*.png")):
        print(f"{file}: {file.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
