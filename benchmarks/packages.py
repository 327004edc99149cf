"""Other people's packages at the same task, each as its own front page shows it, its progress display off.

Each function imports its package itself: it runs in an environment of its own.
"""

from __future__ import annotations

import asyncio
import os
from importlib import import_module
from typing import Any

from load import MODEL, Task, bodies


def parallel_parrot(task: Task) -> int:
    """`parallel_text_generation` over a list of dictionaries, on its own choice of loop (uvloop).

    It knows one address, and sends as many at once as there may be open files; both are constants of its
    module and set here. Its sum of the usage breaks on the details that replies have today; here it adds up
    what are numbers.
    """
    package, api = import_module("parallel_parrot"), import_module("parallel_parrot.openai_api")
    sums = import_module("parallel_parrot.openai_data_interface")
    add_up = sums.sum_usage_stats
    sums.sum_usage_stats = lambda usages: add_up(
        [{name: count for name, count in usage.items() if isinstance(count, int)} for usage in usages]
    )
    api.OPENAI_CHAT_COMPLETIONS_URL = f"{task.base_url}/chat/completions"
    api.MAX_NUM_CONCURRENT_REQUESTS = task.concurrency
    config = package.OpenAIChatCompletionConfig("benchmark", model=MODEL, max_tokens=64, temperature=0.0)
    rows = [{"input": prompt} for prompt in _prompts(task)]
    if not rows:  # which it refuses
        return 0
    done = package.run_async(package.parallel_text_generation(config, rows, "${input}", "output"))
    return sum(bool(row["output"]) for row in done.output)


def lm_deluge(task: Task) -> int:
    """`LLMClient.process_prompts_async` with limits that do not bind."""
    package = import_module("lm_deluge")
    os.environ["BENCHMARK_KEY"] = "benchmark"
    register = import_module("lm_deluge.models").register_model
    register(MODEL, MODEL, task.base_url, "BENCHMARK_KEY")
    client = package.LLMClient(
        MODEL,
        max_requests_per_minute=1_000_000_000,
        max_tokens_per_minute=1_000_000_000_000,
        max_concurrent_requests=task.concurrency,
        max_new_tokens=64,
        temperature=0.0,
    )
    replies = asyncio.run(client.process_prompts_async(list(_prompts(task)), show_progress=False))
    return sum(bool(reply.completion) for reply in replies)


def fastllm_kit(task: Task) -> int:
    """`RequestManager.process_batch` over a `RequestBatch`, no cache."""
    package = import_module("fastllm")
    provider = package.OpenAIProvider("benchmark", api_base=task.base_url)
    manager = package.RequestManager(provider, concurrency=task.concurrency, show_progress=False)
    with package.RequestBatch() as batch:
        for body in bodies(task.rows):
            body["max_completion_tokens"] = body.pop("max_tokens")
            batch.chat.completions.create(**body)
    return sum(bool(reply.response.choices[0].message.content) for reply in manager.process_batch(batch))


def litellm(task: Task) -> int:
    """`acompletion` behind a semaphore, all tasks at once."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else importing it asks the network
    ask_one = import_module("litellm").acompletion

    async def main() -> int:
        allowed = asyncio.Semaphore(task.concurrency)

        async def ask(body: dict[str, Any]) -> bool:
            body["model"] = f"openai/{MODEL}"
            async with allowed:
                reply = await ask_one(api_base=task.base_url, api_key="benchmark", **body)
            return bool(reply.choices[0].message.content)

        return sum(await asyncio.gather(*map(ask, bodies(task.rows))))

    return asyncio.run(main())


def _prompts(task: Task) -> list[str]:
    return [body["messages"][0]["content"] for body in bodies(task.rows)]
