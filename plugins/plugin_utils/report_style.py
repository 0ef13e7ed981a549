# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Style sheet of the HTML report: light, dark, phone and print. Nothing is loaded from elsewhere."""
from __future__ import annotations

CSS = """
:root{--bg:#f4f6f8;--panel:#fff;--ink:#18212c;--mute:#566373;--line:#d7dde4;--soft:#eef1f4;--ok:#116b3a;
  --okbg:#e0f3e7;--bad:#ad1d17;--badbg:#fdeae8;--warn:#7a4f00;--warnbg:#fdf1d6;--info:#1b56ab;--infobg:#e3edfb;
  --on:#fff}
@media screen and (prefers-color-scheme:dark){
  :root{--bg:#0f1319;--panel:#181e27;--ink:#e7ecf2;--mute:#9dabbc;--line:#323c49;--soft:#202833;--ok:#67d696;
    --okbg:#143524;--bad:#ff938a;--badbg:#421a1a;--warn:#f2c261;--warnbg:#3a2d0f;--info:#88b8ff;--infobg:#182f50;
    --on:#0f1319}
}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
  "Liberation Sans",Arial,sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1160px;margin:0 auto;padding:20px 16px 40px}
header,section{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:18px 20px;
  margin:0 0 14px}
h1{font-size:24px;line-height:1.2;margin:12px 0 4px;overflow-wrap:anywhere}
h2{font-size:16px;margin:0 0 10px}
h3{font-size:13px;margin:0 0 4px;color:var(--mute);font-weight:600}
p{margin:0 0 6px}
.line{display:flex;flex-wrap:wrap;gap:10px;align-items:center;margin:0}
.badge{font-weight:700;letter-spacing:.04em;padding:5px 14px;border-radius:6px;color:var(--on);
  background:var(--tone)}
.tag{padding:4px 12px;border-radius:6px;border:1px solid var(--line);color:var(--mute)}
body.ok{--tone:var(--ok)}
body.failed{--tone:var(--bad)}
body.refused{--tone:var(--warn)}
body.nothing_to_do{--tone:var(--info)}
header{border-top:5px solid var(--tone)}
.reason{font-size:17px;overflow-wrap:anywhere}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:14px 0 0}
.figure{background:var(--soft);border-radius:8px;padding:10px 14px}
dt{font-size:13px;color:var(--mute)}
dd{margin:0;font-size:22px;font-weight:650;line-height:1.25;overflow-wrap:anywhere}
dd.hint,.hint{font-size:12.5px;font-weight:400;color:var(--mute)}
.notice{border-left-width:5px}
.notice ol,.notice ul,.plan,.slowest{margin:0;padding-left:24px}
.notice li,.plan li{margin:3px 0;overflow-wrap:anywhere}
.notice.bad{border-left-color:var(--bad)}
.notice.bad h2{color:var(--bad)}
.notice.todo{border-left-color:var(--info)}
.notice.todo h2{color:var(--info)}
.notice.warn{border-left-color:var(--warn)}
.notice.warn h2{color:var(--warn)}
.slowest{margin-bottom:14px;font-size:14px}
.pictures{display:flex;flex-wrap:wrap;gap:22px;align-items:flex-end}
figure{flex:1 1 440px;min-width:0;max-width:640px;margin:0}
figcaption{margin:0 0 8px;font-size:13.5px;color:var(--mute);min-height:4.7em}
figure:only-child{max-width:560px}
figure:only-child figcaption{min-height:0}
figcaption strong{display:block;color:var(--ink);font-size:15px}
.picture{display:block;width:100%;height:auto;font-family:inherit}
.picture text{fill:var(--ink)}
.picture .frame{fill:var(--panel);stroke:var(--line);stroke-width:1.5}
.picture .site.ok .frame{stroke:var(--ok)}
.picture .site.info .frame{stroke:var(--info)}
.picture .site.bad .frame{stroke:var(--bad);stroke-dasharray:6 4}
.picture .site.warn .frame{stroke:var(--warn);stroke-dasharray:6 4}
.picture .head{fill:var(--soft)}
.picture .site.ok .head{fill:var(--okbg)}
.picture .site.info .head{fill:var(--infobg)}
.picture .site.bad .head{fill:var(--badbg)}
.picture .site.warn .head{fill:var(--warnbg)}
.picture .site-name{font-size:16px;font-weight:700}
.picture .host-name{font-size:13.5px;font-weight:600}
.picture .note{font-size:11px;fill:var(--mute)}
.picture .db-note{font-size:11px;fill:var(--info)}
.picture tspan.bad{fill:var(--bad);font-weight:700}
.picture tspan.warn{fill:var(--warn);font-weight:700}
.picture .rule{stroke:var(--line);stroke-width:1;fill:none}
.picture .differs{stroke:var(--warn);stroke-width:4;stroke-linecap:round}
.picture .aligned{stroke:none}
.picture .pill rect{fill:var(--panel);stroke:var(--line)}
.picture .pill .pill-text{font-size:9.5px;font-weight:700;letter-spacing:.02em}
.picture .pill.ok rect{fill:var(--okbg);stroke:var(--ok)}
.picture .pill.ok text{fill:var(--ok)}
.picture .pill.info rect{fill:var(--infobg);stroke:var(--info)}
.picture .pill.info text{fill:var(--info)}
.picture .pill.bad rect{fill:var(--badbg);stroke:var(--bad)}
.picture .pill.bad text{fill:var(--bad)}
.picture .pill.warn rect{fill:var(--warnbg);stroke:var(--warn)}
.picture .pill.warn text{fill:var(--warn)}
.picture .pill.mute text{fill:var(--mute)}
.picture .pill.solid rect,.picture .pill.solid-ok rect,.picture .pill.solid-info rect,
  .picture .pill.solid-bad rect,.picture .pill.solid-warn rect{stroke:none}
.picture .pill.solid rect{fill:var(--ink)}
.picture .pill.solid text{fill:var(--panel)}
.picture .pill.solid-ok rect{fill:var(--ok)}
.picture .pill.solid-info rect{fill:var(--info)}
.picture .pill.solid-bad rect{fill:var(--bad)}
.picture .pill.solid-warn rect{fill:var(--warn)}
.picture .pill.solid-ok text,.picture .pill.solid-info text,.picture .pill.solid-bad text,
  .picture .pill.solid-warn text{fill:var(--on)}
.picture .drum{fill:none;stroke:var(--info);stroke-width:1.3}
.picture .drum.solid{fill:var(--ink);stroke:var(--panel)}
.picture .flow{font-size:12px;font-weight:650;fill:var(--info)}
.picture .flow.none{font-weight:400;fill:var(--mute)}
.picture .edge{fill:none;stroke:var(--info);stroke-width:2.4}
.picture .edge.local{stroke-width:1.4}
.picture .edge.broken{stroke:var(--warn);stroke-dasharray:4 4}
.picture .tip,.picture .dot{fill:var(--info)}
table{width:100%;border-collapse:collapse;font-size:14px}
th{text-align:left;font-weight:600;color:var(--mute);font-size:13px}
th,td{padding:7px 10px 7px 0;vertical-align:top;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
tbody tr:last-child>*{border-bottom:0}
.steps .n{width:34px;color:var(--mute)}
.steps .host{width:24%}
.steps td.time{width:150px;white-space:nowrap;padding-right:0}
.each,.message{display:block;font-size:12.5px;color:var(--mute)}
.each span{white-space:nowrap}
tr.failed .message,tr.unreachable .message{color:var(--bad)}
.state{display:inline-block;padding:1px 9px;border-radius:5px;font-size:12.5px;font-weight:650;color:var(--mute);
  background:var(--soft);white-space:nowrap}
tr.ok .state{color:var(--ok);background:var(--okbg)}
tr.changed .state,tr.planned .state{color:var(--warn);background:var(--warnbg)}
tr.failed .state,tr.unreachable .state{color:var(--on);background:var(--bad)}
.value{display:inline-block;width:56px;text-align:right;font-variant-numeric:tabular-nums;padding-right:8px}
.track{display:inline-block;width:80px;height:8px;border-radius:4px;background:var(--soft);vertical-align:middle}
.fill{display:block;height:8px;min-width:1px;border-radius:4px;background:var(--info)}
.findings .severity{width:100px}
.findings tr.critical .state{color:var(--on);background:var(--bad)}
.findings tr.error .state{color:var(--bad);background:var(--badbg)}
.findings tr.warning .state{color:var(--warn);background:var(--warnbg)}
.findings .where{width:22%;font-weight:600}
.findings .remedy{display:block;margin-top:3px}
.connections td,.connections th{padding:3px 10px 3px 0}
.connections tr.silent td{color:var(--bad)}
.storage .wide{overflow-x:auto}
.matrix{width:auto;border-collapse:separate;border-spacing:3px}
.matrix caption{text-align:left;font-size:13px;color:var(--mute);padding:0 0 4px}
.matrix th,.matrix td{padding:4px 8px;border:0;border-radius:5px;white-space:nowrap;background:var(--soft)}
.matrix thead th,.matrix tbody th{background:none;color:var(--ink)}
.matrix .viewed{color:var(--info);text-decoration:underline}
.matrix .self{color:var(--mute);text-align:center}
.matrix .green,.key.green{color:var(--ok);background:var(--okbg)}
.matrix .yellow,.key.yellow{color:var(--warn);background:var(--warnbg);font-weight:650}
.matrix .red,.key.red{color:var(--on);background:var(--bad);font-weight:650}
.matrix .unknown,.key.unknown{color:var(--mute);background:var(--soft)}
.matrix .black{color:#fff;background:#000;outline:1px solid var(--line)}
.key{display:inline-block;padding:1px 9px;border-radius:5px;font-size:12.5px;white-space:nowrap}
.nodes thead th,.nodes tbody th{width:auto}
.nodes{margin-top:12px}
summary{cursor:pointer;font-weight:600}
.values th{width:34%;color:var(--ink);padding-right:16px}
code,pre{font:12.5px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
pre{overflow-x:auto;background:var(--soft);padding:10px;border-radius:6px;margin:6px 0 0}
footer{color:var(--mute);font-size:13px;padding:4px 4px 0;overflow-wrap:anywhere}
@media screen and (max-width:640px){
  main{padding:8px 8px 24px}
  header,section{padding:14px}
  figcaption{min-height:0}
  figure{flex-basis:100%}
  .figures{grid-template-columns:1fr 1fr}
  dd{font-size:19px}
  .steps thead{display:none}
  .steps tr{display:grid;grid-template-columns:28px 1fr auto;border-bottom:1px solid var(--line);padding:8px 0}
  .steps td{border:0;padding:1px 0}
  .steps .what{grid-column:2/4;font-weight:600}
  .steps .message{font-weight:400}
  .steps .host{grid-column:2/4;width:auto}
  .steps td:nth-child(4){grid-column:2}
  .steps td.time{grid-column:3;width:auto}
  .values tr{display:block;padding:6px 0;border-bottom:1px solid var(--line)}
  .values th,.values td{display:block;width:auto;border:0;padding:0}
}
@media print{
  body{background:#fff;font-size:11px}
  main{max-width:none;padding:0}
  h1{font-size:17px;margin:6px 0 2px}
  .reason{font-size:13px}
  dd{font-size:14px}
  dt,dd.hint,.hint,figcaption,.each,.message,footer{font-size:10px}
  .figures{grid-template-columns:repeat(5,1fr);gap:6px;margin-top:8px}
  .figure{padding:5px 8px}
  table,.slowest,.state,th{font-size:11px}
  h2{font-size:13px;margin-bottom:5px}
  th,td{padding:3px 8px 3px 0}
  header,section{padding:9px 12px;margin-bottom:7px}
  header,.notice,tr,figure{break-inside:avoid}
  h2,h3{break-after:avoid}
  .pictures{flex-wrap:nowrap;gap:12px}
  figure{flex:1 1 0}
  figcaption{min-height:4.5em;margin:0}
  .picture{max-height:170mm}
  .steps td.time{width:120px}
  .track{width:56px}
  *{-webkit-print-color-adjust:exact;print-color-adjust:exact}
}
"""
