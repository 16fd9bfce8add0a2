#!/usr/bin/env python3
"""Records the documents of a print job over HTTP, with the standard library alone.

    python3 record.py JOB TIME        python3 record.py job-17 2026-11-03T10:15:03Z

TIME is when the job was printed. It belongs to the event: one that is sent only
tomorrow, after an outage, still counts today. METERSEAL_URL says where the
daemon is, METERSEAL_TOKEN_FILE where the token is, if it wants one.
"""
import gzip
import json
import os
import socket
import sys
import time
import urllib.error
import urllib.request

URL = os.environ.get("METERSEAL_URL", "http://127.0.0.1:8633")
NODE = os.environ.get("METERSEAL_NODE", socket.gethostname().split(".")[0])
HEADERS = {"Meterseal-Node": NODE}
if "METERSEAL_TOKEN_FILE" in os.environ:
    with open(os.environ["METERSEAL_TOKEN_FILE"], encoding="ascii") as token:
        HEADERS["Authorization"] = "Bearer " + token.read().strip()


def send(events, attempts=8):
    """Returns one result per event, in order, when all that were taken are on
    the daemon's disk. At most 10,000 events and 1 MiB, unpacked."""
    body = gzip.compress(json.dumps(events).encode())
    for attempt in range(1, attempts + 1):
        request = urllib.request.Request(URL + "/v1/events", data=body, method="POST", headers={
            **HEADERS, "Content-Type": "application/json", "Content-Encoding": "gzip"})
        pause = attempt
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)["results"]
        except urllib.error.HTTPError as err:  # problem details, RFC 9457
            text = err.read().decode(errors="replace")
            if err.code not in (408, 429) and err.code < 500:
                raise SystemExit(f"refused: {err.code} {text}")
            pause = int(err.headers.get("Retry-After") or attempt)
            cause = f"{err.code} {text}"
        except (OSError, ValueError) as err:  # no answer, or a part of one
            cause = str(err)
        # Busy, no store, or no answer: then the events may be stored or not. The
        # same ids again count once, so nothing is lost and nothing doubled.
        if attempt < attempts:
            time.sleep(pause)
    raise SystemExit(f"not stored: {cause}")


def main():
    job, printed = sys.argv[1:]
    documents = [12, 8, 10]
    results = send([
        {"id": f"{job}/{n}", "meter": "render.pages", "time": printed, "quantity": pages, "dimensions": {"format": "pdf"}}
        for n, pages in enumerate(documents, start=1)
    ])
    refused = [r for r in results if r.get("status", 0) >= 400]
    if refused:  # the others are stored
        raise SystemExit(f"{len(refused)} of {len(results)} refused: {json.dumps(refused)}")
    again = sum(r["code"] == "duplicate" for r in results)
    print(f"{len(results)} documents of {job} are stored, {again} were already")


if __name__ == "__main__":
    main()
