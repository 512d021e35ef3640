"""HTTP: the service behind API Gateway; `uvicorn functions.api.app:app` runs it elsewhere."""

import oddsound.cold_start  # noqa: F401

# isort: split
from mangum import Mangum

from oddsound import snapshot
from oddsound.http.app import create_app
from oddsound.http.gateway import InvocationDeadline, RestApi

app = create_app()
handler = Mangum(InvocationDeadline(app), lifespan="off", custom_handlers=[RestApi])
snapshot.register()
