#!/usr/bin/env python3
"""Serves every case of ONNX's backend tests and compares the answers with ONNX Runtime's, to the bit.

    .test/clients/bin/python tests/clients/conformance.py [--impetus BINARY] [--only WORD] [--list]

The cases are served in portions by servers of their own, and asked for by tritonclient over HTTP in
binary and over gRPC. A case that ONNX Runtime computes and the server refuses, or answers otherwise,
fails; what is left out is counted by its reason (`--list` names it).
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import onnxruntime
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

import cases
import served
import values

PORTION = 120
SETTINGS = """
models.workers = 1
memory.headroom = "64MiB"
log_level = "warn"
"""
# Longest time for any one answer.
PATIENCE = 30.0


@dataclass
class Found:
    """What came of the cases."""

    skipped: list[cases.Skip] = field(default_factory=list)
    counted: Counter = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)


class Asked:
    """One server's cases, asked for by both clients."""

    def __init__(self, server: served.Server, found: Found):
        self._found = found
        self._http = tritonclient.http.InferenceServerClient(
            server.http, network_timeout=PATIENCE, connection_timeout=PATIENCE
        )
        self._grpc = tritonclient.grpc.InferenceServerClient(server.grpc)

    def close(self) -> None:
        self._http.close()
        self._grpc.close()

    def check(self, case: cases.Case) -> None:
        """Asks for a case over both protocols."""
        try:
            ways = {"REST": self._over_http, "gRPC": self._over_grpc}
            wrong = [f"{way}: {said}" for way, ask in ways.items() if (said := ask(case))]
        except InferenceServerException as error:
            wrong = [f"refused: {error}"]
        if wrong:
            self._found.failed.append(f"{case.name}: {'; '.join(wrong)}")
        else:
            self._found.counted["equal"] += 1

    def _over_http(self, case: cases.Case) -> str:
        return _difference(case, self._http.infer(case.name, _inputs(tritonclient.http, case)))

    def _over_grpc(self, case: cases.Case) -> str:
        given = _inputs(tritonclient.grpc, case)
        return _difference(case, self._grpc.infer(case.name, given, client_timeout=PATIENCE))


def _inputs(module, case: cases.Case) -> list:
    return [
        module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype)).set_data_from_numpy(array)
        for name, array in case.inputs.items()
    ]


def _difference(case: cases.Case, result) -> str:
    """Says what differs from the right answer; nothing if it is the same to the bit."""
    for name, right in case.outputs.items():
        array = result.as_numpy(name)
        if array is None:
            return f"{name} is missing"
        if array.dtype != right.dtype:
            return f"{name} is {array.dtype}, not {right.dtype}"
        if values.bits(array) != values.bits(right):
            return f"{name} is {array.shape} {array.flatten()[:4]}, not {right.shape} {right.flatten()[:4]}"
    return ""


def portion(impetus: Path, found: Found, some: list[list[cases.Case]]) -> None:
    """Serves some graphs, each with its sets of data, and checks them."""
    scratch = Path(tempfile.mkdtemp(prefix="conformance-"))
    try:
        for sets in some:
            place = scratch / "models" / sets[0].name
            place.mkdir(parents=True)
            shutil.copyfile(sets[0].path, place / "model.onnx")
        with served.Server(impetus, scratch, SETTINGS) as server:
            settled = server.until_settled(len(some))
            asked = Asked(server, found)
            try:
                for sets in some:
                    model = settled[sets[0].name]
                    if model["state"] == "failed":
                        found.failed.append(f"{model['name']}: not loaded: {model['reason'][-200:]}")
                        continue
                    for case in sets:
                        asked.check(case)
            finally:
                asked.close()
    finally:
        shutil.rmtree(scratch)


def gather(only: str, found: Found) -> list[list[cases.Case]]:
    """Computes what is right for each case; returns those that can be compared, by their graphs."""
    graphs = []
    for place in cases.folders():
        if only not in place.name:
            continue
        sets = []
        for one in cases.read(place):
            found.counted["cases"] += 1
            if isinstance(one, cases.Skip):
                found.skipped.append(one)
            else:
                found.counted["expected"] += one.expected
                sets.append(one)
        if sets:
            graphs.append(sets)
    return graphs


def same_runtime() -> str:
    """Says what is wrong when the workers load another version than the one that is compared with."""
    stamp = (served.LIBRARY.parent / "stamp").read_text().split()
    if stamp[1] == onnxruntime.__version__:
        return ""
    return f"the server's workers load ONNX Runtime {stamp[1]} and the comparison {onnxruntime.__version__}"


def report(found: Found, seconds: float, names: bool) -> None:
    by_reason = Counter(skip.reason for skip in found.skipped)
    computed = found.counted["cases"] - len(found.skipped)
    print(f"ONNX backend tests: {found.counted['cases']} cases, {computed} computed by ONNX Runtime")
    print(f"  {found.counted['equal']} answered equal to the bit over REST and gRPC, {len(found.failed)} not")
    print(
        f"  {found.counted['expected']} of the computed ones are also what the case expects, within tolerance"
    )
    for reason, count in by_reason.most_common():
        print(f"  {count} left out: {reason}")
        for skip in found.skipped if names else ():
            if skip.reason == reason:
                print(f"      {skip.name}: {skip.detail}")
    for line in found.failed:
        print(f"FAILED {line}")
    print(f"{found.counted['equal']} passed, {len(found.failed)} failed, {len(found.skipped)} skipped")
    print(f"in {seconds:.0f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--impetus", type=Path, default=served.binary())
    parser.add_argument("--only", default="", help="only cases whose names contain this")
    parser.add_argument("--list", action="store_true", help="name what is left out")
    given = parser.parse_args()
    if wrong := same_runtime():
        print(f"error: {wrong}; run scripts/fetch-onnxruntime.sh with pip", file=sys.stderr)
        return 1
    began = time.monotonic()
    found = Found()
    graphs = gather(given.only, found)
    for start in range(0, len(graphs), PORTION):
        portion(given.impetus.resolve(), found, graphs[start : start + PORTION])
    report(found, time.monotonic() - began, given.list)
    return 1 if found.failed or not found.counted["equal"] else 0


if __name__ == "__main__":
    sys.exit(main())
