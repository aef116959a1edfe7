"""How something was made: what every page folds away at its end."""

from collections.abc import Iterator
from typing import Any

from seqcls_beam.reports.pages import bytes_of, rows_of

_MOST = 12  # files that are named


def made(manifest: dict[str, Any], version: str) -> tuple[tuple[str, str], ...]:
    """(name, what is told) of a manifest; hashes and commands stand here and nowhere else."""
    return tuple(_made(manifest, version))


def _made(manifest: dict[str, Any], version: str) -> Iterator[tuple[str, str]]:
    if manifest.get("command"):
        yield "command", manifest["command"]
    yield "version", f"{version}, run {manifest['run_id']}" if manifest.get("run_id") else version
    if manifest.get("started"):
        yield "when", f"{manifest['started']} to {manifest['finished']}"
    elif manifest.get("finished"):
        yield "when", manifest["finished"]
    for each in models(manifest):
        named = [each.get("name") or "", each.get("revision") or "", f"digest {each.get('digest') or 'not known'}"]
        yield "model", ", ".join(filter(None, named))
    for engine in manifest.get("engines") or []:
        yield "engine", ", ".join(f"{key} {engine[key]}" for key in _ENGINE if engine.get(key) not in (None, ""))
    if manifest.get("runner"):
        yield "runner", manifest["runner"]
    if manifest.get("versions"):
        yield "versions", ", ".join(f"{name} {each}" for name, each in manifest["versions"].items())
    files = manifest.get("inputs") or (manifest.get("data") or {}).get("inputs") or []
    if files:
        size = sum(file["size"] for file in files)
        yield "input", f"{rows_of(len(files), 'file')}, {bytes_of(size)}"
        for file in files[:_MOST]:
            told = f"{file['path']} ({bytes_of(file['size'])}"
            yield "", told + (f", {rows_of(file['rows'])})" if "rows" in file else ")")
        if len(files) > _MOST:
            yield "", f"… and {len(files) - _MOST:,} more"
    if parts := manifest.get("parts"):
        yield "output", f"{rows_of(len(parts), 'file')}, {bytes_of(sum(part['bytes'] for part in parts))}"


_ENGINE = ("engine", "dtype", "products", "device", "threads", "batch_tokens", "torch", "transformers")


def models(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The models that a manifest names: one, or of a stream any number."""
    if "models" in manifest:
        return [
            {"digest": key, **(each.get("model") or {})}
            for key, each in manifest["models"].items()
            if isinstance(each, dict)
        ]
    return [manifest["model"]] if manifest.get("model") else []
