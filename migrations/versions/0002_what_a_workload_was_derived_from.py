"""What a workload was derived from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workloads", sa.Column("derived_from", sa.String(length=200), nullable=True))
    op.add_column("workloads", sa.Column("derivation", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("workloads") as batch:
        batch.drop_column("derivation")
        batch.drop_column("derived_from")
