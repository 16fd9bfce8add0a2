#!/usr/bin/env python3
"""Holds a floating seat while a command runs, with the standard library alone
and record.py beside it.

    python3 seat.py POOL COMMAND...        python3 seat.py editor vi report.txt

Ends as COMMAND, with 3 when there is no seat for it, with 75 when nobody can tell.
"""
import datetime
import getpass
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

from record import HEADERS, URL

HOST = socket.gethostname().split(".")[0]
HOLDER = f"{HOST}/{os.getpid()}"  # names one running program


def seat(method, pool):
    """Takes or renews (PUT) or gives back (DELETE) the seat: the status and the
    answer. Both may be repeated at any time."""
    path = "/".join(urllib.parse.quote(part, safe="") for part in (pool, HOLDER))
    request = urllib.request.Request(f"{URL}/v1/seats/{path}", method=method, data=json.dumps({"user": getpass.getuser(), "host": HOST}).encode(),
                                     headers={**HEADERS, "Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read() or "{}")
    except urllib.error.HTTPError as err:
        return err.code, json.loads(err.read() or "{}")
    except (OSError, ValueError) as err:
        return 503, {"code": "no_answer", "message": str(err)}


def lease(answer):
    """For how many seconds the seat is ours, by the daemon's clock alone."""
    until, now = (datetime.datetime.fromisoformat(answer[k].replace("Z", "+00:00")) for k in ("until", "time"))
    return (until - now).total_seconds()


def renew(pool, seconds, ended):
    """Renews the seat three times in each lease, so that two may fail."""
    while not ended.wait(seconds / 3):
        status, answer = seat("PUT", pool)
        if status in (201, 202):
            seconds = lease(answer)
        elif status not in (429, 503):  # then the lease goes on, and the next time may be better
            print(f"the seat in {pool} is lost: {answer.get('code')}", file=sys.stderr)


def main():
    pool, *command = sys.argv[1:]
    status, answer = seat("PUT", pool)
    if status not in (201, 202):
        unknown = status == 429 or status >= 500
        print(f"no seat in {pool}: {answer.get('code')}: {answer.get('message')}", file=sys.stderr)
        return 75 if unknown else 3
    ended = threading.Event()
    renewing = threading.Thread(target=renew, args=(pool, lease(answer), ended))
    renewing.start()
    try:
        return subprocess.run(command, check=False).returncode
    finally:
        ended.set()
        renewing.join()  # or it might take the seat again behind us
        seat("DELETE", pool)


if __name__ == "__main__":
    sys.exit(main())
