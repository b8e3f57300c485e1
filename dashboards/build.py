"""Writes grafana/*.json out of source/*.py.

    python3 dashboards/build.py            writes the four files
    python3 dashboards/build.py --check    writes nothing; ends with 1 where a file differs

Needs nothing but Python.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))
sys.dont_write_bytecode = True

from source import camera, delivery, fleet, node  # noqa: E402 (the folder has to be found first)


def main() -> int:
    stale = []
    for name, module in (("fleet", fleet), ("camera", camera), ("node", node), ("delivery", delivery)):
        file = FOLDER / "grafana" / f"{name}.json"
        text = json.dumps(module.dashboard(), indent=2, ensure_ascii=False) + "\n"
        if file.is_file() and file.read_text() == text:
            continue
        stale.append(file.name)
        if "--check" not in sys.argv[1:]:
            file.write_text(text)
            print(f"wrote {file.relative_to(FOLDER.parent)}")
    if stale and "--check" in sys.argv[1:]:
        print(
            f"not as dashboards/source has them: {', '.join(stale)}; run python3 dashboards/build.py", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
