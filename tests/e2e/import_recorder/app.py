"""Calls a function of the project (function.py in this folder) and reports its imports."""

import sys
from typing import Any

from function import handler as function


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    before = set(sys.modules)
    answer = function(event, context)
    return {"answer": answer, "imported": sorted(set(sys.modules) - before)}
