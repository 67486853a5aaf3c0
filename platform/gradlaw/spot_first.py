"""Which node type Ray's autoscaler launches: spot first, and on demand while a cloud has no spot to give.

Ray itself asks again and again for a type whose launch was refused. Its older autoscaler lets a function
score the types, and tells it which launches failed within the last half hour; ``cluster.yaml`` names this
one in ``RAY_AUTOSCALER_UTILIZATION_SCORER``. It is outside ``launch`` so that the autoscaler loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.autoscaler._private.node_provider_availability_tracker import NodeAvailabilitySummary


def score(
    node_resources: dict[str, Any],
    resources: list[dict[str, Any]],
    node_type: str,
    *,
    node_availability_summary: NodeAvailabilitySummary,
) -> tuple[Any, ...] | None:
    """Ray's own score, after whether the type could be launched when it was last tried.

    The highest score wins; among equal ones Ray takes the last by name: "gpu_spot" before "gpu_on_demand".

    Args:
        node_resources: What a node of the type has.
        resources: What is asked for, a bundle each.
        node_type: Name of the type.
        node_availability_summary: What became of launches within the last half hour.

    Returns:
        The score; None: the type holds none of the bundles.
    """
    from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer

    fit = _default_utilization_scorer(
        node_resources, resources, node_type, node_availability_summary=node_availability_summary
    )
    if fit is None:
        return None
    record = node_availability_summary.node_availabilities.get(node_type)
    wastes_no_gpu, *rest = fit
    return (wastes_no_gpu, record is None or record.is_available, *rest)
