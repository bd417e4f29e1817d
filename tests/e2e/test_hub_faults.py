"""Downloads over a bad line, several at once, stopped ones, through proxies and with certificates."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from hub_server import HubServer
from hub_support import ID, NETWORK, STOPPED, Hub, checkpoint_files, hub, kjv  # noqa: F401


def test_dropped_connections_are_resumed(kjv):
    kjv.server.fault("", on="cdn", drop_after=2_000_000)
    kjv.server.fault("", on="cdn", drop_after=1_000_000)
    kjv.ok()
    ranges = [r.headers.get("range") for r in kjv.server.seen(on="cdn")]
    assert ranges == [None, "bytes=2000000-", "bytes=3000000-"]


def test_a_body_that_ends_early_without_a_length_is_resumed(kjv):
    kjv.server.fault("", on="cdn", end_after=1_500_000)
    kjv.ok()
    assert [r.headers.get("range") for r in kjv.server.seen(on="cdn")] == [None, "bytes=1500000-"]


def test_a_stalled_connection_is_given_up_and_resumed(kjv):
    kjv.server.fault("", on="cdn", stall_after=1_000_000)
    kjv.ok(HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert [r.headers.get("range") for r in kjv.server.seen(on="cdn")] == [None, "bytes=1000000-"]


def test_a_line_that_never_holds_ends(kjv):
    kjv.server.fault("", on="cdn", drop_after=0, times=100)
    kjv.refused(NETWORK, "cannot download 'model.safetensors'", "gave up after 5 tries")


def test_a_killed_download_goes_on_in_the_next_run(kjv):
    kjv.server.fault("", on="cdn", drop_after=3_000_000)
    kjv.server.fault("", on="cdn", status=404)
    kjv.refused(NETWORK, "404")
    assert kjv.partial().stat().st_size == 3_000_000
    kjv.ok()
    assert kjv.server.seen(on="cdn")[-1].headers["range"] == "bytes=3000000-"
    assert not list((kjv.folder() / "blobs").glob("*.incomplete"))


def test_a_server_that_does_not_resume(kjv):
    kjv.server.fault("", on="cdn", drop_after=2_000_000)
    kjv.server.fault("", on="cdn", whole=True)
    kjv.ok()
    assert len(kjv.server.seen(on="cdn")) == 2


def test_416_starts_again(kjv):
    kjv.server.fault("", on="cdn", drop_after=2_000_000)
    kjv.server.fault("", on="cdn", status=416, only_ranges=True)
    kjv.ok()
    assert [r.headers.get("range") for r in kjv.server.seen(on="cdn")] == [None, "bytes=2000000-", None]
    kjv.server.fault("", on="cdn", status=416, times=100)
    shutil.rmtree(kjv.cache)
    kjv.refused(NETWORK, "416")


def test_damage_is_seen_and_removed(kjv):
    kjv.server.fault("", on="cdn", damage=True)
    kjv.refused(NETWORK, "damaged", "model.safetensors", "removed")
    assert not kjv.partial().exists()
    assert "model.safetensors" not in kjv.snapshot(kjv.commit)
    kjv.ok()


def test_damage_of_a_small_file(kjv):
    kjv.server.fault("/resolve/" + kjv.commit + "/generation_config.json", damage=True)
    kjv.refused(NETWORK, "damaged", "generation_config.json")


def test_a_damaged_part_of_an_earlier_run_is_not_trusted(kjv):
    blob = kjv.partial()
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"\0" * 1000)
    assert "damaged: from the start" in kjv.ok().stderr


@pytest.mark.parametrize("size", [0, 1])
def test_a_part_as_long_as_the_file_or_longer(kjv, size):
    file = kjv.server.repositories[ID][kjv.commit]["model.safetensors"]
    blob = kjv.partial()
    blob.parent.mkdir(parents=True)
    blob.write_bytes(file.data + b"x" * size)
    kjv.ok()
    assert len(kjv.server.seen(on="cdn")) == size  # the whole file needs no request


def test_wrong_lengths(kjv):
    kjv.server.fault("/config.json", body=b"<html>log in</html>")
    kjv.refused(NETWORK, "announces 19 bytes", "login page")
    shutil.rmtree(kjv.cache)  # the other files may have arrived
    kjv.server.fault("/generation_config.json", body=b"x" * 5000, end_after=5000)
    kjv.refused(NETWORK, "sends more than")


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_server_errors_are_tried_again(kjv, status):
    kjv.server.fault("/revision/", status=status)
    kjv.server.fault("/tree/", status=status)
    kjv.server.fault("/tokenizer.json", status=status)
    kjv.server.fault("", on="cdn", status=status)
    kjv.ok()


def test_server_errors_that_stay(kjv):
    kjv.server.fault("/api/", status=500, times=100, headers={"X-Error-Message": "Internal Error"})
    kjv.refused(NETWORK, "500: Internal Error", "gave up after 5 tries")
    assert len(kjv.server.requests) == 5


def test_429_waits_as_long_as_asked(kjv):
    kjv.server.fault("/tree/", status=429, headers={"Retry-After": "1"})
    kjv.server.fault("/config.json", status=429, headers={"RateLimit": '"resolvers";r=0;t=1'})
    result = kjv.ok()
    assert "next try in 1 s" in result.stderr
    for path in ("/tree/", f"/{kjv.commit}/config.json"):
        first, second = kjv.server.seen(path)
        assert second.time - first.time >= 1.0


def test_429_for_an_hour_is_an_error(kjv):
    kjv.server.fault("/api/", status=429, headers={"Retry-After": "3600"})
    kjv.refused(NETWORK, "429", "wait 3600 s", "HF_TOKEN raises the limit")


# Side by side, and stopped.


def start(hub: Hub) -> subprocess.Popen:
    program = os.environ.get("DELTAVINO", str(Path(__file__).resolve().parents[2] / "build" / "deltavino"))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([program, "inspect", ID], env=hub.environment, **pipes)


def test_programs_side_by_side_download_once(kjv):
    running = [start(kjv) for _ in range(3)]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert len(kjv.server.seen(on="cdn")) == 1


@pytest.mark.parametrize(
    "fault", [{"status": 503, "headers": {"Retry-After": "200"}}, {"stall_after": 1_000_000}], ids=["waiting", "stalled"]
)
def test_stopped_and_continued(kjv, fault):
    kjv.environment["HF_HUB_DOWNLOAD_TIMEOUT"] = "500"
    kjv.server.fault("", on="cdn", **fault)
    process = start(kjv)
    deadline = time.monotonic() + 60
    while not kjv.server.seen(on="cdn") and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=40)  # the server would end it after 60 seconds
    assert process.returncode == STOPPED and b"kept" in errors, errors
    kjv.ok()


# Proxies and certificates.


def test_proxy_of_the_environment(kjv):
    proxy = kjv.server.url
    kjv.refused(NETWORK, "", HF_ENDPOINT="http://hub.invalid", http_proxy=proxy, no_proxy="hub.invalid")
    kjv.server.cdn_url = "http://cdn.invalid"
    kjv.server.fault("cdn.invalid", status=404)
    kjv.refused(NETWORK, "404", HF_ENDPOINT="http://hub.invalid", http_proxy=proxy)
    assert kjv.server.seen(f"http://hub.invalid/api/models/{ID}")


def test_certificates_are_verified(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", key, "-out", certificate, "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    with HubServer(tls=(certificate, key)) as server:
        hub = Hub(tmp_path, server)
        server.add(ID, checkpoint_files())
        hub.refused(NETWORK, "certificate", "SSL_CERT_FILE")
        assert not server.requests
        hub.ok(SSL_CERT_FILE=str(certificate))
        # From https to http: not followed.
        with HubServer() as plain:
            shutil.rmtree(hub.cache)
            server.fault("/resolve/", location=f"{plain.url}/x", times=100)
            hub.refused(NETWORK, "not encrypted", SSL_CERT_FILE=str(certificate))
            assert not plain.requests
