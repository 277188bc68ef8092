"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("prefix", sa.String(length=200), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("prefix", name="uq_api_keys_prefix"),
    )
    op.create_table(
        "audit_log",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.String(length=200), nullable=True),
        sa.Column("key_name", sa.String(length=200), nullable=True),
        sa.Column("action", sa.String(length=200), nullable=False),
        sa.Column("target", sa.String(length=200), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_log"),
    )
    op.create_index("ix_audit_log_at_ms", "audit_log", ["at_ms"])

    op.create_table(
        "idempotency_records",
        sa.Column("key_id", sa.String(length=200), nullable=False),
        sa.Column("idempotency_key", sa.String(length=200), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.String(length=200), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=False),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "idempotency_key", name="pk_idempotency_records"),
    )
    op.create_index("ix_idempotency_records_created_ms", "idempotency_records", ["created_ms"])

    op.create_table(
        "nodes",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("address", sa.String(length=200), nullable=False),
        sa.Column("gpus", sa.JSON(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("registered_ms", sa.BigInteger(), nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nodes"),
        sa.UniqueConstraint("name", name="uq_nodes_name"),
    )
    op.create_index("ix_nodes_registered_ms", "nodes", ["registered_ms"])

    op.create_table(
        "profiles",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("gpu", sa.String(length=200), nullable=False),
        sa.Column("layers", sa.BigInteger(), nullable=False),
        sa.Column("batches", sa.JSON(), nullable=False),
        sa.Column("shares", sa.JSON(), nullable=False),
        sa.Column("measured", sa.JSON(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_profiles"),
    )
    op.create_index("ix_profiles_created_ms_id", "profiles", ["created_ms", "id"])
    op.create_index("ix_profiles_model", "profiles", ["model"])

    op.create_table(
        "workloads",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("fragments", sa.BigInteger(), nullable=False),
        sa.Column("clients", sa.BigInteger(), nullable=False),
        sa.Column("gpus", sa.BigInteger(), nullable=False),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workloads"),
    )
    op.create_index("ix_workloads_created_ms_id", "workloads", ["created_ms", "id"])

    op.create_table(
        "comparisons",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("workload_id", sa.String(length=200), nullable=False),
        sa.Column("profiles", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workload_id"], ["workloads.id"], name="fk_comparisons_workload_id_workloads"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_comparisons"),
    )
    op.create_index("ix_comparisons_created_ms_id", "comparisons", ["created_ms", "id"])

    op.create_table(
        "node_gpus",
        sa.Column("gpu_id", sa.String(length=200), nullable=False),
        sa.Column("node_id", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_node_gpus_node_id_nodes"),
        sa.PrimaryKeyConstraint("gpu_id", name="pk_node_gpus"),
    )
    op.create_index("ix_node_gpus_node_id", "node_gpus", ["node_id"])

    op.create_table(
        "node_status",
        sa.Column("node_id", sa.String(length=200), nullable=False),
        sa.Column("reported_ms", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("workers", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_node_status_node_id_nodes"),
        sa.PrimaryKeyConstraint("node_id", name="pk_node_status"),
    )
    op.create_table(
        "plans",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.String(length=200), nullable=False),
        sa.Column("workload_id", sa.String(length=200), nullable=False),
        sa.Column("profiles", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(length=200), nullable=False),
        sa.Column("strategy", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=200), nullable=False),
        sa.Column("share", sa.Double(), nullable=False),
        sa.Column("gpus", sa.BigInteger(), nullable=True),
        sa.Column("lower_bound", sa.Double(), nullable=True),
        sa.Column("gap", sa.Double(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("stages", sa.BigInteger(), nullable=False),
        sa.Column("instances", sa.BigInteger(), nullable=False),
        sa.Column("unplanned", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["workload_id"], ["workloads.id"], name="fk_plans_workload_id_workloads"),
        sa.PrimaryKeyConstraint("id", name="pk_plans"),
        sa.UniqueConstraint("run_id", name="uq_plans_run_id"),
    )
    op.create_index("ix_plans_created_ms_id", "plans", ["created_ms", "id"])
    op.create_index("ix_plans_workload_id", "plans", ["workload_id"])

    op.create_table(
        "deployments",
        sa.Column("generation", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("plan_id", sa.String(length=200), nullable=False),
        sa.Column("rollback_of", sa.BigInteger(), nullable=True),
        sa.Column("deployed_by", sa.String(length=200), nullable=True),
        sa.Column("instances", sa.BigInteger(), nullable=False),
        sa.Column("gpus", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name="fk_deployments_plan_id_plans"),
        sa.PrimaryKeyConstraint("generation", name="pk_deployments"),
        sa.UniqueConstraint("id", name="uq_deployments_id"),
    )
    op.create_table(
        "plan_runs",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("workload_id", sa.String(length=200), nullable=False),
        sa.Column("profiles", sa.JSON(), nullable=False),
        sa.Column("comparison_id", sa.String(length=200), nullable=True),
        sa.Column("strategy", sa.String(length=200), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("submitted_by", sa.String(length=200), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("wanted", sa.String(length=20), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", sa.String(length=200), nullable=True),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("started_ms", sa.BigInteger(), nullable=True),
        sa.Column("finished_ms", sa.BigInteger(), nullable=True),
        sa.Column("progress", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("failure", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("plan_id", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(
            ["comparison_id"], ["comparisons.id"], name="fk_plan_runs_comparison_id_comparisons"
        ),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name="fk_plan_runs_plan_id_plans"),
        sa.ForeignKeyConstraint(["workload_id"], ["workloads.id"], name="fk_plan_runs_workload_id_workloads"),
        sa.PrimaryKeyConstraint("id", name="pk_plan_runs"),
    )
    op.create_index("ix_plan_runs_comparison_id", "plan_runs", ["comparison_id"])
    op.create_index("ix_plan_runs_created_ms_id", "plan_runs", ["created_ms", "id"])
    op.create_index("ix_plan_runs_state_created_ms", "plan_runs", ["state", "created_ms"])
    op.create_index("ix_plan_runs_workload_id", "plan_runs", ["workload_id"])

    op.create_table(
        "run_events",
        sa.Column("run_id", sa.String(length=200), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["plan_runs.id"], name="fk_run_events_run_id_plan_runs"),
        sa.PrimaryKeyConstraint("run_id", "seq", name="pk_run_events"),
    )


def downgrade() -> None:
    op.drop_table("run_events")
    op.drop_index("ix_plan_runs_workload_id", "plan_runs")
    op.drop_index("ix_plan_runs_state_created_ms", "plan_runs")
    op.drop_index("ix_plan_runs_created_ms_id", "plan_runs")
    op.drop_index("ix_plan_runs_comparison_id", "plan_runs")

    op.drop_table("plan_runs")
    op.drop_table("deployments")
    op.drop_index("ix_plans_workload_id", "plans")
    op.drop_index("ix_plans_created_ms_id", "plans")

    op.drop_table("plans")
    op.drop_table("node_status")
    op.drop_index("ix_node_gpus_node_id", "node_gpus")

    op.drop_table("node_gpus")
    op.drop_index("ix_comparisons_created_ms_id", "comparisons")

    op.drop_table("comparisons")
    op.drop_index("ix_workloads_created_ms_id", "workloads")

    op.drop_table("workloads")
    op.drop_index("ix_profiles_model", "profiles")
    op.drop_index("ix_profiles_created_ms_id", "profiles")

    op.drop_table("profiles")
    op.drop_index("ix_nodes_registered_ms", "nodes")

    op.drop_table("nodes")
    op.drop_index("ix_idempotency_records_created_ms", "idempotency_records")

    op.drop_table("idempotency_records")
    op.drop_index("ix_audit_log_at_ms", "audit_log")

    op.drop_table("audit_log")
    op.drop_table("api_keys")
