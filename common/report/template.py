"""The page itself, apart from what fills it. Marks are those of :class:`string.Template`."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --text: #1b2430; --soft: #5d6b7c; --line: #dfe4ea;
  --accent: #0f766e; --accent-soft: #d7efec; --warn: #9a3412; --warn-soft: #fff3e8; --warn-line: #f3c9a6; }
@media (prefers-color-scheme: dark) { :root { --page: #11161c; --card: #1a212a; --text: #e4eaf1; --soft: #93a2b3;
  --line: #2c3642; --accent: #5eead4; --accent-soft: #17403c; --warn: #fdba74; --warn-soft: #33221a;
  --warn-line: #6b3d1e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 17px; margin: 36px 0 12px; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
.sub { color: var(--soft); margin: 4px 0 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 22px 0 0; }
.tile, .panel, .card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: 12px 16px; }
.tile b { display: block; font-size: 25px; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
.tile span { color: var(--soft); font-size: 13px; }
.panel { padding: 14px 18px; overflow-x: auto; }
.problems { background: var(--warn-soft); border: 1px solid var(--warn-line); border-radius: 10px; padding: 12px 18px;
  margin-top: 22px; }
.problems h2 { margin: 0 0 4px; color: var(--warn); }
.problems ul { margin: 0; padding-left: 20px; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line); vertical-align: baseline; }
tbody tr:last-child td { border-bottom: 0; }
th { font-size: 13px; font-weight: 600; color: var(--soft); white-space: nowrap; }
th.number, td.number { text-align: right; white-space: nowrap; }
td.name { overflow-wrap: anywhere; min-width: 8em; }
td small { display: block; color: var(--soft); font-size: 12px; }
.sortable th { cursor: pointer; user-select: none; }
.sortable th:hover { color: var(--text); }
th[aria-sort=ascending]::after { content: " \\2191"; }
th[aria-sort=descending]::after { content: " \\2193"; }
.note { color: var(--soft); font-size: 13px; margin: 8px 0; }
.histogram { display: block; width: 100%; max-width: 760px; height: auto; }
.histograms { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 12px; }
.histogram text { fill: var(--soft); font-size: 12px; }
.histogram .bar { fill: var(--accent); opacity: .75; }
.histogram .bar:hover { opacity: 1; }
.histogram .axis { stroke: var(--soft); }
.histogram line.median { stroke: var(--text); stroke-dasharray: 4 3; }
.histogram text.median { fill: var(--text); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 14px; }
.card { overflow: hidden; display: flex; flex-direction: column; }
.card a { display: block; background: #0b0e12; }
.card img { display: block; width: 100%; aspect-ratio: 1; object-fit: cover; }
.card div { padding: 9px 12px 11px; }
.card .title { font-weight: 600; font-size: 13px; display: block; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; }
.card .facts { color: var(--soft); font-size: 13px; }
.card .facts b { color: var(--text); font-weight: 600; }
.panel > h3 { font-size: 14px; margin: 14px 0 6px; }
.panel img { display: block; max-width: 100%; height: auto; border-radius: 6px; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 18px;
  align-items: center; margin-bottom: 14px; }
.panel details { margin-top: 14px; }
details { margin-top: 30px; }
summary { cursor: pointer; font-weight: 600; }
details table { margin-top: 8px; } details td:first-child { color: var(--soft); width: 18em; }
details td { overflow-wrap: anywhere; }
.legend i { display: inline-block; width: 14px; height: 3px; vertical-align: middle; margin: 0 5px 0 12px; }
@media print { body { background: #fff; } .card, .tile, .panel { break-inside: avoid; } }
"""

SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.addEventListener("click", event => {
    const head = event.target.closest("th");
    if (!head) return;
    const down = head.getAttribute("aria-sort") === "ascending" ||
      (head.classList.contains("number") && head.getAttribute("aria-sort") !== "descending");
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = row => row.children[head.cellIndex].dataset.value ?? row.children[head.cellIndex].textContent;
    const rows = [...table.tBodies[0].rows].sort((a, b) =>
      key(a).localeCompare(key(b), undefined, {numeric: !head.classList.contains("number")}));
    if (head.classList.contains("number"))
      rows.sort((a, b) => (key(a) === "" ? 1 : 0) - (key(b) === "" ? 1 : 0) || (down ? 1 : -1) * (key(b) - key(a)));
    else if (down) rows.reverse();
    table.tBodies[0].append(...rows);
  });
}
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<header>
<h1>$title</h1>
$subtitle
<div class="tiles">$tiles</div>
</header>
$problems
$tables
$histograms
$sections
$pictures
$images
$details
</main>
<script>$script</script>
</body>
</html>
"""
