"""What a manifest for KubeRay may say: of the fields of ``ray.io/v1``'s `RayCluster` those that ours uses, by type.

A field that is not listed here is refused, which finds slips of the pen.
"""

from __future__ import annotations

from typing import Any

TEXT, WHOLE, YES = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
QUANTITIES = {
    "type": "object",
    "additionalProperties": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?[KMGT]?i?m?$"},
}


def fields(required: tuple[str, ...] = (), **known: dict[str, Any]) -> dict[str, Any]:
    """Describe a mapping of known fields."""
    return {"type": "object", "properties": known, "required": list(required), "additionalProperties": False}


def listed(item: dict[str, Any]) -> dict[str, Any]:
    """Describe a list that is not empty."""
    return {"type": "array", "items": item, "minItems": 1}


CONTAINER = fields(("name", "image"), name=TEXT, image=TEXT, resources=fields(requests=QUANTITIES, limits=QUANTITIES))
POD = fields(
    ("containers",),
    containers=listed(CONTAINER),
    serviceAccountName=TEXT,
    restartPolicy={"enum": ["Always", "OnFailure", "Never"]},
)
STARTED = {"type": "object", "additionalProperties": TEXT}  # flags of `ray start`, all of them texts
TEMPLATE = fields(("spec",), spec=POD)
WORKERS = fields(
    ("groupName", "minReplicas", "maxReplicas", "template"),
    groupName=TEXT,
    replicas=WHOLE,
    minReplicas=WHOLE,
    maxReplicas=WHOLE,
    rayStartParams=STARTED,
    template=TEMPLATE,
)
SPEC = fields(
    ("headGroupSpec", "workerGroupSpecs"),
    rayVersion=TEXT,
    enableInTreeAutoscaling=YES,
    autoscalerOptions=fields(version={"enum": ["v1", "v2"]}, idleTimeoutSeconds=WHOLE),
    authOptions=fields(mode={"enum": ["disabled", "token"]}),
    headGroupSpec=fields(("template",), rayStartParams=STARTED, template=TEMPLATE),
    workerGroupSpecs=listed(WORKERS),
)
SCHEMA = fields(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayCluster"},
    metadata=fields(("name",), name=TEXT),
    spec=SPEC,
)
