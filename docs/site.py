#!/usr/bin/env python3
"""Makes a site of the documentation: plain pages that need no script and no network.

    docs/site.py [FOLDER]        (target/site if none is named)

The pages of this version go to FOLDER/VERSION/; other versions that are there stay, and
FOLDER/index.html leads to the newest. Needs Python alone. It knows the Markdown that these
pages are written in, and refuses what it does not know; links that lead nowhere are refused
too. Links to other files of the repository need SOURCE_URL, where these can be seen.
"""

import html
import os
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = os.environ.get("SOURCE_URL", "").rstrip("/")
ORDER = ["README", "docs/protocol", "docs/channels", "docs/broadcast", "docs/postgres-changes", "docs/chat",
         "docs/migrate-from-supabase", "docs/operations", "docs/performance", "docs/architecture", "CHANGELOG"]

PICTURES = {".jpg", ".png", ".svg"}

STYLE = """
:root { color-scheme: light dark; --line: #8884; --faint: #8882; }
body { font: 16px/1.6 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 0 1rem; display: flex; gap: 3rem; }
nav { flex: 0 0 13rem; padding: 1.5rem 0; } nav ul { list-style: none; padding: 0; margin: 0 0 1.5rem; }
nav [aria-current] { font-weight: 600; text-decoration: none; color: inherit; } main { min-width: 0; flex: 1; padding-bottom: 4rem; } img { max-width: 100%; }
h1, h2, h3 { line-height: 1.25; margin-top: 2em; } h1 { margin-top: 1rem; }
pre { background: var(--faint); padding: .8rem 1rem; overflow-x: auto; border-radius: 6px; }
code { font: .88em/1.5 ui-monospace, monospace; background: var(--faint); border-radius: 4px; padding: .1em .3em; }
pre code { background: none; padding: 0; } table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .7rem .35rem 0; text-align: left; vertical-align: top; }
@media (max-width: 50rem) { body { display: block; } nav { padding-bottom: 0; } }
"""


class Fault(Exception):
    pass


