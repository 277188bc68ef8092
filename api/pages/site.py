"""The pages as part of the application."""

from __future__ import annotations

from fastapi import FastAPI

from api.context import Service
from api.pages import assets, comparing, nodes, plans, runs, signing, submitting
from api.pages.library import Library
from api.pages.observing import Observatory
from api.pages.routing import House, shown
from api.pages.session import Sessions


def install(app: FastAPI, service: Service) -> None:
    """Add the pages' routes and objects."""
    app.state.pages = House(
        service=service,
        sessions=Sessions(service.database, service.settings),
        library=Library(service.database),
        observatory=Observatory(service.settings.gateways),
    )
    app.state.show = shown
    for module in (signing, runs, plans, comparing, nodes, submitting, assets):
        app.include_router(module.router)
