"""Calls as an editor sees them: the plain ones are right, and each `type: ignore` marks a real mistake.

Not run but checked by `mypy --strict`, which complains of an ignore that nothing needs.
"""

from fastbatch import LLMRequest, Message, RequestBatch
from fastbatch.models.message import ContentPart, image, text

batch = RequestBatch()
said = [{"role": "user", "content": "Hi"}]
parts: list[ContentPart] = [text("What is this?"), image("https://example.com/cat.png", detail="low")]

batch.chat.completions.create(model="m", messages=said, temperature=0, stop=["END"], custom_id="a")
batch.chat.completions.create(messages=[Message.user(parts)], metadata={"row": 1}, extra_body={"top_k": 5})
batch.responses.create(model="m", input="Hi")
batch.responses.create(prompt={"id": "p"})
batch.completions.create(prompt="Hi", logprobs=5)
batch.embeddings.create(input=["a", "b"], dimensions=256)
LLMRequest.from_prompt("Hi", model="m", max_tokens=8)

batch.chat.completions.create()  # type: ignore[call-arg]
batch.chat.completions.create(model="m")  # type: ignore[call-arg]
batch.completions.create(model="m")  # type: ignore[call-arg]
batch.embeddings.create(model="m")  # type: ignore[call-arg]
batch.chat.completions.create(messages="Hi")  # type: ignore[arg-type]
batch.chat.completions.create(messages=said, temprature=0)  # type: ignore[call-arg]
batch.chat.completions.create(messages=said, seed="apple")  # type: ignore[arg-type]
batch.chat.completions.create(messages=said, stream=True)  # type: ignore[call-arg]
batch.embeddings.create(input="a", encoding_format="hex")  # type: ignore[arg-type]
LLMRequest.from_prompt("Hi", max_token=8)  # type: ignore[call-arg]
