"""What makes `prefect deployment run build-prior` mean `build-prior/build-prior`.

Prefect names a deployment `<flow>/<deployment>`; ours are all named after their flow, so that the first half says everything. The hook
runs in every process that imports Prefect where plugins are enabled: in a checkout by pyproject.toml, elsewhere by the environment
variable PREFECT_PLUGINS_ENABLED=true. Where they are not, the whole name works as ever.
"""

import functools
from typing import TYPE_CHECKING

from prefect.plugins import HookContext, register_hook

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.responses import DeploymentResponse


@register_hook
def setup_environment(*, ctx: HookContext) -> None:
    """Let Prefect's client, which every command asks, find a deployment by its flow's name alone."""
    from prefect.client.orchestration import PrefectClient

    read = PrefectClient.read_deployment_by_name
    if hasattr(read, "__wrapped__"):
        return  # some other import of Prefect in this process has been here

    @functools.wraps(read)
    async def read_deployment_by_name(self: "PrefectClient", name: str) -> "DeploymentResponse":
        return await read(self, complete_name(name))

    PrefectClient.read_deployment_by_name = read_deployment_by_name  # type: ignore[assignment]


def complete_name(name: str) -> str:
    """The whole name of a deployment that is named after its flow; one that is whole already stays."""
    return name if "/" in name else f"{name}/{name}"
