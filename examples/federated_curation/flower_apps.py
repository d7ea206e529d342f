"""The federation in Flower: what a site answers (ClientApp), and how the server averages (FedAvg, ServerApp)."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from local_work import choose_exams, open_site
from planes import make_network, train

client_app = ClientApp()

Train = Callable[..., tuple[ArrayRecord, list[dict[str, float]]]]


@client_app.train()
def train_at_site(message: Message, context: Context) -> Message:
    """Choose, train, and answer with weights and counts: all that ever leaves a site."""
    torch.set_num_threads(1)
    config = message.content["config"]
    number = int(context.node_config["partition-id"])
    folder = Path(str(config["federation"])) / f"site-{number}"
    site = open_site(folder, str(config["checkpoint"]))
    kept = np.flatnonzero(choose_exams(site, str(config["rule"]), folder))
    images, targets = (torch.cat([planes[i] for i in kept]) for planes in (site.images, site.targets))

    round_, rounds = int(config["server-round"]), int(config["rounds"])
    network = make_network(0)
    network.load_state_dict(message.content["arrays"].to_torch_state_dict())
    loss = train(
        network,
        images,
        targets,
        steps=int(config["steps"]),
        rate=float(config["learning-rate"]) * (1 - (round_ - 1) / rounds),
        seed=(int(config["seed"]) * 1000 + round_) * 10 + number,
    )
    told = {"num-examples": len(images), "site": number, "exams": len(site.table), "kept": len(kept), "loss": loss}
    content = RecordDict({"arrays": ArrayRecord(network.state_dict()), "metrics": MetricRecord(told)})
    return Message(content=content, reply_to=message)


class AllOrNothing(FedAvg):
    """FedAvg that fails where a site fails, instead of going on without it, and adds up in the order of the sites."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.told: list[dict[str, float]] = []

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average the sites' weights, by their numbers of planes, and remember what each site told."""
        replies = list(replies)
        for reply in replies:
            if reply.has_error():
                raise ValueError(f"a site failed in round {server_round}: {reply.error.reason}")
        replies.sort(key=lambda reply: reply.content["metrics"]["site"])
        self.told = [dict(reply.content["metrics"]) for reply in replies]
        return super().aggregate_train(server_round, replies)


def make_server_app(work: Callable[[Train], None]) -> ServerApp:
    """A server that does some work, for which it is given a function that trains a network in the federation.

    Args:
        work: takes that function. It trains with FedAvg from a seed's weights, and returns the weights and what each
            site told in the last round.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        def train_together(*, seed: int, rounds: int, sites: int, **config: Any) -> tuple[ArrayRecord, list[Any]]:
            strategy = AllOrNothing(
                fraction_evaluate=0.0, min_train_nodes=sites, min_available_nodes=sites, min_evaluate_nodes=0
            )
            result = strategy.start(
                grid,
                ArrayRecord(make_network(seed).state_dict()),
                num_rounds=rounds,
                train_config=ConfigRecord({"seed": seed, "rounds": rounds, **config}),
            )
            return result.arrays, strategy.told

        work(train_together)

    return app
