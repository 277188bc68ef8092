"""One transaction's view of everything that is stored."""

from __future__ import annotations

from sqlalchemy.orm import Session

from api.repositories.deployments import Deployments
from api.repositories.documents import Documents
from api.repositories.drifts import Drifts
from api.repositories.keys import Audit, Idempotency, Keys
from api.repositories.nodes import Nodes
from api.repositories.plans import Plans
from api.repositories.runs import Runs


class Store:
    """The repositories of one transaction, made by `Database.reading` and `Database.writing`."""

    def __init__(self, session: Session) -> None:
        self.documents = Documents(session)
        self.runs = Runs(session)
        self.plans = Plans(session)
        self.deployments = Deployments(session)
        self.nodes = Nodes(session)
        self.drifts = Drifts(session)
        self.keys = Keys(session)
        self.idempotency = Idempotency(session)
        self.audit = Audit(session)
