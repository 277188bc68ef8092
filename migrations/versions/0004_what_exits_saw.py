"""What was counted at exits, what is expected since, and what was planned anew for it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("node_status", sa.Column("exits", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("deployments", sa.Column("on_drift", sa.String(length=20), nullable=True))
    op.create_table(
        "exit_windows",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=False),
        sa.Column("outlook", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_exit_windows"),
    )
    op.create_table(
        "drifts",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("plan_id", sa.String(length=200), nullable=False),
        sa.Column("workload_id", sa.String(length=200), nullable=False),
        sa.Column("run_id", sa.String(length=200), nullable=False),
        sa.Column("mode", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("outlook", sa.JSON(), nullable=False),
        sa.Column("applied_as", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name="fk_drifts_plan_id_plans"),
        sa.ForeignKeyConstraint(["workload_id"], ["workloads.id"], name="fk_drifts_workload_id_workloads"),
        sa.ForeignKeyConstraint(["run_id"], ["plan_runs.id"], name="fk_drifts_run_id_plan_runs"),
        sa.PrimaryKeyConstraint("id", name="pk_drifts"),
    )
    op.create_index("ix_drifts_created_ms_id", "drifts", ["created_ms", "id"])
    op.create_index("ix_drifts_state", "drifts", ["state"])


def downgrade() -> None:
    op.drop_table("drifts")
    op.drop_table("exit_windows")
    with op.batch_alter_table("deployments") as batch:
        batch.drop_column("on_drift")
    with op.batch_alter_table("node_status") as batch:
        batch.drop_column("exits")