def slug(title):
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def inline(text, link):
    """Code, links, bold and italics of a paragraph. `link` gives the target of a link here."""
    kept = []

    def keep(markup):
        kept.append(markup)
        return f"\0{len(kept) - 1}\0"

    text = re.sub(r"(`+)(.+?)\1", lambda m: keep(f"<code>{html.escape(m[2].strip())}</code>"), text)
    text = html.escape(text, quote=False)

    def anchor(found):
        address = link(found[2])
        if address is None:
            return found[1]
        return keep(f'<a href="{html.escape(address)}">') + found[1] + keep("</a>")

    def picture(found):
        return keep(f'<img src="{html.escape(link(found[2]))}" alt="{html.escape(found[1])}">')

    text = re.sub(r"!\[([^\]]*)\]\(([^)\s]+)\)", picture, text)
    text = re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", anchor, text)
    text = re.sub(r"&lt;(https?://[^\s&]+)&gt;", r'<a href="\1">\1</a>', text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
    text = re.sub(r"(?<!\w)_([^_]+)_(?!\w)", r"<em>\1</em>", text)
    while "\0" in text:
        text = re.sub("\0(\\d+)\0", lambda m: kept[int(m[1])], text)
    return text


def cells(line):
    """Cells of a table's row; an escaped bar, or one within code, is none."""
    line = line.strip().removeprefix("|").removesuffix("|")
    parts = re.findall(r"(?:`[^`]*`|\\\||[^|])*", line)
    return [part.replace("\\|", "|").strip() for part in parts if part or line == ""]


def item_start(line):
    return re.match(r"( *)([-*]|\d+\.) +(?=\S)", line)


def blocks(lines, link):
    """The HTML of a list of lines."""
    out, at = [], 0

    def until(stop):
        nonlocal at
        first = at
        while at < len(lines) and not stop(lines[at]):
            at += 1
        return lines[first:at]

    def breaks(line):
        return not line.strip() or re.match(r"#{1,6} |```|\||<!--", line) or item_start(line)

    while at < len(lines):
        line = lines[at]
        heading = re.match(r"(#{1,6}) (.+)", line)
        if not line.strip() or re.fullmatch(r"<!--.*-->\s*", line):
            at += 1
        elif heading:
            level, title = len(heading[1]), heading[2].strip()
            anchor = slug(re.sub(r"`|\[|\]\([^)]*\)", "", title))
            out.append(f'<h{level} id="{anchor}">{inline(title, link)}</h{level}>')
            at += 1
        elif line.lstrip().startswith("```"):
            indent = len(line) - len(line.lstrip())
            at += 1
            code = until(lambda each: each.strip() == "```")
            if at == len(lines):
                raise Fault("code without an end")
            at += 1
            out.append("<pre><code>" + html.escape("\n".join(each[indent:] for each in code)) + "</code></pre>")
        elif line.startswith("    "):
            code = until(lambda each: each.strip() and not each.startswith("    "))
            out.append("<pre><code>" + html.escape("\n".join(each[4:] for each in code).rstrip()) + "</code></pre>")
        elif line.startswith("|"):
            rows = until(lambda each: not each.startswith("|"))
            if len(rows) < 2 or not re.fullmatch(r"[|\s:-]+", rows[1]):
                raise Fault(f"a table without a head: {line[:60]}")
            width = len(cells(rows[0]))
            body = []
            for row, tag in [(rows[0], "th"), *((row, "td") for row in rows[2:])]:
                parts = cells(row)
                if len(parts) != width:
                    raise Fault(f"a row with {len(parts)} cells of {width}: {row[:60]}")
                body.append("<tr>" + "".join(f"<{tag}>{inline(part, link)}</{tag}>" for part in parts) + "</tr>")
            out.append("<table>" + "\n".join(body) + "</table>")
        elif start := item_start(line):
            depth, kind = len(start[1]), "ul" if start[2] in "-*" else "ol"
            items = []
            while at < len(lines) and (start := item_start(lines[at])) and len(start[1]) == depth:
                hang = start.end()
                first = lines[at][hang:]
                at += 1
                rest = until(lambda each: each.strip() and not each.startswith(" " * (depth + 1)))
                while rest and not rest[-1].strip():
                    rest.pop()
                inner = [each[hang:] if each.startswith(" " * hang) else each.lstrip() for each in rest]
                content = blocks([first, *inner], link)
                items.append("<li>" + re.sub(r"^<p>(.*?)</p>", r"\1", content, count=1, flags=re.S) + "</li>")
                while at < len(lines) and not lines[at].strip():
                    at += 1
            out.append(f"<{kind}>" + "\n".join(items) + f"</{kind}>")
        elif line.startswith((">", "---", "===")):
            raise Fault(f"this form is not known: {line[:60]}")
        else:
            first = at
            at += 1
            until(breaks)
            out.append("<p>" + inline(" ".join(each.strip() for each in lines[first:at]), link) + "</p>")
    return "\n".join(out)


def title(text):
    found = re.search(r"^# (.+)$", text, re.M)
    if not found:
        raise Fault("no title")
    return found[1].replace("`", "")


def page_name(name):
    return "index.html" if name == "README" else name.removeprefix("docs/").replace("/", "-").lower() + ".html"


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "target/site"
    version = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.M)[1]
    decisions = sorted(f"docs/decisions/{path.stem}" for path in (ROOT / "docs/decisions").glob("*.md"))
    sources = {name: (ROOT / f"{name}.md").read_text() for name in ORDER + decisions}
    missing = {path.stem for path in (ROOT / "docs").glob("*.md")} - {Path(name).stem for name in ORDER}
    if missing:
        sys.exit(f"pages without a place: {', '.join(sorted(missing))}")
    anchors = {
        name: {slug(re.sub(r"`|\[|\]\([^)]*\)", "", heading)) for heading in re.findall(r"^#+ (.+)$", text, re.M)}
        for name, text in sources.items()
    }
    target = folder / version
    target.mkdir(parents=True, exist_ok=True)
    faults = []
    for name, text in sources.items():
        here = (ROOT / f"{name}.md").parent

        def link(address):
            if re.match(r"[a-z]+:", address):
                return address
            path, _, anchor = address.partition("#")
            file = (here / path).resolve() if path else ROOT / f"{name}.md"
            if not file.exists():
                faults.append(f"{name}: {address} does not exist")
                return address
            if file.suffix in PICTURES:
                shutil.copy(file, target / file.name)
                return file.name
            other = str(file.relative_to(ROOT)).removesuffix(".md")
            if other not in sources:
                # Files of the repository that are no page.
                return f"{SOURCE}/{file.relative_to(ROOT)}" if SOURCE else None
            if anchor and anchor not in anchors[other]:
                faults.append(f"{name}: {address} has no such heading")
            return page_name(other) + (f"#{anchor}" if anchor else "")

        try:
            body = blocks(text.splitlines(), link)
        except Fault as fault:
            faults.append(f"{name}: {fault}")
            continue
        entries = lambda names: "".join(
            f'<li><a href="{page_name(each)}"{" aria-current=page" if each == name else ""}>{html.escape(title(sources[each]))}</a></li>'
            for each in names
        )
        more = f"<details{' open' if name in decisions else ''}><summary>Decisions</summary><ul>{entries(decisions)}</ul></details>"
        page = (
            f'<!doctype html><html lang="en"><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(title(text))} · Rowcast {version}</title><style>{STYLE}</style>"
            f"<nav><p>Rowcast {version}</p><ul>{entries(ORDER)}</ul>{more}</nav><main>{body}</main></html>\n"
        )
        (target / page_name(name)).write_text(page)
    if faults:
        sys.exit("\n".join(faults))
    newest_first = sorted(
        (path.name for path in folder.iterdir() if path.is_dir()),
        key=lambda name: [int(part) for part in re.findall(r"\d+", name)],
        reverse=True,
    )
    others = "".join(f'<li><a href="{name}/">{html.escape(name)}</a></li>' for name in newest_first)
    (folder / "index.html").write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Rowcast</title>'
        f'<meta http-equiv="refresh" content="0; url={newest_first[0]}/"><ul>{others}</ul></html>\n'
    )
    print(f"{len(sources)} pages in {target}")


main()
