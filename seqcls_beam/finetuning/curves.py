"""Learning curves as a picture."""

import io
from typing import Any

from seqcls_beam.finetuning.job import Job, Trained


def curves(job: Job, trained: Trained) -> bytes:
    """A PNG: the loss on training and validation rows, and the metric that chose the checkpoint, over the steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    metric = job.best_metric
    learned = _points(trained, "loss")
    judged = _points(trained, "eval_loss")
    chosen = _points(trained, f"eval_{metric}") if metric != "loss" else []
    figure = Figure(figsize=(9 if chosen else 5, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(1, 2 if chosen else 1, squeeze=False)[0]
    axes[0].plot(*zip(*learned, strict=True), color="#9ecae1", linewidth=1, label="training")
    if len(learned) > 20:
        axes[0].plot(*zip(*_smooth(learned), strict=True), color="#1f77b4", linewidth=1.6, label="training, smoothed")
    if judged:
        axes[0].plot(*zip(*judged, strict=True), color="#d95f02", marker="o", markersize=4, label="validation")
    axes[0].set_ylabel("loss")
    axes[0].set_ylim(bottom=0)
    axes[0].legend(frameon=False)
    if chosen:
        axes[1].plot(*zip(*chosen, strict=True), color="#d95f02", marker="o", markersize=4)
        best = dict(chosen).get(trained.best_step)
        if best is not None:
            axes[1].plot([trained.best_step], [best], "o", color="none", markeredgecolor="#333333", markersize=11)
            axes[1].annotate(
                f"{best:.4f}", (trained.best_step, best), (0, -16), textcoords="offset points", ha="center"
            )
        axes[1].margins(0.15)
        axes[1].set_ylabel(f"validation {metric}")
    for each in axes:
        each.set_xlabel("step")
        each.grid(alpha=0.25)
        each.spines[["top", "right"]].set_visible(False)
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=130, metadata={"Software": None})
    return written.getvalue()


def _points(trained: Trained, name: str) -> list[tuple[int, float]]:
    """(step, value) of every log that has the value."""
    found = ((logs.get("step"), logs.get(name)) for logs in trained.history)
    return [(int(step), value) for step, value in found if step is not None and value is not None]


def _smooth(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Means of a tenth of the points each, where they end."""
    width = max(1, len(points) // 10)
    return [
        (points[i][0], sum(loss for _, loss in points[i + 1 - width : i + 1]) / width)
        for i in range(width - 1, len(points))
    ]
