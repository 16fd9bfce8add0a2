#!/usr/bin/env python3
"""Asks before it prints, and counts what was printed; with the standard library
alone, and record.py beside it.

    python3 allow.py JOB TIME PAGES COMMAND...
    python3 allow.py job-17 2026-11-03T10:15:03Z 12 lp report.pdf

Ends with 0 when COMMAND did and its pages are stored, with 3 when the license
says no, with 75 when nobody can tell, and else as COMMAND.
"""
import json
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

from record import HEADERS, URL, send


def ask(method, **query):
    """Returns 200 for yes, 403 for no, anything else where nobody can tell, and
    the answer."""
    request = urllib.request.Request(f"{URL}/v1/allow?{urllib.parse.urlencode(query)}", method=method, headers=HEADERS)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read() or "{}")
    except urllib.error.HTTPError as err:
        return err.code, json.loads(err.read() or "{}")
    except (OSError, ValueError) as err:
        return 503, {"code": "no_answer", "message": str(err)}


def main():
    job, printed, pages, *command = sys.argv[1:]
    # Asking counts nothing. With hold the pages count as used for everybody else,
    # for as many seconds or until the event with this id is stored: so two who ask
    # at once never both get the last page.
    status, answer = ask("GET", meter="render.pages", quantity=pages, id=job, hold=600)
    if status == 403:
        print(f"{job} may not be printed: {answer['code']}", file=sys.stderr)
        return 3
    if status != 200:
        # A program that must go on here uses the last answer it had, until the
        # outage_until of that answer. What it prints counts all the same.
        print(f"nobody can tell whether {job} may be printed: {answer.get('code')}", file=sys.stderr)
        return 75
    for warning in answer["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    code = subprocess.run(command, check=False).returncode
    if code != 0:
        ask("DELETE", id=job)  # nothing was printed, so nothing counts
        return code
    result, = send([{"id": job, "meter": "render.pages", "time": printed, "quantity": pages, "dimensions": {"format": "pdf"}}])
    if result.get("status", 0) >= 400:
        print(f"{job} is printed but not counted: {json.dumps(result)}", file=sys.stderr)
        return 1
    print(f"{pages} pages of {job} are printed and {result['code']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
