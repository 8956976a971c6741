"""`mobile-videogpt doctor`: what is installed, what this machine offers, does it compute right."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from importlib import metadata
from typing import Any

from mobile_videogpt import __version__
from mobile_videogpt.cli.arguments import quiet_libraries
from mobile_videogpt.cli.failures import describe_error
from mobile_videogpt.cli.output import answer_json, say, table

CORE = (
    "torch",
    "transformers",
    "accelerate",
    "tokenizers",
    "safetensors",
    "huggingface_hub",
    "av",
    "pillow",
    "numpy",
    "pyyaml",
    "rich",
    "jinja2",
)
# The extras of pyproject.toml; a test keeps the two in step.
EXTRAS = {
    "train": ("peft", "matplotlib"),
    "eval": ("matplotlib", "pyarrow"),
    "ray": ("ray",),
    "qlora": ("peft", "bitsandbytes"),
    "export": ("gguf",),
    "onnx": ("onnx", "onnxruntime"),
    "fast": ("numba", "llvmlite"),
    "lmms-eval": ("lmms-eval",),
    "serve": (
        *("fastapi", "starlette", "pydantic", "uvicorn"),
        *("python-multipart", "prometheus-client", "llguidance"),
    ),
    "docs": ("mkdocs-material", "mkdocstrings"),
}


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the subcommand `doctor`."""
    parser = subparsers.add_parser(
        "doctor",
        parents=parents,
        help="check the installation",
        description="Show versions and devices, run numeric self-tests, and say what is missing "
        "for each extra. Exit code 1 if a self-test fails or a core package is missing.",
    )
    parser.add_argument("--device", default="auto", help="where to run the self-tests")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Collect the report, print it; 1 if something that everybody needs is broken."""
    packages = {name: installed_version(name) for name in CORE}
    missing = [name for name, found in packages.items() if found is None]
    report: dict[str, Any] = {
        "mobile_videogpt": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "extras": {name: missing_packages(needed) for name, needed in EXTRAS.items()},
    }
    if missing:
        report |= {"devices": {}, "self_tests": {}, "ok": False}
    else:
        quiet_libraries(args.debug)
        report["devices"] = find_devices()
        report["self_tests"] = run_self_tests(args.device, args.debug)
        report["ok"] = all(test["ok"] for test in report["self_tests"].values())
    if args.json:
        answer_json(report)
    else:
        table(_rows(report))
    if missing:
        say(f"missing: {', '.join(missing)}; run: pip install mobile-videogpt")
    elif not report["ok"]:
        failed = [name for name, test in report["self_tests"].items() if not test["ok"]]
        say(f"self-test failed: {', '.join(failed)}")
    return 0 if report["ok"] else 1


def installed_version(package: str) -> str | None:
    """The version of an installed distribution, None if there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def missing_packages(needed: tuple[str, ...]) -> list[str]:
    """Those of `needed` that are not installed."""
    return [name for name in needed if installed_version(name) is None]


def find_devices() -> dict[str, Any]:
    """What torch can run on here, and what "auto" would take."""
    import torch

    from mobile_videogpt.engines.devices import pick_device, pick_dtype

    device = pick_device("auto")
    return {
        "chosen": str(device),
        "dtype": str(pick_dtype("auto", device)).removeprefix("torch."),
        "cpu": {"cores": os.cpu_count(), "threads": torch.get_num_threads()},
        "cuda": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "mps": torch.backends.mps.is_available(),
        "fused_scan": installed_version("mamba_ssm"),
    }


def run_self_tests(device_name: str, debug: bool) -> dict[str, dict[str, Any]]:
    """Run every check; one that fails does not stop the others."""
    from mobile_videogpt.cli.self_test import CHECKS, SelfTestError
    from mobile_videogpt.engines.devices import pick_device

    device = str(pick_device(device_name))
    results = {}
    for name, check in CHECKS.items():
        try:
            results[name] = {"ok": True, "found": check(device)}
        except Exception as error:
            if debug:
                raise
            text = str(error) if isinstance(error, SelfTestError) else describe_error(error)
            results[name] = {"ok": False, "found": text}
    return results


def _rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The report as lines of name and value."""
    rows = [
        ("mobile-videogpt", report["mobile_videogpt"]),
        ("python", f"{report['python']} ({sys.executable})"),
        ("platform", report["platform"]),
    ]
    rows += [(name, found or "MISSING") for name, found in report["packages"].items()]
    if devices := report["devices"]:
        cpu = devices["cpu"]
        rows += [
            ("device", f"{devices['chosen']}, {devices['dtype']}"),
            ("cpu", f"{cpu['cores']} cores, {cpu['threads']} threads in use"),
            ("cuda", ", ".join(devices["cuda"]) or "none"),
            ("mps", "available" if devices["mps"] else "none"),
            ("fused scan", devices["fused_scan"] or "not installed (not needed)"),
        ]
    for name, test in report["self_tests"].items():
        rows.append((f"test: {name}", f"{'ok' if test['ok'] else 'FAILED'}: {test['found']}"))
    for name, lacking in report["extras"].items():
        advice = f"missing {', '.join(lacking)}; run: pip install 'mobile-videogpt[{name}]'"
        rows.append((f"extra: {name}", advice if lacking else "complete"))
    return rows
