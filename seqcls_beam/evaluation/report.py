"""An evaluation as evaluation.json has it → a page of HTML that needs nothing beside it.

    page(json.loads(Path("evaluation.json").read_text()))

`section` is the part that stands in larger reports.
"""

from html import escape
from typing import Any

from seqcls_beam.evaluation import plots
from seqcls_beam.evaluation.formatting import METRICS, cell, interval, measured, number
from seqcls_beam.runs.accounting import PREFIX
from seqcls_beam.signs import shown

_MOST_ROWS = 200  # of a table of classes or slices; evaluation.json has all

_STYLE = """
.evaluation { --line: #8884; --soft: #8881; font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: auto }
.evaluation h2 { font-size: 1.5rem; margin: 0 0 .3rem } .evaluation h3 { font-size: 1.1rem; margin: 2rem 0 .5rem }
.evaluation table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0 }
.evaluation th, .evaluation td { padding: .22rem .7rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top }
.evaluation th { font-weight: 600 } .evaluation .n { text-align: right; white-space: nowrap }
.evaluation td.text { overflow-wrap: anywhere; min-width: 16rem }
.evaluation td.name { overflow-wrap: anywhere; min-width: 6rem; max-width: 18rem }
.evaluation .scroll { overflow-x: auto } .evaluation svg { max-width: 100%; height: auto; display: block }
.evaluation .plots { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start }
.evaluation figure { margin: 0; max-width: 100% } .evaluation figcaption { font-size: .85rem; opacity: .8 }
.evaluation .facts { color: inherit; opacity: .8; overflow-wrap: anywhere } .evaluation code { overflow-wrap: anywhere }
.evaluation .gate { padding: .4rem .8rem; border-left: .3rem solid #2a8fd0; background: var(--soft); margin: .3rem 0 }
.evaluation .failed { border-color: #d55e00; font-weight: 600 }
@media print { .evaluation h3, .evaluation svg, .evaluation tr { break-inside: avoid; break-after: auto } }
"""

_PAGE_STYLE = """
:root { color-scheme: light dark } body { margin: 2rem 1rem; background: Canvas; color: CanvasText }
"""


