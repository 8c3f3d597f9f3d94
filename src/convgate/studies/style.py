"""The report page's style: light and dark, from a telephone's width to a desk's."""

STYLE = """
:root { --ground: #ffffff; --text: #1d2329; --soft: #5b6670; --line: #dde2e6;
  --mark: #eef4fb; --accent: #2a6fc4; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14181c; --text: #e6eaee; --soft: #a3afb9; --line: #333c44;
    --mark: #1d2833; --accent: #7fb2f0; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 82rem; margin: 0 auto; padding: 1.25rem 1rem 4rem; }
.answer { font-size: 1.25rem; line-height: 1.4; font-weight: 600; margin: 0 0 1.5rem;
  padding: 1rem 1.1rem; background: var(--mark); border-left: 4px solid var(--accent);
  overflow-wrap: anywhere; }
h1 { font-size: 1.35rem; margin: 0 0 .75rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.25rem 0 .5rem; }
.hint { color: var(--soft); font-size: .9rem; margin: .4rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .55rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; vertical-align: top; }
thead th { color: var(--soft); font-weight: 500; white-space: normal; vertical-align: bottom; }
th:first-child { text-align: left; font-weight: 500; position: sticky; left: 0;
  background: var(--ground); white-space: normal; max-width: min(14rem, 42vw);
  overflow-wrap: break-word; }
thead th:first-child { min-width: 3.5rem; }
.variants td:nth-child(4) { white-space: normal; min-width: 6.5rem; }
td:last-child { white-space: normal; }
tr.front th, tr.front td { font-weight: 700; }
small { color: var(--soft); font-weight: 400; font-size: .85em; }
ul { padding-left: 1.2rem; margin: .3rem 0; }
li { margin: .25rem 0; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .2rem 1.2rem;
  margin: .3rem 0; font-size: .93rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
.js-plotly-plot .main-svg text { fill: var(--text) !important; }
.js-plotly-plot .gridlayer path { stroke: var(--line) !important; }
.js-plotly-plot .hoverlayer text { fill: #ffffff !important; }
"""
