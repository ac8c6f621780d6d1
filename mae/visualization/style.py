"""The look of our HTML pages: legible on a phone, in print and in the dark."""

MOST_FRAMES = 12  # of a flipbook

_FRAMES = '\n'.join(
    f'.flipbook:has(#frame-{i}:checked) .frame-{i} {{ display: block; }}'
    for i in range(MOST_FRAMES)
)

_STYLE = """
:root {
  --page: #fbfbfa; --card: #fff; --ink: #1c1e21; --soft: #5d646d; --edge: #e3e5e8;
  --accent: #1d5fd1; --series-0: #1d5fd1; --series-1: #c2610c; --series-2: #0b7f5c;
  --series-3: #8438c7; --series-4: #c2264a; --series-5: #0a7c91;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14161a; --card: #1d2025; --ink: #e8eaed; --soft: #a2a9b3; --edge: #32363d;
    --accent: #7fb0ff; --series-0: #7fb0ff; --series-1: #f2a65a; --series-2: #5fd0a5;
    --series-3: #c79bf2; --series-4: #ff8fa3; --series-5: #5cc8dc;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
main { max-width: 1000px; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 {
  font-size: 1.7rem; line-height: 1.2; margin: 0 0 .75rem; letter-spacing: -.01em;
  overflow-wrap: anywhere;
}
h2 { font-size: 1.15rem; margin: 2.5rem 0 .6rem; }
p { max-width: 44rem; margin: .5rem 0; }
.lead { font-size: 1.1rem; }
.note { color: var(--soft); font-size: .9rem; }
figure { margin: 0; }
.tiles {
  display: grid; grid-template-columns: repeat(2, 1fr); gap: .75rem; margin: 1.5rem 0;
}
@media (min-width: 640px) { .tiles { grid-template-columns: repeat(3, 1fr); } }
.tiles div, .pictures figure, .columns figure {
  background: var(--card); border: 1px solid var(--edge); border-radius: 8px;
}
.tiles div { padding: .7rem .9rem; }
.tiles dt { color: var(--soft); font-size: .85rem; }
.tiles dd {
  margin: 0; font-size: 1.35rem; font-weight: 600; white-space: nowrap;
  font-variant-numeric: tabular-nums;
}
.pictures {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: .75rem;
  margin: .75rem 0;
}
.pictures figure { padding: .6rem; display: flex; flex-wrap: wrap; justify-content: space-between; }
.pictures img { width: 32%; height: auto; image-rendering: pixelated; border-radius: 3px; }
.pictures figcaption {
  width: 100%; display: flex; justify-content: space-between; margin-top: .3rem;
  color: var(--soft); font-size: .75rem;
}
.pictures figcaption span { width: 32%; text-align: center; }
.dense {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(28rem, 100%), 1fr));
  gap: .75rem; margin: .75rem 0;
}
.dense figure {
  background: var(--card); border: 1px solid var(--edge); border-radius: 8px; padding: .6rem;
}
.dense .views { display: flex; gap: 2%; }
.dense .views div { flex: 1; min-width: 0; text-align: center; }
.dense img { display: block; width: 100%; height: auto; border-radius: 3px; }
.dense span, .dense figcaption { color: var(--soft); font-size: .75rem; }
.dense figcaption { margin-top: .2rem; overflow-wrap: anywhere; }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem .9rem; }
.legend li { font-size: .85rem; }
.chip {
  display: inline-block; width: .8rem; height: .8rem; border-radius: 3px; margin-right: .35rem;
  vertical-align: -.05rem;
}
.columns {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr));
  gap: .75rem; margin: .75rem 0;
}
.charts { grid-template-columns: repeat(auto-fill, minmax(min(24rem, 100%), 1fr)); }
.columns figure { padding: .75rem; }
.chart { display: block; width: 100%; height: auto; }
.at .tip { visibility: hidden; pointer-events: none; }
.at:hover .tip { visibility: visible; }
.tip .card { fill: var(--card); stroke: var(--edge); }
.scaled label { color: var(--soft); font-size: .8rem; }
.scaled:has(:checked) .linear, .scaled:not(:has(:checked)) .logarithmic { display: none; }
.flipbook {
  background: var(--card); border: 1px solid var(--edge); border-radius: 8px; padding: .75rem;
  margin: .75rem 0; max-width: 44rem;
}
.buttons { display: flex; flex-wrap: wrap; gap: .3rem; margin-bottom: .6rem; }
.buttons input { position: absolute; opacity: 0; width: 0; }
.buttons label {
  border: 1px solid var(--edge); border-radius: 6px; padding: .1rem .55rem; cursor: pointer;
  font-size: .85rem; color: var(--soft); font-variant-numeric: tabular-nums;
}
.buttons input:checked + label { border-color: var(--accent); color: var(--accent); }
.buttons input:focus-visible + label { outline: 2px solid var(--accent); }
.grid { display: grid; grid-template-columns: repeat(var(--columns), 1fr); gap: .4rem; }
.grid span { color: var(--soft); font-size: .75rem; text-align: center; align-self: end; }
.grid img { display: block; width: 100%; height: auto; border-radius: 3px; }
.grid .pixels { image-rendering: pixelated; }
.grid div div { display: none; }
.command {
  display: flex; gap: .5rem; align-items: start; background: var(--card); margin: .4rem 0;
  border: 1px solid var(--edge); border-radius: 8px; padding: .5rem .7rem;
}
.command code {
  flex: 1; overflow-wrap: anywhere; white-space: pre-wrap; font-size: .8rem; user-select: all;
}
.copy {
  font: inherit; font-size: .8rem; color: var(--accent); background: none; cursor: pointer;
  border: 1px solid var(--edge); border-radius: 6px; padding: 0 .5rem;
}
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0; }
th, td {
  padding: .35rem .8rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--edge);
}
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th:last-child, td:last-child { padding-right: .2rem; }
@media (max-width: 480px) { th, td { padding: .35rem .45rem; } }
.wrapped th, .wrapped td {
  white-space: normal; overflow-wrap: anywhere; text-align: left; min-width: 5rem;
}
thead th { color: var(--soft); font-weight: 500; font-size: .85rem; vertical-align: bottom; }
tbody th { font-weight: 400; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""

STYLE = _STYLE + _FRAMES