def page(found: dict[str, Any]) -> str:
    """A whole page."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{escape(shown(_title(found), name=True))}</title>'
        f"<style>{_PAGE_STYLE}</style></head><body>\n{section(found)}\n</body></html>\n"
    )


def section(found: dict[str, Any]) -> str:
    """One <section> with its own style: headline, gates, plots, tables, worst rows; all from outside is escaped."""
    found = _visible(found)
    parts = [
        f"<style>{_STYLE}</style>",
        f"<h2>{escape(_title(found))}</h2>",
        _facts(found),
        *(_gate(gate) for gate in found["gates"]),
        _headline(found),
        *(f'<p class="gate">{escape(said)}</p>' for said in found.get("warnings", ())),
    ]
    drawn = [plots.confusion(found), plots.reliability(found), plots.curves(found)]
    parts.append('<div class="plots">' + "".join(map(_figure, filter(None, drawn))) + "</div>")
    parts += [_calibration(found), _classes(found)]
    for name, groups in found["slices"].items():
        parts.append(_slices(f"By {name}", groups))
    parts += [_slices("By length in tokens", found["lengths"]), _worst(found), _made(found)]
    return f'<section class="evaluation">\n{"".join(part for part in parts if part)}\n</section>'


def _visible(told: Any, name: str = "") -> Any:
    """A document in which every sign shows; `name` is what this part of it is called in the whole."""
    if isinstance(told, dict):
        return {shown(key, name=True): _visible(each, key) for key, each in told.items()}
    if isinstance(told, list):
        return [_visible(each, name) for each in told]
    return shown(told, name=name not in ("text", "text_pair"), keep="\n\t") if isinstance(told, str) else told


def _title(found: dict[str, Any]) -> str:
    model = found["model"]["name"] if found["model"] else "given answers"
    data = found["data"]
    if data["kind"] == "prepared":
        return f"{model} on the {data['split']} split of {data['folder']}"
    paths = [each["path"].rsplit("/", 1)[-1] for each in data["inputs"]]
    return f"{model} on {', '.join(paths[:3])}" + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def _figure(drawn: str) -> str:
    """A plot with what it says of itself beneath."""
    told = drawn.split('aria-label="', 1)[1].split('"', 1)[0]
    return f"<figure>{drawn}<figcaption>{told}</figcaption></figure>"


def _facts(found: dict[str, Any]) -> str:
    rows = found["rows"]
    told = [f"{rows['in']:,} rows, {rows['scored']:,} scored"]
    if rows["unlabelled"]:
        told.append(f"{rows['unlabelled']:,} without a gold label")
    if rows["rejected"]:
        reasons = ", ".join(f"{name} {count:,}" for name, count in rows["rejected_by_reason"].items())
        told.append(f"{rows['rejected']:,} rejected ({reasons})")
    if rows["lost"]:
        reasons = ", ".join(f"{name} {count:,}" for name, count in rows["lost_by_reason"].items())
        told.append(f"{PREFIX[rows['lost_weight']]}{rows['lost']:,} lost ({reasons})")
    if rows["unknown_labels"]:
        told.append("unknown labels " + ", ".join(map(repr, rows["unknown_labels"])))
    if "gold" in found:
        told.append(f"gold labels in {found['gold']['column']!r}, read as {found['gold']['read_as']}")
    told += [f"{name} has too many values to slice by" for name in found.get("unsliced", ())]
    if found["truncated_rows"]:
        told.append(f"{found['truncated_rows']:,} texts longer than the model reads")
    return f'<p class="facts">{escape("; ".join(told))}.</p>'


def _gate(gate: dict[str, Any]) -> str:
    value = "undefined" if gate["value"] is None else number(gate["value"])
    limit = f"{'at least' if gate['gate'].startswith('min') else 'at most'} {gate['limit']:g}"
    said, kind = ("passed", "gate") if gate["passed"] else ("not passed", "gate failed")
    return f'<p class="{kind}">Gate {said}: {escape(gate["metric"])} is {value}, wanted {limit}</p>'


def _headline(found: dict[str, Any]) -> str:
    baseline = found.get("baseline", {})
    rows = []
    for name, said in METRICS.items():
        metric = found["metrics"].get(name)
        if metric is not None:
            cells = [said.format(positive=found.get("positive", "")), number(metric["value"]), interval(metric["ci"])]
            rows.append(cells + ([number(baseline[name]) if name in baseline else ""] if baseline else []))
    heads = ["", "value", "95 % interval", *(["most frequent class"] if baseline else [])]
    return _table(heads, rows)


def _calibration(found: dict[str, Any]) -> str:
    told = found.get("calibration")
    if told is None:
        return ""
    lines = [["expected calibration error", "ece"], ["Brier score", "brier"], ["log loss", "nll"]]
    best = told["temperature"]
    rows = [[said, number(told[key]), number(best[key]) if best and key in best else ""] for said, key in lines]
    heads = ["", "as it is", f"at temperature {best['value']:.2f}, found on these very rows" if best else ""]
    if best is None:
        heads, rows = heads[:2], [row[:2] for row in rows]
    return f"<h3>Calibration</h3>{_table(heads, rows)}{_tuned(found)}"


def _tuned(found: dict[str, Any]) -> str:
    if "tuned" not in found:
        return ""
    rows = [[METRICS[name], number(each["threshold"]), number(each["value"])] for name, each in found["tuned"].items()]
    return f"<h3>Best thresholds</h3>{_table(['on these very rows', 'threshold', 'value'], rows)}"


def _classes(found: dict[str, Any]) -> str:
    classes = found.get("classes")
    if not classes:
        return ""
    ranked = any("average_precision" in each for each in classes)
    heads = ["label", "precision", "recall", "F1", "95 % interval", *(["average precision"] if ranked else [])]
    rows = []
    for each in classes[:_MOST_ROWS]:
        numbers = [number(each[name]) for name in ("precision", "recall", "f1")] + [interval(each["ci"])]
        if ranked:
            precision = each.get("average_precision")
            numbers.append("" if precision is None else number(precision))
        rows.append([each["label"], *numbers, f"{each['support']:,}", f"{each['predicted']:,}"])
    table = _table([*heads, "gold", "answers"], rows)
    return f"<h3>Labels</h3>{plots.classes(found) or ''}{table}{_more(len(classes))}"


def _slices(title: str, groups: list[dict[str, Any]]) -> str:
    if not groups:
        return ""
    names = measured(groups)
    told = any(group.get("ci") for group in groups)
    rows = []
    for group in groups[:_MOST_ROWS]:
        numbers = [number(group[name]) if name in group else "" for name in names]
        numbers[1:1] = [interval(group.get("ci"))] if told else []
        rows.append([group["value"], f"{group['rows']:,}", *numbers])
    heads = [METRICS.get(name, name) for name in names]
    heads[1:1] = ["95 % interval"] if told else []
    table = _table(["", "rows", *heads], rows)
    return f"<h3>{escape(title)}</h3>{plots.slices(groups) or ''}{table}{_more(len(groups))}"


def _worst(found: dict[str, Any]) -> str:
    if not found["worst"]:
        return ""
    texts = any("text" in row for row in found["worst"])
    heads = ["row", "gold", "answer", "loss", *(["text"] if texts else [])]
    body = []
    for row in found["worst"]:
        place = row.get("id")
        if place is None:
            place = f"{str(row.get('source', '')).rsplit('/', 1)[-1]}:{row.get('position', '')}"
        answer = cell(row["predicted"])
        if "gold_probability" in row:
            answer += f" ({row['probability']:.3f})"
        text = " | ".join(str(row[name]) for name in ("text", "text_pair") if row.get(name) is not None)
        body.append(
            f'<tr><td class="name">{escape(cell(place))}</td><td class="name">{escape(cell(row["gold"]))}</td>'
            f'<td class="name">{escape(answer)}</td><td class="n">{number(row["loss"])}</td>'
            + (f'<td class="text">{escape(text)}</td></tr>' if texts else "</tr>")
        )
    head = "".join(f"<th{' class=n' if name == 'loss' else ''}>{name}</th>" for name in heads)
    return f'<h3>Worst rows</h3><div class="scroll"><table><tr>{head}</tr>{"".join(body)}</table></div>'


def _made(found: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    told = [f"<code>{escape(found['command'])}</code>", f"{escape(found['finished'])}, {escape(versions)}"]
    if found["model"]:
        told.insert(1, f"model {escape(found['model']['digest'])}")
    return f'<h3>How it was made</h3><p class="facts">{"<br>".join(told)}</p>'


def _more(count: int) -> str:
    return f"<p>… {count - _MOST_ROWS:,} more in evaluation.json</p>" if count > _MOST_ROWS else ""


def _table(heads: list[str], rows: list[list[str]]) -> str:
    """The first column holds names, the others numbers."""
    head = "".join(f"<th{' class=n' if place else ''}>{escape(name)}</th>" for place, name in enumerate(heads))
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{"n" if place else "name"}">{escape(each)}</td>' for place, each in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'
