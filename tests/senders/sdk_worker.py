"""The senders' own libraries, asked over standard input and output: a line of JSON each way. Runs in an environment of its own.

``sign`` answers with what the library made, ``verify`` with whether it takes a request. Nothing of Hookgate is imported here.
"""

import json
import sys

from tests.senders import body_libraries, header_libraries, token_libraries
from tests.senders.asked import Asked

SIGN = header_libraries.SIGN | body_libraries.SIGN | token_libraries.SIGN
VERIFY = header_libraries.VERIFY | body_libraries.VERIFY | token_libraries.VERIFY


def answer(asked: Asked) -> Asked:
    """What the library says."""
    try:
        if asked["do"] == "sign":
            return SIGN[asked["sender"]](asked)
        return {"taken": VERIFY[asked["sender"]](asked)}
    except Exception as error:
        return {"broke": f"{type(error).__name__}: {error}"[:500]}


def main() -> None:
    """A line in, a line out, until there are no more; what libraries print goes to standard error."""
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        out.write(json.dumps(answer(json.loads(line))) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
