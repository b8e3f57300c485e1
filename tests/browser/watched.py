"""A page of the node in Chromium, with an eye on what the browser complains of; and what holds for each page."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, ViewportSize, sync_playwright

CHROMIUM = "/usr/bin/chromium"
#: Milliseconds for what a loaded machine does at once.
PATIENCE = 30_000
PHONE: ViewportSize = {"width": 360, "height": 780}
DESKTOP: ViewportSize = {"width": 1280, "height": 900}

#: The names of things that an author forgot, by the rules that a reader of the screen needs.
BASICS = """() => {
    const wrong = [];
    const say = (what, node) => wrong.push(`${what}: ${node.outerHTML.slice(0, 120)}`);
    if (document.documentElement.lang !== "en") wrong.push("the page has no language");
    if (!document.title) wrong.push("the page has no title");
    if (document.querySelectorAll("h1").length !== 1) wrong.push("there is not one h1");
    if (document.querySelectorAll("main").length !== 1) wrong.push("there is not one main");
    let level = 0;
    for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
        const own = Number(heading.tagName[1]);
        if (own > level + 1) say("a heading skips a level", heading);
        level = own;
    }
    const ids = new Set();
    for (const node of document.querySelectorAll("[id]")) {
        if (ids.has(node.id)) say("the id is there twice", node);
        ids.add(node.id);
    }
    for (const node of document.querySelectorAll("[aria-labelledby], [aria-describedby], label[for]")) {
        for (const name of ["aria-labelledby", "aria-describedby", "for"]) {
            for (const id of (node.getAttribute(name) ?? "").split(" ").filter(Boolean)) {
                if (!ids.has(id)) say(`${name} names nothing`, node);
            }
        }
    }
    for (const node of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
        if (!node.labels.length && !node.ariaLabel) say("no label", node);
    }
    for (const node of document.querySelectorAll("button, a, summary, [role=button]")) {
        if (!(node.textContent.trim() || node.getAttribute("aria-label"))) say("no name", node);
    }
    for (const node of document.querySelectorAll("img:not([alt])")) say("no alt", node);
    for (const node of document.querySelectorAll("th:not([scope])")) say("no scope", node);
    for (const node of document.querySelectorAll("table")) if (!node.caption) say("no caption", node);
    for (const node of document.querySelectorAll("svg")) {
        if (node.ariaHidden !== "true" && !node.ariaLabel) say("a shape without a name", node);
    }
    return wrong;
}"""

#: Texts with a contrast below 4.5 to 1 against what lies behind them; how many were looked at.
CONTRAST = """() => {
    const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
        const part = (value) => {
            const share = value / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        };
        return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    };
    const behind = (node) => {
        for (let one = node; one; one = one.parentElement) {
            const colour = parse(getComputedStyle(one).backgroundColor);
            if (colour[3] !== 0) return colour;
        }
        return [255, 255, 255];
    };
    const faint = [];
    let seen = 0;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text = walker.nextNode(); text; text = walker.nextNode()) {
        const node = text.parentElement;
        if (!text.data.trim() || node.closest("svg, script, noscript, :disabled") || !node.checkVisibility()) continue;
        seen += 1;
        const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) faint.push(`${ratio.toFixed(2)}: ${text.data.trim().slice(0, 60)}`);
    }
    return [seen, faint];
}"""

LISTEN = """document.addEventListener("securitypolicyviolation", (event) =>
    console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));"""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's browser, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        try:
            yield browser
        finally:
            browser.close()


def open_page(browser: Browser, **settings: Any) -> tuple[BrowserContext, Page, list[str]]:
    """A page of its own, and the list into which the browser's complaints go."""
    context = browser.new_context(**{"viewport": DESKTOP, "timezone_id": "Europe/Zurich", **settings})
    context.set_default_timeout(PATIENCE)
    context.add_init_script(LISTEN)
    page = context.new_page()
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    page.on("console", hear)
    page.on("pageerror", lambda error: complaints.append(f"script: {error}"))
    return context, page, complaints


def check_basics(page: Page) -> None:
    """What holds for each page, in whatever state it is."""
    wrong = page.evaluate(BASICS)
    assert not wrong, f"{page.url}: {wrong}"
    seen, faint = page.evaluate(CONTRAST)
    assert seen >= 5, f"{page.url}: only {seen} texts were found"
    assert not faint, f"{page.url}: hard to read: {faint}"


def check_width(page: Page) -> None:
    """Nothing is wider than the window."""
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0, f"{page.url}: {wider} pixels too wide for {page.viewport_size}"


def check_policy(page: Page, complaints: list[str]) -> None:
    """The answer forbids scripts within the page, and the browser says so. The last check of a page, which it spoils."""
    assert not complaints, f"{page.url}: {complaints}"
    policy = page.request.get(page.url).headers.get("content-security-policy", "")
    for part in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"):
        assert part in policy, f"{page.url}: the policy is {policy!r}"
    page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "document.title = 'ran'";
        document.body.append(script);
    }""")
    page.wait_for_timeout(100)
    assert page.title() != "ran", f"{page.url}: a script within the page ran"
    assert any(text.startswith("policy: script-src") for text in complaints), f"{page.url}: {complaints}"
