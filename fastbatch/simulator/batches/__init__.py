"""The providers' own batch APIs: files and batches that live in the simulator's memory, and their clockwork.

1. *A batch row is an online request without a wire*: read, drawn for, thought, counted and billed by the same
   code; what an endpoint would have answered stands in the results.
2. *A batch lives by the clock it is shown* and does its work in slices (`Batches.work`), so that fifty
   thousand rows hold nobody up. What is due is a function of time; if the machine is slower, a state lasts.
3. *What was answered is billed in every end*; what was not is free.
4. *The order of results tells nothing*: rows are answered in an order of their own, drawn from the seed.
5. *Files and batches are asked for in any weather*, which strikes them, too. Limits and failures by chance
   are for what wants an answer: rows have the failures, and a limit on waiting tokens of their own.

`work` has the batches, `batch` is the life of one, `lines` are its rows, `rows` answers one of them; `shelf`
keeps files and `multipart` reads how they come. How an API writes rows and results is a form (`forms` is the
promise of it, `openai_lines` is one); what it says at each of its paths, a desk (`desks`, `openai`).

What comes in one document is read in one go: 50 MB in Anthropic's form hold the loop for a fifth of a second.

Deliberately absent: accounts (whoever has the key sees everything), batches of moderations, of pictures and
of Gemini's embeddings, Vertex AI's (they need a bucket), files that expire.
"""
