/**
 * The page's own style. The colours are those of Okabe and Ito, which nobody confuses who sees fewer of them; each comes with a
 * pattern, a stroke or a word besides.
 */
export const style = `
:root {
  color-scheme: light dark;
  --paper: #ffffff; --lane: #f3f5f7; --ink: #1b1f24; --quiet: #57606a; --line: #d5dae0; --track: #e7ebef;
  --success: #0072b2; --refusal: #9aa4af; --pending: #b39200; --failure: #c44f00; --hatch: #ffffff;
  --good: #0b6b3a; --bad: #a6330a; --doubt: #7a5c00;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #14181d; --lane: #1b2027; --ink: #e6e9ed; --quiet: #a3adb8; --line: #343c46; --track: #29313a;
    --success: #56b4e9; --refusal: #6b7683; --pending: #e0c14d; --failure: #ef8f3c; --hatch: #14181d;
    --good: #6fd39b; --bad: #ff9a70; --doubt: #ecd06f;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 1180px; padding: 28px 24px 48px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 12px; }
h2 { font-size: 20px; line-height: 1.3; margin: 44px 0 8px; padding-top: 12px; border-top: 1px solid var(--line); }
h3 { font-size: 16px; margin: 0 0 2px; }
p { margin: 6px 0 12px; max-width: 76ch; overflow-wrap: anywhere; }
code, pre { font: 0.88em/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code { overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 4px 0 8px; padding: 8px 10px; background: var(--lane); border-radius: 6px; }
small { display: block; color: var(--quiet); font-weight: 400; }
svg { display: block; }
text { fill: var(--ink); font-size: 11px; font-family: inherit; }
.definitions { position: absolute; }

.verdict { max-width: none; font-size: 17px; font-weight: 600; padding: 10px 14px; border: 1px solid currentColor; border-left-width: 6px; border-radius: 6px; }
.verdict::before { margin-right: 8px; }
.verdict.as-expected { color: var(--good); } .verdict.as-expected::before { content: "✓"; }
.verdict.not-as-expected { color: var(--bad); } .verdict.not-as-expected::before { content: "✗"; }
.verdict.unknown { color: var(--doubt); } .verdict.unknown::before { content: "?"; }

dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 500px), 1fr)); gap: 2px 32px; margin: 16px 0 0; }
dl div:last-child { grid-column: 1 / -1; }
dl div { display: flex; gap: 12px; padding: 3px 0; border-bottom: 1px solid var(--line); }
dt { flex: 0 0 84px; color: var(--quiet); }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }

table { width: 100%; border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
th, td { text-align: left; vertical-align: top; padding: 8px 16px 8px 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
thead th { color: var(--quiet); font-weight: 600; font-size: 13px; vertical-align: bottom; overflow-wrap: normal; }
tbody th { font-weight: 600; overflow-wrap: break-word; min-width: 132px; }
td:last-child, th:last-child { padding-right: 0; }
td.figure, thead th.figure { text-align: right; }
td.picture { min-width: 110px; }
#runs td.picture { width: 16%; } #runs td.picture:nth-child(2) { width: 40%; }
#latency td.picture { width: 56%; padding-bottom: 2px; }
#violations td:nth-child(2) { width: 34%; }
#latency thead th { white-space: nowrap; }
#table { overflow-x: auto; }
#table table { font-size: 12.5px; } #table th, #table td { overflow-wrap: break-word; padding-right: 12px; }
#table tbody th { min-width: 0; }

.part-success { fill: var(--success); } .part-refusal { fill: url(#fill-refusal); }
.part-pending { fill: url(#fill-pending); } .part-failure { fill: url(#fill-failure); }
pattern .refusal { fill: var(--refusal); } pattern .pending { fill: var(--pending); } pattern .failure { fill: var(--failure); }
.hatch { stroke: var(--hatch); stroke-width: 1.4; fill: none; } .dot { fill: var(--hatch); }
.bar rect { stroke: var(--paper); stroke-width: 1; }
.parts span, .patterns span { display: inline-block; margin-right: 12px; }
.parts { margin-top: 4px; } .patterns { color: var(--quiet); font-size: 13px; }
.swatch { display: inline-block; margin-right: 5px; vertical-align: -1px; }
.figure > div > .figure, .picture > div > .figure { display: block; }
.meter { margin-top: 3px; } .meter .track { fill: var(--track); } .meter .value { fill: var(--success); } .meter .pale { opacity: 0.45; }
.meter { overflow: visible; } .meter .limit { stroke: var(--ink); stroke-width: 2.5; }
#runs td:last-child { min-width: 96px; }
.seen.not-as-expected { color: var(--bad); font-weight: 700; } .seen.unknown { color: var(--doubt); font-weight: 700; }
.skipped { margin: 0; color: var(--quiet); }
.quoted { white-space: pre-wrap; }

.histogram rect { fill: var(--refusal); stroke: var(--paper); stroke-width: 1; } .histogram.ok rect { fill: var(--success); }
.histogram { border-bottom: 1px solid var(--quiet); overflow: visible; }
.grid { stroke: var(--line); stroke-width: 1; }
.median { stroke: var(--ink); stroke-width: 2; } .p95 { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 3 3; }
.axis { overflow: visible; } .axis text { text-anchor: middle; fill: var(--quiet); font-size: 10.5px; }

.order { margin: 22px 0 30px; break-inside: avoid; } .order > p { max-width: none; }
figure { margin: 8px 0; } figcaption { color: var(--quiet); font-size: 13px; margin: 10px 0 4px 104px; }
.lanes { display: grid; grid-template-columns: 104px minmax(0, 1fr); font-size: 12.5px; }
.names div { height: 26px; line-height: 26px; padding-right: 10px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.lane { fill: none; } .lane.even { fill: var(--lane); }
.lanes svg { overflow: visible; } .step { font-size: 11px; fill: var(--quiet); }
.tick { fill: var(--quiet); }
.connector { stroke: var(--quiet); stroke-width: 1; opacity: 0.55; }
.under-way { stroke-width: 3; } .under-way.success { stroke: var(--success); stroke-width: 5; }
.under-way.refusal { stroke: var(--refusal); } .under-way.failure { stroke: var(--failure); stroke-dasharray: 7 3; }
.sent { stroke: var(--ink); stroke-width: 2; }
.answered.success { fill: var(--success); } .answered.refusal { fill: var(--refusal); } .answered.failure { fill: var(--failure); }
.status { font-weight: 600; }
.arrived { fill: var(--paper); stroke: var(--ink); stroke-width: 1.3; } .nth { text-anchor: middle; font-size: 9.5px; }
.did { fill: var(--pending); stroke: var(--paper); stroke-width: 1; }
.asked { fill: none; stroke: var(--failure); stroke-width: 2; } .captured { fill: var(--failure); stroke: var(--paper); stroke-width: 1; }
.refunded { fill: var(--paper); stroke: var(--failure); stroke-width: 2; }
.uncertain { stroke: var(--failure); stroke-width: 2; opacity: 0.6; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; list-style: none; margin: 8px 0 16px; padding: 0; font-size: 13px; color: var(--quiet); }
.legend li { display: flex; align-items: center; gap: 6px; }
details { margin-left: 104px; font-size: 14px; } summary { cursor: pointer; color: var(--quiet); }
#remarks li { overflow-wrap: anywhere; margin-bottom: 4px; }
footer { margin-top: 44px; border-top: 1px solid var(--line); color: var(--quiet); font-size: 13px; }

@media screen and (max-width: 760px) {
  body { padding: 18px 14px 36px; }
  h1 { font-size: 23px; }
  table, tbody, tr, th, td { display: block; width: auto; }
  thead { display: none; }
  tr { padding: 10px 0; border-bottom: 1px solid var(--line); }
  th, td, #runs td.picture, #runs td.picture:nth-child(2), #latency td.picture, #violations td:nth-child(2) { width: auto; border: 0; padding: 2px 0; }
  td { display: grid; grid-template-columns: 112px minmax(0, 1fr); gap: 8px; }
  td.figure { text-align: left; }
  td.picture { display: block; }
  td::before { content: attr(data-title); color: var(--quiet); }
  .lanes { grid-template-columns: 82px minmax(0, 1fr); font-size: 11.5px; }
  .names div { padding-right: 4px; }
  #latency td.figure { display: inline-grid; width: 49%; grid-template-columns: 60px minmax(0, 1fr); }
  .step { display: none; }
  details, figcaption { margin-left: 0; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 11px; }
  h2 { break-after: avoid; } tr { break-inside: avoid; }
  svg { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
`;
