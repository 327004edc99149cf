"""Ray Data's HTTP processor at the same task. Its work is done in processes that are no children of ours."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from load import Task, bodies


def ray_data(task: Task) -> int:
    """As its documentation shows it: as many workers as there are cores, batches of 64, one pass.

    Each worker sends the requests of a batch one after the other, so no more are in flight than workers.
    """
    ray = import_module("ray")
    data, llm = import_module("ray.data"), import_module("ray.data.llm")
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    data.DataContext.get_current().enable_progress_bars = False
    try:
        if not task.rows:
            return 0
        config = llm.HttpRequestProcessorConfig(
            url=f"{task.base_url}/chat/completions",
            headers={"Authorization": "Bearer benchmark"},
            concurrency=max(1, int(ray.cluster_resources()["CPU"]) - 1),
            batch_size=64,
        )

        def payload(row: dict[str, Any]) -> dict[str, Any]:
            return {"payload": dict(row)}

        def text(row: dict[str, Any]) -> dict[str, Any]:
            return {"text": row["http_response"]["choices"][0]["message"]["content"]}

        processor = llm.build_processor(config, preprocess=payload, postprocess=text)
        done = processor(data.from_items(list(bodies(task.rows)), override_num_blocks=4))
        return sum(bool(row["text"]) for row in done.take_all())
    finally:
        ray.shutdown()
