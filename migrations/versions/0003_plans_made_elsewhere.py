"""Plans made elsewhere: a plan need not have a run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("plans") as batch:
        batch.alter_column("run_id", existing_type=sa.String(length=200), nullable=True)


def downgrade() -> None:
    # A plan made elsewhere has no place in the older schema, and what deployed it would have none either:
    # it gets a run's name that no run has.
    op.execute(sa.text("UPDATE plans SET run_id = 'none:' || id WHERE run_id IS NULL"))
    with op.batch_alter_table("plans") as batch:
        batch.alter_column("run_id", existing_type=sa.String(length=200), nullable=False)
