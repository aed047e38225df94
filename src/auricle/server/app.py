"""The whole server as an ASGI app: routes, the page, health and metrics."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles

from auricle import __version__
from auricle.errors import AuricleError
from auricle.server import chat, openapi, realtime, transcripts, vectors
from auricle.server.failures import ApiError, invalid, log_failure, told
from auricle.server.gate import Gate
from auricle.server.metrics import Metrics
from auricle.server.service import Service, service_of
from auricle.server.settings import Settings

PAGE = Path(__file__).parent / "page"
PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
        "media-src 'self' blob:; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def create_app(settings: Settings) -> FastAPI:
    """The app of one process; it answers 503 until whoever runs it has loaded the model: `app.state.service.load()`."""
    metrics = Metrics()
    service = Service(settings, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.close()

    app = FastAPI(
        title="Auricle",
        version=__version__,
        lifespan=lifespan,
        description="Ask audio a question: the OpenAI API, with audio that is heard.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs else None,
        redirect_slashes=False,  # an address is one of ours or it is not: no client follows a redirect with a sound
    )
    app.state.service, app.state.settings = service, settings
    for module in (chat, transcripts, vectors, realtime):
        app.include_router(module.router)
    _add_state(app)
    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ApiError, _told)
    app.add_exception_handler(AuricleError, _told)
    openapi.describe(app, with_keys=bool(settings.api_keys))
    app.add_middleware(Gate, settings=settings, metrics=metrics)
    if settings.cors_origins:
        app.add_middleware(  # added last: stands outermost, so that a page may read a refusal as well
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],  # the official client for pages sends some of its own: x-stainless-...
            expose_headers=["x-request-id", "retry-after"],
        )
    return app


def _add_state(app: FastAPI) -> None:
    created = int(time.time())

    # Whoever looks whether a server is there often asks for the head alone.
    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE / "index.html", headers=PAGE_HEADERS)

    @app.get("/v1/models", response_model=None, responses=openapi.MODELS)
    async def models(request: Request) -> Response:
        """The model that is served."""
        return JSONResponse({"object": "list", "data": [_model(service_of(request), created)]})

    @app.get("/v1/models/{name:path}", response_model=None, responses=openapi.ONE_MODEL)
    async def one_model(request: Request, name: str) -> Response:
        """The same, by its name."""
        service = service_of(request)
        if name != service.settings.model:
            raise ApiError(404, f"there is no model {name!r} here; this server has {service.settings.model!r}")
        return JSONResponse(_model(service, created))

    @app.head("/health", include_in_schema=False)
    @app.get("/health", response_model=None, responses=openapi.READY)
    @app.head("/health/ready", include_in_schema=False)
    @app.get("/health/ready", response_model=None, responses=openapi.READY)
    async def ready(request: Request) -> Response:
        """200 when requests can be answered, 503 while the model is loaded, and if it can't be."""
        service = service_of(request)
        state = "ready" if service.ready else "failed" if service.failure else "loading"
        body = {"status": state, "model": service.settings.model, "error": service.failure}
        return JSONResponse(body, 200 if service.ready else 503)

    @app.head("/health/live", include_in_schema=False)
    @app.get("/health/live", response_model=None, responses=openapi.LIVE)
    async def live() -> Response:
        """200 for as long as the process answers."""
        return JSONResponse({"status": "live"})

    @app.get("/metrics", response_model=None, response_class=PlainTextResponse, responses=openapi.METRICS)
    async def metrics(request: Request) -> Response:
        """For Prometheus."""
        return Response(service_of(request).metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _model(service: Service, created: int) -> dict[str, Any]:
    return {"id": service.settings.model, "object": "model", "created": created, "owned_by": "auricle"}


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError), "registered for no other"
    return invalid(error.errors()).response()


async def _http(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself: unknown paths and methods, bodies that can't be parsed."""
    assert isinstance(error, HTTPException), "registered for no other"
    texts = {
        404: f"there is nothing at {request.url.path[:80]}: see the paths in the documentation",
        405: f"{request.method} is no method of {request.url.path[:80]}",
    }
    failure = ApiError(error.status_code, texts.get(error.status_code, str(error.detail)))
    response = failure.response()
    response.headers.update(error.headers or {})
    return response


async def _told(request: Request, error: Exception) -> Response:
    failure = told(error)
    if failure.status >= 500 and failure.status != 503:
        log_failure(error)
    return failure.response()
